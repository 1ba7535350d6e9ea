"""Steps against tokens to reach a loss on a quadratic, best constant learning rate for each batch, exact second moments."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

MODES = 64
CURVATURE = np.arange(1, MODES + 1.0) ** -1      # eigenvalues of the Hessian; gradient noise of one sample has the same spectrum
TARGETS = (0.3, 0.1, 0.03)                       # remaining fraction of the initial loss
RATES = np.geomspace(1e-6, 1.99, 400)


def steps(batch, target):
    """Steps of SGD, for each of RATES, until the expected loss is the target fraction; inf if never. Not rounded to whole steps."""
    q = (1 - RATES[:, None] * CURVATURE) ** 2
    floor = RATES[:, None] ** 2 * CURVATURE / batch / (1 - q)
    wanted = target * CURVATURE.sum()

    def short(t):
        return ((floor + (1 - floor) * q ** t[:, None]) * CURVATURE).sum(1) > wanted
    possible = (floor * CURVATURE).sum(1) < wanted
    low, high = np.zeros(len(RATES)), np.ones(len(RATES))
    while (more := short(high) & possible).any():
        high[more] *= 2
    for _ in range(50):
        middle = (low + high) / 2
        late = short(middle)
        low, high = np.where(late, middle, low), np.where(late, high, middle)
    return np.where(possible, high, np.inf)


def fewest(batch, target):
    return steps(batch, target).min()


@style.once
def curves():
    """{target: (least steps, least tokens, steps at each batch, batches)}"""
    out = {}
    for target in TARGETS:
        least_steps, least_tokens = fewest(2.0**24, target), fewest(2.0**-9, target) * 2.0**-9
        batches = least_tokens / least_steps * np.geomspace(1 / 64, 64, 13)
        out[target] = least_steps, least_tokens, np.array([fewest(b, target) for b in batches]), batches
    return out


def figure():
    fig, ax = plt.subplots(figsize=style.SQUARE)
    x = np.geomspace(1 / 80, 80, 200)
    ax.plot(1 + 1 / x, 1 + x, color=style.ink(), linewidth=1, label='双曲线')
    for i, (target, (s0, d0, s, b)) in enumerate(curves().items()):
        ax.plot(s / s0, s * b / d0, color=f'C{i}', marker='os^'[i], markersize=4, linestyle=('-', '--', '-.')[i],
                label=f'剩余损失 {target:g}，$b_{{\\mathrm{{crit}}}}={d0 / s0:.1f}$')
    ax.plot(2, 2, '*', color=style.ink(), markersize=10)
    ax.set(xscale='log', yscale='log', xlabel='步数 $S/S_{\\min}$', ylabel='token 数 $D/D_{\\min}$', xlim=(0.9, 60), ylim=(0.9, 60))
    ax.set_xticks([1, 2, 5, 10, 20, 50], ['1', '2', '5', '10', '20', '50'])
    ax.set_yticks([1, 2, 5, 10, 20, 50], ['1', '2', '5', '10', '20', '50'])
    ax.minorticks_off()
    ax.legend(fontsize=9)
    return fig
