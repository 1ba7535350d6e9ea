"""Lengths learned under different denominators: the data are geometric with mean 100."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.signal import fftconvolve

from figures import style

STOP = 0.01
BATCHES = (1, 2, 4, 8, 16, 32, 64)


def data_lengths(longest=6000):
    k = np.arange(1, longest + 1)
    return k, STOP * (1 - STOP) ** (k - 1)


def batch_mean(b):
    """Mean length of the optimum when each batch of ``b`` samples divides by its own number of tokens: 1 / (b E[1/S])."""
    _, p = data_lengths()
    total = p
    for _ in range(b - 1):
        total = fftconvolve(total, p)[:14_000]
    return 1 / (b * (total / (np.arange(len(total)) + b)).sum())


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    k, p = data_lengths()
    tilted = p / k / (p / k).sum()
    shown = k <= 400
    for density, line, color, label in ((p, '-', 'C0', '数据，按 token 平均'), (tilted, '--', 'C1', '按样本平均')):
        left.plot(k[shown], density[::-1].cumsum()[::-1][shown], line, color=color, label=label)
    left.set(yscale='log', ylim=(1e-3, 1.2), xlabel='长度 $k$')
    style.ylabel(left, '不短于 $k$ 的概率')
    left.legend()
    right.plot(BATCHES, [batch_mean(b) for b in BATCHES], 'o', color='C0', label='每批按 token 平均')
    fine = np.geomspace(1.2, 64, 100)
    right.plot(fine, 100 * (fine - 1) / fine, '--', color=style.ink(), label='$\\mu(b-1)/b$')
    right.axhline(100, color=style.muted(), linewidth=0.8)
    right.set(xscale='log', ylim=(0, 108), xlabel='批内样本数 $b$')
    right.set_xticks(BATCHES, [str(b) for b in BATCHES])
    right.minorticks_off()
    style.ylabel(right, '平均生成长度')
    right.legend(loc='lower right')
    return fig
