"""What scalarizations reach on a non-convex front, and where gradient methods stop on two quadratics."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

GRID = np.linspace(-1.5, 1.5, 30_001)
STARTS = ((0.5, 2.0), (-1.5, 1.5), (2.0, 1.0))
STEP = 0.02


def losses(x):
    return 1 - np.exp(-((x - 1) ** 2)), 1 - np.exp(-((x + 1) ** 2))


def reached(weights, kind):
    """Minimisers over the grid of the scalarized objective for each weight of the first task."""
    first, second = losses(GRID)
    best = []
    for w in weights:
        value = w * first + (1 - w) * second if kind == 'linear' else np.maximum(w * first, (1 - w) * second)
        best.append(GRID[np.argmin(value)])
    return np.array(best)


def equal(g1, g2):
    return (g1 + g2) / 2


def mgda(g1, g2):
    gap = g1 - g2
    w = np.clip(-(g2 @ gap) / max(gap @ gap, 1e-300), 0, 1)
    return w * g1 + (1 - w) * g2


def pcgrad(g1, g2):
    dot = g1 @ g2
    if dot >= 0:
        return (g1 + g2) / 2
    return (g1 - dot / (g2 @ g2) * g2 + g2 - dot / (g1 @ g1) * g1) / 2


def path(rule, start, steps=1500):
    theta, points = np.array(start), [np.array(start)]
    for _ in range(steps):
        x, y = theta
        theta = theta - STEP * rule(np.array([x - 1, 10 * y]), np.array([4 * (x + 1), y]))
        points.append(theta)
    return np.array(points)


@style.once
def data():
    return {name: [path(rule, s) for s in STARTS] for name, rule in (('等权', equal), ('PCGrad', pcgrad), ('MGDA', mgda))}


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    left.plot(*losses(np.linspace(-1, 1, 400)), color=style.muted(), label='前沿')
    weights = np.linspace(0.01, 0.99, 41)
    left.plot(*losses(reached(weights, 'chebyshev')), '^', color='C2', markersize=4, label='切比雪夫')
    left.plot(*losses(reached(weights, 'linear')), 'o', color='C1', markersize=5, fillstyle='none', label='线性')
    left.set_xlabel('任务 1 的损失')
    style.ylabel(left, '任务 2 的损失')
    left.legend(loc='lower left')
    right.plot([-1, 1], [0, 0], color=style.muted(), linewidth=4, alpha=0.5)
    for (name, runs), color, line, mark in zip(data().items(), ('C0', 'C1', 'C2'), ('-', '--', ':'), 'os^', strict=True):
        for k, points in enumerate(runs):
            right.plot(*points.T, line, color=color, label=name if k == 0 else None)
            right.plot(*points[-1], mark, color=color, markersize=5)
    right.plot(*np.array(STARTS).T, 'x', color=style.ink(), markersize=5)
    right.set_xlabel('参数 $x$')
    style.ylabel(right, '参数 $y$')
    right.legend()
    return fig
