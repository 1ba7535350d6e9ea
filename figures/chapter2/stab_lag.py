"""Size of Adam's update: after a jump of the gradient, and over the first steps of pure noise."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

BETA1 = 0.9
BETA2 = (0.999, 0.99, 0.95)
JUMP = 100.0


def after_jump(beta2, steps, jump=JUMP):
    """Update of one coordinate k steps after its gradient, so far of size 1 and random sign, becomes the constant ``jump``."""
    m, v, sizes = 0.0, 1.0, []
    for _ in range(steps):
        m = BETA1 * m + (1 - BETA1) * jump
        v = beta2 * v + (1 - beta2) * jump**2
        sizes.append(m / np.sqrt(v))
    return np.array(sizes)


def bound(beta2):
    return (1 - BETA1) / np.sqrt((1 - beta2) * (1 - BETA1**2 / beta2))


def noise_rms(steps, beta2=0.95, coordinates=20_000, seed=0):
    rng = np.random.default_rng(seed)
    m, v, sizes = np.zeros(coordinates), np.zeros(coordinates), []
    for t in range(1, steps + 1):
        g = rng.standard_normal(coordinates)
        m = BETA1 * m + (1 - BETA1) * g
        v = beta2 * v + (1 - beta2) * g * g
        update = m / (1 - BETA1**t) / np.sqrt(v / (1 - beta2**t))
        sizes.append(np.sqrt(np.mean(update**2)))
    return np.array(sizes)


@style.once
def noise():
    return noise_rms(40)


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    steps = np.arange(1, 81)
    for i, (beta2, line) in enumerate(zip(BETA2, ('-', '--', '-.'), strict=True)):
        left.plot(steps, after_jump(beta2, 80), line, color=f'C{i}', label=f'$\\beta_2={beta2:g}$')
        left.axhline(bound(beta2), color=f'C{i}', linestyle=':', linewidth=1)
    left.set_xlabel('跳变之后的步数 $k$')
    style.ylabel(left, '更新 / $\\eta$')
    left.set_ylim(0, 11.5)
    left.set_yticks([0, 2, 4, 6, 8])
    left.legend(loc='upper right', fontsize=9.5)
    t = np.arange(1, 41)
    right.plot(t, noise(), 'o', color='C0', markersize=3.5, label='模拟')
    right.plot(t, np.sqrt((1 - BETA1) / (1 + BETA1) * (1 + BETA1**t) / (1 - BETA1**t)), color=style.ink(), linewidth=1, label='公式')
    right.axhline(np.sqrt((1 - BETA1) / (1 + BETA1)), color=style.muted(), linestyle=':')
    right.set_ylim(0, 1.05)
    right.set_xlabel('步数 $t$')
    style.ylabel(right, '更新的均方根 / $\\eta$')
    right.legend()
    return fig
