"""What independent heads lose, and what that costs self-speculative decoding: a noisy copy over M symbols."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

SYMBOLS = (2, 8, 64)
DRAFTS = 3
NOISE = np.linspace(0, 0.5, 101)


def lost(noise, symbols):
    """Mutual information of a symbol and its noisy copy, in nat: the excess loss of each further independent head."""
    error = np.where(noise > 0, noise, 1.0)
    keep = np.where(noise < 1, 1 - noise, 1.0)
    conditional = -np.where(noise < 1, (1 - noise) * np.log(keep), 0) - np.where(noise > 0, noise * np.log(error / (symbols - 1)), 0)
    return np.log(symbols) - conditional


def accepted(noise, symbols):
    """Chance that speculative sampling accepts a draft from the uniform marginal: the overlap with the conditional."""
    return np.minimum(1 - noise, 1 / symbols) + (symbols - 1) * np.minimum(noise / (symbols - 1), 1 / symbols)


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    for symbols, color, line in zip(SYMBOLS, ('C0', 'C1', 'C2'), ('-', '--', '-.'), strict=True):
        left.plot(NOISE, lost(NOISE, symbols), line, color=color, label=f'$M={symbols}$')
        rate = accepted(NOISE, symbols)
        right.plot(NOISE, sum(rate**k for k in range(DRAFTS + 1)), line, color=color, label=f'独立头，$M={symbols}$')
    right.axhline(DRAFTS + 1, color=style.ink(), linestyle=':', label='串行头（理想）')
    left.set_xlabel('复制出错的概率 $\\eta$')
    left.set_ylabel('每头多付的损失（nat）')
    left.set_ylim(bottom=0)
    left.legend()
    right.set_xlabel('复制出错的概率 $\\eta$')
    right.set_ylabel('每次前向得到的 token 数')
    right.set_ylim(0.9, 4.7)
    right.legend(ncols=2, loc='upper left', fontsize=8, columnspacing=1, handlelength=1.8)
    return fig
