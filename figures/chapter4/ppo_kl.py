"""Expected gradients of three KL losses and of the KL itself for a policy (p, 1 - p) against a uniform reference."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style


def sampled(p, rng, count=20_000):
    """Sample averages of the gradients of k1, k2, k3 with respect to the logit, actions drawn from the policy."""
    good = rng.random(count) < p
    score = np.where(good, 1 - p, -p)
    u = np.log(np.where(good, p, 1 - p) / 0.5)
    return score.mean(), (u * score).mean(), ((1 - np.exp(-u)) * score).mean()


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    p = np.linspace(0.001, 0.999, 400)
    ax.plot(p, p - 0.5, '--', color='C1', label='$k_3$ 损失：前向 KL')
    ax.plot(p, p * (1 - p) * np.log(p / (1 - p)), color='C0', label='奖励内、$k_2$ 损失：反向 KL')
    ax.plot(p, 0 * p, '-.', color='C2', label='$k_1$ 损失')
    rng = np.random.default_rng(0)
    points = np.linspace(0.05, 0.95, 10)
    for marker, color, values in zip('^os', ('C2', 'C0', 'C1'), np.array([sampled(x, rng) for x in points]).T, strict=True):
        ax.plot(points, values, marker, color=color, markersize=4)
    ax.set_xlabel('动作 1 的概率 $p$')
    style.ylabel(ax, '对 logit 的期望梯度')
    ax.legend()
    return fig
