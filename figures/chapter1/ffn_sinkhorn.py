"""Convergence of Sinkhorn-Knopp for three scales of the logits, and what the product of many mixings keeps."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

STREAMS, LAYERS = 4, 60


def sinkhorn(logits, rounds):
    """Row, then column normalisation; the largest deviation of a row sum after each round."""
    matrix = np.exp(logits - logits.max())
    errors = []
    for _ in range(rounds):
        matrix = matrix / matrix.sum(1, keepdims=True)
        matrix = matrix / matrix.sum(0, keepdims=True)
        errors.append(np.abs(matrix.sum(1) - 1).max())
    return matrix, np.array(errors)


def typical(scale, rng, tries=201):
    """The random matrix whose error after 20 rounds is the median one."""
    draws = [scale * rng.standard_normal((STREAMS, STREAMS)) for _ in range(tries)]
    return draws[np.argsort([sinkhorn(draw, 20)[1][-1] for draw in draws])[tries // 2]]


@style.once
def data():
    rng = np.random.default_rng(0)
    curves = {}
    for scale in (1, 2, 4):
        logits = typical(scale, rng)
        limit, _ = sinkhorn(logits, 5000)
        curves[scale] = sinkhorn(logits, 30)[1], np.linalg.svd(limit, compute_uv=False)[1]
    free, mixed = np.eye(STREAMS), np.eye(STREAMS)
    norms = [(1.0, 1.0, 1.0)]
    mean = np.full((STREAMS, STREAMS), 1 / STREAMS)
    for _ in range(LAYERS):
        noise = rng.standard_normal((STREAMS, STREAMS))
        free = (np.eye(STREAMS) + 0.3 * noise) @ free
        mixed = sinkhorn(4 * np.eye(STREAMS) + noise, 500)[0] @ mixed
        norms.append((np.linalg.norm(free, 2), np.linalg.norm(mean @ mixed, 2), np.linalg.norm(mixed - mean, 2)))
    return curves, np.array(norms)


def figure():
    curves, norms = data()
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    rounds = np.arange(1, 31)
    for (scale, (errors, second)), mark, color in zip(curves.items(), 'os^', ('C0', 'C1', 'C2'), strict=True):
        left.semilogy(rounds, np.maximum(errors, 1e-16), mark, color=color, markersize=3, label=f'$\\varsigma={scale}$，$\\sigma_2={second:.2f}$')
        reference = errors[9] * second ** (2 * (rounds - 10.0))
        left.semilogy(rounds, np.where(reference > 1e-16, reference, np.nan), '--', color=color)
    left.axvline(20, color=style.muted(), linewidth=0.8)
    left.set_ylim(1e-16, 3)
    left.set_xlabel('轮数')
    left.set_ylabel('行和的最大偏差')
    left.legend(loc='lower left')
    for column, (name, line, color) in enumerate((('无约束', '-', 'C1'), ('双随机：均值', '--', 'C0'), ('双随机：差异', '-.', 'C2'))):
        right.semilogy(norms[:, column], line, color=color, label=name)
    right.set_xlabel('层数')
    right.set_ylabel('连乘的范数')
    right.legend()
    return fig
