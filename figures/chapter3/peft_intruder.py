"""Where a rank-one update takes over the first singular vector; the first singular vectors of a small fine-tuned network (stored)."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style

DATA = json.loads(Path(__file__).with_suffix('.json').read_text())
STRENGTH = np.linspace(0.2, 4, 20)


def overlap(strength, rng, width=400):
    """Cosine of the first left singular vector with the update, and the largest with any left singular vector of the start."""
    start = rng.standard_normal((width, width)) / np.sqrt(width)
    u, v = (x / np.linalg.norm(x) for x in rng.standard_normal((2, width)))
    before = np.linalg.svd(start)[0]
    after, values, _ = np.linalg.svd(start + strength * np.outer(u, v))
    return abs(after[:, 0] @ u), np.abs(before.T @ after[:, 0]).max(), values[0]


@style.once
def data():
    rng = np.random.default_rng(0)
    return np.array([np.mean([overlap(t, rng)[:2] for _ in range(2)], 0) for t in STRENGTH])


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    with_update, with_start = data().T
    fine = np.linspace(1, 4, 200)
    left.plot(fine, np.sqrt(1 - fine**-2), color=style.ink(), linewidth=1, label='理论')
    left.plot(STRENGTH, with_update, 'o', color='C0', label='与更新 $u$')
    left.plot(STRENGTH, with_start, '^', color='C1', label='与 $W_0$，最大')
    left.axvline(1, color=style.muted(), linewidth=0.7, linestyle=':')
    left.set_xlabel('更新强度 $\\tau$')
    left.set_ylabel('余弦')
    left.legend()
    marks = {'full 1e-4': ('全量', 'C0', 'o-'), 'r=1': ('$r=1$', 'C1', 's--'), 'r=4': ('$r=4$', 'C2', '^:')}
    for key, (name, color, mark) in marks.items():
        right.plot(range(1, 11), DATA[key]['cosines'], mark, color=color, label=name)
    right.axhline(0.5, color=style.muted(), linewidth=0.7, linestyle=':')
    right.set_ylim(0, 1.05)
    right.set_xlabel('奇异向量序号')
    right.set_ylabel('与 $W_0$ 的最大余弦')
    right.legend(loc='lower right')
    return fig
