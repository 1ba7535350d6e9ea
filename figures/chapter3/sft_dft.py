"""The family (1 - p^q)/q: the gradient a target token's logit receives, and the time to learn a token from probability p0."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import quad

from figures import style

CURVES = ((0, '-', 'C0', '$q=0$（SFT）'), (0.5, '-.', 'C2', '$q=0.5$'), (1, '--', 'C1', '$q=1$（DFT）'))


def time_to_half(p0, q):
    """Time for ds/dt = p^q (1 - p) to lift p from p0 to one half."""
    start = np.log(p0 / (1 - p0))
    return quad(lambda s: (1 + np.exp(-s)) ** q * (1 + np.exp(s)), start, 0, limit=200)[0]


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    p = np.linspace(0, 1, 301)
    start = np.geomspace(1e-5, 0.4, 60)
    for q, line, color, label in CURVES:
        left.plot(p, p**q * (1 - p), line, color=color, label=label)
        right.plot(start, [time_to_half(x, q) for x in start], line, color=color, label=label)
    left.set(xlabel='目标 token 的概率 $p$')
    style.ylabel(left, 'logit 梯度 $p^q(1-p)$')
    left.legend()
    right.set(xscale='log', yscale='log', xlabel='初始概率 $p_0$')
    style.ylabel(right, '升到 1/2 的时间')
    right.legend()
    return fig
