"""Samples until a suppressed action becomes likely: plain policy gradient and group-normalised updates, against its first probability."""

import matplotlib.pyplot as plt
import numpy as np
from scipy import integrate, stats

from figures import style

START = np.geomspace(1e-4, 0.1, 7)
GROUP = 16


def sigmoid(u):
    return 1 / (1 + np.exp(-u))


def group_signal(p, group=GROUP):
    """Expected gradient of the logit when rewards are standardised within groups: E sqrt((k/G)(1 - k/G))."""
    k = np.arange(group + 1)
    return np.sum(stats.binom.pmf(k, group, p) * np.sqrt(k / group * (1 - k / group)))


def hitting(start, speed):
    """Time for the logit to reach 0 under the flow du/dt = speed(p)."""
    return integrate.quad(lambda u: 1 / speed(sigmoid(u)), np.log(start / (1 - start)), 0, limit=200)[0]


def plain(start):
    return hitting(start, lambda p: p * (1 - p))


def grouped(start):
    return hitting(start, group_signal)


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    ax.plot(START, [plain(e) for e in START], 'o-', color='C0', label='普通策略梯度')
    ax.plot(START, [grouped(e) for e in START], 's-', color='C1', label=f'组内标准化，$G={GROUP}$')
    ax.plot(START, 1 / START, '--', color=style.muted(), label='$1/\\epsilon$')
    ax.plot(START, 1 / (np.sqrt(GROUP - 1) * START), ':', color=style.muted(), label='$1/(\\sqrt{G-1}\\,\\epsilon)$')
    ax.set_xscale('log')
    ax.set_yscale('log')
    ax.set_xlabel('正奖励动作的初始概率 $\\epsilon$')
    ax.set_ylabel('概率升到 1/2 的时间')
    ax.legend()
    return fig
