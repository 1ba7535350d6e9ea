"""How the optimum moves: inference tokens counted in (left), unique tokens limited (right). Numerical minimisation."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize_scalar

from figures import style

A, B, ALPHA, BETA = 482.01, 2085.43, 0.3478, 0.3658
REFERENCE = 70e9                                                  # the compute-optimal model whose loss is to be reached
CA, CB, CE, CALPHA, RD, RN = np.exp(6.255414), np.exp(7.3049974), np.exp(0.6254804), 0.3526596, 15.387756, 5.309743


def reference():
    """Tokens of the compute-optimal run at REFERENCE parameters, and its reducible loss."""
    data = (BETA * B / (ALPHA * A) * REFERENCE**ALPHA) ** (1 / BETA)
    return data, A * REFERENCE**-ALPHA + B * data**-BETA


def cheapest(inference):
    """Parameters and training tokens minimising 6ND + 2N·inference at the reference loss."""
    data, level = reference()

    def tokens(n):
        return (B / (level - A * n**-ALPHA)) ** (1 / BETA)

    def cost(x):
        return np.log(6 * np.exp(x) * tokens(np.exp(x)) + 2 * np.exp(x) * inference)
    least = (A / level) ** (1 / ALPHA)
    best = minimize_scalar(cost, bounds=(np.log(least * 1.0001), np.log(2 * REFERENCE)), method='bounded', options={'xatol': 1e-10}).x
    return np.exp(best), tokens(np.exp(best))


def constrained_loss(n, data, unique):
    """Law of Muennighoff et al. for n parameters, `data` tokens in all, `unique` of them different."""
    unique = min(unique, data)
    fitting = min(n, unique * (CA / CB) ** (1 / CALPHA))
    repeats, excess = data / unique - 1, n / fitting - 1
    return CE + CA * (fitting * (1 + RN * (1 - np.exp(-excess / RN)))) ** -CALPHA + CB * (unique * (1 + RD * (1 - np.exp(-repeats / RD)))) ** -CALPHA


def allocation(multiple, unique=25e9):
    """Optimal N / N_U and epochs at `multiple` times the compute that is optimal for one pass over the unique tokens."""
    size = unique * (CA / CB) ** (1 / CALPHA)
    compute = 6 * unique * size * multiple
    centre = np.log(size * multiple**0.5)
    best = np.exp(minimize_scalar(lambda x: constrained_loss(np.exp(x), compute / 6 / np.exp(x), unique), bounds=(centre - 3, centre + 3),
                                  method='bounded', options={'xatol': 1e-10}).x)
    return best / size, compute / 6 / best / unique


def figure():
    fig, axes = plt.subplots(1, 2, figsize=style.PANELS)
    served = np.geomspace(1e10, 1e15, 60)
    points = np.array([cheapest(d) for d in served])
    data, _ = reference()
    axes[0].plot(served, points[:, 0] / REFERENCE, color='C0', label='参数量 $N/N_0$')
    axes[0].plot(served, points[:, 1] / data, '--', color='C1', label='训练 token $D/D_0$')
    axes[0].set(xscale='log', yscale='log', xlabel='推理 token 数 $D_{\\mathrm{inf}}$', title='推理计入成本')
    axes[0].legend(fontsize=9)
    multiples = np.geomspace(1, 1024, 60)
    best = np.array([allocation(m) for m in multiples])
    axes[1].plot(multiples, best[:, 0], color='C0', label='参数量 $N/N_U$')
    axes[1].plot(multiples, best[:, 1], '--', color='C1', label='轮数 $D/U$')
    axes[1].plot(multiples, multiples**0.5, ':', color=style.muted(), label='数据不限')
    axes[1].set(xscale='log', yscale='log', xlabel='计算量 $C/C_U$', title='数据受限')
    axes[1].legend(fontsize=9)
    return fig
