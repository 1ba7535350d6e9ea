"""Reading a trait from activations: separation achieved by three estimated directions, against the number of contrast samples."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

D = 64
SIZES = (40, 50, 70, 100, 200, 500, 1000, 4000)
SPECTRUM = np.geomspace(0.1, 10, D)
RIDGE = 0.5


def gap():
    """The difference of the class means: a random direction, scaled so that the best separation is 2."""
    delta = np.random.default_rng(0).standard_normal(D)
    return delta * 2 / np.sqrt(np.sum(delta**2 / SPECTRUM))


def separation(w, delta):
    return w @ delta / np.sqrt(np.sum(w**2 * SPECTRUM))


@style.once
def curves():
    delta, rng, rows = gap(), np.random.default_rng(1), []
    for n in SIZES:
        trials = []
        for _ in range(16 if n < 1000 else 6):
            a, b = (rng.standard_normal((n, D)) * np.sqrt(SPECTRUM) + s * delta / 2 for s in (1, -1))
            d, s = a.mean(0) - b.mean(0), (np.cov(a.T) + np.cov(b.T)) / 2
            trials.append([separation(w, delta) for w in (d, np.linalg.solve(s, d), np.linalg.solve(s + RIDGE * np.eye(D), d))])
        rows.append(np.mean(trials, 0))
    return np.array(rows).T


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    for row, name, color, marker in zip(curves(), ('均值差', '线性判别', '加脊的线性判别'), ('C0', 'C1', 'C2'), 'os^', strict=True):
        ax.plot(SIZES, row, marker + '-', color=color, label=name)
    ax.axhline(2, color=style.muted(), linestyle=':')
    ax.axhline(separation(gap(), gap()), color=style.muted(), linestyle='--')
    ax.set_xscale('log')
    ax.set_xticks([40, 100, 200, 500, 1000, 4000], ['40', '100', '200', '500', '1000', '4000'])
    ax.minorticks_off()
    ax.set_ylim(0, 2.15)
    ax.set_xlabel('每类的样本数（64 维）')
    ax.set_ylabel("分离度 $d'$")
    ax.legend()
    return fig
