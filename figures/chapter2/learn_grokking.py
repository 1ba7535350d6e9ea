"""Training with weight decay of a diagonal linear network, and the minimiser of the potential it sweeps through."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

DIMENSION, SAMPLES, SPARSITY, DECAY, SCALES = 100, 40, 3, 0.02, (1, 2, 4)


def problem():
    x = np.random.default_rng(0).standard_normal((SAMPLES, DIMENSION))
    truth = np.zeros(DIMENSION)
    truth[:SPARSITY] = 1
    return x, truth


def train(scale, decay=DECAY, end=4.5, records=240):
    """Rows of time, training error, test error: Euler steps of the gradient flow, as long as stability allows."""
    x, truth = problem()
    y, top = x @ truth, np.linalg.eigvalsh(x @ x.T / SAMPLES)[-1]
    marks = np.concatenate([[0], np.geomspace(0.01, (np.log(scale) + end) / decay, records)])
    u, v, time, rows = np.full(DIMENSION, float(scale)), np.full(DIMENSION, float(scale)), 0.0, []
    while len(rows) <= records:
        residual = x @ (u * u - v * v) - y
        if time >= marks[len(rows)]:
            rows.append((time, np.mean(residual**2), np.sum((u * u - v * v - truth) ** 2)))
            continue
        g = x.T @ residual / SAMPLES
        step = min(0.5 / (4 * (u * u + v * v).max() * top), 0.02 / decay)
        u, v, time = u - step * (2 * u * g + decay * u), v - step * (-2 * v * g + decay * v), time + step
    return np.array(rows)


def minimiser(clock):
    """Test error of the interpolating solution 2 alpha^2 sinh(X' nu), alpha = exp(-clock), by Newton steps carried over the clock."""
    x, truth = problem()
    nu, errors = np.zeros(SAMPLES), []
    for c in clock:
        square = 2 * np.exp(-2 * c)
        nu = np.linalg.solve(x @ x.T, x @ np.arcsinh(np.clip(x.T @ np.linalg.solve(x @ x.T, x @ truth), -9, 9) / square)) if c == clock[0] else nu
        for _ in range(200):
            z = x.T @ nu
            gap = x @ (square * np.sinh(z)) - x @ truth
            if np.abs(gap).max() < 1e-9:
                break
            move = np.linalg.solve((x * (square * np.cosh(z))) @ x.T, gap)
            nu = nu - move * min(1.0, 1.0 / np.abs(x.T @ move).max())
        errors.append(np.sum((square * np.sinh(x.T @ nu) - truth) ** 2))
    return np.array(errors)


@style.once
def data():
    clock = np.linspace(-1.4, 4.4, 60)
    return {scale: train(scale) for scale in SCALES}, clock, minimiser(clock)


def figure():
    runs, clock, theory = data()
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    run = runs[2]
    left.loglog(run[1:, 0], run[1:, 1], '--', color='C1', label='训练误差')
    left.loglog(run[1:, 0], run[1:, 2], '-', color='C0', label='测试误差')
    left.set_xlabel('训练时间 $t$')
    left.set_ylabel('误差')
    left.legend(loc=(0.38, 0.52))
    for (scale, run), color, line in zip(runs.items(), ('C0', 'C1', 'C2'), ('-', '--', '-.'), strict=True):
        right.semilogy(DECAY * run[:, 0] - np.log(scale), run[:, 2], line, color=color, label=f'$\\alpha={scale}$')
    right.semilogy(clock, theory, ':', color=style.ink(), label='理论')
    right.set_xlabel('进度 $\\lambda t-\\ln\\alpha$')
    right.set_ylabel('测试误差')
    right.legend(loc='lower left')
    return fig
