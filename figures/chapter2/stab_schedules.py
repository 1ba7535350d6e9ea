"""Schedules on a noisy quadratic (exact expectations), and averaging against annealing direction by direction."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

STEPS, DIRECTIONS, NOISE = 2000, 200, 0.05
PEAKS = np.geomspace(0.02, 1.9, 40)
EASY, HARD = 3.0, 1.2
WINDOW = 400


def problem(decay):
    """Curvatures k^-1.5; direction k starts with loss k^-decay / 2."""
    k = np.arange(1, DIRECTIONS + 1)
    curvature = k**-1.5
    return curvature, k**-decay / curvature


def shapes(steps=STEPS):
    t = np.arange(steps)
    left = 1 - t / steps
    return {
        '恒定': np.ones(steps),
        '余弦到 10%': 0.1 + 0.45 * (1 + np.cos(np.pi * t / steps)),
        '余弦到 0': 0.5 * (1 + np.cos(np.pi * t / steps)),
        '线性到 10%': 0.1 + 0.9 * left,
        '线性到 0': left,
        '$(1-t/T)^2$': left**2,
        'WSD，降 10%': np.minimum(1, left / 0.1),
        'WSD，降 20%': np.minimum(1, left / 0.2),
        'WSD，降 50%': np.minimum(1, left / 0.5),
    }


def path(rates, decay):
    """Expected loss after each step: mean and variance of every direction by recursion. ``rates`` may hold several runs as columns."""
    curvature, square = problem(decay)
    rates = np.atleast_2d(np.asarray(rates).T).T[:, :, None]
    mean, variance, losses = square.copy(), np.zeros_like(square), []
    for rate in rates:
        keep = (1 - rate * curvature) ** 2
        mean, variance = keep * mean, keep * variance + rate**2 * NOISE * curvature
        losses.append(0.5 * (mean + variance) @ curvature)
    return np.array(losses)


def best(shape, decay):
    last = path(np.outer(shape, PEAKS), decay)[-1]
    return last.min(), PEAKS[last.argmin()]


@style.once
def curves():
    chosen = {}
    for name in ('恒定', '余弦到 0', '线性到 0', 'WSD，降 20%'):
        shape = shapes()[name]
        chosen[name] = path(best(shape, HARD)[1] * shape, HARD)[:, 0]
    return chosen


def leftover(curvature, rate=0.1, window=WINDOW):
    """Variance after annealing linearly over the window, and of the uniform average over it, as shares of the stationary one."""
    stationary = rate / curvature / (2 - rate * curvature)
    annealed = stationary
    for left in range(window - 1, -1, -1):
        step = rate * left / window
        annealed = (1 - step * curvature) ** 2 * annealed + step**2
    a = 1 - rate * curvature
    lags = np.arange(1, window)
    average = stationary * (1 + 2 * np.sum((1 - lags / window) * a**lags)) / window
    return annealed / stationary, average / stationary


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    for i, ((name, losses), line) in enumerate(zip(curves().items(), (':', '-.', '--', '-'), strict=True)):
        left.semilogy(np.arange(1, STEPS + 1), losses, line, color=f'C{i}', label=name)
    left.set_xlabel('步数')
    style.ylabel(left, '期望损失（难题）')
    left.set_ylim(0.008, 2)
    left.set_xticks([0, 1000, 2000])
    left.legend(fontsize=9)
    x = np.geomspace(0.02, 400, 60)
    values = np.array([leftover(value / (0.1 * WINDOW)) for value in x if value / WINDOW < 1])
    x = x[: len(values)]
    right.loglog(x, values[:, 0], '--', color='C2', label='线性退火')
    right.loglog(x, values[:, 1], '-', color='C0', label='均匀平均')
    right.set_xlabel('$\\eta hK$')
    style.ylabel(right, '剩下的噪声方差 / 稳态方差')
    right.legend()
    return fig
