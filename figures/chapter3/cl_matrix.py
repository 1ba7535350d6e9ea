"""Accuracy matrices of four methods on five tasks, from cl_matrix.json."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style

NAMES = {'naive': '朴素', 'ewc': 'EWC', 'replay': '回放', 'projection': '投影'}


def figure():
    data = json.loads(Path(__file__).with_suffix('.json').read_text(encoding='utf-8'))['matrix']
    fig, axes = plt.subplots(1, 4, figsize=(7.2, 2.3), sharey=True)
    for ax, (key, name) in zip(axes, NAMES.items(), strict=True):
        r = np.array(data[key])[1:]
        ax.imshow(r, vmin=0, vmax=1)
        for i in range(len(r)):
            for j in range(len(r)):
                ax.text(j, i, f'{100 * r[i, j]:.0f}', ha='center', va='center', fontsize=8.5, color=style.paper() if r[i, j] > 0.55 else style.ink())
        ax.set_title(name)
        ax.set_xticks(range(5), range(1, 6))
        ax.set_yticks(range(5), range(1, 6))
        ax.set_xlabel('测试任务 $j$')
        for side in ('left', 'bottom'):
            ax.spines[side].set_visible(False)
        ax.tick_params(length=0)
    axes[0].set_ylabel('学完任务 $i$')
    return fig
