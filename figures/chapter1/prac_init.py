"""Initial loss of a random output head against the standard deviation of its logits: simulation, the law ln V + s²/2, and its end."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

VOCABULARY = 32768
ROWS = 40


@style.once
def simulated():
    """Mean and standard error of lse(z) − z_y for V independent N(0, s²) logits, at each s."""
    rng = np.random.default_rng(0)
    spread = np.linspace(0.25, 9, 18)
    z = rng.standard_normal((ROWS, VOCABULARY))
    losses = []
    for s in spread:
        top = (s * z).max(1, keepdims=True)
        losses.append(top[:, 0] + np.log(np.exp(s * z - top).sum(1)))
    losses = np.array(losses)
    return spread, losses.mean(1), losses.std(1) / ROWS**0.5


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    spread, loss, _ = simulated()
    base = np.log(VOCABULARY)
    edge = np.sqrt(2 * base)
    s = np.linspace(0, 9, 300)
    ax.plot(s, base + s**2 / 2, color='C0', label='$\\ln V+s^2/2$')
    ax.plot(s[s >= edge], s[s >= edge] * edge, color='C1', linestyle='--', label='$s\\sqrt{2\\ln V}$')
    ax.plot(spread, loss, color=style.ink(), marker='o', linestyle='none', markersize=4, label='模拟')
    ax.axhline(base, color=style.muted(), linewidth=1, linestyle=':')
    ax.axvline(edge, color=style.muted(), linewidth=1, linestyle=':')
    ax.annotate('$\\ln V$', (8.9, base), (0, 4), textcoords='offset points', ha='right', color=style.muted())
    ax.annotate('$\\sqrt{2\\ln V}$', (edge, 51), (-4, 0), textcoords='offset points', ha='right', va='top', color=style.muted())
    ax.set_xlabel('初始 logit 的标准差 $s$')
    style.ylabel(ax, '初始损失（nat）')
    ax.set_ylim(9, 52)
    ax.legend(loc='upper left')
    return fig
