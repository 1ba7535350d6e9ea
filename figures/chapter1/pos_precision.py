"""Error of a logit at a fixed distance, as a function of the position, for three places where precision is lost."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

HALF, BASE, DISTANCE, PAIRS = 64, 5e5, 17, 64      # an odd distance: a multiple of the spacing would round both sides alike


def bf16(x):
    """Round to bfloat16 (nearest, ties to even) by the bits of float32."""
    bits = np.asarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def rms_error(position, phase, rounded):
    """Root mean square, over random queries and keys, of the logit's error at ``position``."""
    generator = np.random.default_rng(0)
    q, k = generator.standard_normal((2, PAIRS, HALF, 2)) @ (1, 1j)
    exact = (q * k.conj() * np.exp(1j * DISTANCE * BASE ** (-np.arange(HALF) / HALF))).real.sum(1)
    turn = [rounded(np.cos(a)) + 1j * rounded(np.sin(a)) for a in (phase(position), phase(position - DISTANCE))]
    return np.sqrt(np.mean(((q * turn[0] * (k * turn[1]).conj()).real.sum(1) - exact) ** 2) / (2 * HALF))


def figure():
    frequency = BASE ** (-np.arange(HALF) / HALF)
    single = frequency.astype(np.float32)

    def as_is(x):
        return x

    cases = (
        ('位置用 bf16', 'C1', '--', lambda i: np.float64(bf16(i)) * frequency, as_is),
        (r'$\cos,\ \sin$ 用 bf16', 'C0', '-', lambda i: i * frequency, lambda x: bf16(x).astype(np.float64)),
        ('角度用 fp32', 'C2', '-.', lambda i: (np.float32(i) * single).astype(np.float64), as_is),
    )
    positions = np.unique(np.geomspace(DISTANCE, 2 ** 20 - 1, 400).astype(int))
    fig, ax = plt.subplots(figsize=style.WIDE)
    for name, colour, line, phase, rounded in cases:
        ax.plot(positions, [rms_error(i, phase, rounded) or np.nan for i in positions], color=colour, ls=line, lw=1.2, label=name)
    ax.axvline(256, color=style.muted(), lw=0.8, ls=':')
    ax.text(280, 3e-8, '256', color=style.muted())
    ax.set(xscale='log', yscale='log', xlabel='查询位置 $i$', ylabel='logit 的均方根误差', ylim=(1e-8, 10))
    ax.legend(loc='lower right')
    return fig
