"""Three mechanisms of scaling; the simulated points are recomputed in part by the section's checks."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import zeta

from figures import style

DATA = json.loads(Path(__file__).with_suffix('.json').read_text())
A, NEEDED = 0.4, 3


def guide(ax, x, y, slope):
    """A dashed line of the given slope through the geometric middle of the points."""
    x = np.asarray(x, float)
    middle = np.exp(np.mean(np.log(y)) - slope * np.mean(np.log(x)))
    ax.loglog(x, middle * x**slope, '--', color=style.muted(), linewidth=1, zorder=0)


def quanta():
    """Loss left when the n most used are known, and when D single-pass samples have shown each at least NEEDED times."""
    share = np.arange(1, 10**6 + 1.0) ** -(1 + A) / zeta(1 + A)
    tail = 1 - share.sum()
    sizes = np.geomspace(10, 10**5, 9).round().astype(int)
    samples = np.geomspace(1e2, 1e7, 9)
    known = [1 - share[:n].sum() for n in sizes]
    mean = samples[:, None] * share
    missing = np.exp(-mean) * (1 + mean + mean**2 / 2)
    return sizes, known, samples, missing @ share + tail


def figure():
    fig, axes = plt.subplots(1, 3, figsize=style.PANELS)
    sizes, known, samples, seen = quanta()
    for x, y, slope, color, mark, name in ((sizes, known, -A, 'C0', 'o', '参数'), (samples, seen, -A / (1 + A), 'C1', 's', '数据')):
        axes[0].loglog(x, y, mark, color=color, label=name)
        guide(axes[0], x, y, slope)
    axes[0].set_xlabel('学会的量子数或 $D$')
    axes[0].set_ylabel('可约损失')
    for d, color, mark in zip('123', ('C0', 'C1', 'C2'), 'os^', strict=True):
        points = DATA['manifold'][d]
        axes[1].loglog(points['n'], points['linear'], mark, color=color, label=f'$d={d}$')
        axes[1].loglog(points['n'], points['nearest'], mark, color=color, markerfacecolor='none')
        guide(axes[1], points['n'], points['linear'], -4 / int(d))
        guide(axes[1], points['n'], points['nearest'], -2 / int(d))
    axes[1].set_xlabel('样本数 $n$')
    for a, color, mark in zip('235', ('C0', 'C1', 'C2'), 'os^', strict=True):
        axes[2].loglog(DATA['spectrum']['n'], DATA['spectrum'][a], mark, color=color, label=f'$a={a}$')
        guide(axes[2], DATA['spectrum']['n'], DATA['spectrum'][a], -min(int(a) - 1, 3))
    axes[2].set_xlabel('样本数 $n$')
    axes[1].set_ylim(1e-12, 1)
    axes[2].set_xticks([16, 64, 256], ['16', '64', '256'])
    for ax, place in zip(axes, ('lower left', 'lower right', 'lower left'), strict=True):
        ax.legend(fontsize=9, loc=place)
        ax.minorticks_off()
    return fig
