"""Bytes kept for the backward pass, per token and layer of Llama 3 8B, under five strategies."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

WIDTH, HEADS, KV_HEADS, HEAD, HIDDEN, LENGTH = 4096, 32, 8, 128, 14336, 8192
NORMS, QKVO, FRONT, BACK = 8 * WIDTH, 4 * HEADS * HEAD + 4 * KV_HEADS * HEAD, 4 * HIDDEN, 4 * HIDDEN
STATISTICS = 4 * HEADS + 8

# (name, {part: bytes}); the matrix of weights without dropout: softmax output only, 2 bytes each
STRATEGIES = (
    ('另存注意力矩阵', {'归一化': NORMS, '注意力': QKVO + STATISTICS, '前馈': FRONT + BACK, '$n\\times n$ 矩阵': 2 * HEADS * LENGTH}),
    ('全部保存', {'归一化': NORMS, '注意力': QKVO + STATISTICS, '前馈': FRONT + BACK}),
    ('重算逐元素运算', {'归一化': NORMS // 2, '注意力': QKVO + STATISTICS, '前馈': FRONT}),
    ('再重算门与上投影', {'归一化': NORMS // 2, '注意力': QKVO + STATISTICS}),
    ('完全重计算', {'归一化': 2 * WIDTH}),
)


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    parts = {'归一化': ('C2', ''), '注意力': ('C0', '//'), '前馈': ('C1', '..'), '$n\\times n$ 矩阵': ('C3', 'xx')}
    y = np.arange(len(STRATEGIES))[::-1]
    left = np.zeros(len(STRATEGIES))
    for part, (color, hatch) in parts.items():
        sizes = np.array([row.get(part, 0) for _, row in STRATEGIES]) / 1000
        shown = sizes > 0
        ax.barh(y[shown], sizes[shown], left=left[shown], color=style.tint(color, 0.55), edgecolor=color, hatch=hatch, height=0.62, label=part)
        left += sizes
    for place, total in zip(y, left, strict=True):
        ax.annotate(f'{total:.0f}', (total, place), (5, 0), textcoords='offset points', va='center')
    ax.set_yticks(y, [name for name, _ in STRATEGIES])
    ax.set_xlim(0, 780)
    ax.set_xlabel('每 token 每层（千字节，1 kB = 1000 byte）')
    ax.legend(loc='lower right')
    ax.grid(False, axis='y')
    return fig
