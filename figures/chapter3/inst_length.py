"""Raw and length-controlled win rates of two models of equal quality against their mean difference in length."""

import matplotlib.pyplot as plt
import numpy as np
from scipy import optimize
from scipy.special import expit

from figures import style

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(80)
WEIGHTS = WEIGHTS / WEIGHTS.sum()
MEANS = np.linspace(0, 2, 21)


def win_rates(mean, slope):
    """Population values: raw, and sigma(intercept) of the logistic regression on tanh of the length difference."""
    z = mean + NODES
    g = np.tanh(z)
    p = expit(g + slope * (z - mean))

    def loss(v):
        s = v[0] + v[1] * g
        return (WEIGHTS * (np.logaddexp(0, s) - p * s)).sum()

    def slope_of(v):
        r = WEIGHTS * (expit(v[0] + v[1] * g) - p)
        return np.array([r.sum(), (r * g).sum()])

    fit = optimize.minimize(loss, [0.0, 1.0], jac=slope_of, options={'gtol': 1e-10})
    return (WEIGHTS * p).sum(), expit(fit.x[0])


@style.once
def data():
    return {slope: np.array([win_rates(mean, slope) for mean in MEANS]) for slope in (0.0, 0.6, -0.6)}


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    curves = data()
    ax.plot(MEANS, curves[0.0][:, 0], '-', color=style.ink(), label='原始（纯偏好）')
    for slope, name, color, line in ((-0.6, '控制，负相关', 'C1', '--'), (0.0, '控制，纯偏好', 'C0', '-'), (0.6, '控制，正相关', 'C2', '-.')):
        ax.plot(MEANS, curves[slope][:, 1], line, color=color, label=name)
    ax.set_ylim(0, 1)
    ax.set_xticks([0, 0.5, 1, 1.5, 2], ['0', '0.5', '1', '1.5', '2'])
    ax.set_xlabel('平均长度差 / 标准差')
    ax.set_ylabel('胜率')
    style.label_ends(ax)
    return fig
