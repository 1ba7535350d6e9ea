"""Effective sample size of whole-sequence importance ratios against length: independent binary tokens, uniform old policy."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

COUNT = 4096
LENGTHS = np.unique(np.geomspace(10, 3000, 16).astype(int))
NEW = (0.51, 0.52, 0.55)


def share(p, length, rng, repeats=20):
    """Median over repeats of (sum of weights)^2 / (count times sum of squares)."""
    ones = rng.binomial(length, 0.5, (repeats, COUNT))
    log = ones * np.log(2 * p) + (length - ones) * np.log(2 - 2 * p)
    weight = np.exp(log - log.max(1, keepdims=True))
    return np.median(weight.sum(1) ** 2 / (weight**2).sum(1) / COUNT)


@style.once
def data():
    rng = np.random.default_rng(0)
    return {p: [share(p, int(n), rng) for n in LENGTHS] for p in NEW}


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    fine = np.linspace(1, 3000, 300)
    for p, color, marker in zip(NEW, ('C2', 'C0', 'C1'), 'os^', strict=True):
        second = 2 * (p**2 + (1 - p) ** 2)
        ax.plot(fine, np.maximum(second**-fine, 1e-6), '--', color=color)
        ax.plot(LENGTHS, data()[p], marker, color=color, markersize=4, label=f'$\\frac{{1}}{{2}}$ 变 {p}')
    ax.set_yscale('log')
    ax.set_ylim(1e-4, 1.3)
    ax.set_xlabel('序列长度 $T$')
    style.ylabel(ax, '有效样本比例')
    ax.legend()
    return fig
