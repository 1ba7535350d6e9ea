"""Does RoPE make logits decay with distance? The equal-amplitude kernel does, logarithmically; a chosen pair does not."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

HALF = 64                     # channels of a head of 128 dimensions


def frequencies(base):
    return base ** (-np.arange(HALF) / HALF)


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS, width_ratios=(3, 2))
    distance = np.unique(np.geomspace(1, 30_000, 1200).astype(int))
    for base, colour, line, name in ((1e4, 'C0', '-', '$b=10^4$'), (5e5, 'C1', '-', r'$b=5\times10^5$')):
        left.plot(distance, np.cos(np.outer(distance, frequencies(base))).mean(1), color=colour, lw=0.9, ls=line, label=name)
        ends = np.array([4, min(30_000, base / 2)])                        # the law needs 1 << distance << base
        left.plot(ends, 1 - (np.log(ends) + np.euler_gamma) / np.log(base), color=colour, ls='--', lw=1.6)
    left.axhline(0, color=style.muted(), lw=0.8)
    left.plot([], [], color=style.muted(), ls='--', label='对数近似')
    left.set(xscale='log', xlabel=r'相对距离 $\Delta$（token）', ylabel=r'核 $K(\Delta)$', ylim=(-0.25, 1.05))
    left.legend()

    target, generator = 1000, np.random.default_rng(0)
    key = generator.standard_normal((HALF, 2)) @ (1, 1j)
    power = np.abs(key) ** 2
    distance = np.arange(0, 2001)
    logit = np.cos(np.outer(distance - target, frequencies(5e5))) @ power / power.sum()
    right.plot(distance, logit, color='C2', lw=0.9)
    right.plot([target], [1], 'o', color='C3', ms=5)
    right.annotate(r'$\Delta=1000$', (target, 1), (target + 150, 0.93), color='C3')
    right.set(xlabel=r'相对距离 $\Delta$（token）', ylabel=r'logit $/\,\Vert k\Vert^2$', ylim=(-0.05, 1.1))
    return fig
