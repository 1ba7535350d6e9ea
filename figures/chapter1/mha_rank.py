"""Left: how well logits of rank d_h reproduce a soft attention pattern. Right: the query norm hard attention needs.

The errors of the trained logits in the data file are recomputed by the section's checks.
"""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style

TRAINED = json.loads(Path(__file__).with_suffix('.json').read_text())
SOFT_TOKENS = 64
HARD_TOKENS = 1024
LEAK = 0.01
DRAWS = 8


def centred_basis(n, rng):
    """Orthonormal columns orthogonal to the all-ones vector, in random directions."""
    g = rng.standard_normal((n, n - 1))
    return np.linalg.qr(g - g.mean(0))[0]


def total_variation(logits, target):
    a = np.exp(logits - logits.max(1, keepdims=True))
    return 0.5 * np.abs(a / a.sum(1, keepdims=True) - target).sum(1).mean()


def soft_errors(ranks, n=SOFT_TOKENS):
    """Mean total variation of a random projector at its best scale, for a target with half its weight on itself."""
    alpha = np.log(n - 1)
    target = np.full((n, n), 0.5 / (n - 1))
    np.fill_diagonal(target, 0.5)
    errors = np.zeros((DRAWS, len(ranks)))
    for draw in range(DRAWS):
        basis = centred_basis(n, np.random.default_rng(draw))
        for i, r in enumerate(ranks):
            projector = basis[:, :r] @ basis[:, :r].T
            scales = np.append(np.linspace(0, 1.5 * alpha * n / r, 150), alpha)
            errors[draw, i] = min(total_variation(s * projector, target) for s in scales)
    return errors.mean(0)


def norms(dims, n=HARD_TOKENS):
    """Query norm that puts 99 % on any chosen key, for random unit keys."""
    need = np.zeros((DRAWS, len(dims)))
    for draw in range(DRAWS):
        rng = np.random.default_rng(draw)
        for i, d in enumerate(dims):
            k = rng.standard_normal((n, d))
            k /= np.linalg.norm(k, axis=1, keepdims=True)
            cosines = k @ k.T
            np.fill_diagonal(cosines, -1)
            need[draw, i] = np.log((n - 1) / LEAK) / (1 - cosines.max())
    return np.exp(np.log(need).mean(0))


@style.once
def data():
    ranks = np.array([1, 2, 4, 6, 8, 12, 16, 24, 32, 40, 48, 56, 60, 62, 63])
    dims = np.array([4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256])
    return ranks, soft_errors(ranks), dims, norms(dims)


def figure():
    ranks, errors, dims, need = data()
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    left.plot(ranks, errors, color='C0', marker='o', markersize=3.5, label='随机投影')
    left.plot(TRAINED['ranks'], TRAINED['free'], color='C1', marker='s', markersize=3.5, linestyle='--', label='梯度下降')
    left.plot(TRAINED['ranks'], TRAINED['causal'], color='C2', marker='^', markersize=3.5, linestyle=':', label='同上，因果掩码')
    left.axvline(SOFT_TOKENS - 1, color=style.muted(), linestyle='--', linewidth=1)
    left.text(SOFT_TOKENS - 2.5, 0.28, '$n-1$', ha='right', color=style.muted())
    left.set_xlabel('头维 $d_h$')
    left.set_ylabel('平均全变差')
    left.set_title('柔和分布，$n=64$')
    left.set_ylim(-0.02, 0.55)
    left.legend()
    circle = np.log((HARD_TOKENS - 1) / LEAK) / (1 - np.cos(2 * np.pi / HARD_TOKENS))
    right.loglog(dims, need, color='C0', marker='o', markersize=3.5, label='随机单位键')
    right.loglog([2], [circle], color='C1', marker='D', linestyle='none', label='二维圆周')
    right.set_xlabel('头维 $d_h$')
    right.set_ylabel(r'所需查询范数 $\beta$')
    right.set_title('选中一个位置，$n=1024$')
    right.set_xticks([2, 8, 32, 128], ['2', '8', '32', '128'])
    right.minorticks_off()
    right.legend()
    return fig
