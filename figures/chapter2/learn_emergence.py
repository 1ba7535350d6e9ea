"""Exact-match accuracy exp(-k a N^-alpha) for three answer lengths, with tests of 100 questions drawn from it."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

A, ALPHA, LENGTHS, QUESTIONS = 1e3, 0.34, (1, 8, 64), 100


def loss(size):
    return A * size**-ALPHA


def figure():
    rng = np.random.default_rng(3)
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    fine, models = np.geomspace(1e6, 1e18, 400), np.geomspace(1e6, 1e18, 25)
    for k, color, mark, line in zip(LENGTHS, ('C0', 'C1', 'C2'), 'os^', ('-', '--', '-.'), strict=True):
        left.semilogx(fine, np.exp(-k * loss(fine)), line, color=color, label=f'$k={k}$')
        right_answers = rng.binomial(QUESTIONS, np.exp(-k * loss(models)))
        left.plot(models, right_answers / QUESTIONS, mark, color=color, markersize=3.5)
        some = (right_answers > 0) & (right_answers < QUESTIONS)
        right.loglog(models[some], -np.log(right_answers[some] / QUESTIONS) / k, mark, color=color, label=f'$k={k}$')
    right.loglog(fine, loss(fine), color=style.muted(), linewidth=1, label='$aN^{-\\alpha}$')
    for ax in (left, right):
        ax.set_xlabel('模型规模 $N$')
        ax.legend()
    left.set_ylabel('整题全对的比例')
    right.set_ylabel('$-\\ln\\mathrm{acc}/k$')
    return fig
