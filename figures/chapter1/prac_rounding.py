"""Growth of the rounding error of a float32 sum with its length: one accumulator, pairwise, and the two laws."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

UNIT = 2.0**-24
LENGTHS = 2 ** np.arange(4, 21, 2)
TRIALS = 60


@style.once
def errors():
    """Root mean square relative error (in units of u) of sums of n uniform numbers: (sequential, pairwise)."""
    rng = np.random.default_rng(0)
    sequential, pairwise = [], []
    for n in LENGTHS:
        rows = []
        for _ in range(TRIALS if n < 2**18 else 12):
            x = rng.random(n, dtype=np.float32)
            exact = x.sum(dtype=np.float64)
            tree = x.copy()
            while len(tree) > 1:
                tree = tree[0::2] + tree[1::2]
            rows.append(((np.cumsum(x)[-1] - exact) / exact, (tree[0] - exact) / exact))
        rms = np.sqrt(np.mean(np.square(rows), 0)) / UNIT
        sequential.append(rms[0])
        pairwise.append(rms[1])
    return np.array(sequential), np.array(pairwise)


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    sequential, pairwise = errors()
    ax.loglog(LENGTHS, LENGTHS - 1, color=style.muted(), linestyle=':', label='最坏情形的界 $n-1$')
    ax.loglog(LENGTHS, np.sqrt(LENGTHS), color='C1', linestyle='--', label='$\\sqrt{n}$')
    ax.loglog(LENGTHS, sequential, color='C0', marker='o', markersize=4, label='逐个累加')
    ax.loglog(LENGTHS, pairwise, color='C2', marker='s', markersize=4, label='两两相加')
    ax.set_xlabel('项数 $n$')
    style.ylabel(ax, '相对误差（以 $u=2^{-24}$ 为单位）')
    ax.legend(loc='upper left')
    return fig
