"""Probability of the chosen and of a never-compared response along one DPO pair, for three strengths of private features."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

MARGINS = np.linspace(0, 40, 801)
STRENGTHS = (0, 1, 3)


def probabilities(square, margins):
    """Rows: No, Never, Yes. ``square`` is the squared length of each response's private feature."""
    s = np.asarray(margins) / (1 + 2 * square)
    logits = np.stack([s * (square - 1), -s * (2 + square), s])
    weight = np.exp(logits - logits.max(0))
    return weight / weight.sum(0)


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    for square, color in zip(STRENGTHS, ('C1', 'C2', 'C0'), strict=True):
        no, _, yes = probabilities(square, MARGINS)
        ax.plot(MARGINS, no, '-', color=color, label=f'No，$\\kappa^2={square}$')
        ax.plot(MARGINS, yes, '--', color=color, label=f'Yes，$\\kappa^2={square}$')
    ax.axhline(1 / 3, color=style.muted(), linewidth=0.7, linestyle=':')
    ax.set_xlabel('间隔 $h$')
    ax.set_ylabel('概率')
    ax.legend(ncols=3, loc='upper center', bbox_to_anchor=(0.5, 1.25), columnspacing=1, handlelength=1.6, fontsize=9)
    return fig
