"""Performance gap recovered by a least-squares student of a weak teacher, against the number of weak labels."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

D = 50
SIZES = (60, 75, 101, 150, 250, 500, 1000, 2000)
SHARES = (0.0, 0.25, 0.5)


def recovered(n, share, rng, trials=60):
    """Mean recovered gap over draws of the design and the teacher's noise; the teacher's error is 1, a part ``share`` of it linear."""
    bias = np.zeros(D)
    bias[0] = np.sqrt(share)
    errors = []
    for _ in range(trials):
        x = rng.standard_normal((n, D))
        y = x @ bias + np.sqrt(1 - share) * rng.standard_normal(n)
        errors.append(np.sum(np.linalg.solve(x.T @ x, x.T @ y) ** 2))
    return 1 - np.mean(errors)


@style.once
def simulated():
    return {share: [recovered(n, share, np.random.default_rng(n)) for n in SIZES] for share in SHARES}


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    fine = np.geomspace(60, 2000, 300)
    for (share, points), color, marker in zip(simulated().items(), ('C0', 'C1', 'C2'), 'os^', strict=True):
        ax.plot(fine, (1 - share) * (1 - D / (fine - D - 1)), color=color)
        ax.plot(SIZES, points, marker, color=color, label=f'$\\varphi={share:g}$')
    ax.axhline(0, color=style.muted(), linewidth=0.7)
    ax.axvline(2 * D + 1, color=style.muted(), linestyle=':')
    ax.set_xscale('log')
    ax.set_xticks([60, 101, 200, 500, 1000, 2000], ['60', '101', '200', '500', '1000', '2000'])
    ax.minorticks_off()
    ax.set_ylim(-1.5, 1.05)
    ax.set_xlabel('弱标签的条数 $n$（$d=50$）')
    ax.set_ylabel('恢复的差距 PGR')
    ax.legend(loc='lower right')
    return fig
