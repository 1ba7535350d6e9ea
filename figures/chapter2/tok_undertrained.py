"""Tokens that never occur give themselves away: input norm and output direction against how often a token was seen.

The numbers are from a small model that the section's checks train again.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style

DATA = json.loads(Path(__file__).with_suffix('.json').read_text())


def figure():
    count, norm, cosine = (np.array(DATA[name]) for name in ('count', 'norm', 'cosine'))
    seen = count > 0
    fig, axes = plt.subplots(1, 2, figsize=style.PANELS)
    for ax, value, label in ((axes[0], norm, '输入嵌入的范数'), (axes[1], cosine, '输出嵌入与参考的余弦')):
        ax.plot(count[seen], value[seen], 'o', color='C0', markersize=3, label='出现过')
        ax.plot(count[~seen], value[~seen], '^', color='C1', markersize=5, label='从未出现')
        ax.set_xscale('symlog', linthresh=10)
        ax.set_xlim(-1.5, 2e4)
        ax.set_xticks([0, 10, 100, 1000, 10000], ['0', '10', '100', '1,000', '10,000'])
        ax.minorticks_off()
        ax.set_xlabel('作为目标出现的次数')
        ax.set_ylabel(label)
    axes[0].axhline(DATA['expected'], color=style.muted(), linestyle='--', linewidth=1)
    axes[0].set_ylim(0, None)
    axes[0].legend(loc='lower right', fontsize=9)
    return fig
