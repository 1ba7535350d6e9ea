"""Least KL of a rank-limited softmax from the bigram table of a Chinese text against the width; the data is computed by the section's checks."""

import json
from pathlib import Path

import matplotlib.pyplot as plt

from figures import style

DATA = json.loads(Path(__file__).with_suffix('.json').read_text(encoding='utf-8'))


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    width = DATA['width']
    ax.plot(width, DATA['truncated'], 's--', color='C1', markerfacecolor='none', label='截断奇异值分解')
    ax.plot(width, DATA['fitted'], 'o-', color='C0', label='直接最小化 KL')
    ax.axvline(DATA['rank'], color=style.muted(), linewidth=0.8)
    ax.annotate(f'秩 {DATA["rank"]}：此后恰为 0', (DATA['rank'], 0.35), (-6, 0), textcoords='offset points', ha='right')
    ax.set_yscale('log')
    ax.set_ylim(1e-6, 2)
    ax.set_xlabel('隐藏维数 $d$')
    style.ylabel(ax, '平均 KL（nat）')
    ax.legend(loc='lower left')
    return fig
