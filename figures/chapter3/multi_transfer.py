"""Risk of one task trained alone, pooled with another, or with the best amount of borrowing."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

D, NOISE, N2, GAP = 64, 1.0, 10_000, 0.5


def risk(n1, share):
    return NOISE * D * ((1 - share) ** 2 / n1 + share**2 / N2) + share**2 * GAP


def shares(n1):
    best = (NOISE * D / n1) / (NOISE * D * (1 / n1 + 1 / N2) + GAP)
    return {'单独': np.zeros_like(n1), '合并': N2 / (n1 + N2), '最优借用': best}


@style.once
def simulated():
    """Mean squared error of the three estimators, the parameters' estimates drawn directly."""
    rng = np.random.default_rng(0)
    sizes = np.geomspace(20, 5000, 8).round()
    difference = np.full(D, np.sqrt(GAP / D))
    out = {name: [] for name in shares(sizes)}
    for n1 in sizes:
        one = rng.normal(0, np.sqrt(NOISE / n1), (2000, D))
        two = difference + rng.normal(0, np.sqrt(NOISE / N2), (2000, D))
        for name, share in shares(np.array([n1])).items():
            out[name].append((((1 - share) * one + share * two) ** 2).sum(1).mean())
    return sizes, out


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    n1 = np.geomspace(20, 5000, 200)
    sizes, points = simulated()
    for (name, share), color, line, mark in zip(shares(n1).items(), ('C0', 'C1', 'C2'), ('-', '--', '-.'), 'os^', strict=True):
        ax.plot(n1, risk(n1, share), line, color=color, label=name)
        ax.plot(sizes, points[name], mark, color=color)
    ax.axvline(NOISE * D / GAP, color=style.muted(), linewidth=0.8, linestyle=':')
    ax.set_xscale('log')
    ax.set_yscale('log')
    ax.set_xticks([20, 50, 128, 500, 2000, 5000], ['20', '50', '128', '500', '2000', '5000'])
    ax.set_yticks([0.02, 0.1, 0.5, 2], ['0.02', '0.1', '0.5', '2'])
    ax.minorticks_off()
    ax.set_xlabel('任务 1 的样本数 $n_1$')
    style.ylabel(ax, '任务 1 的风险')
    ax.legend()
    return fig
