"""Risk of keeping all samples, only the good ones, or weighting: pure noise on the left, a systematic error on the right."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib import ticker

from figures import style

K, RHO, KAPPA, BIAS = 20, 0.3, 4.0, 0.05
SIZES = (200, 600, 2000, 6000)
REPEATS = 100


def noise_only(n):
    """All, filtered, weighted (the last for large n), formula."""
    good = (1 - RHO) * n
    return K * (1 - RHO + RHO * KAPPA) / (n - K - 1), K / (good - K - 1), K / (good + RHO * n / KAPPA - K - 1)


def biased(n):
    spread = K + (K + 2) * RHO * (1 - RHO) * BIAS
    return RHO**2 * BIAS + spread / n, K / ((1 - RHO) * n)


def simulate(n, bias, kappa, rng, repeats=REPEATS):
    """Mean squared distance from the truth (zero) of the three least-squares fits."""
    total = np.zeros(3)
    shift = np.zeros(K)
    shift[0] = np.sqrt(bias)
    for _ in range(repeats):
        x = rng.standard_normal((n, K))
        bad = np.arange(n) >= round((1 - RHO) * n)
        deviation = np.where(bad, np.sqrt(kappa), 1.0)
        y = np.where(bad, x @ shift, 0.0) + deviation * rng.standard_normal(n)
        for i, weight in enumerate((np.ones(n), 1.0 * ~bad, deviation**-2)):
            fit = np.linalg.solve(x.T @ (x * weight[:, None]), x.T @ (weight * y))
            total[i] += fit @ fit
    return total / repeats


@style.once
def data():
    rng = np.random.default_rng(0)
    return [simulate(n, 0.0, KAPPA, rng) for n in SIZES], [simulate(n, BIAS, 1.0, rng) for n in SIZES]


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    n = np.geomspace(150, 8000, 200)
    noise, bias = (np.array(points) for points in data())
    for ax, curves, points, names in (
        (left, noise_only(n), noise, ('全部保留', '只留好样本', '加权')),
        (right, biased(n), bias, ('全部保留', '只留好样本')),
    ):
        for i, (curve, name) in enumerate(zip(curves, names, strict=True)):
            ax.plot(n, curve, ('-', '--', ':')[i], color=f'C{i}', label=name)
            ax.plot(SIZES, points[:, i], 'os^'[i], color=f'C{i}', markersize=4.5)
        ax.set_xscale('log')
        ax.set_yscale('log')
        ax.set_xticks(SIZES, [f'{n:,}' for n in SIZES])
        ax.xaxis.set_minor_locator(ticker.NullLocator())
        ax.set_xlabel('样本数 $n$')
    left.set_ylabel('风险')
    left.set_title('只有噪声')
    right.set_title('有系统偏差')
    right.axvline(1853, color=style.muted(), linewidth=0.8)
    right.annotate('$n^\\star$', (1853, 0.15), (4, 0), textcoords='offset points', color=style.muted())
    left.legend()
    return fig
