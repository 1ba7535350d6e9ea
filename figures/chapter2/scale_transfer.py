"""Final loss of a small ReLU network against learning rate, three widths, standard parametrization and μP (data from the checks)."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style

DATA = Path(__file__).with_suffix('.json')


def figure():
    data = json.loads(DATA.read_text())
    rates = 2.0 ** -np.array(data['k'])
    fig, axes = plt.subplots(1, 2, figsize=style.PANELS, sharey=True)
    for ax, name, title in zip(axes, ('sp', 'mup'), ('常规参数化', 'μP（以宽度 32 为基准）'), strict=True):
        for i, width in enumerate(data['widths']):
            mean = np.mean(data['loss'][f'{name}-{width}'], axis=1)
            ax.plot(rates, mean, color=f'C{i}', marker='os^'[i], linestyle=('-', '--', '-.')[i], markersize=4, label=f'$d={width}$')
            ax.plot(rates[mean.argmin()], mean.min(), marker='os^'[i], color=f'C{i}', markersize=9, fillstyle='none')
        ax.set_xscale('log', base=2)
        ax.set_title(title)
        ax.set_xlabel('Adam 学习率 $\\eta$')
        ax.set_ylim(0.75, 2.4)
    axes[0].set_ylabel('留出集损失（nat）')
    axes[0].legend()
    return fig
