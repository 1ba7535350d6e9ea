"""IsoFLOP curves of the refitted Chinchilla law, its optima with the spread of simulated refits, and the optima of the published fit."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import least_squares

from figures import style

REFIT = (1.8172, 482.01, 2085.43, 0.3478, 0.3658)        # E, A, B, alpha, beta of Besiroglu et al.
PUBLISHED = (1.69, 406.4, 410.7, 0.34, 0.28)             # of Hoffmann et al., as printed
BUDGETS = (1e20, 1e21, 1e22, 5.76e23)
RUNS = np.array([6e18, 1e19, 3e19, 6e19, 1e20, 3e20, 6e20, 1e21, 3e21])
SIZES, SPAN, NOISE, REFITS = 27, 8.0, 0.02, 300


def loss(law, n, c):
    e, a, b, alpha, beta = law
    return e + a * n**-alpha + b * (c / 6 / n) ** -beta


def optimum(law, c):
    _, a, b, alpha, beta = law
    return (alpha * a / (beta * b)) ** (1 / (alpha + beta)) * (c / 6) ** (beta / (alpha + beta))


def design():
    """Logarithms of N and D of the synthetic runs: nine budgets, 27 sizes each within a factor of eight of the optimum."""
    n = np.concatenate([optimum(REFIT, c) * np.geomspace(1 / SPAN, SPAN, SIZES) for c in RUNS])
    return np.log(n), np.log(np.repeat(RUNS, SIZES) / 6 / n)


def terms(theta, x, y):
    z = np.stack([theta[0] - theta[3] * x, theta[1] - theta[4] * y, np.full_like(x, theta[2])])
    total = np.logaddexp.reduce(z)
    return total, np.exp(z - total)


def fit(x, y, target, start):
    """Huber regression of ln L on (ln A, ln B, ln E, alpha, beta), the third approach."""
    def jacobian(theta):
        _, w = terms(theta, x, y)
        return np.stack([w[0], w[1], w[2], -w[0] * x, -w[1] * y], 1)
    return least_squares(lambda t: terms(t, x, y)[0] - target, start, jacobian, loss='huber', f_scale=1e-3, x_scale=[1, 1, 0.1, 0.05, 0.05]).x


@style.once
def refits():
    """Parameters (E, A, B, alpha, beta) fitted to REFITS noisy copies of the synthetic runs."""
    rng = np.random.default_rng(0)
    x, y = design()
    truth = np.array([np.log(REFIT[1]), np.log(REFIT[2]), np.log(REFIT[0]), *REFIT[3:]])
    clean = terms(truth, x, y)[0]
    out = np.array([fit(x, y, clean + NOISE * rng.standard_normal(len(x)), truth) for _ in range(REFITS)])
    return np.column_stack([np.exp(out[:, 2]), np.exp(out[:, 0]), np.exp(out[:, 1]), out[:, 3:]])


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    laws = refits()
    for i, (c, label) in enumerate(zip(BUDGETS, ('$10^{20}$', '$10^{21}$', '$10^{22}$', '$5.76\\times10^{23}$'), strict=True)):
        best = optimum(REFIT, c)
        n = np.geomspace(best / 8, best * 8, 200)
        ax.plot(n, loss(REFIT, n, c), color=f'C{i}', linestyle=('-', '--', '-.', ':')[i], label=f'{label} FLOP')
        low, high = np.percentile([optimum(law, c) for law in laws], [10, 90])
        height = loss(REFIT, best, c)
        ax.errorbar(best, height, xerr=[[best - low], [high - best]], color=f'C{i}', marker='o', capsize=3, linewidth=1.8)
        other = optimum(PUBLISHED, c)
        ax.plot(other, loss(REFIT, other, c), 'x', color=style.ink(), markersize=6, label='原文法三的最优点' if i == 3 else None)
    ax.set_xscale('log')
    ax.set_xlabel('参数量 $N$')
    style.ylabel(ax, '损失 $E+AN^{-\\alpha}+BD^{-\\beta}$（nat / token）')
    ax.legend(fontsize=9)
    return fig
