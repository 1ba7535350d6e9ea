"""Mean largest weight and mean trace of the softmax Jacobian against d_k, with and without the scaling."""

import matplotlib.pyplot as plt
import numpy as np
from scipy import stats

from figures import style

KEYS = 1024
WIDTHS = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512])
Z, DZ = np.linspace(-9, 9, 601, retstep=True)
DENSITY = np.exp(-Z * Z / 2) / np.sqrt(2 * np.pi) * DZ


def simulate(width, scale, rng, rows=1000):
    """Given q, the logits of independent standard normal keys are independent N(0, |q|^2)."""
    norm = np.sqrt(rng.chisquare(width, size=(rows, 1)))
    s = rng.standard_normal((rows, KEYS)) * norm * scale
    p = np.exp(s - s.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    return p.max(1).mean(), 1 - (p**2).sum(1).mean()


def trace(sigma):
    """1 - E[sum p^2] for logits N(0, sigma^2): the one-dimensional integral of the text, over u = ln t."""
    u = np.linspace(-9 * sigma - 12, 9 * sigma + 6, 600)
    exponent = u[:, None] + sigma * Z
    decay = np.exp(-np.exp(np.minimum(exponent, 50)))
    phi = decay @ DENSITY
    second = (np.exp(2 * np.minimum(exponent, 50)) * decay) @ DENSITY
    return 1 - KEYS * np.trapezoid(second * phi ** (KEYS - 1), u)


@style.once
def data():
    rng = np.random.default_rng(0)
    raw = np.array([simulate(w, 1.0, rng) for w in WIDTHS])
    scaled = np.array([simulate(w, w**-0.5, rng) for w in WIDTHS])
    levels = (np.arange(8) + 0.5) / 8           # average over the length of q, by its quantiles
    exact = [np.mean([trace(stats.chi.ppf(level, w)) for level in levels]) for w in WIDTHS]
    return raw, scaled, exact


def figure():
    raw, scaled, exact = data()
    asymptote = np.sqrt(2 * np.log(KEYS) / WIDTHS)
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    left.plot(WIDTHS, raw[:, 0], 'o-', color='C0', label='未缩放')
    left.plot(WIDTHS, scaled[:, 0], 's--', color='C1', label='除以 $\\sqrt{d_k}$')
    left.set_ylabel('最大权重的平均值')
    right.plot(WIDTHS, exact, '-', color='C0', label='未缩放，精确积分')
    right.plot(WIDTHS, raw[:, 1], 'o', color='C0', label='未缩放，模拟')
    right.plot(WIDTHS[asymptote < 1], asymptote[asymptote < 1], ':', color=style.muted(), label='未缩放，渐近式')
    right.plot(WIDTHS, scaled[:, 1], 's--', color='C1', label='除以 $\\sqrt{d_k}$，模拟')
    right.set_ylabel('雅可比的迹的平均值')
    for ax in (left, right):
        ax.set_xscale('log', base=2)
        ax.set_xlabel('键的维数 $d_k$')
        ax.set_ylim(-0.03, 1.05)
        ax.legend()
    return fig
