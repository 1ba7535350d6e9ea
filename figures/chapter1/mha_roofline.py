"""Roofline of one H100 SXM with the attention core of a decoding step."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

PEAK = 989.4        # TFLOP/s, dense BF16
BANDWIDTH = 3.35    # TB/s


def latent(heads, rank=512, rope=64):
    """FLOP per byte of absorbed latent attention with a 2-byte cache."""
    return heads * (2 * rank + rope) / (rank + rope)


POINTS = [
    ('MHA', 1, 'o', (0, -14), 'left'),
    ('Llama 3 8B，GQA', 4, 's', (8, -6), 'left'),
    ('Llama 3 70B，GQA', 8, 's', (8, -6), 'left'),
    ('Kimi K2，MLA', latent(64), 'D', (-8, 5), 'right'),
    ('MQA', 128, '^', (8, -14), 'left'),
    ('DeepSeek-V3，MLA', latent(128), 'D', (-8, 5), 'right'),
    ('同上，$T=2$', 2 * latent(128), 'D', (2, 8), 'left'),
]


def figure():
    fig, ax = plt.subplots(figsize=style.WIDE)
    x = np.geomspace(0.5, 2000, 400)
    ax.loglog(x, np.minimum(PEAK, x * BANDWIDTH), color=style.ink(), linewidth=1.6)
    ridge = PEAK / BANDWIDTH
    ax.axvline(ridge, color=style.muted(), linestyle='--', linewidth=1)
    ax.text(ridge * 1.12, 2.2, f'拐点 {ridge:.0f}', color=style.muted())
    colours = {'o': 'C6', 's': 'C0', '^': 'C2', 'D': 'C1'}
    for name, intensity, marker, offset, align in POINTS:
        y = min(PEAK, intensity * BANDWIDTH)
        ax.plot(intensity, y, marker=marker, color=colours[marker], markersize=6, linestyle='none')
        ax.annotate(name, (intensity, y), xytext=offset, textcoords='offset points', ha=align, color=colours[marker], fontsize='small')
    ax.set_xlabel('算术强度（FLOP/byte）')
    ax.set_ylabel('可达算力（TFLOP/s）')
    ax.set_ylim(1.5, 2600)
    return fig
