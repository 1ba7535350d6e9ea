"""Left, posterior odds of three hidden Markov models by enumeration; right, the discrete posterior mean, recomputed by the section's checks."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style

DATA = json.loads(Path(__file__).with_suffix('.json').read_text())
STAY, EMIT, STEPS = (0.9, 0.5, 0.1), 0.9, 14


@style.once
def odds():
    """Expected log posterior odds of the first model over the other two after 1 … STEPS symbols of the first."""
    emission = np.array([[EMIT, 1 - EMIT], [1 - EMIT, EMIT]])
    forward = [np.full((1, 2), 0.5) for _ in STAY]      # P(past, current hidden state), one row per past
    rows = []
    for step in range(STEPS):
        for i, stay in enumerate(STAY):
            now = forward[i] if step == 0 else forward[i] @ np.array([[stay, 1 - stay], [1 - stay, stay]])
            forward[i] = (now[:, None, :] * emission.T).reshape(-1, 2)
        p = [state.sum(1) for state in forward]
        rows.append([(p[0] * np.log(p[0] / p[j])).sum() for j in (1, 2)])
    return np.array(rows)


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    rows, step = odds(), np.arange(1, STEPS + 1)
    for j, color, mark, name in ((0, 'C0', 'o', '对停留 0.5'), (1, 'C1', 's', '对停留 0.1')):
        rate = rows[-1, j] - rows[-2, j]
        left.plot(step, rows[-1, j] + rate * (step - STEPS), '--', color=style.muted(), linewidth=1)
        left.plot(step, rows[:, j], mark, color=color, label=name)
    left.set_xlabel('已见 token 数 $n$')
    left.set_ylabel('期望对数后验比（nat）')
    left.legend()

    tasks = np.array(DATA['tasks'])
    right.loglog(tasks, DATA['new'], 'o-', color='C0', label='离散后验，新任务')
    seen = np.array(DATA['seen'])
    keep = seen > 1e-6
    right.loglog(tasks[keep], seen[keep], 's--', color='C1', label='离散后验，见过的任务')
    right.axhline(DATA['ridge'], color=style.ink(), linestyle=':', label='岭回归')
    right.set_ylim(2e-5, 60)
    right.set_xlabel('预训练任务数 $M$')
    right.set_ylabel('误差 $\\mathrm{E}\\Vert\\hat w-w\\Vert^2$')
    right.legend(loc=(0.02, 0.385), fontsize=9)
    return fig
