"""Sequential exact edits in whitened keys: growth of the change, and how well early edits are kept."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

D, OUT, COUNT, EARLY = 128, 64, 512, 20
SHARES = (0.0, 0.3)


def keys(share, rng, count=COUNT, d=D):
    """Whitened keys with a common direction: squared cosine between two of them about share squared."""
    common = rng.standard_normal(d)
    common *= np.sqrt(d) / np.linalg.norm(common)
    return np.sqrt(share) * common + np.sqrt(1 - share) * rng.standard_normal((count, d))


def sequential(share, rng):
    """Rank-one edits one after another; squared norm of the total change and relative error of the first edits after each."""
    k = keys(share, rng)
    want = rng.standard_normal((COUNT, OUT)) / np.sqrt(OUT)
    change = np.zeros((OUT, D))
    norm, error = [], []
    for i in range(COUNT):
        change += np.outer(want[i] - change @ k[i], k[i]) / (k[i] @ k[i])
        norm.append(np.sum(change**2))
        early = slice(0, min(EARLY, i + 1))
        error.append(np.mean(np.sum((k[early] @ change.T - want[early]) ** 2, 1)))
    return np.array(norm), np.array(error)


def batch(share, rng, count):
    """All edits at once, ridge regression the keys to preserve having unit covariance and weight 1."""
    k = keys(share, rng, count)
    want = rng.standard_normal((count, OUT)) / np.sqrt(OUT)
    change = want.T @ k @ np.linalg.inv(np.eye(D) + k.T @ k)
    return np.mean(np.sum((k[:EARLY] @ change.T - want[:EARLY]) ** 2, 1))


@style.once
def data():
    runs = {s: [sequential(s, np.random.default_rng(seed)) for seed in range(4)] for s in SHARES}
    counts = [16, 32, 64, 128, 192, 256, 384, 512]
    ridge = [np.mean([batch(0.0, np.random.default_rng(seed), c) for seed in range(4)]) for c in counts]
    return {s: (np.mean([r[0] for r in run], 0), np.mean([r[1] for r in run], 0)) for s, run in runs.items()}, counts, ridge


def figure():
    runs, counts, ridge = data()
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    steps = np.arange(1, COUNT + 1)
    for (share, (norm, error)), color, line in zip(runs.items(), ('C0', 'C1'), ('-', '--'), strict=True):
        name = '键各向同性' if share == 0 else '键有公共方向'
        left.plot(steps, norm, line, color=color, label=name)
        right.plot(steps, error, line, color=color, label=name)
    theory = D / (D - 2) * (1 - (1 - 1 / D) ** steps)
    left.plot(steps, theory, ':', color=style.ink(), label='递推式')
    right.plot(counts, ridge, 'o', color='C2', label='一次批量')
    left.set_xlabel('编辑次数 $m$')
    right.set_xlabel('编辑次数 $m$')
    style.ylabel(left, '改动的范数平方')
    style.ylabel(right, '前 20 次编辑的相对误差')
    left.legend()
    right.legend()
    return fig
