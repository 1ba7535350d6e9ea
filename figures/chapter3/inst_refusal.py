"""Refusal rates of harmful, borderline and benign prompts against the effective share of harmful training data."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from figures import style

DELTA, BORDER = 3.0, 0.5


def rates(share):
    """Harmful, borderline, benign."""
    threshold = np.log((1 - share) / share) / DELTA
    return norm.cdf(DELTA / 2 - threshold), norm.cdf(BORDER - threshold), norm.cdf(-DELTA / 2 - threshold)


def best_share(prior=0.001, cost=100.0):
    odds = prior * cost / (1 - prior)
    return odds / (1 + odds)


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    share = np.geomspace(0.001, 0.5, 200)
    for curve, name, color, line in zip(rates(share), ('有害', '边界', '无害'), ('C1', 'C3', 'C0'), ('-', '--', '-.'), strict=True):
        ax.plot(share, curve, line, color=color, label=name)
    ax.axvline(best_share(), color=style.muted(), linewidth=0.8)
    ax.annotate('$r^\\star$', (best_share(), 0.95), (4, 0), textcoords='offset points', color=style.muted())
    ax.set_xscale('log')
    ax.set_xticks([0.001, 0.01, 0.1, 0.5], ['0.1%', '1%', '10%', '50%'])
    ax.minorticks_off()
    ax.set_ylim(0, 1)
    ax.set_xlabel('有害数据的有效份额 $r$')
    ax.set_ylabel('拒答率')
    style.label_ends(ax)
    return fig
