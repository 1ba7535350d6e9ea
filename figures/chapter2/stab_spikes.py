"""Three mechanisms of instability, each with the monitor that moves first. The first panel reads what the checks computed."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style

DATA = Path(__file__).with_suffix('.json')
RATE, TOKENS, BATCH = 0.01, 1000, 64


def drift(weight, steps, seed=0):
    """Unigram logits trained by Adam on Zipf-distributed tokens: log partition function and loss above the entropy."""
    rng = np.random.default_rng(seed)
    p = 1 / np.arange(1, TOKENS + 1)
    p /= p.sum()
    entropy = -(p * np.log(p)).sum()
    logits, m, v, record = np.zeros(TOKENS), np.zeros(TOKENS), np.zeros(TOKENS), []
    for t in range(1, steps + 1):
        top = logits.max()
        e = np.exp(logits - top)
        lse, q = top + np.log(e.sum()), e / e.sum()
        record.append((lse, lse - p @ logits - entropy))
        g = q - rng.multinomial(BATCH, p) / BATCH + 2 * weight * lse * q
        m = 0.9 * m + 0.1 * g
        v = 0.95 * v + 0.05 * g * g
        logits = logits - RATE * m / (1 - 0.9**t) / (np.sqrt(v / (1 - 0.95**t)) + 1e-8)
    return np.array(record)


def quadratic(beta2, steps, noise=1e-6, seed=0):
    """Adam on x^2/2 with tiny gradient noise: loss and preconditioned curvature."""
    z = noise * np.random.default_rng(seed).standard_normal(steps)
    x, m, v, record = 1.0, 0.0, 0.0, []
    for t in range(1, steps + 1):
        g = x + z[t - 1]
        m = 0.9 * m + 0.1 * g
        v = beta2 * v + (1 - beta2) * g * g
        root = np.sqrt(v / (1 - beta2**t))
        record.append((0.5 * x * x, 1 / root))
        x -= RATE * m / (1 - 0.9**t) / root
    return np.array(record)


@style.once
def simulated():
    return drift(0.0, 8000), drift(0.1, 8000), quadratic(0.95, 420)


def figure():
    fig, axes = plt.subplots(3, 1, figsize=(style.TALL[0], 7.0))
    data = json.loads(DATA.read_text())
    free, tamed, quad = simulated()

    ax = axes[0]
    steps = 20 * np.arange(len(data['plain']['loss'])) + 10
    ax.semilogy(steps, data['plain']['logit'], '-', color='C1', label='最大 logit')
    ax.semilogy(steps, data['plain']['loss'], ':', color=style.ink(), label='损失')
    ax.semilogy(steps, data['clip']['loss'], '--', color='C2', label='损失，QK-Clip')
    ax.axvline(1000, ymax=0.8, color=style.muted(), linewidth=0.8)
    ax.set_title('熵塌缩：第 1,000 步换规则')

    ax = axes[1]
    every = np.arange(0, 8000, 20)
    ax.plot(every, free[every, 0], '-', color='C1', label='$\\ln Z$')
    ax.plot(every, tamed[every, 0], '--', color='C2', label='$\\ln Z$，z-loss')
    ax.plot(every, free[every, 1], ':', color=style.ink(), label='损失 − 熵')
    ax.set_title('输出 logit 漂移：小批量的一元模型')

    ax = axes[2]
    steps = np.arange(1, len(quad) + 1)
    ax.semilogy(steps, quad[:, 1] * RATE / 38, '-', color='C1', label='预条件曲率 ÷ (38/η)')
    ax.semilogy(steps, quad[:, 0], ':', color=style.ink(), label='损失')
    ax.axhline(1, color=style.muted(), linewidth=0.8)
    ax.set_title('第二矩滞后：曲率恒为 1 的抛物线')
    ax.set_xlabel('步数')
    axes[0].set_ylim(0.1, 400)
    axes[0].legend(loc='upper left', ncols=3, fontsize=9)
    axes[1].legend(loc='upper right', fontsize=9)
    axes[2].legend(loc='lower left', fontsize=9)
    return fig
