"""Local exponent d ln N / d ln C that one finds when counting non-embedding parameters under the Chinchilla law."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

LAWS = {'重拟合': (482.01, 2085.43, 0.3478, 0.3658), 'TeX 源': (406.4, 410.7, 0.3392, 0.2849)}   # A, B, alpha, beta
OMEGA = 47491                   # total = non-embedding + OMEGA * non-embedding^(1/3), fitted by Pearce and Song
RANGE = (768, 1.5e9)            # non-embedding sizes of Kaplan et al.


def frontier(law, n):
    """Non-embedding compute at which n non-embedding parameters are optimal."""
    a, b, alpha, beta = law
    total, slope = n + OMEGA * n ** (1 / 3), n + OMEGA / 3 * n ** (1 / 3)
    data = (beta * b / (alpha * a) * total ** (alpha + 1) / slope) ** (1 / beta)
    return 6 * n * data


def exponent(law, n):
    _, _, alpha, beta = law
    cube = n ** (1 / 3)
    first = (n + OMEGA / 3 * cube) / (n + OMEGA * cube)
    second = (n + OMEGA / 9 * cube) / (n + OMEGA / 3 * cube)
    return 1 / (1 + ((1 + alpha) * first - second) / beta)


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    n = np.geomspace(1e2, 1e12, 600)
    for i, (name, law) in enumerate(LAWS.items()):
        ax.plot(n, exponent(law, n), color=f'C{i}', linestyle=('-', '--')[i], label=f'{name}的常数')
        ax.axhline(law[3] / (law[2] + law[3]), color=f'C{i}', linewidth=0.8, linestyle=':')
    ax.axhline(0.73, color=style.ink(), linewidth=1, label='Kaplan 等的 0.73')
    ax.axvspan(*RANGE, color=style.tint(style.muted()), linewidth=0)
    ax.set_xscale('log')
    ax.set_ylim(0.4, 1.02)
    ax.set_xlabel('非嵌入参数量 $M$（灰底：Kaplan 等的范围）')
    style.ylabel(ax, '局部指数 $\\mathrm{d}\\ln M/\\mathrm{d}\\ln C_M$')
    ax.legend(fontsize=9, loc='upper right')
    return fig
