"""Relative error of the expected gradient of k2 and k3, used as a loss or as a reward, on a policy of four answers."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

REFERENCE = np.array([0.4, 0.3, 0.2, 0.1])
REWARD = np.array([0.0, 0.0, 1.0, 2.0])
TILTS = np.geomspace(0.02, 3.2, 80)


def policy(s):
    p = REFERENCE * np.exp(s * REWARD)
    return p / p.sum()


def row(s):
    """KL, then the errors of: k3 as a loss, k2 as a reward, k3 as a reward."""
    p = policy(s)
    ratio = REFERENCE / p
    delta = -np.log(ratio)
    score = np.eye(4) - p                  # row a: the gradient of ln p_a in the logits
    true = (p * delta) @ score
    size = np.linalg.norm(true)
    guesses = (-REFERENCE @ score, (p * delta**2 / 2) @ score, (p * (ratio - 1 + delta)) @ score)
    return [p @ delta, *(np.linalg.norm(guess - true) / size for guess in guesses)]


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    table = np.array([row(s) for s in TILTS]).T
    for values, color, dash, name in zip(table[1:], ('C0', 'C2', 'C1'), ('-', '-.', '--'), ('k3 作损失', 'k2 作奖励', 'k3 作奖励'), strict=True):
        ax.plot(table[0], values, dash, color=color, label=name)
    ax.axhline(1, color=style.muted(), linewidth=0.8, linestyle=':')
    ax.set_xscale('log')
    ax.set_xticks([0.0001, 0.001, 0.01, 0.1, 1], ['0.0001', '0.001', '0.01', '0.1', '1'])
    ax.minorticks_off()
    ax.set_ylim(0, 2.5)
    ax.set_xlabel('$D_{\\mathrm{KL}}(\\pi\\,\\Vert\\,\\pi_0)$（nat）')
    ax.set_ylabel('期望梯度的相对误差')
    ax.legend(loc='upper left')
    return fig
