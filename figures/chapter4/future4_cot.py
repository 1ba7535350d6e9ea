"""Cheating under a penalty on what the chain of thought discloses, against optimisation pressure."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

CHEAT, SAY, GAIN, PENALTY = 0.2, 0.95, 0.5, 1.0


def policy(t, penalty=PENALTY):
    """Probabilities of cheating openly and of cheating silently after exponential tilting by t times the reward."""
    weights = np.array([CHEAT * SAY * np.exp(t * (GAIN - penalty)), CHEAT * (1 - SAY) * np.exp(t * GAIN), (1 - CHEAT) * np.ones_like(t)])
    openly, silently, _ = weights / weights.sum(0)
    return openly, silently


def figure():
    fig, axes = plt.subplots(1, 2, figsize=style.PANELS, sharey=True)
    t = np.linspace(0, 12, 300)
    for ax, penalty, title in zip(axes, (0.0, PENALTY), ('不奖惩思维链', '惩罚写明的作弊'), strict=True):
        openly, silently = policy(t, penalty)
        ax.plot(t, openly + silently, color='C0', label='作弊')
        ax.plot(t, openly, '--', color='C2', label='写明的')
        ax.plot(t, silently, ':', color='C1', linewidth=2, label='没写的')
        ax.set_title(title)
        ax.set_xlabel('优化压力 $t=1/\\beta$')
    turn = np.log(SAY * (PENALTY - GAIN) / ((1 - SAY) * GAIN)) / PENALTY
    axes[1].axvline(turn, color=style.muted(), linewidth=0.7)
    axes[0].set_ylabel('概率')
    axes[0].legend(loc='center right')
    return fig
