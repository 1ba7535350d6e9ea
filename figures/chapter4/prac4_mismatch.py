"""Root mean square of the accumulated log-probability difference between two engines: measured, and the square-root law."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style

DATA = Path(__file__).with_suffix('.json')


def figure():
    data = json.loads(DATA.read_text())
    fig, ax = plt.subplots(figsize=style.WIDE)
    for (name, run), color, marker in zip(data.items(), ('C1', 'C0'), 'so', strict=True):
        t = np.array(run['t'])
        ax.plot(t, run['rms'], marker, color=color, label=f'{name}，实测')
        ax.plot(t, run['sigma'] * np.sqrt(t), '--', color=color, linewidth=1, label=f'{name}，$\\sigma\\sqrt{{t}}$')
    ax.set_xscale('log', base=2)
    ax.set_yscale('log')
    ax.set_xticks([2, 8, 32, 128, 512], ['2', '8', '32', '128', '512'])
    ax.set_yticks([0.003, 0.01, 0.03, 0.1, 0.3], ['0.003', '0.01', '0.03', '0.1', '0.3'])
    ax.minorticks_off()
    ax.set_xlabel('token 数 $t$')
    style.ylabel(ax, '$\\ln W_t$ 的均方根')
    ax.legend(ncols=2)
    return fig
