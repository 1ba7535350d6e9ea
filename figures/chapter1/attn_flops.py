"""Forward FLOPs per token of one Llama 3 8B layer against sequence length: linear layers and attention core."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

D, HEADS, KV_HEADS, HEAD, FFN = 4096, 32, 8, 128, 14336


def figure():
    n = np.geomspace(512, 2**18, 200)
    projection = 4 * D * D + 4 * D * KV_HEADS * HEAD
    feed_forward = 6 * D * FFN
    linear = projection + feed_forward
    fig, ax = plt.subplots(figsize=style.WIDE)
    for level, color, line, name in ((projection, 'C0', '-.', '四个投影'), (feed_forward, 'C1', ':', 'SwiGLU 前馈'), (linear, style.ink(), '-', '线性层合计')):
        ax.plot(n, np.full_like(n, level), line, color=color, label=name)
    ax.plot(n, 4 * n * D, '-', color='C2', label='注意力核心')
    ax.plot(n, 2 * (n + 1) * D, '--', color='C3', label='注意力核心，跳过上三角')
    for crossing, color, place in ((linear / (4 * D), 'C2', (-6, 8)), (linear / (2 * D) - 1, 'C3', (6, -16))):
        ax.plot(crossing, linear, 'o', color=color)
        side = 'right' if place[0] < 0 else 'left'
        ax.annotate(f'$n={crossing:,.0f}$'.replace(',', '{,}'), (crossing, linear), textcoords='offset points', xytext=place, ha=side)
    ax.set_xscale('log', base=2)
    ax.set_yscale('log')
    ax.set_xticks([2**k for k in range(9, 19)], ['512', '1K', '2K', '4K', '8K', '16K', '32K', '64K', '128K', '256K'])
    ax.set_xlabel('序列长度 $n$')
    ax.set_ylabel('每 token 运算量（FLOP）')
    ax.legend()
    return fig
