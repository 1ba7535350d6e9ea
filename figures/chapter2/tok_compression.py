"""Byte-level BPE on a small parallel text written for this book: bytes per token, and what the mix of the training text does.

The text is in the data file. The section's checks train the same tokenizers with another implementation.
"""

import json
import re
from collections import Counter
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from figures import style

TEXT = json.loads(Path(__file__).with_suffix('.json').read_text(encoding='utf-8'))
TRAIN = 8                 # paragraphs to learn from; the other four are held out
BUDGET = 200              # merges of the shared vocabulary
STEPS = np.arange(0, 260, 10)
SHARES = np.linspace(0, 1, 21)


def words(paragraphs):
    """Pre-tokens with their counts: an English word with its space, a run of Chinese characters, any other character."""
    return Counter(re.findall(r' ?[A-Za-z]+|[\u4e00-\u9fff]+|[^A-Za-z\u4e00-\u9fff]', '\n'.join(paragraphs)))


def merge(symbols, pair):
    out, i = [], 0
    while i < len(symbols):
        if symbols[i] == pair[0] and symbols[i + 1:i + 2] == pair[1:]:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(symbols[i])
            i += 1
    return tuple(out)


def spelled(counts):
    return {tuple(bytes([b]) for b in word.encode()): weight for word, weight in counts.items()}


def train(counts, budget):
    """The merges, each the heaviest adjacent pair; the smaller pair of equals. Stops when no pair occurs in two places."""
    corpus, merges, pairs = list(spelled(counts).items()), [], Counter()
    for symbols, weight in corpus:
        for pair in zip(symbols, symbols[1:]):
            pairs[pair] += weight
    while len(merges) < budget:
        top = max(pairs.values(), default=0)
        if top < 2:
            break
        best = min(pair for pair, weight in pairs.items() if weight == top)
        merges.append(best)
        for i, (symbols, weight) in enumerate(corpus):
            if best[0] in symbols and best[1] in symbols:
                shorter = merge(symbols, best)
                for sign, spelling in ((-weight, symbols), (weight, shorter)):
                    for pair in zip(spelling, spelling[1:]):
                        pairs[pair] += sign
                corpus[i] = shorter, weight
    return merges


def lengths(merges, paragraphs, steps):
    """Tokens of the text after the first m merges, for each m in steps."""
    corpus = list(spelled(words(paragraphs)).items())
    found, done = [], 0
    for step in steps:
        while done < min(step, len(merges)):
            corpus = [(merge(symbols, merges[done]) if merges[done][0] in symbols else symbols, weight) for symbols, weight in corpus]
            done += 1
        found.append(sum(len(symbols) * weight for symbols, weight in corpus))
    return np.array(found)


def mixed(share, budget=BUDGET):
    """Merges learnt when a share of the training bytes is Chinese; counts in thousandths, so that they stay exact."""
    size = {language: len('\n'.join(TEXT[language][:TRAIN]).encode()) for language in TEXT}
    total = Counter()
    for language, part in (('zh', share), ('en', 1 - share)):
        factor = round(1e6 * part / size[language])
        for word, count in words(TEXT[language][:TRAIN]).items():
            if factor:
                total[word] += factor * count
    return train(total, budget)


@style.once
def data():
    curves = {}
    for language in TEXT:
        merges = train(words(TEXT[language][:TRAIN]), int(STEPS[-1]))
        for part, paragraphs in (('train', TEXT[language][:TRAIN]), ('held', TEXT[language][TRAIN:])):
            size = len('\n'.join(paragraphs).encode())
            curves[language, part] = size / lengths(merges, paragraphs, STEPS)
    premium = []
    for share in SHARES:
        merges = mixed(share)
        premium.append([lengths(merges, TEXT[language][TRAIN:], [BUDGET])[0] for language in ('zh', 'en')])
    return curves, np.array(premium)


def figure():
    curves, premium = data()
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    for language, name, color in (('zh', '中文', 'C0'), ('en', '英文', 'C1')):
        left.plot(STEPS, curves[language, 'train'], color=color, label=f'{name}，训练段')
        left.plot(STEPS, curves[language, 'held'], '--', color=color, label=f'{name}，未见段')
    left.axhline(3, color=style.muted(), linestyle=':', linewidth=1)
    left.text(0, 3.05, '每字一个 token', color=style.muted(), fontsize=9)
    left.set_xlabel('合并次数')
    left.set_ylabel('byte / token')
    left.set_ylim(0.9, 3.4)
    left.legend(loc='lower right', fontsize=9)
    right.plot(SHARES, premium[:, 0] / premium[:, 1], 'o-', color='C2', markersize=3.5)
    right.axhline(1, color=style.muted(), linestyle=':', linewidth=1)
    right.set_xlabel('训练语料里中文的字节占比')
    right.set_ylabel('中文 token 数 / 英文 token 数')
    return fig
