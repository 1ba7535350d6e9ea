"""Accuracy of the majority of k verdicts when every pair has the same chance 2/3, or a beta-distributed one of that mean."""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from figures import style

K = np.array([1, 3, 5, 9, 17, 33, 65, 129, 257])
BETAS = {'$\\mathrm{Beta}(3,1.5)$': (3, 1.5), '$\\mathrm{Beta}(1,0.5)$': (1, 0.5)}


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    ax.plot(K, stats.binom.sf(K // 2, K, 2 / 3), 'o-', color='C0', label='$p$ 恒为 $2/3$')
    for (name, (a, b)), color, marker in zip(BETAS.items(), ('C1', 'C2'), 's^', strict=True):
        ax.plot(K, stats.betabinom.sf(K // 2, K, a, b), marker + '-', color=color, label=name)
        ax.axhline(stats.beta.sf(0.5, a, b), color=color, linestyle=':', linewidth=1)
    ax.set_xscale('log')
    ax.set_xticks(K, K)
    ax.minorticks_off()
    ax.set_xlabel('判定次数 $k$')
    style.ylabel(ax, '多数票的准确率')
    ax.legend(loc='upper left')
    return fig
