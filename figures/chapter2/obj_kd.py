"""Distance of the averaged soft target from the teacher: truncation keeps its bias, sampling loses its variance."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

VOCAB, EXPONENT = 2000, 1.2
COUNTS = np.unique(np.geomspace(1, 3000, 13).astype(int))
KEPT = (16, 64)
DRAWS = (1, 16)


def teacher():
    q = np.arange(2, VOCAB + 2) ** -EXPONENT
    return q / q.sum()


def truncated(k):
    """Total variation between the teacher and its renormalized top k: the mass cut off."""
    return 1 - teacher()[:k].sum()


@style.once
def sampled():
    """Mean total variation of the average of n targets of m samples each, over 20 repetitions."""
    rng, q = np.random.default_rng(0), teacher()
    return {
        m: [np.mean([abs(rng.multinomial(n * m, q) / (n * m) - q).sum() / 2 for _ in range(20)]) for n in COUNTS]
        for m in DRAWS
    }


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    names = {1: '硬标签（$m=1$）', 16: '采样，$m=16$'}
    for (m, curve), color, mark in zip(sampled().items(), ('C0', 'C1'), ('o-', 's-'), strict=True):
        ax.loglog(COUNTS, curve, mark, color=color, label=names[m])
    for k, color, line in zip(KEPT, ('C2', 'C3'), ('--', '-.'), strict=True):
        ax.axhline(truncated(k), color=color, linestyle=line, label=f'截断，$k={k}$')
    ax.set_xlabel('同一个上下文出现的次数 $n$')
    ax.set_ylabel('平均目标与教师的全变差')
    ax.legend(ncols=2, loc='lower left')
    return fig
