"""Attention of the two hand-written layers that form an induction head."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

WORDS = ['起', '甲', '乙', '丙', '丁', '乙', '戊', '甲', '乙']


def attention(x, w):
    logits = x @ w @ x.T
    logits[np.triu_indices(len(x), 1)] = -np.inf
    a = np.exp(logits - logits.max(1, keepdims=True))
    return a / a.sum(1, keepdims=True)


def layers(words):
    """Attention matrices of both layers with the weights of the text."""
    names = sorted(set(words))
    v, n = len(names), len(words) - 1
    beta = 2 * np.log(4 * n)
    width = 3 * v + n + 1
    place = np.eye(width)
    tok, pos, prev, out = np.split(place, [v, v + n + 1, 2 * v + n + 1], axis=1)
    x = np.eye(v)[[names.index(w) for w in words]] @ tok.T + np.eye(n + 1) @ pos.T
    first = attention(x, beta * pos @ np.eye(n + 1, k=-1) @ pos.T)
    x = x + first @ x @ tok @ prev.T
    second = attention(x, beta * tok @ prev.T)
    return first, second, second @ x @ tok @ out.T @ out


def figure():
    first, second, _ = layers(WORDS)
    fig, axes = plt.subplots(1, 2, figsize=style.PANELS)
    for ax, a, title in zip(axes, (first, second), ('第一层：看前一个', '第二层：看同词之后'), strict=True):
        image = ax.imshow(a, vmin=0, vmax=1, cmap=style.SEQUENTIAL)
        ax.set_xticks(range(len(WORDS)), WORDS)
        ax.set_yticks(range(len(WORDS)), WORDS)
        ax.set_xlabel('键的位置')
        ax.set_title(title)
        ax.grid(visible=False)
    axes[0].set_ylabel('查询的位置')
    fig.colorbar(image, ax=axes, label='注意力权重', shrink=0.9)
    return fig
