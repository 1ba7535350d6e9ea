"""Exact bias and standard deviation of the GAE policy gradient on an enumerable process: ten binary tokens, a terminal reward."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

T = 10
THETA = np.array([0.0, 0.5, 0.1, 0.0])
LAMBDAS = np.linspace(0, 1, 41)


def process():
    """All sequences: their probabilities, scores (sequence, token, parameter), rewards and exact values."""
    count = 2**T
    y = (np.arange(count)[:, None] >> np.arange(T)[::-1]) & 1
    before = np.concatenate([np.zeros((count, 1)), y[:, :-1]], 1)
    ones = before.cumsum(1)
    features = np.stack([np.ones_like(ones), before, ones - np.arange(T) / 2, np.broadcast_to(np.arange(T) / T, ones.shape)], -1)
    p = 1 / (1 + np.exp(-features @ THETA))
    chance = np.where(y == 1, p, 1 - p).prod(1)
    reward = (y.sum(1) >= 7) * 1.0
    value = np.zeros((count, T + 1))
    for t in range(T):
        prefix = np.arange(count) >> (T - t)
        value[:, t] = (np.bincount(prefix, chance * reward) / np.bincount(prefix, chance))[prefix]
    return chance, (y - p)[..., None] * features, reward, value


def advantages(reward, value, lam):
    delta = value[:, 1:] - value[:, :-1]
    delta[:, -1] += reward
    out, running = np.empty_like(delta), 0.0
    for t in range(T)[::-1]:
        running = delta[:, t] + lam * running
        out[:, t] = running
    return out


def moments(scale, lam, parts):
    """Bias and standard deviation of the one-sequence gradient, relative to the length of the true gradient; V = scale times V^pi."""
    chance, score, reward, value = parts
    true = np.einsum('y,y,ytk->k', chance, reward, score)
    g = np.einsum('yt,ytk->yk', advantages(reward, scale * value, lam), score)
    mean = chance @ g
    length = np.linalg.norm(true)
    return np.linalg.norm(mean - true) / length, np.sqrt(chance @ ((g - mean) ** 2).sum(1)) / length


@style.once
def data():
    parts = process()
    return {scale: np.array([moments(scale, lam, parts) for lam in LAMBDAS]) for scale in (0.5, 1.0)}


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    half, exact = data()[0.5], data()[1.0]
    left.plot(LAMBDAS, half[:, 0], color='C1', label='偏差，$V$ 低估')
    left.plot(LAMBDAS, half[:, 1], '--', color='C1', label='标准差，$V$ 低估')
    left.plot(LAMBDAS, exact[:, 0], color='C0', label='偏差，$V$ 精确')
    left.plot(LAMBDAS, exact[:, 1], '--', color='C0', label='标准差，$V$ 精确')
    left.set_xlabel('$\\lambda$')
    left.set_ylim(-0.05, 1.75)
    style.ylabel(left, '相对真梯度的长度')
    left.legend(fontsize=8, ncols=2, loc='upper left', handlelength=1.6, columnspacing=0.8)
    for n, color, line in ((4, 'C2', '-'), (32, 'C3', '--'), (1024, 'C0', '-.')):
        error = np.sqrt(half[:, 0] ** 2 + half[:, 1] ** 2 / n)
        right.plot(LAMBDAS, error, line, color=color, label=f'$N={n:,}$'.replace(',', '{,}'))
        best = error.argmin()
        right.plot(LAMBDAS[best], error[best], 'o', color=color)
    right.set_xlabel('$\\lambda$')
    right.set_ylim(0, 0.85)
    style.ylabel(right, '均方根误差')
    right.legend(fontsize=8, ncols=3, loc='upper right', handlelength=1.6, columnspacing=0.8)
    return fig
