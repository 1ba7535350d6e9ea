"""Self-play on a cyclic preference game of three responses: multiplicative weights, its average, and the geometric mixture."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import softmax

from figures import style

GAME = np.array([[0, 0.4, -0.1], [-0.4, 0, 0.2], [0.1, -0.2, 0]])
REFERENCE = np.array([0.6, 0.2, 0.2])
ETA, TAU, STEPS = 0.1, 0.02, 20_000


def play(tau, steps=STEPS):
    """Iterates of one step against itself after mixing a share eta * tau of the reference into the logarithms."""
    log = np.log(REFERENCE)
    out = [REFERENCE]
    for _ in range(steps):
        log = (1 - ETA * tau) * log + ETA * tau * np.log(REFERENCE)
        mixed = softmax(log)
        log = np.log(softmax(np.log(mixed) + ETA * GAME @ mixed))
        out.append(np.exp(log))
    return np.array(out)


def weakness(pi):
    """How far above one half the best reply wins."""
    return (pi @ GAME.T).max(-1)


@style.once
def data():
    free, tied = play(0.0), play(TAU)
    return free, free.cumsum(0) / np.arange(1, len(free) + 1)[:, None], tied


def _plane(pi):
    pi = np.asarray(pi)
    return pi[..., 1] + pi[..., 2] / 2, pi[..., 2] * np.sqrt(3) / 2


def figure():
    free, mean, tied = data()
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS, width_ratios=(1, 1.15))
    left.plot(*_plane(np.vstack([np.eye(3), np.eye(3)[:1]])), color=style.muted(), linewidth=0.7)
    left.plot(*_plane(free[:1500]), color='C0', linewidth=0.9)
    left.plot(*_plane(mean), color='C1', linestyle='--')
    left.plot(*_plane(tied), color='C2', linestyle='-.')
    left.plot(*_plane(np.array([2, 1, 4]) / 7), '*', color=style.ink(), markersize=11)
    left.plot(*_plane(tied[-1]), 'X', color='C2', markersize=8, markeredgecolor=style.ink())
    for corner, name, shift in zip(np.eye(3), ('1', '2', '3'), ((-8, -4), (8, -4), (0, 7)), strict=True):
        left.annotate(name, _plane(corner), shift, textcoords='offset points', ha='center', va='center')
    left.set_aspect('equal')
    left.axis('off')
    steps = np.unique(np.geomspace(1, STEPS, 400).astype(int))
    for pi, color, line, name in ((free, 'C0', '-', '末步'), (mean, 'C1', '--', '平均'), (tied, 'C2', '-.', '几何混合的末步')):
        right.plot(steps, weakness(pi[steps]), line, color=color, label=name)
    right.set_xscale('log')
    right.set_yscale('log')
    right.set_xlabel('步数')
    right.set_ylabel('最大劣势')
    right.legend(loc='lower left')
    return fig
