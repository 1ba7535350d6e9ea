"""Share of generation slots in use when a batch waits for its longest response, four length distributions of mean one."""

import matplotlib.pyplot as plt
import numpy as np
from scipy import integrate, stats

from figures import style

CAP = 8.0
BATCHES = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096])
LAWS = {
    '指数': (stats.expon(), np.inf),
    '对数正态（$\\sigma=1$）': (stats.lognorm(1, scale=np.exp(-0.5)), np.inf),
    '帕累托（$\\alpha=2$）': (stats.pareto(2, scale=0.5), np.inf),
    '对数正态，上限 8 倍': (stats.lognorm(1, scale=np.exp(-0.5)), CAP),
}


def longest(law, cap, batch):
    """Expected maximum of a batch: the integral of 1 - F^B, over the logarithm of the length."""
    def integrand(u):
        return -np.expm1(batch * law.logcdf(np.exp(u))) * np.exp(u)

    top = np.log(cap) if np.isfinite(cap) else np.log(1e9)
    grid = np.linspace(-18, top, 6001)
    return integrate.simpson(integrand(grid), x=grid)


def utilization(name, batch):
    law, cap = LAWS[name]
    return longest(law, cap, 1) / longest(law, cap, batch)


@style.once
def data():
    rng = np.random.default_rng(0)
    out = {}
    for name, (law, cap) in LAWS.items():
        dots = []
        for batch in BATCHES[::3]:
            x = np.minimum(law.ppf(rng.random((max(200, 400_000 // batch), batch))), cap)
            dots.append(x.mean() / x.max(1).mean())
        out[name] = [utilization(name, batch) for batch in BATCHES], dots
    return out


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    for (name, (line, dots)), color, dash, marker in zip(data().items(), ('C0', 'C2', 'C1', 'C3'), ('-', '--', ':', '-.'), 'o^sD', strict=True):
        ax.plot(BATCHES, line, dash, color=color, label=name)
        ax.plot(BATCHES[::3], dots, marker, color=color, markersize=4)
    ax.set_xscale('log', base=2)
    ax.set_yscale('log')
    ax.set_xticks([1, 8, 64, 512, 4096], ['1', '8', '64', '512', '4,096'])
    ax.set_yticks([0.02, 0.05, 0.1, 0.2, 0.5, 1], ['2%', '5%', '10%', '20%', '50%', '100%'])
    ax.minorticks_off()
    ax.set_xlabel('批量 $B$')
    style.ylabel(ax, '槽位利用率 $U$')
    ax.legend(loc='lower left')
    return fig
