"""Cutting a stream of documents into sequences: what is cut, by formula and by simulation, and what the other packings waste."""

import bisect

import matplotlib.pyplot as plt
import numpy as np
from scipy.stats import norm

from figures import style

MEAN, SIGMA = 478.6, 1.0      # tokens per document of C4 (GPT-2 tokenizer); a lognormal shape is our assumption
LENGTHS = 2 ** np.arange(9, 16)
FINE = np.geomspace(512, 32768, 60)


def documents(count, rng):
    return np.maximum(1, np.rint(rng.lognormal(np.log(MEAN) - SIGMA**2 / 2, SIGMA, count))).astype(int)


def moments(n):
    """Share of documents cut, and share of tokens that lie in a cut document, for lognormal lengths."""
    mu = np.log(MEAN) - SIGMA**2 / 2
    a = (np.log(n) - mu) / SIGMA
    cut = MEAN / n * norm.cdf(a - SIGMA) + norm.sf(a)
    tokens = np.exp(mu + 1.5 * SIGMA**2) / n * norm.cdf(a - 2 * SIGMA) + norm.sf(a - SIGMA)
    return cut, tokens


def split(lengths, n):
    """Documents longer than n, cut into pieces of n and a rest."""
    whole, rest = lengths // n, lengths % n
    pieces = np.concatenate([np.full(whole.sum(), n), rest[rest > 0]])
    return pieces


def cut_shares(lengths, n):
    ends = np.cumsum(lengths)
    cut = (ends - 1) // n > (ends - lengths) // n
    return cut.mean(), lengths[cut].sum() / lengths.sum()


def next_fit(pieces, n):
    rows, room = 1, n
    for piece in pieces:
        if piece > room:
            rows, room = rows + 1, n
        room -= piece
    return 1 - pieces.sum() / (rows * n)


def best_fit(pieces, n):
    """Longest first, each into the fullest row that still holds it."""
    rooms, rows = [], 0
    for piece in np.sort(pieces)[::-1]:
        i = bisect.bisect_left(rooms, piece)
        if i == len(rooms):
            rows += 1
            room = n
        else:
            room = rooms.pop(i)
        bisect.insort(rooms, room - piece)
    return 1 - pieces.sum() / (rows * n)


@style.once
def data():
    rng = np.random.default_rng(0)
    lengths = documents(40_000, rng)
    found = []
    for n in LENGTHS:
        pieces = rng.permutation(split(lengths, n))
        found.append([*cut_shares(lengths, n), 1 - pieces.mean() / n, next_fit(pieces, n), best_fit(pieces, n)])
    return np.array(found)


def figure():
    found = data()
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    cut, tokens = moments(FINE)
    left.plot(FINE, tokens, color='C1')
    left.plot(LENGTHS, found[:, 1], 's', color='C1', label='token（按所在文档计）')
    left.plot(FINE, cut, color='C0')
    left.plot(LENGTHS, found[:, 0], 'o', color='C0', label='文档')
    left.set_ylabel('被切断的比例')
    left.set_ylim(0, 1)
    left.set_title('拼接后按长度切')
    for i, (name, line, color) in enumerate((('每行一块，填充', 'o-', 'C0'), ('按序装，不切', 's--', 'C1'), ('最佳适配', '^:', 'C2'))):
        right.plot(LENGTHS, np.maximum(found[:, 2 + i], 1e-4), line, color=color, label=name)
    right.set_yscale('log')
    right.set_ylim(8e-5, 2)
    right.set_ylabel('填充浪费')
    right.set_title('不切断')
    for ax in (left, right):
        ax.set_xscale('log', base=2)
        ax.set_xticks(LENGTHS[::2], [f'{n:,}' for n in LENGTHS[::2]])
        ax.minorticks_off()
        ax.set_xlabel('序列长度 $n$（token）')
        ax.legend(fontsize=9)
    return fig
