"""Expected number of wrong steps against length: errors that cannot be undone, errors undone at rate r, and the two bounds."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

ERROR = 1e-3
LENGTHS = np.unique(np.geomspace(10, 10_000, 13).astype(int))


def expected(length, recovery, error=ERROR):
    """Sum over t of the probability to be in the wrong state after step t (two-state chain, start: right)."""
    pull = error + recovery
    steps = np.arange(1, length + 1)
    return float(np.sum(error / pull * (1 - (1 - pull) ** steps)))


def simulated(recovery, runs, rng):
    """Mean wrong steps up to each length, from simulated generations."""
    wrong = np.zeros(runs, bool)
    total, means = np.zeros(runs), {}
    for t in range(1, LENGTHS[-1] + 1):
        u = rng.random(runs)
        wrong = np.where(wrong, u >= recovery, u < ERROR)
        total += wrong
        if t in LENGTHS:
            means[t] = total.mean()
    return np.array([means[t] for t in LENGTHS])


@style.once
def data():
    rng = np.random.default_rng(0)
    return {recovery: simulated(recovery, 2000, rng) for recovery in (0.0, 0.1)}


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    for recovery, color, marker, name in ((0.0, 'C1', 'o', '不能恢复'), (0.1, 'C0', 's', '每步以 0.1 恢复')):
        ax.plot(LENGTHS, [expected(n, recovery) for n in LENGTHS], '-', color=color, label=name)
        ax.plot(LENGTHS, data()[recovery], marker, color=color, markerfacecolor='none')
    ax.plot(LENGTHS, ERROR * LENGTHS * (LENGTHS + 1) / 2, '--', color=style.ink(), label='$\\epsilon T(T+1)/2$')
    ax.plot(LENGTHS, 10 * ERROR * LENGTHS, ':', color=style.ink(), label='$u\\epsilon T$，$u=10$')
    ax.set_xscale('log')
    ax.set_yscale('log')
    ax.set_ylim(1e-2, 6e4)
    ax.set_xlabel('长度 $T$（token）')
    style.ylabel(ax, '期望错误步数')
    ax.legend(loc='upper left')
    return fig
