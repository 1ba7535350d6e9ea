"""Levels of three 4-bit formats, and the squared error on normal data scaled block by block against the block length."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from figures import style

BLOCKS = [16, 32, 64, 128, 256, 512, 1024]


def normal_float(bits=4, offset=929 / 960):
    half = 2 ** (bits - 1)
    positive = norm.ppf(np.linspace(offset, 0.5, half + 1)[:-1])
    negative = -norm.ppf(np.linspace(offset, 0.5, half)[:-1])
    return np.sort(np.r_[negative, 0.0, positive]) / norm.ppf(offset)


def mirrored(*values):
    return np.sort(np.r_[-np.array(values), 0.0, np.array(values)])


FORMATS = {
    'NF4': normal_float(),
    'INT4 对称': np.arange(-7, 8) / 7,
    'FP4（bitsandbytes）': mirrored(1 / 192, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1.0),
    'E2M1': mirrored(0.5, 1, 1.5, 2, 3, 4, 6) / 6,
}


def nearest(levels, y):
    return levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, y)]


def best_levels(y, steps=40):
    """Lloyd's iteration from NF4 with -1, 0 and 1 kept."""
    levels = normal_float()
    for _ in range(steps):
        index = np.searchsorted((levels[1:] + levels[:-1]) / 2, y)
        levels = np.bincount(index, y, 16) / np.bincount(index, minlength=16)
        levels[[0, 7, 15]] = -1, 0, 1
    return levels


def error(levels, x):
    """Mean squared error of rows of ``x``, each scaled by its largest magnitude; ``None``: levels fitted to the data."""
    peak = np.abs(x).max(1, keepdims=True)
    y = x / peak
    levels = best_levels(y.ravel()) if levels is None else levels
    return np.mean((peak * (nearest(levels, y) - y)) ** 2)


@style.once
def data():
    rng = np.random.default_rng(0)
    rows = {name: [] for name in (*FORMATS, '均方最优')}
    for block in BLOCKS:
        x = rng.standard_normal((2**18 // block, block))
        for name in rows:
            rows[name].append(error(FORMATS.get(name), x))
    return rows


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    for row, (name, color) in enumerate((('NF4', 'C0'), ('INT4 对称', 'C1'), ('FP4（bitsandbytes）', 'C2'))):
        left.vlines(FORMATS[name], -row - 0.3, -row + 0.3, color=color, linewidth=1.5)
    left.set_yticks([0, -1, -2], ['NF4', 'INT4', 'FP4'])
    left.tick_params(axis='y', length=0)
    left.spines['left'].set_visible(False)
    left.set_xlabel('级（块内最大绝对值为 1）')
    marks = {'NF4': ('C0', 'o-'), 'INT4 对称': ('C1', 's-'), 'FP4（bitsandbytes）': ('C2', '^-'), 'E2M1': ('C3', 'v-'), '均方最优': (style.ink(), '--')}
    for name, values in data().items():
        color, mark = marks[name]
        right.plot(BLOCKS, 1e3 * np.array(values), mark, color=color, label=name.split('（')[0].split(' ')[0], markersize=3.5)
    right.set_xscale('log', base=2)
    right.set_xticks([16, 64, 256, 1024], ['16', '64', '256', '1024'])
    right.set_xlabel('块长')
    right.set_ylabel('均方误差 $\\times10^3$')
    right.set_ylim(4, 29)
    right.set_yticks([5, 10, 15, 20], ['5', '10', '15', '20'])
    right.legend(loc='upper left', ncols=2, columnspacing=1)
    return fig
