"""Probability that an autoregressive model has not stopped after n tokens, for end-of-sequence probabilities that decay in different ways."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

LENGTH = 100_000
STEPS = np.arange(1, LENGTH + 1)
# Hazard of stopping at step t, as a function of the gap a ln t between the two logits; the last is the closed-form example of the text.
HAZARDS = {
    '$0.5\\,\\ln t$': 1 / (1 + STEPS**0.5),
    '$\\ln t$': 1 / (1 + STEPS),
    '$1.5\\,\\ln t$': 1 / (1 + STEPS**1.5),
    '$\\ln(t^2+2t)$': 1 / (1.0 + STEPS) ** 2,
}


def survival(hazard):
    """The probability of more than n tokens, n = 1, 2, …"""
    return np.exp(np.cumsum(np.log1p(-hazard)))


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    for (name, hazard), line, color in zip(HAZARDS.items(), ('-', '--', '-.', ':'), ('C0', 'C1', 'C2', 'C3'), strict=True):
        curve = survival(hazard)
        keep = np.unique(np.geomspace(1, LENGTH, 300).astype(int)) - 1
        ax.plot(STEPS[keep], np.maximum(curve[keep], 1e-9), line, color=color, label=name)
    ax.set_xscale('log')
    ax.set_yscale('log')
    ax.set_ylim(1e-5, 1.3)
    ax.set_xlabel('已生成的 token 数 $n$')
    style.ylabel(ax, '尚未结束的概率')
    ax.legend(title='EOS 落后的 logit', loc='lower left')
    return fig
