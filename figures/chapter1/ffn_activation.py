"""Errors of the two approximations of GELU, and the effective degree of each activation against the scale of its input."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.special import expit, ndtr

from figures import style

Z, DZ = np.linspace(-12, 12, 24001, retstep=True)
WEIGHT = np.exp(-Z * Z / 2) / np.sqrt(2 * np.pi) * DZ


def density(x):
    return np.exp(-x * x / 2) / np.sqrt(2 * np.pi)


ACTIVATIONS = {
    'ReLU': (lambda x: np.maximum(x, 0), lambda x: (x > 0) * 1.0),
    'GELU': (lambda x: x * ndtr(x), lambda x: ndtr(x) + x * density(x)),
    'SiLU': (lambda x: x * expit(x), lambda x: expit(x) * (1 + x * expit(-x))),
    'ReLU²': (lambda x: np.maximum(x, 0) ** 2, lambda x: 2 * np.maximum(x, 0)),
}


def degree(name, scale):
    """d ln E[phi(scale z)^2] / d ln scale^2; the gate of SwiGLU multiplies an independent linear branch, which adds one."""
    if name == 'SwiGLU':
        return 1 + degree('SiLU', scale)
    value, slope = ACTIVATIONS[name]
    h = scale * Z
    return (h * value(h) * slope(h)) @ WEIGHT / ((value(h) ** 2) @ WEIGHT)


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    x = np.linspace(-5, 5, 2001)
    exact = ACTIVATIONS['GELU'][0](x)
    for name, approximation, line, color in (
        ('$x\\,\\sigma(1.702x)$', x * expit(1.702 * x), '-', 'C0'),
        ('tanh 近似', x / 2 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))), '--', 'C1'),
    ):
        left.semilogy(x, np.maximum(np.abs(approximation - exact), 1e-7), line, color=color, label=name)
    left.set_ylim(1e-6, 3e-1)
    left.set_xlabel('$x$')
    left.set_ylabel('与精确 GELU 的绝对误差')
    left.legend(loc='upper center', ncols=2)
    scales = np.geomspace(0.03, 30, 61)
    for name, line, color in (('SwiGLU', '-', 'C3'), ('ReLU²', ':', 'C4'), ('SiLU', '-', 'C1'), ('GELU', '--', 'C0'), ('ReLU', '-.', 'C2')):
        right.semilogx(scales, [degree(name, scale) for scale in scales], line, color=color, label=name)
    right.set_xlabel('预激活的标准差 $\\sqrt{q}$')
    right.set_ylabel('有效次数 $\\kappa$')
    right.set_ylim(0.85, 2.65)
    right.legend(loc='center', bbox_to_anchor=(0.5, 0.47), ncols=2)
    return fig
