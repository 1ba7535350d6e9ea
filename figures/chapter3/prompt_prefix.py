"""The task that no prefix learns and one step of LoRA does; a long prefix as a look-up table on the circle."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

STEP = 40       # learning rate times |q|^2 |A (x_A - x_B)|^2 / d_k
LENGTHS = 2 ** np.arange(2, 9)
GRID = 2.0 ** np.arange(-2, 14, 0.5)
TARGETS = {'光滑': lambda x: np.sin(3 * x), '有尖点': lambda x: np.sqrt(np.abs(np.sin(2 * x)))}


def share(beta):
    return 1 / (1 + np.exp(-beta))


def best_prefix(beta):
    p = share(beta)
    return p**2 / (p**2 + (1 - p) ** 2)


def one_step(beta):
    p = share(beta)
    return 2 * share(beta - STEP * 4 * p**2 * (1 - p)) ** 2


@style.once
def trained():
    """Gradient descent with momentum on the keys and values of m prefixes, loss over the four inputs; m, beta, loss."""
    a, b = np.array([1, 1, -1, -1.0]), np.array([1, -1, 1, -1.0])
    rng, rows = np.random.default_rng(0), []
    for m in (1, 4):
        for beta in (0.5, 1, 1.5, 2, 3, 4):
            t, u = rng.standard_normal((2, m))
            moment = np.zeros((2, m))
            for _ in range(3000):
                logit = np.concatenate([t, [beta, 0]])
                w = np.exp(logit - logit.max())
                w /= w.sum()
                o = w[:m] @ u + w[m] * a + w[m + 1] * b
                e = 2 * (o - b) / 4
                gradient = np.stack([w[:m] * ((u[:, None] - o) @ e), w[:m] * e.sum()])
                moment = 0.9 * moment + gradient
                t, u = t - 0.3 * moment[0], u - 0.3 * moment[1]
            rows.append((m, beta, np.mean((o - b) ** 2)))
    return rows


def lookup(m, kappa, f):
    x, c = np.linspace(0, 2 * np.pi, 2000, endpoint=False), 2 * np.pi * np.arange(m) / m
    s = kappa * np.cos(x[:, None] - c)
    w = np.exp(s - s.max(1, keepdims=True))
    return np.abs(w @ f(c) / w.sum(1) - f(x)).max()


@style.once
def errors():
    return {name: [min(lookup(m, kappa, f) for kappa in GRID) for m in LENGTHS] for name, f in TARGETS.items()}


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    beta = np.linspace(0.05, 5.5, 300)
    left.semilogy(beta, best_prefix(beta), 'C0-', label='最优前缀')
    left.semilogy(beta, np.maximum(one_step(beta), 1e-9), 'C1--', label='LoRA 一步')
    for m, mark in ((1, 'o'), (4, '^')):
        left.plot(*zip(*[(x, y) for k, x, y in trained() if k == m], strict=True), mark, color='C0', fillstyle='none', label=f'训练，$m={m}$')
    left.set_xlabel('原来的 logit 差 $\\beta$')
    left.set_ylabel('均方误差')
    left.set_ylim(1e-6, 10)
    left.set_yticks([1e-6, 1e-4, 1e-2, 1], ['$10^{-6}$', '$10^{-4}$', '$10^{-2}$', '1'])
    left.minorticks_off()
    left.legend(fontsize=8, loc='lower right')
    for (name, values), style_ in zip(errors().items(), ('C0o-', 'C1s--'), strict=True):
        right.loglog(LENGTHS, values, style_, label=name)
    right.set_xticks([4, 16, 64, 256], ['4', '16', '64', '256'])
    right.set_yticks([1e-3, 1e-2, 1e-1, 1], ['$10^{-3}$', '$10^{-2}$', '$10^{-1}$', '1'])
    right.minorticks_off()
    right.set_xlabel('前缀长度 $m$')
    right.set_ylabel('最大误差')
    right.legend()
    return fig
