"""What top-k, nucleus and min-p sampling keep of a Zipf distribution as the temperature rises: number of tokens and probability mass."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

VOCABULARY = 50_000
EXPONENT = 1.2
TOP_K, TOP_P, MIN_P = 50, 0.9, 0.1
TEMPERATURES = np.linspace(0.4, 2, 33)


def distribution(temperature):
    """Descending probabilities proportional to rank ** (-EXPONENT / temperature)."""
    weight = np.arange(1, VOCABULARY + 1) ** (-EXPONENT / temperature)
    return weight / weight.sum()


def kept(p):
    """How many tokens each rule keeps, p in descending order."""
    return {
        'top-k': TOP_K,
        '核采样': int(np.searchsorted(np.cumsum(p), TOP_P) + 1),
        'min-p': int((p >= MIN_P * p[0]).sum()),
    }


def figure():
    fig, axes = plt.subplots(1, 2, figsize=style.PANELS)
    counts = [kept(distribution(t)) for t in TEMPERATURES]
    labels = {'top-k': f'top-k，$k={TOP_K}$', '核采样': f'核采样，$P={TOP_P}$', 'min-p': f'min-p，$m={MIN_P}$'}
    for (name, label), line, color in zip(labels.items(), ('-', '--', '-.'), ('C0', 'C1', 'C2'), strict=True):
        number = [c[name] for c in counts]
        mass = [distribution(t)[:n].sum() for t, n in zip(TEMPERATURES, number, strict=True)]
        axes[0].plot(TEMPERATURES, number, line, color=color, label=label)
        axes[1].plot(TEMPERATURES, mass, line, color=color)
    axes[0].set_yscale('log')
    axes[0].set_ylim(1, 1e8)
    style.ylabel(axes[0], '保留的 token 数')
    style.ylabel(axes[1], '保留的概率')
    axes[1].set_ylim(0, 1.02)
    for ax in axes:
        ax.set_xlabel('温度 $\\tau$')
    axes[0].legend(loc='upper left')
    return fig
