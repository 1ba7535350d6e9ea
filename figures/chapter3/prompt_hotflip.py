"""First-order estimates of token replacements against the truth (stored, from the checks)."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style

DATA = json.loads(Path(__file__).with_suffix('.json').read_text())


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    estimate, true = np.array(DATA['pairs'])
    ends = [min(estimate.min(), true.min()), max(estimate.max(), true.max())]
    left.plot(ends, ends, '--', color=style.muted(), linewidth=1)
    left.plot(estimate, true, 'o', color='C0', markersize=2.5, alpha=0.7)
    left.plot(estimate[true.argmin()], true.min(), '^', color='C1', markersize=7, label='真值最低')
    left.set_xlim(estimate.min() - 0.3, estimate.max() + 0.3)
    left.set_ylim(true.min() - 0.6, true.max() + 0.4)
    left.set_xlabel('一阶估计')
    left.set_ylabel('损失的真实变化')
    left.legend(loc='upper left')
    top = np.arange(1, 21)
    for scale, name, mark in (('1', '整步', 'C0-'), ('0.3', '0.3 步', 'C1--'), ('0.1', '0.1 步', 'C2:')):
        rank = np.array([row[scale]['rank'] for row in DATA['rows']])
        right.step(top, [(rank < k).mean() for k in top], mark, where='post', label=name)
    right.set_xlabel('候选个数 $K$')
    right.set_ylabel('最好的词在其中的比例')
    right.set_ylim(0, 1.03)
    right.set_xticks([1, 5, 10, 15, 20])
    right.legend(loc='lower right')
    return fig
