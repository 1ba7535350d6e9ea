"""True reward against KL along the exact gradient flow of DPO, for three ways of pairing responses."""

import matplotlib.pyplot as plt
import numpy as np
from scipy.integrate import solve_ivp
from scipy.special import expit, softmax

from figures import style

BETA = 0.5
REWARD = np.array([1.0, 0.0, -1.0])      # No, Never, Yes
FEATURES = np.array([[1, 0.5, 0, 0], [2, 0, 0.5, 0], [-1, 0, 0, 0.5]])


def one_pair(pi):
    pairs = np.zeros((3, 3))
    pairs[0, 1] = pairs[1, 0] = 0.5
    return pairs


def all_pairs(pi):
    return (1 - np.eye(3)) / 6


def on_policy(pi):
    return np.outer(pi, pi)


def path(pairing, end=20_000.0):
    """Policies along theta' = -grad of the population loss; the pairing distribution is not differentiated."""
    truth = expit(REWARD[:, None] - REWARD)

    def slope(_, theta):
        score = FEATURES @ theta
        mass = pairing(softmax(score)) * (truth - expit(BETA * (score[:, None] - score)))
        return BETA * (mass.sum(1) - mass.sum(0)) @ FEATURES

    times = np.r_[0, np.geomspace(0.05, end, 240)]
    flow = solve_ivp(slope, (0, end), np.zeros(4), t_eval=times, rtol=1e-8, atol=1e-10, method='LSODA')
    return softmax(FEATURES @ flow.y, axis=0).T


def kl(pi):
    return np.log(3) + (pi * np.log(np.maximum(pi, 1e-300))).sum(-1)


def frontier():
    pi = softmax(REWARD * np.linspace(0, 8, 200)[:, None], axis=1)
    return kl(pi), pi @ REWARD


@style.once
def data():
    return [path(pairing) for pairing in (one_pair, all_pairs, on_policy)]


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    ax.plot(*frontier(), color=style.muted(), linewidth=4, alpha=0.4, label='每个 KL 下的最优')
    for pi, color, line, name in zip(data(), ('C1', 'C0', 'C2'), ('-', '--', '-.'), ('离线，只比较一对', '离线，三对都比较', '在线采样配对'), strict=True):
        ax.plot(kl(pi), pi @ REWARD, line, color=color, label=name)
        ax.plot(kl(pi[-1]), pi[-1] @ REWARD, 'o', color=color)
    ax.axhline(0, color=style.muted(), linewidth=0.7)
    ax.set_xlabel('$D_{\\mathrm{KL}}(\\pi\\,\\Vert\\,\\pi_{\\mathrm{ref}})$（nat）')
    ax.set_ylabel('真实奖励的期望')
    ax.legend(loc='center left', bbox_to_anchor=(0.62, 0.3))
    return fig
