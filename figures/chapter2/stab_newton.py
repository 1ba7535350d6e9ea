"""What k steps of the quintic Newton–Schulz iteration of Muon make of a singular value."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
CLASSICAL = (1.5, -0.5, 0.0)


def iterate(s, steps, coefficients=COEFFICIENTS):
    a, b, c = coefficients
    for _ in range(steps):
        s = a * s + b * s**3 + c * s**5
    return s


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    s = np.geomspace(1e-4, 1, 4000)
    ax.axhspan(0.6818, 1.2024, color=style.tint('C0', 0.12), linewidth=0)
    ax.axhline(1, color=style.muted(), linewidth=0.8, linestyle=':')
    for steps, line, color in ((1, ':', 'C3'), (3, '-.', 'C2'), (5, '-', 'C0')):
        ax.plot(s, iterate(s, steps), line, color=color, label=f'{steps} 步')
    ax.plot(s, iterate(s, 5, CLASSICAL), '--', color='C1', label='三次式 5 步')
    ax.axvline(0.0015, color=style.muted(), linewidth=0.8)
    ax.annotate('0.0015', (0.0015, 1.24), (4, 0), textcoords='offset points', color=style.muted(), fontsize=9.5)
    ax.set_xscale('log')
    ax.set_ylim(0, 1.35)
    ax.set_xlabel('奇异值 $\\sigma$（已除以 $\\|M\\|_F$）')
    style.ylabel(ax, '迭代之后')
    ax.legend(loc='upper left', bbox_to_anchor=(0.0, 0.9), fontsize=9.5)
    return fig
