"""Gradients at initialisation for five placements of the norm; the data are recomputed by the section's checks."""

import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style

DATA = json.loads(Path(__file__).with_suffix('.json').read_text())
MARKS = {
    'Post-LN': ('C0', 'o', '-'), 'Pre-LN': ('C1', 's', '-'), 'Peri-LN': ('C2', '^', '--'),
    '输出归一化加 QK-Norm': ('C3', 'v', ':'), '输出归一化': ('C4', 'D', '-.'),
}


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    layers = np.array(DATA['layers'])
    for name in ('Post-LN', 'Pre-LN', 'Peri-LN'):
        color, mark, line = MARKS[name]
        left.loglog(layers, DATA['last'][name], mark + line, color=color, label=name)
    square = np.array(DATA['square']['Pre-LN'])[2 * layers]
    left.loglog(layers, np.mean(DATA['last']['Post-LN']) / np.sqrt(square / 2), ':', color=style.ink(), label='预测（Pre-LN）')
    left.set_xlabel('层数 $L$')
    left.set_ylabel('末层梯度范数')
    left.set_xticks(layers, [str(n) for n in layers])
    left.set_yticks([200, 500, 1000], ['200', '500', '1000'])
    left.minorticks_off()
    left.legend()

    step = np.arange(len(DATA['stream']['Pre-LN']))
    for name, (color, _, line) in MARKS.items():
        right.semilogy(step, DATA['stream'][name], line, color=color, label=name)
    right.semilogy(step, 1 / np.array(DATA['square']['Pre-LN']), ':', color=style.ink(), label='$c/q_l$（Pre-LN）')
    right.set_xlabel('子层号 $l$')
    right.set_ylabel('残差流梯度的均方')
    right.legend()
    return fig
