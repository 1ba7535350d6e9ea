"""Singular values of the end-to-end Jacobian with and without residual, and the length of the paths that carry the gradient."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

WIDTH, HIDDEN, DEPTH = 128, 512, 64


def plain(depth, rng):
    """Jacobian of a ReLU network with He's constant."""
    x, jacobian = rng.standard_normal(WIDTH), np.eye(WIDTH)
    for _ in range(depth):
        weight = rng.standard_normal((WIDTH, WIDTH)) * np.sqrt(2 / WIDTH)
        h = weight @ x
        x, jacobian = np.maximum(h, 0), (h > 0)[:, None] * (weight @ jacobian)
    return jacobian


def layers(gain, rng, x, depth=DEPTH):
    """Pre-norm ReLU branches: yields the matrix factors of each branch Jacobian, and moves the stream on."""
    for _ in range(depth):
        inner = rng.standard_normal((HIDDEN, WIDTH)) / np.sqrt(WIDTH)
        outer = rng.standard_normal((WIDTH, HIDDEN)) * np.sqrt(2 * gain / HIDDEN)
        norm = np.linalg.norm(x)
        unit = x / norm
        h = inner @ unit * np.sqrt(WIDTH)

        def branch(u, inner=inner, outer=outer, unit=unit, norm=norm, h=h):
            return outer @ ((h > 0)[:, None] * (inner @ (u - np.outer(unit, unit @ u)))) * (np.sqrt(WIDTH) / norm)

        yield branch
        x = x + outer @ np.maximum(h, 0)


def start(rng):
    x = rng.standard_normal(WIDTH)
    return x * np.sqrt(WIDTH) / np.linalg.norm(x)


def residual(gain, rng):
    jacobian = np.eye(WIDTH)
    for branch in layers(gain, rng, start(rng)):
        jacobian = jacobian + branch(jacobian)
    return jacobian


def paths(gain, rng, longest=12, draws=24):
    """Energy of a random perturbation carried by the paths of each length, averaged over networks."""
    energy = np.zeros(longest + 1)
    for _ in range(draws):
        u = np.zeros((WIDTH, longest + 1))
        u[:, 0] = rng.standard_normal(WIDTH)
        for branch in layers(gain, rng, start(rng)):
            step = branch(u)
            u[:, 1:] += step[:, :-1]
        energy += (u**2).sum(0)
    return energy


def law(gain, longest=12):
    polynomial = np.ones(1)
    for layer in range(DEPTH):
        g = gain / (1 + layer * gain)
        polynomial = np.convolve(polynomial, [1, g])
    return (polynomial / polynomial.sum())[: longest + 1]


@style.once
def data():
    rng = np.random.default_rng(0)
    values = {
        '无残差，16 层': plain(16, rng),
        '无残差，64 层': plain(DEPTH, rng),
        '残差，64 子层': residual(1.0, rng),
        '残差，缩放': residual(1 / DEPTH, rng),
    }
    spectra = {name: np.linalg.svd(jacobian, compute_uv=False) for name, jacobian in values.items()}
    lengths = {}
    for name, gain in (('未缩放', 1.0), ('缩放 $1/\\sqrt{T}$', 1 / DEPTH)):
        energy = paths(gain, rng)
        lengths[name] = energy / energy.sum(), law(gain)
    return spectra, lengths


def figure():
    spectra, lengths = data()
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    for (name, values), line, color in zip(spectra.items(), (':', '-.', '--', '-'), ('C1', 'C3', 'C0', 'C2'), strict=True):
        left.semilogy(np.arange(1, WIDTH + 1), np.where(values > 1e-6, values, np.nan), line, color=color, label=name)
    left.set_ylim(1e-6, 1e3)
    left.set_xlabel('奇异值序号')
    left.set_ylabel('奇异值')
    left.legend(loc='lower right')
    for (name, (measured, theory)), mark, line, color in zip(lengths.items(), 'os', ('--', '-'), ('C0', 'C2'), strict=True):
        right.plot(theory, line, color=color, label=name + '，理论')
        right.plot(measured, mark, color=color, label=name + '，模拟')
    right.set_xlabel('路径长度')
    right.set_ylabel('能量占比')
    right.legend()
    return fig
