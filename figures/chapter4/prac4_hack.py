"""Three kinds of responses under the replicator equation, the score of the verifier and the true reward."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

START = np.array([0.3, 0.6999, 0.0001])      # correct, wrong, hack
SCORE = np.array([0.9, 0.0, 1.0])
TIME = np.linspace(0, 120, 601)


def shares(t, score=SCORE):
    weight = np.log(START) + np.multiply.outer(t, score)
    weight = np.exp(weight - weight.max(-1, keepdims=True))
    return weight / weight.sum(-1, keepdims=True)


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    x = shares(TIME)
    ax.plot(TIME, x @ SCORE, '-', color='C0', label='判定器的分数')
    ax.plot(TIME, x[:, 0], '-', color='C2', linewidth=2.2, label='真奖励')
    ax.plot(TIME, x[:, 2], '-.', color='C1', label='黑客的份额')
    ax.plot(TIME, shares(TIME, np.array([1.0, 0.0, 1.0]))[:, 0], '--', color='C2', linewidth=1, label='真奖励，$f_C=1$')
    peak = np.log(START[1] / START[2] * SCORE[0] / (SCORE[2] - SCORE[0]))
    ax.axvline(peak, color=style.muted(), linewidth=0.8, linestyle=':')
    ax.annotate('$t^\\star$', (peak, 0.03), (4, 0), textcoords='offset points', color=style.muted())
    ax.set_ylim(0, 1.03)
    ax.set_xlabel('训练时间 $t$（即 $1/\\beta$）')
    style.ylabel(ax, '比例')
    ax.legend(loc='center left', bbox_to_anchor=(0.13, 0.45))
    return fig
