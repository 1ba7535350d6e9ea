"""One term of the clipped objective against the ratio, and noiseless ascent on the clipped objective of two states that share a parameter."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

EPS = 0.2
OLD = np.array([0.1, 0.9])


def slope(theta):
    """Derivative of the exact clipped objective: both states equally likely, reward 1 for action 1, exact advantages."""
    odds = OLD / (1 - OLD) * np.exp(theta)
    p = odds / (1 + odds)
    total = 0.0
    for new, old in zip(p, OLD, strict=True):
        up, down = new / old, (1 - new) / (1 - old)
        if up <= 1 + EPS:                                   # action 1, advantage 1 - old > 0
            total += 0.5 * (1 - old) * new * (1 - new)
        if down >= 1 - EPS:                                 # action 0, advantage -old < 0
            total += 0.5 * old * new * (1 - new)
    return total, p / OLD


@style.once
def ascent(steps=30_000, rate=1.0):
    theta, path = 0.0, []
    for _ in range(steps):
        gradient, ratio = slope(theta)
        path.append(ratio)
        theta += rate * gradient
    return np.array(path)


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    rho = np.linspace(0.3, 1.8, 301)
    for advantage, color, name in ((1, 'C0', '$\\hat A=1$'), (-1, 'C1', '$\\hat A=-1$')):
        left.plot(rho, advantage * rho, '--', color=color, linewidth=0.9)
        left.plot(rho, np.minimum(rho * advantage, np.clip(rho, 1 - EPS, 1 + EPS) * advantage), color=color)
        left.annotate(name, (1.1, advantage * 1.1), (0, 14 if advantage > 0 else -20), ha='center', textcoords='offset points', color=color)
    for at, text in (((0.42, 0.72), '保留'), ((1.5, 0.88), '零'), ((0.55, -1.14), '零'), ((1.5, -1.2), '保留')):
        left.annotate(text, at, ha='center', fontsize=9)
    for edge in (1 - EPS, 1 + EPS):
        left.axvline(edge, color=style.muted(), linewidth=0.7, linestyle='--')
    left.axvline(1, color=style.muted(), linewidth=0.7, linestyle=':')
    left.set_xlabel('比值 $\\rho$')
    style.ylabel(left, '一项目标')
    path = ascent()
    step = np.arange(1, len(path) + 1)
    keep = np.unique(np.geomspace(1, len(path), 300).astype(int)) - 1
    right.plot(step[keep], path[keep, 0], color='C0', label='甲（0.1）')
    right.plot(step[keep], path[keep, 1], '-.', color='C1', label='乙（0.9）')
    right.axhline(1 + EPS, color=style.muted(), linewidth=0.9, linestyle='--')
    right.set_xscale('log')
    right.set_xlabel('梯度上升步数')
    style.ylabel(right, '好动作的比值')
    right.legend()
    return fig
