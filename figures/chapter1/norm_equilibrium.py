"""Norm of a scale-invariant weight under weight decay: SGD and AdamW on gradients orthogonal to it."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

WIDTH = 256
SGD = {'rate': 0.1, 'decay': 0.05, 'steps': 600}
ADAMW = {'rate': 0.01, 'decay': 0.1, 'steps': 6000, 'beta1': 0.9, 'beta2': 0.999}
STARTS = {'sgd': (0.3, 1.8, 5.0), 'adamw': (0.3, 6.0, 20.0)}


def sgd_norm():
    a = 1 - SGD['rate'] * SGD['decay']
    return np.sqrt(SGD['rate'] / np.sqrt(1 - a * a))


def adamw_norm():
    return np.sqrt(ADAMW['rate'] * WIDTH / (2 * ADAMW['decay']))


def gradient(w, rng):
    """Noise of unit expected length, orthogonal to w, divided by the norm of w."""
    z = rng.standard_normal(WIDTH) / np.sqrt(WIDTH)
    return (z - w * (w @ z) / (w @ w)) / np.linalg.norm(w)


def start(norm, rng):
    w = rng.standard_normal(WIDTH)
    return w * norm / np.linalg.norm(w)


def sgd(norm):
    rng = np.random.default_rng(0)
    w = start(norm, rng)
    path = [norm]
    for _ in range(SGD['steps']):
        w = (1 - SGD['rate'] * SGD['decay']) * w - SGD['rate'] * gradient(w, rng)
        path.append(np.linalg.norm(w))
    return np.array(path)


def adamw(norm):
    rng = np.random.default_rng(1)
    w = start(norm, rng)
    m = v = 0.0
    path = [norm]
    for t in range(1, ADAMW['steps'] + 1):
        g = gradient(w, rng)
        m = ADAMW['beta1'] * m + (1 - ADAMW['beta1']) * g
        v = ADAMW['beta2'] * v + (1 - ADAMW['beta2']) * g * g
        update = m / (1 - ADAMW['beta1'] ** t) / np.sqrt(v / (1 - ADAMW['beta2'] ** t))
        w = (1 - ADAMW['rate'] * ADAMW['decay']) * w - ADAMW['rate'] * update
        path.append(np.linalg.norm(w))
    return np.array(path)


@style.once
def paths():
    return {'sgd': [sgd(norm) for norm in STARTS['sgd']], 'adamw': [adamw(norm) for norm in STARTS['adamw']]}


def figure():
    fig, axes = plt.subplots(1, 2, figsize=style.PANELS)
    lines = ('-', '--', '-.')
    for ax, kind, level, title in ((axes[0], 'sgd', sgd_norm(), 'SGD'), (axes[1], 'adamw', adamw_norm(), 'AdamW')):
        for i, (path, norm) in enumerate(zip(paths()[kind], STARTS[kind], strict=True)):
            ax.semilogy(path, lines[i], color=f'C{i}', label=f'初值 {norm:g}')
        ax.axhline(level, color=style.ink(), linestyle=':', linewidth=1.2, label='预测')
        ax.set_yticks(list(STARTS[kind]) + [1], [f'{v:g}' for v in (*STARTS[kind], 1)])
        ax.minorticks_off()
        ax.set_xlabel('步数')
        ax.set_title(title)
        ax.legend()
    axes[0].set_ylabel('权重范数')
    return fig
