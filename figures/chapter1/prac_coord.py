"""Coordinate check: how far features and logits move in a few Adam steps, against width, under two parametrizations."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

WIDTHS = (64, 128, 256, 512, 1024)
TOKENS, CLASSES, STEPS, RATE, BASE = 64, 16, 4, 0.02, 64


def moves(width, transfer, seed):
    """Root mean square change of hidden pre-activations and of logits after STEPS Adam steps on one fixed batch."""
    rng = np.random.default_rng(seed)
    ratio = BASE / width if transfer else 1.0
    inputs, labels = rng.standard_normal((TOKENS, 32)), np.eye(CLASSES)[rng.integers(CLASSES, size=TOKENS)]
    weights = [
        rng.standard_normal((32, width)) / 32**0.5,
        rng.standard_normal((width, width)) / width**0.5,
        rng.standard_normal((width, CLASSES)) / width**0.5,
    ]
    multiplier = ratio**0.5          # the output head: 1/width in all, instead of 1/√width
    rates = [RATE, RATE * ratio, RATE * ratio**0.5]
    first, second = [np.zeros_like(w) for w in weights], [np.zeros_like(w) for w in weights]
    start = None
    for step in range(STEPS + 1):
        a = np.tanh(inputs @ weights[0])
        hidden = a @ weights[1]
        b = np.tanh(hidden)
        logits = multiplier * (b @ weights[2])
        if step == 0:
            start = hidden, logits
        if step == STEPS:
            break
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        out = multiplier * (p - labels) / TOKENS
        dhidden = (out @ weights[2].T) * (1 - b**2)
        dinner = (dhidden @ weights[1].T) * (1 - a**2)
        for i, gradient in enumerate((inputs.T @ dinner, a.T @ dhidden, b.T @ out)):
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.999 * second[i] + 0.001 * gradient**2
            mean, square = first[i] / (1 - 0.9 ** (step + 1)), second[i] / (1 - 0.999 ** (step + 1))
            weights[i] = weights[i] - rates[i] * mean / (square**0.5 + 1e-12)
    return [np.sqrt(np.mean((new - old) ** 2)) for new, old in zip((hidden, logits), start, strict=True)]


@style.once
def data():
    """{parametrization: array (2, widths)} of mean moves over three seeds."""
    return {
        transfer: np.array([[np.mean([moves(w, transfer, s)[i] for s in range(3)]) for w in WIDTHS] for i in range(2)])
        for transfer in (False, True)
    }


def figure():
    fig, axes = plt.subplots(1, 2, figsize=style.PANELS, sharey=True, layout='constrained')
    for ax, transfer, title in zip(axes, (False, True), ('常规参数化', 'μP'), strict=True):
        for i, (name, marker) in enumerate((('隐藏层', 'o'), ('logit', 's'))):
            ax.loglog(WIDTHS, data()[transfer][i], color=f'C{i}', marker=marker, markersize=4, linestyle=('-', '--')[i], label=name)
        ax.set_title(title)
        ax.set_xticks(WIDTHS, [str(w) for w in WIDTHS])
        ax.set_yticks([1, 2, 4, 8], ['1', '2', '4', '8'])
        ax.minorticks_off()
        ax.set_xlabel('宽度 $d$')
    axes[0].set_ylabel('4 步后的均方根变化')
    axes[0].legend()
    return fig
