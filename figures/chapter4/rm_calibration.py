"""Reliability of an unregularised Bradley–Terry fit in a well-specified linear model, by the ratio of comparisons to dimensions."""

import matplotlib.pyplot as plt
import numpy as np
from scipy import optimize, special

from figures import style

DIM, GAMMA = 200, 1.5
DRAWS = {5: 40, 10: 20, 50: 5}   # fits averaged at each ratio of comparisons to dimensions
NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(60)
WEIGHTS = WEIGHTS / WEIGHTS.sum()


def fit(ratio, rng):
    """Newton's method; returns the scale of the fitted margin and the slope of the true margin on it."""
    truth = np.zeros(DIM)
    truth[0] = GAMMA
    z = rng.standard_normal((ratio * DIM, DIM))
    z *= np.where(rng.random(len(z)) < special.expit(z @ truth), 1, -1)[:, None]
    w = np.zeros(DIM)
    for _ in range(60):
        p = special.expit(-z @ w)
        step = np.linalg.solve((z * (p * (1 - p))[:, None]).T @ z, z.T @ p)
        w += step
        if np.abs(step).max() < 1e-10:
            break
    size = np.linalg.norm(w)
    slope = w[0] * GAMMA / size**2
    return size, slope


def actual(margin, slope, rest):
    return special.expit(slope * np.asarray(margin)[..., None] + rest * NODES) @ WEIGHTS


def loss(temperature, size, slope, rest):
    m = size * NODES
    p = actual(m, slope, rest)
    return WEIGHTS @ (p * np.logaddexp(0, -m / temperature) + (1 - p) * np.logaddexp(0, m / temperature))


def temperature(*model):
    return optimize.minimize_scalar(loss, bounds=(0.5, 20), args=model, method='bounded').x


@style.once
def data():
    models = {}
    for ratio, draws in DRAWS.items():
        rng = np.random.default_rng(0)
        size, slope = np.mean([fit(ratio, rng) for _ in range(draws)], axis=0)
        models[ratio] = size, slope, max(GAMMA**2 - (slope * size) ** 2, 0) ** 0.5
    return models


def figure():
    fig, ax = plt.subplots(figsize=style.SQUARE)
    q = np.linspace(0.02, 0.98, 97)
    ax.plot([0, 1], [0, 1], color=style.muted(), linewidth=0.8)
    for (ratio, (size, slope, rest)), color, marker in zip(data().items(), ('C1', 'C2', 'C0'), 'so^', strict=True):
        ax.plot(q, actual(special.logit(q), slope, rest), marker + '-', color=color, markevery=12, label=f'$n={ratio}d$')
    size, slope, rest = data()[5]
    t = temperature(size, slope, rest)
    ax.plot(q, actual(t * special.logit(q), slope, rest), '--', color='C1', label='$n=5d$，除以 $T$')
    ax.set_xlabel('预测胜率')
    style.ylabel(ax, '真实胜率')
    ax.legend()
    return fig
