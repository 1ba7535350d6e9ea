"""Entropy and the share of the rare right answer under group updates with different upper clipping bounds."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

STARTS = (np.array([0.85, 0.05, 0.05, 0.05]), np.array([0.6, 0.1, 0.2, 0.1]))
REWARD = np.array([1.0, 1.0, 0.0, 0.0])
BOUNDS = (1.2, 1.28, 1.5)
ROUNDS, RUNS, GROUP = 16, 4000, 8


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def entropy(p):
    return -(p * np.log(p)).sum(-1)


def update(old, counts, upper, lower=0.8, steps=50, rate=1.0):
    """Gradient steps on the clipped objective of one group per row; ``counts`` says how often each answer was drawn."""
    mean = (counts * REWARD).sum(-1, keepdims=True) / GROUP
    spread = np.sqrt(mean * (1 - mean))
    advantage = np.where(spread > 0, (REWARD - mean) / np.where(spread > 0, spread, 1), 0)
    z = np.log(old)
    for _ in range(steps):
        p = softmax(z)
        ratio = p / old
        live = np.where(advantage > 0, ratio < upper, ratio > lower)
        weight = counts / GROUP * ratio * advantage * live
        z = z + rate * (weight - p * weight.sum(-1, keepdims=True))
    return softmax(z)


def course(start, upper, seed=0, runs=RUNS):
    """Mean entropy, reward and share of the rare answer among the right ones, before each round."""
    rng = np.random.default_rng(seed)
    p = np.tile(start, (runs, 1))
    rows = []
    for _ in range(ROUNDS + 1):
        right = p @ REWARD
        rows.append([entropy(p).mean(), right.mean(), (p[:, 1] / right).mean()])
        p = np.maximum(update(p, rng.multinomial(GROUP, p), upper), 1e-12)
        p /= p.sum(-1, keepdims=True)
    return np.array(rows)


@style.once
def data():
    return [[course(start, upper) for upper in BOUNDS] for start in STARTS]


def figure():
    fig, axes = plt.subplots(1, 2, figsize=style.PANELS)
    for ax, courses, start in zip(axes, data(), STARTS, strict=True):
        for rows, color, mark, name in zip(courses, ('C0', 'C1', 'C2'), ('o-', 's--', '^:'), ('上界 1.2', '上界 1.28', '上界 1.5'), strict=True):
            ax.plot(1 - rows[1:, 1], 100 * rows[1:, 2], mark, color=color, markersize=3.5, label=name)
        ax.set_xscale('log')
        ax.invert_xaxis()
        ax.set_xticks([0.1, 0.03, 0.01], ['0.90', '0.97', '0.99'])
        ax.minorticks_off()
        ax.set_xlabel('平均奖励')
        ax.set_ylabel('罕见正确答案的份额（%）')
        ax.set_title(f'常见正确答案从 {start[0]:.2f} 开始')
        ax.legend()
    return fig
