"""Exact weight of a prompt's gradient when binary rewards are divided by the standard deviation of the group."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import binom

from figures import style

GROUPS = (2, 4, 8, 64)


def weight(rate, group):
    k = np.arange(1, group)
    return (binom.pmf(k, group, rate) * np.sqrt(k * (group - k))).sum() / (group * rate * (1 - rate))


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    rates = np.geomspace(1e-3, 0.5, 160)
    ax.plot(rates, (rates * (1 - rates)) ** -0.5, '-', color=style.ink(), label='$G\\to\\infty$')
    for group, color, dash in zip(GROUPS[::-1], ('C0', 'C1', 'C2', 'C3'), ('--', '-.', '-', ':'), strict=True):
        ax.plot(rates, [weight(rate, group) for rate in rates], dash, color=color, label=f'$G={group}$')
    ax.set_xscale('log')
    ax.set_yscale('log')
    ax.set_xticks([0.001, 0.01, 0.1, 0.5], ['0.001', '0.01', '0.1', '0.5'])
    ax.set_yticks([1, 2, 5, 10, 20, 30], ['1', '2', '5', '10', '20', '30'])
    ax.minorticks_off()
    ax.set_xlabel('通过率 $p$')
    ax.set_ylabel('权重 $w_G(p)$')
    ax.legend()
    return fig
