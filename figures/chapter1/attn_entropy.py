"""Entropy of the softmax of n independent normal logits against temperature, and its random-energy-model limit."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

RATIOS = np.geomspace(0.2, 10, 25)


def entropy(n, ratio, rng, total=600_000):
    tau = ratio / np.sqrt(2 * np.log(n))
    s = rng.standard_normal((max(24, total // n), n)) / tau
    s -= s.max(1, keepdims=True)
    weight = np.exp(s)
    z = weight.sum(1)
    return np.mean(np.log(z) - (weight * s).sum(1) / z) / np.log(n)


@style.once
def data():
    # The same logits at every temperature: what noise there is shifts a curve, it does not roughen it.
    return {n: [entropy(n, ratio, np.random.default_rng(0)) for ratio in RATIOS] for n in (64, 1024, 65_536)}


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    for (n, curve), color, marker in zip(data().items(), ('C0', 'C1', 'C2'), 'os^', strict=True):
        ax.plot(RATIOS, curve, marker + '-', color=color, markersize=4, label=f'$n={n:,}$'.replace(',', '{,}'))
    fine = np.geomspace(0.2, 10, 400)
    ax.plot(fine, np.maximum(0, 1 - fine**-2), '--', color=style.ink(), label='极限 $n\\to\\infty$')
    ax.set_xscale('log')
    ax.set_xticks([0.2, 0.5, 1, 2, 5, 10], ['0.2', '0.5', '1', '2', '5', '10'])
    ax.minorticks_off()
    ax.set_xlabel('温度 $\\tau/\\tau_c$')
    ax.set_ylabel('平均熵 / $\\ln n$')
    ax.legend()
    return fig
