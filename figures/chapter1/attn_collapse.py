"""Diameter of the token representations: layer by layer through random attention, and through one layer as a function of itself."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

TOKENS = WIDTH = 64
LAYERS = 9


def diameter(x):
    return np.linalg.norm(x[:, None] - x[None], axis=-1).max()


def layer(x, norm, rng):
    """One layer of attention with a random M of spectral norm ``norm`` and an orthogonal value matrix."""
    m = rng.standard_normal((WIDTH, WIDTH))
    m *= norm / np.linalg.norm(m, 2)
    value = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH)))[0]
    s = x @ m @ x.T
    a = np.exp(s - s.max(1, keepdims=True))
    return a / a.sum(1, keepdims=True) @ x @ value


def tokens(rng):
    x = rng.standard_normal((TOKENS, WIDTH))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def trajectory(norm, residual):
    rng = np.random.default_rng(0)
    x = tokens(rng)
    path = [diameter(x)]
    for _ in range(LAYERS):
        x = residual * x + layer(x, norm, rng)
        path.append(diameter(x))
    return np.array(path)


def one_layer(norm, residual, shrink=np.geomspace(1e-4, 1, 25)):
    """Diameters before and after one layer, the tokens drawn towards their first by the factors ``shrink``."""
    x = tokens(np.random.default_rng(1))
    before, after = [], []
    for factor in shrink:
        near = x[0] + factor * (x - x[0])
        before.append(diameter(near))
        after.append(diameter(residual * near + layer(near, norm, np.random.default_rng(2))))
    return np.array(before), np.array(after)


def bound(delta, norm):
    return np.tanh(norm * delta**2 / 4) * delta


@style.once
def data():
    paths = {(norm, residual): trajectory(norm, residual) for norm, residual in ((2, False), (8, False), (32, False), (8, True))}
    return paths, one_layer(8, residual=False), one_layer(8, residual=True)


def figure():
    paths, without, with_residual = data()
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    layers = np.arange(LAYERS + 1)
    for norm, color, marker in ((2, 'C0', 'o'), (8, 'C1', 's'), (32, 'C2', '^')):
        path = paths[norm, False]
        seen = path > 1e-18
        left.semilogy(layers[seen], path[seen], marker + '-', color=color, label=f'无残差，{norm}')
    left.semilogy(layers, paths[8, True], 'D-', color=style.ink(), label='有残差，8')
    left.axhline(np.finfo(float).eps, color=style.muted(), linestyle=':', linewidth=1)
    left.set_xlabel('层数')
    left.set_ylabel('直径 $\\delta$')
    left.legend(title='$\\Vert M\\Vert_2$', loc='center right')

    before, after = without
    right.loglog(before, bound(before, 8), '--', color=style.muted(), label='上界')
    right.loglog(before, after, 's-', color='C1', markersize=3, label='无残差')
    right.loglog(*with_residual, 'D-', color=style.ink(), markersize=3, label='有残差')
    right.set_xlabel('进入一层前的直径')
    right.set_ylabel('之后的直径')
    right.legend()
    return fig
