"""How far the best of N validation scores lies above the truth, and how much of an apparent gain is real."""

import matplotlib.pyplot as plt
import numpy as np
from scipy import integrate, stats

from figures import style

COUNTS = np.array([2, 5, 10, 20, 50, 100, 200, 500, 1000])
ITEMS = np.array([50, 100, 200, 500, 1000, 2000, 5000])


def top(n):
    """Expected maximum of n independent standard normal numbers."""
    return integrate.quad(lambda x: x * n * stats.norm.pdf(x) * stats.norm.cdf(x) ** (n - 1), -10, 10)[0]


@style.once
def simulated(p=0.7, items=200, draws=3000):
    rng = np.random.default_rng(0)
    return [rng.binomial(items, p, (draws, n)).max(1).mean() / items - p for n in COUNTS]


def gains(items, tau=0.02, v=0.21, n=100):
    total = np.sqrt(tau**2 + v / items)
    return top(n) * total, top(n) * tau**2 / total


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    sigma = np.sqrt(0.21 / 200)
    left.semilogx(COUNTS, 100 * sigma * np.sqrt(2 * np.log(COUNTS)), 'C1--', label='界')
    left.semilogx(COUNTS, [100 * sigma * top(n) for n in COUNTS], 'C0-', label='正态')
    left.semilogx(COUNTS, 100 * np.array(simulated()), 'o', color='C2', label='二项模拟')
    left.set_xlabel('候选数 $N$')
    left.set_ylabel('选择偏差（百分点）')
    left.set_ylim(0)
    left.set_xticks([2, 10, 100, 1000], ['2', '10', '100', '1000'])
    left.minorticks_off()
    left.legend(loc='upper left')
    apparent, real = gains(ITEMS)
    right.semilogx(ITEMS, 100 * apparent, 'C1s--', label='看似')
    right.semilogx(ITEMS, 100 * real, 'C0o-', label='真实')
    right.set_xlabel('验证题数')
    right.set_ylabel('提高（百分点）')
    right.set_ylim(0)
    right.set_xticks([50, 200, 1000, 5000], ['50', '200', '1000', '5000'])
    right.minorticks_off()
    right.legend()
    return fig
