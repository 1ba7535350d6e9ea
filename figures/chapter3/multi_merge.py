"""Merging two experts: the line between them, and the scale of the summed task vectors (data from the checks)."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style


def figure():
    data = json.loads(Path(__file__).with_suffix('.json').read_text())
    runs = data['runs']
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    for key, color, line, name in (('near', 'C0', '-', '同一起点'), ('far', 'C1', '--', '不同起点')):
        curves = np.array([run[key] for run in runs])
        left.fill_between(data['alphas'], curves.min(0), curves.max(0), color=color, alpha=0.18, linewidth=0)
        left.plot(data['alphas'], curves.mean(0), line, color=color, label=name)
    left.set_xlabel('从专家 A 到专家 B')
    style.ylabel(left, '两任务平均损失（nat）')
    left.legend()
    scans = np.array([run['scan'] for run in runs])
    for k, color, line, name in ((0, 'C0', '-', '任务 A'), (1, 'C1', '--', '任务 B')):
        right.fill_between(data['lambdas'], scans[:, :, k].min(0), scans[:, :, k].max(0), color=color, alpha=0.18, linewidth=0)
        right.plot(data['lambdas'], scans[:, :, k].mean(0), line, color=color, label=name)
    for name, line, lift, side in (('RegMean', '-.', 2, 'bottom'), ('联合训练', ':', -3, 'top')):
        level = np.mean([run['methods'][name][:2] for run in runs])
        right.axhline(level, color=style.muted(), linestyle=line, linewidth=1)
        right.annotate(name, (0, level), (0, lift), textcoords='offset points', ha='left', va=side, fontsize=9, color=style.muted())
    right.set_ylim(1.08, 2.3)
    right.set_xlabel('缩放 $\\lambda$')
    style.ylabel(right, '损失（nat）')
    right.legend(loc='upper left', bbox_to_anchor=(0.05, 1))
    return fig
