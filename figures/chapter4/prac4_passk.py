"""Probability of k failures in a row, averaged over problems: base, tilted and sharpened."""

import matplotlib.pyplot as plt
import numpy as np
from scipy import special

from figures import style

A, B = 0.5, 1.5
GAMMA, DELTA = 1.5, 1.5
TILT = 0.9395524665829096       # the shift of the logit that gives the same mean as the sharpening
Z = np.linspace(-60, 40, 100_001)


def failures(gamma, delta, k):
    """E (1 - p')^k for logit p' = gamma logit p + delta, by the trapezoidal rule over logit p."""
    log_density = -A * np.logaddexp(0, -Z) - B * np.logaddexp(0, Z) - special.betaln(A, B)
    return np.sum(np.exp(log_density - k * np.logaddexp(0, gamma * Z + delta))) * (Z[1] - Z[0])


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    k = 2.0 ** np.arange(0, 12.5, 0.5)
    for name, arguments, color, dash in (
        ('基座', (1, 0), style.ink(), '-'), ('倾斜', (1, TILT), 'C2', '--'), ('锐化', (GAMMA, DELTA), 'C1', '-.'),
    ):
        ax.plot(k, [failures(*arguments, x) for x in k], dash, color=color, label=name)
    ax.set_xscale('log', base=2)
    ax.set_yscale('log')
    ax.set_xticks([1, 4, 16, 64, 256, 1024, 4096], ['1', '4', '16', '64', '256', '1,024', '4,096'])
    ax.set_yticks([0.01, 0.03, 0.1, 0.3, 1], ['0.01', '0.03', '0.1', '0.3', '1'])
    ax.minorticks_off()
    ax.set_xlabel('采样次数 $k$')
    style.ylabel(ax, '一次都没对的概率，$1-$ pass@$k$')
    style.label_ends(ax)
    return fig
