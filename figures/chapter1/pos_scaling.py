"""By how much each rule divides the frequency of each channel, for a factor of 8 on Llama 3's spectrum."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

BASE, HALF, LENGTH, FACTOR = 5e5, 64, 8192, 8


def by_parts(turns, low, high):
    keep = np.clip((turns - low) / (high - low), 0, 1)
    return 1 / (keep + (1 - keep) / FACTOR)


def figure():
    channel = np.arange(HALF)
    turns = LENGTH * BASE ** (-channel / HALF) / (2 * np.pi)
    fig, ax = plt.subplots(figsize=style.WIDE)
    ax.plot(channel, np.full(HALF, FACTOR), color='C0', ls='-', label='PI')
    ax.plot(channel, FACTOR ** (channel / (HALF - 1)), color='C1', ls='--', label='NTK-aware')
    ax.plot(channel, by_parts(turns, 1, 4), color='C2', marker='s', ms=3, lw=1, label=r'Llama 3.1（$\alpha=1,\ \beta=4$）')
    ax.plot(channel, by_parts(turns, 1, 32), color='C3', marker='o', ms=3, lw=1, ls='-.', label=r'YaRN（$\alpha=1,\ \beta=32$）')
    edge = HALF * np.log(LENGTH / (2 * np.pi)) / np.log(BASE)
    ax.axvline(edge, color=style.muted(), lw=1, ls=':')
    ax.text(edge + 0.8, 1.12, '右侧：训练中未转满一圈', color=style.muted())
    ax.set(yscale='log', xlabel='通道号 $c$', ylabel=r'频率缩小的倍数 $\omega_c/\hat\omega_c$', ylim=(0.93, 9.2))
    ax.set_yticks([1, 2, 4, 8], ['1', '2', '4', '8'])
    ax.minorticks_off()
    ax.legend(loc='lower right', bbox_to_anchor=(1, 0.13))
    return fig
