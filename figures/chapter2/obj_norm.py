"""Where training converges when each micro-batch is divided by its own token count, against the micro-batch size."""

from math import comb

import matplotlib.pyplot as plt
import numpy as np

from figures import style

SHORT, LONG = 2, 8
SIZES = (1, 2, 4, 8, 16, 32, 64)


def minimizer(size, short=SHORT, long=LONG):
    """Probability of the short document's first token at the optimum of the mean of micro-batch means; it is 1/2 in the data."""
    chance = [comb(size - 1, k) / 2 ** (size - 1) for k in range(size)]
    a = sum(c / (short * (1 + k) + long * (size - 1 - k)) for k, c in enumerate(chance))
    b = sum(c / (short * k + long * (size - k)) for k, c in enumerate(chance))
    return a / (a + b)


@style.once
def simulated():
    """The same by sampling documents: weights 1/tokens of 40,000 micro-batches' worth of documents."""
    rng = np.random.default_rng(0)
    found = []
    for size in SIZES:
        is_short = rng.random((40_000, size)) < 0.5
        tokens = np.where(is_short, SHORT, LONG).sum(1, keepdims=True)
        weight = np.broadcast_to(1 / tokens, is_short.shape)
        found.append(weight[is_short].sum() / weight.sum())
    return found


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    ax.semilogx(SIZES, [minimizer(s) for s in SIZES], '-', color='C0', label='微批各自平均（枚举）')
    ax.plot(SIZES, simulated(), 'o', color='C0', markerfacecolor='none', label='微批各自平均（抽样）')
    ax.semilogx(SIZES, [minimizer(s, 2, 32) for s in SIZES], '-.', color='C1', label='长文档改为 32 个 token')
    ax.axhline(0.5, color=style.ink(), linestyle='--', linewidth=1, label='除以总 token 数')
    ax.set_xticks(SIZES, [str(s) for s in SIZES])
    ax.minorticks_off()
    ax.set_ylim(0.45, 1)
    ax.set_xlabel('微批的文档数 $b$')
    ax.set_ylabel('首个 token 取 a 的概率')
    ax.legend()
    return fig
