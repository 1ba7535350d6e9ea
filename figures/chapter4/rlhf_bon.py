"""Win rate of best-of-N against the optimal frontier at the same KL, and the exact KL of best-of-N when rewards tie."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from figures import style

ORDERS = (2, 3, 4, 6, 8, 16, 32)
LEVELS = (2, 10, 100)


def frontier(c):
    """KL and win rate of the density proportional to e^(c u) on the unit interval."""
    log_z = c + np.log(-np.expm1(-c) / c)
    win = -1 / np.expm1(-c) - 1 / c
    return c * win - log_z, win


def exponential(t):
    """KL and win rate of the density (1 - t)(1 - u)^(-t): exponential rewards tilted by t < 1."""
    return np.log1p(-t) + t / (1 - t), 1 / (2 - t)


def bound(n):
    return np.log(n) - (n - 1) / n


def kl(levels, n):
    """KL of best-of-n for equally likely reward levels."""
    q = np.diff((np.arange(levels + 1) / levels) ** n)
    q = q[q > 0]
    return (q * np.log(q * levels)).sum()


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    cut, win = frontier(np.geomspace(0.05, 40, 300))
    left.plot(cut, win, '-', color='C0', label='最优')
    n = np.array(ORDERS)
    left.plot(bound(n), n / (n + 1), 'o', color=style.ink(), label='Best-of-$N$')
    s = np.linspace(0.01, 2.4, 200)
    left.plot(s**2 / 2, norm.cdf(s / np.sqrt(2)), '--', color='C1', label='正态奖励')
    left.plot(*exponential(np.linspace(0.001, 0.977, 400)), '-.', color='C2', label='指数奖励')
    left.set_xlim(0, 2.7)
    left.set_ylim(0.5, 1)
    left.set_xlabel('KL（nat）')
    left.set_ylabel('胜率')
    left.legend(loc='lower right')
    grid = np.unique(np.round(np.geomspace(1, 1000, 60)))
    right.plot(grid, bound(grid), '-', color=style.ink(), label='上界')
    for levels, color, dash in zip(LEVELS, ('C3', 'C1', 'C0'), (':', '-.', '--'), strict=True):
        right.plot(grid, [kl(levels, k) for k in grid], dash, color=color, label=f'$m={levels}$')
    right.set_xscale('log')
    right.set_xticks([1, 10, 100, 1000], ['1', '10', '100', '1000'])
    right.minorticks_off()
    right.set_xlabel('$N$')
    right.set_ylabel('KL（nat）')
    right.legend()
    return fig
