"""First-step change of the output against the rank, and the best learning rates against the width (stored, from the checks)."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style

DATA = json.loads(Path(__file__).with_suffix('.json').read_text())
RANKS = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256])


@style.once
def first_step(width=1024, draws=120):
    """Root mean square over draws of the output's change on the sample, SGD and sign update, scale 1."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(width)
    z = rng.standard_normal((draws, RANKS.max(), width), dtype=np.float32) @ x.astype(np.float32) / np.sqrt(3 * width)
    return (np.array([np.sqrt(np.mean((z[:, :r] ** 2).sum(1) ** 2)) for r in RANKS]),
            np.array([np.sqrt(np.mean(np.abs(z[:, :r]).sum(1) ** 2)) for r in RANKS]))


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    sgd, sign = first_step()
    lines = (
        ('SGD，$\\alpha/r$', sgd / RANKS**2, 'C0', 'o-'), ('SGD，$\\alpha/\\sqrt{r}$', sgd / RANKS, 'C0', 'o:'),
        ('Adam，$\\alpha/r$', sign / RANKS, 'C1', 's-'), ('Adam，$\\alpha/\\sqrt{r}$', sign / np.sqrt(RANKS), 'C1', 's:'),
    )
    at = list(RANKS).index(16)
    for name, value, color, mark in lines:
        left.loglog(RANKS, value / value[at], mark, color=color, label=name, markersize=3.5)
    left.set_xticks([1, 4, 16, 64, 256], ['1', '4', '16', '64', '256'])
    left.set_yticks([0.1, 1, 10], ['0.1', '1', '10'])
    left.minorticks_off()
    left.set_xlabel('秩 $r$')
    left.set_ylabel('首步输出变化（相对）')
    left.set_ylim(0.02, 40)
    left.legend(fontsize=8, loc='lower left', labelspacing=0.25)

    width = np.array(DATA['widths'])
    for key, name, color, mark in (('b', '$\\eta_B$', 'C2', '^-'), ('common', '共用 $\\eta$', 'C0', 'o-'), ('a', '$\\eta_A$', 'C1', 's-')):
        right.loglog(width, [2.0 ** row[key] for row in DATA['optima']], mark, color=color, label=name)
    right.loglog(width, 2.0**-4 * (width / 64) ** -0.5, '--', color=style.muted(), linewidth=1)
    right.loglog(width, 2.0**-6.5 * (width / 64) ** -1.0, '--', color=style.muted(), linewidth=1)
    right.set_xticks([64, 256, 1024, 4096], ['64', '256', '1024', '4096'])
    right.set_yticks([1e-4, 1e-3, 1e-2, 1e-1], ['$10^{-4}$', '$10^{-3}$', '$10^{-2}$', '$10^{-1}$'])
    right.minorticks_off()
    right.set_xlabel('宽度 $n$')
    right.set_ylabel('最优学习率')
    style.label_ends(right)
    return fig
