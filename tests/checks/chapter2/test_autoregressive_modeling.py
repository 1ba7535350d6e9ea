"""Section 2.1: coding, tightness, imitation bounds, the softmax bottleneck, decoding and any-order likelihoods, each computed another way than in the text."""

import importlib
import itertools
import json
import math
from collections import Counter, defaultdict
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch
from scipy import integrate, optimize
from scipy.special import logsumexp
from torch.nn import functional as F

from checks import checks

F64 = torch.float64
ROOT = Path(__file__).resolve().parents[3]

# Written for this check: the text whose code length the table compares.
CHINESE = """\
村子在山的南坡，一条小河从村前流过。河水不深，夏天孩子们在河里摸鱼，冬天河面结一层薄冰。村里的人大多种茶，也种一点水稻和青菜。
每年春天，山上的茶树发出新芽，全村的人都上山采茶。采茶要赶早，太阳出来以前，茶芽上还有露水，这时候采下的茶最香。
老人说，好茶看三样东西：一看山，二看水，三看人。山要高，水要清，人要勤。山高，云雾就多，茶叶长得慢，味道就厚；水清，泡出来的茶才亮；人勤，茶园才不会长草。
采下的新茶当天就要炒。炒茶的锅是铁锅，火不能太大，也不能太小。火大了，茶叶会焦；火小了，茶叶会红。炒茶的人把手伸进锅里，一边翻，一边压，一边听锅里的声音。
声音从密变疏，从湿变干，茶就快好了。炒好的茶叶放在竹匾里晾凉，再装进罐子。罐子要干，要密，不能见光。这样存着的茶，到了冬天还是香的。
村里有一所小学，学校只有三间房子，一个老师，十几个学生。老师姓林，是本村的人，年轻的时候到城里念过书，后来又回到村里。
林老师教语文，也教算术，下午还带学生到河边认草木。哪一种草可以吃，哪一种草可以做药，哪一种草有毒，学生们都要记住。
林老师说，认字和认草是一样的，都要先看清楚，再记下来，最后用得上。看不清楚的字，写出来一定是错的；看不清楚的草，吃下去可能会出事。
学校的后面有一个水磨坊，是村里最老的房子。水从山上引下来，推动水轮，水轮带动石磨，石磨把稻谷磨成粉。水大的时候，石磨转得快；水小的时候，石磨转得慢；没有水的时候，石磨就不转了。
看磨坊的是一个姓周的老人，村里的人都叫他周伯。周伯在磨坊里住了四十年，听水声就知道明天有没有雨。他说，水声变低，山上的云就厚了；水声变高，天就要晴。
学生们问他，这是什么道理。周伯说，道理我说不出来，我只是听得多。听了四十年，错的次数比对的次数少得多。
林老师听见了，就对学生说，周伯说的就是学问。你看见的东西多了，就能从前面的猜到后面的。猜得准，就省力气；猜不准，就多花力气。写字是这样，种茶是这样，看天也是这样。
有一个学生问，那么猜得最准的人是谁呢？林老师想了想，说，是记得最多、又不乱记的人。记得多，才有东西可以比；不乱记，比出来的结果才可靠。
到了秋天，村里的人开始修水渠。水渠从山上一直修到村口，要经过茶园、学校和磨坊。每一家出一个人，带上自己的工具，天亮出门，天黑回家。
修水渠的时候，周伯站在最前面，他知道哪里的土硬，哪里的土软，哪里的石头下面有水。年轻的人跟在后面，挖土的挖土，搬石头的搬石头。
水渠修好的那一天，水从山上流下来，先流过茶园，再流过学校，最后流到磨坊。水轮又转起来了，石磨也转起来了，孩子们站在磨坊门口，听水的声音。
周伯也在听。他听了一会儿，对林老师说，明天要下雨。林老师笑着说，那么明天不上山，就在学校里认字。第二天果然下了雨，雨不大，下了整整一天。
雨停以后，山上的茶树又发出新芽。村里的人说，今年的秋茶会比春茶少，但是味道不会差，因为山还是那座山，水还是那条水，人还是那些人。
冬天来的时候，河面又结了一层薄冰，孩子们不能下河摸鱼，就到磨坊里听周伯讲从前的事。从前的事都不长，可是周伯讲得很慢，一件事可以讲一个下午。
他讲哪一年的水最大，水从河里漫上来，一直漫到学校的门口；他讲哪一年的茶最好，城里来的人住在村里不肯走；他也讲哪一年没有水，石磨停了三个月，村里的人到山的北坡去磨粉。
孩子们听完了，就问林老师，周伯讲的是不是都是真的。林老师说，你们把它写下来，和别人记得的比一比，对得上的就是真的，对不上的就再去问。
"""

ENGLISH = """\
The village lies on the south side of a hill, and a small river runs in front of it. The river is not deep. In summer the children catch fish in the river, and in winter a thin sheet of ice covers it.
Most of the people in the village grow tea, and some of them grow rice and green vegetables as well. Every spring the tea trees on the hill put out new leaves, and the whole village goes up the hill to pick them.
The picking has to be done early. Before the sun is up there is still dew on the leaves, and the tea that is picked then is the best. The old people say that good tea depends on three things: on the hill, on the water and on the people.
The hill has to be high, the water has to be clear, and the people have to work. If the hill is high there is much mist, and the leaves grow slowly and taste strong; if the water is clear the tea looks bright; and if the people work there are no weeds in the garden.
The new leaves have to be roasted on the same day. They are roasted in an iron pan, and the fire must not be too strong and must not be too weak. If the fire is too strong the leaves are burnt; if the fire is too weak the leaves turn red.
There is a small school in the village, with three rooms, one teacher and a dozen children. The teacher was born in the village, went to the city to study when he was young, and then came back to the village.
He teaches reading, and he teaches numbers, and in the afternoon he takes the children to the river to learn the names of the plants. The children have to remember which plants can be eaten, which plants can be used as medicine, and which plants are dangerous.
Behind the school there is a water mill, the oldest house in the village. The water is led down from the hill, the water turns the wheel, the wheel turns the stone, and the stone grinds the rice. When there is much water the stone turns fast; when there is little water the stone turns slowly; and when there is no water the stone does not turn at all.
The old man who looks after the mill has lived in it for forty years, and from the sound of the water he knows whether it will rain tomorrow. When the sound of the water is low, he says, the clouds on the hill are thick; when the sound of the water is high, the weather will be fine.
The children ask him for the reason. I cannot tell you the reason, says the old man, I have only listened for a long time. I have listened for forty years, and I have been right more often than I have been wrong.
The teacher heard this and told the children that what the old man said was learning. When you have seen many things, you can guess from what comes before what will come after. If you guess well, you save work; if you guess badly, you spend more work. It is so with writing, it is so with tea, and it is so with the weather.
"""


def figure(name):
    return importlib.import_module(f'figures.chapter2.{name}')


def kl(p, q):
    p, q = np.asarray(p, float).ravel(), np.asarray(q, float).ravel()
    keep = p > 0
    return float((p[keep] * np.log(p[keep] / q[keep])).sum())


def entropy(p):
    return -kl(p, np.ones_like(np.asarray(p, float)))


# ---------------------------------------------------------------- likelihood


@checks('prop-ar-mle', 'eq-ar-mle')
def finite_samples():
    """Every sample of m draws from K symbols: the identity is exact, the bound holds; the three lines of the proposition."""
    q = np.random.dirichlet(np.ones(3))
    for p in np.random.dirichlet(np.ones(3), 4):
        np.testing.assert_allclose(-(p * np.log(q)).sum(), entropy(p) + kl(p, q))
        for m in (1, 2, 5):
            low = gap = 0.0
            for draw in itertools.product(range(3), repeat=m):
                chance = p[list(draw)].prod()
                hat = np.bincount(draw, minlength=3) / m
                np.testing.assert_allclose(-np.log(q[list(draw)]).mean(), entropy(hat) + kl(hat, q))
                low += chance * entropy(hat)
                gap += chance * kl(hat, p)
            np.testing.assert_allclose(low, entropy(p) - gap)
            assert gap <= math.log(1 + 2 / m)
    assert round(math.log(10**6), 1) == 13.8


@checks('ex-ar-laplace')
def add_one():
    for p in np.random.dirichlet(np.ones(3), 5):
        for m in (1, 3, 6):
            mean = 0.0
            inverse = np.zeros(3)
            for draw in itertools.product(range(3), repeat=m):
                chance, count = p[list(draw)].prod(), np.bincount(draw, minlength=3)
                mean += chance * kl(p, (count + 1) / (m + 3))
                inverse += chance / (count + 1)
            assert (p * inverse <= 1 / (m + 1) + 1e-12).all() and mean <= math.log((m + 3) / (m + 1)) + 1e-12
    # Large m: both differences are about (K - 1) / (2 m), half the bounds.
    p, m = np.array([0.5, 0.3, 0.2]), 400
    counts = np.random.multinomial(m, p, 200_000)
    train = np.where(counts > 0, counts / m * np.log(np.maximum(counts, 1) / m / p), 0).sum(1).mean()
    test = (p * np.log(p * (m + 3) / (counts + 1))).sum(1).mean()
    assert abs(train * m - 1) < 0.05 and abs(test * m - 1) < 0.05


def random_model(size, length):
    """Conditional distributions over ``size`` tokens for every prefix shorter than ``length``."""
    return {h: np.random.dirichlet(np.ones(size)) for t in range(length) for h in itertools.product(range(size), repeat=t)}


def joint(model, size, length):
    return {x: math.prod(model[x[:t]][x[t]] for t in range(length)) for x in itertools.product(range(size), repeat=length)}


@checks('eq-ar-klchain')
def kl_chain():
    p, q = random_model(3, 4), random_model(3, 4)
    whole = kl(list(joint(p, 3, 4).values()), list(joint(q, 3, 4).values()))
    parts = sum(math.prod(p[h[:s]][h[s]] for s in range(len(h))) * kl(p[h], q[h]) for h in p)
    assert math.isclose(whole, parts)


# ---------------------------------------------------------------- coding


def narrow(string, conditional):
    """The interval of an arithmetic coder, exact: cut [0, 1) token by token."""
    low, width = Fraction(0), Fraction(1)
    for t, token in enumerate(string):
        steps = conditional(string[:t])
        low += width * sum(steps[:token], Fraction(0))
        width *= steps[token]
    return low, width


def encode(string, conditional):
    low, width = narrow(string, conditional)
    length = 1
    while Fraction(2, 2**length) > width:       # the first length with 2^-l at most half the width, without a logarithm
        length += 1
    number = -((-low * 2**length) // 1)
    return format(int(number), f'0{length}b')


def decode(bits, conditional, stop):
    """Read only the code word: follow the interval that contains its dyadic interval until the end symbol."""
    low = Fraction(int(bits, 2), 2 ** len(bits))
    high = low + Fraction(1, 2 ** len(bits))
    string, left, width = (), Fraction(0), Fraction(1)
    while not string or string[-1] != stop:
        for token, step in enumerate(conditional(string)):
            if left <= low and high <= left + width * step:
                string, width = (*string, token), width * step
                break
            left += width * step
        else:
            raise AssertionError('the code word leaves the interval')
    return string


def finished(longest, stop=2):
    return [(*body, stop) for n in range(longest) for body in itertools.product(range(stop), repeat=n)]


@checks('thm-ar-coding', 'eq-ar-code')
def coder():
    """All strings of up to eight tokens under a model that depends on the whole prefix."""
    def conditional(prefix):
        weight = [Fraction(1 + (7 * len(prefix) + 3 * sum(prefix) + v * v) % 5) for v in range(3)]
        return [w / sum(weight) for w in weight]

    strings = finished(8)
    words = {}
    for string in strings:
        word = encode(string, conditional)
        assert decode(word, conditional, 2) == string
        width = narrow(string, conditional)[1]
        assert -math.log2(width) + 1 - 1e-9 <= len(word) < -math.log2(width) + 2
        assert len(word) == math.ceil(-math.log2(width)) + 1
        words[word] = string
    ordered = sorted(words)
    assert len(words) == len(strings) == 255
    assert not any(b.startswith(a) for a, b in itertools.pairwise(ordered))
    assert sum(Fraction(1, 2 ** len(w)) for w in words) <= 1


@checks('eg-ar-code')
def by_hand():
    def conditional(_):
        return [Fraction(3, 5), Fraction(1, 5), Fraction(1, 5)]

    string = (0, 0, 1, 2)
    word = encode(string, conditional)
    low, width = narrow(string, conditional)
    assert (low, low + width) == (Fraction('0.2736'), Fraction('0.288')) and word == '01000111' and decode(word, conditional, 2) == string
    assert narrow(string[:3], conditional) == (Fraction('0.216'), Fraction('0.072'))
    assert round(-math.log2(width), 2) == 6.12 and round(71 / 256, 4) == 0.2773 and 72 / 256 == 0.28125
    return {'P': float(width), 'c': int(word, 2), 'l': len(word)}


@checks('ex-ar-code', 'thm-ar-coding')
def wrong_model():
    """Sums over all strings, grouped by their counts of a and b, up to 400 tokens; exact code words for the one string."""
    n = np.arange(400)
    entropy2 = divergence = upper = mass = 0.0
    for length in n:
        a = np.arange(length + 1)
        ways = np.array([math.lgamma(length + 1) - math.lgamma(k + 1) - math.lgamma(length - k + 1) for k in a])
        logp = a * math.log(0.7) + (length - a) * math.log(0.2) + math.log(0.1)
        chance = np.exp(ways + logp)
        logq = (length + 1) * math.log(1 / 3)
        mass += chance.sum()
        entropy2 -= (chance * logp).sum() / math.log(2)
        divergence += (chance * (logp - logq)).sum() / math.log(2)
        upper += (chance * (-logq / math.log(2) + 2)).sum()
    assert abs(mass - 1) < 1e-12

    def true(_):
        return [Fraction(7, 10), Fraction(2, 10), Fraction(1, 10)]

    def model(_):
        return [Fraction(1, 3)] * 3

    words = [len(encode((0, 0, 1, 2), c)) for c in (true, model)]
    assert round(-math.log2(0.0098), 2) == 6.67 and round(4 * math.log2(3), 2) == 6.34
    assert round(entropy2 / 10, 5) == 1.15678 and round(divergence / 10, 5) == 0.42818
    return {'a': (entropy2, 'bit'), 'b': (divergence, 'bit'), 'c': words, 'd': (upper, 'bit')}


# ---------------------------------------------------------------- perplexity and bits per byte


class Counts:
    """Interpolated counts of up to ``order`` tokens of context (Witten and Bell), over ``size`` symbols."""

    def __init__(self, order, size):
        self.order, self.size, self.table = order, size, defaultdict(Counter)

    def add(self, sequence, i):
        for k in range(min(self.order, i) + 1):
            self.table[tuple(sequence[i - k : i])][sequence[i]] += 1

    def prob(self, sequence, i):
        value = 1 / self.size
        for k in range(min(self.order, i) + 1):
            seen = self.table.get(tuple(sequence[i - k : i]))
            if not seen:
                break
            value = (seen[sequence[i]] + len(seen) * value) / (seen.total() + len(seen))
        return value


def merge(sequence, pair, new):
    out, i = [], 0
    while i < len(sequence):
        if tuple(sequence[i : i + 2]) == pair:
            out.append(new)
            i += 2
        else:
            out.append(sequence[i])
            i += 1
    return out


def learn_merges(data, number):
    sequence, pairs = list(data), []
    for new in range(256, 256 + number):
        pair = max(Counter(itertools.pairwise(sequence)).items(), key=lambda item: (item[1], item[0]))[0]
        pairs.append(pair)
        sequence = merge(sequence, pair, new)
    return pairs


def bits(train, test, order, size):
    model, sequence, total = Counts(order, size), train + test, 0.0
    for i in range(len(sequence)):
        if i >= len(train):
            total -= math.log2(model.prob(sequence, i))
        model.add(sequence, i)
    return total


def halves(text):
    lines = text.splitlines(keepends=True)
    cut = round(0.75 * len(lines))
    return ''.join(lines[:cut]), ''.join(lines[cut:])


@checks('tab-ar-bpb', 'eq-ar-bpb', 'eq-ar-witten')
def same_text_three_ways():
    rows = {}
    for name, text, merges in (('中文', CHINESE, 200), ('英文', ENGLISH, 100)):
        train, test = halves(text)
        ways = {'字节': (list(train.encode()), list(test.encode()), 256)}
        pairs = learn_merges(train.encode(), merges)
        coded = []
        for part in (train, test):
            sequence = list(part.encode())
            for new, pair in enumerate(pairs, 256):
                sequence = merge(sequence, pair, new)
            coded.append(sequence)
        ways['BPE'] = (*coded, 256 + merges)
        if name == '中文':
            ways['字符'] = ([ord(c) for c in train], [ord(c) for c in test], 65_536)
        for way, (first, second, size) in ways.items():
            found = {order: bits(first, second, order, size) for order in range(7)}
            order = min(found, key=found.get)
            rows[f'{name}，{way}'] = {
                '$k$': order, 'token 数': len(second), '困惑度': 2 ** (found[order] / len(second)),
                'bpb': found[order] / len(test.encode()),
            }
    # The models are distributions: they sum to one over the vocabulary after any context.
    model, sequence = Counts(2, 256), list(halves(CHINESE)[0].encode())
    for i in range(len(sequence)):
        model.add(sequence, i)
    assert math.isclose(sum(model.prob([*sequence[-5:], v], 5) for v in range(256)), 1)
    # Numbers of the text.
    assert [len(CHINESE), len(CHINESE.encode()), len(ENGLISH.encode())] == [1447, 4299, 2802]
    assert [len(halves(CHINESE)[1]), len(halves(CHINESE)[1].encode()), len(halves(ENGLISH)[1].encode())] == [354, 1052, 822]
    assert len(set(halves(CHINESE)[0])) < 1093 and len(halves(CHINESE)[0]) > 1000
    ppl, bpb = ({k: v[c] for k, v in rows.items()} for c in ('困惑度', 'bpb'))
    assert round(ppl['中文，BPE'] / ppl['中文，字节'], 1) == 9.8 and round(ppl['中文，字符'] / ppl['中文，字节']) == 19
    assert round(ppl['英文，BPE'] / ppl['英文，字节'], 1) == 4.2
    change = {k: 100 * (bpb[k] / bpb[k[:3] + '字节'] - 1) for k in bpb}
    assert round(change['中文，BPE'], 1) == -1.4 and round(change['中文，字符']) == -13 and round(change['英文，BPE'], 1) == 2.7
    return rows


@checks('ex-ar-bpb', 'eq-ar-bpb')
def three_models():
    """Code lengths of a megabyte of text, from the loss of the whole text by cross_entropy on uniform-looking logits."""
    size, per = 1_000_000, []
    for loss, bytes_per_token in ((1.90, 4.4), (1.52, 3.4), (0.62, 1.0)):
        # Two-way logits whose cross-entropy is the given loss: log(1 + e^z) = loss.
        z = math.log(math.expm1(loss))
        value = F.cross_entropy(torch.tensor([[0.0, z]], dtype=F64), torch.tensor([0])).item()
        per.append((value * (size / bytes_per_token) / math.log(2) / size, 1 / math.exp(-value)))
    return {'a': [a for a, _ in per], 'b': [b for _, b in per], 'c': ((per[1][0] - per[0][0]) * 1e9 / 8 / 1e6, 'MB')}


# ---------------------------------------------------------------- tightness


@checks('thm-ar-tight', 'eq-ar-critical', 'fig-ar-survival', 'ex-ar-tight')
def stopping():
    """Exact rational products, the softmax of two logits, and the curves of the figure."""
    script = figure('ar_survival')
    one = two = Fraction(1)
    for t in range(1, 200):
        for gap, hazard in ((math.log(t), Fraction(1, t + 1)), (math.log(t * t + 2 * t), Fraction(1, (t + 1) ** 2))):
            stop = torch.softmax(torch.tensor([0.0, -gap], dtype=F64), 0)[1].item()
            assert math.isclose(stop, hazard)
        one *= 1 - Fraction(1, t + 1)
        two *= 1 - Fraction(1, (t + 1) ** 2)
        assert one == Fraction(1, t + 1) and two == Fraction(t + 2, 2 * (t + 1))
        assert math.isclose(script.survival(script.HAZARDS['$\\ln t$'])[t - 1], one)
    ends = {name: script.survival(hazard)[-1] for name, hazard in script.HAZARDS.items()}
    assert round(ends['$1.5\\,\\ln t$'], 2) == 0.11 and round(ends['$\\ln(t^2+2t)$'], 2) == 0.5 and ends['$0.5\\,\\ln t$'] < 1e-200
    # a < 1: the stretched exponential bound, hence a finite mean.
    n = np.arange(1, 100_001)
    assert (script.survival(1 / (1 + n**0.5)) <= np.exp(-0.5 * n**0.5) + 1e-300).all()
    # Top-2 of (0.5, 0.3, 0.2): the end symbol is gone; without truncation the mean length is 5.
    lengths = np.random.geometric(0.2, 200_000)
    assert abs(lengths.mean() - 5) < 0.05 and 2 not in torch.topk(torch.tensor([0.5, 0.3, 0.2]), 2).indices


@checks('thm-ar-tight', 'eq-ar-tight', 'eq-ar-eos')
def stop_by_enumeration():
    """Logits that depend on the whole prefix: the law of the length from all finished strings, against hazards and the bound of the corollary."""
    longest, top = 9, 1.5
    logits = {h: top * torch.rand(3, dtype=F64) for t in range(longest) for h in itertools.product(range(2), repeat=t)}
    model = {h: torch.softmax(s, 0).tolist() for h, s in logits.items()}
    gap = max((s.max() - s[2]).item() for s in logits.values())
    ends = np.zeros(longest + 1)
    for string in finished(longest):
        ends[len(string)] += math.prod(model[string[:t]][v] for t, v in enumerate(string))
    alive = 1 - np.cumsum(ends)
    hazard = ends[1:] / alive[:-1]
    mean_eos = [
        sum(math.prod(model[h[:s]][h[s]] for s in range(t)) * model[h][2] for h in itertools.product(range(2), repeat=t)) / alive[t] for t in range(longest)
    ]
    np.testing.assert_allclose(hazard, mean_eos)
    np.testing.assert_allclose(alive[1:], np.cumprod(1 - np.array(mean_eos)))
    assert (alive[1:] <= np.exp(-np.cumsum(hazard))).all()
    floor = min(m[2] for m in model.values())
    delta = 1 / (1 + 2 * math.exp(gap))
    assert floor >= delta - 1e-12 and (alive <= (1 - delta) ** np.arange(longest + 1) + 1e-12).all()
    assert alive[:-1].sum() <= 1 / delta and math.isclose(1 / delta, 1 + 2 * math.exp(gap))
    # A logit that runs away linearly: the sum of the hazards is finite, and a positive share never stops.
    linear = 1 / (1 + np.exp(np.arange(1.0, 200)))
    assert linear.sum() < 0.5 and np.prod(1 - linear) > 0.5


@checks('cor-ar-eos')
def stop_bound():
    for _ in range(200):
        s = 3 * torch.randn(50, dtype=F64)
        gap = max((s.max() - s[0]).item(), 0)
        assert torch.softmax(s, 0)[0] >= 1 / (1 + 49 * math.exp(gap)) - 1e-15
    level = torch.full((128_256,), 20.0, dtype=F64)
    level[0] = 0
    delta = torch.softmax(level, 0)[0].item()
    assert f'{delta:.1e}' == '1.6e-14' and f'{1 / delta:.1e}' == '6.2e+13'
    # RMSNorm with gain: the norm of what the output layer sees.
    x, gain = torch.randn(1000, 64, dtype=F64), torch.randn(64, dtype=F64)
    assert (F.rms_norm(x, (64,), gain, eps=1e-12).norm(dim=-1) <= 8 * gain.abs().max()).all()


# ---------------------------------------------------------------- imitation


def variation(p, q):
    return 0.5 * np.abs(np.asarray(p) - np.asarray(q)).sum()


@checks('thm-ar-exposure', 'eq-ar-pdl', 'eq-ar-bounds')
def imitation_bounds():
    """Random experts, learners and costs over three tokens and four steps, everything enumerated."""
    size, length = 3, 4
    for mix in (0.02, 0.3, 1.0):
        p, other = random_model(size, length), random_model(size, length)
        q = {h: (1 - mix) * p[h] + mix * other[h] for h in p}
        cost = {x: np.random.rand() for t in range(1, length + 1) for x in itertools.product(range(size), repeat=t)}
        reach = {name: {h: math.prod(m[h[:s]][h[s]] for s in range(len(h))) for h in cost | {(): 0}} for name, m in (('p', p), ('q', q))}
        total = {name: sum(w * cost.get(h, 0) for h, w in r.items()) for name, r in reach.items()}
        eps = {n: [sum(reach[n][h] * variation(p[h], q[h]) for h in p if len(h) == t) for t in range(length)] for n in 'pq'}
        difference = total['q'] - total['p']
        for t in range(1, length + 1):
            strings = list(itertools.product(range(size), repeat=t))
            assert variation([reach['p'][x] for x in strings], [reach['q'][x] for x in strings]) <= sum(eps['p'][:t]) + 1e-12
        assert difference <= sum((length - t) * e for t, e in enumerate(eps['p'])) <= max(eps['p']) * length * (length + 1) / 2 + 1e-12

        def future(x, p=p, cost=cost):
            """Cost from the last token of x on, when the expert continues."""
            return cost[x] + (0 if len(x) == length else sum(p[x][v] * future((*x, v)) for v in range(size)))

        span = max(max(v) - min(v) for h in p for v in [[future((*h, v)) for v in range(size)]])
        assert difference <= span * sum(eps['q']) + 1e-12
        telescoped = sum(reach['q'][h] * sum((q[h][v] - p[h][v]) * future((*h, v)) for v in range(size)) for h in p)
        assert math.isclose(difference, telescoped, abs_tol=1e-12)
        kappa = kl(list(joint(p, size, length).values()), list(joint(q, size, length).values())) / length
        whole = variation(list(joint(p, size, length).values()), list(joint(q, size, length).values()))
        # Pinsker step by step and then the sum of the errors is looser by the root of the length.
        assert sum(eps['p']) <= length * math.sqrt(kappa / 2) + 1e-12
        assert whole <= math.sqrt(kappa * length / 2) and difference <= length * math.sqrt(kappa * length / 2)


@checks('eq-ar-chain2', 'fig-ar-exposure')
def recovery_chain():
    """Powers of the transition matrix against the closed sums of the figure, and its simulations."""
    script = figure('ar_exposure')
    found = {}
    for recovery in (0.0, 0.1):
        step = np.array([[1 - script.ERROR, script.ERROR], [recovery, 1 - recovery]])
        state, total = np.array([1.0, 0.0]), 0.0
        for t in range(1, 1001):
            state = state @ step
            total += state[1]
            found[recovery, t] = total
            if t in (10, 100, 1000):
                assert math.isclose(total, script.expected(t, recovery))
    assert round(found[0.0, 100], 2) == 4.89 and round(found[0.0, 1000]) == 368 and round(found[0.1, 1000], 2) == 9.81
    assert round(script.ERROR * 100 * 101 / 2, 2) == 5.05 and script.ERROR * 1000 * 1001 / 2 == 500.5
    assert all(found[0.0, t] <= script.ERROR * t * (t + 1) / 2 and found[0.1, t] <= 10 * script.ERROR * t for t in range(1, 1001))
    rng = np.random.default_rng(1)
    for recovery in (0.0, 0.1):
        sample = script.simulated(recovery, 500, rng)
        exact = np.array([script.expected(t, recovery) for t in script.LENGTHS])
        assert abs(sample[-1] / exact[-1] - 1) < 0.1


# ---------------------------------------------------------------- rank


def bigrams(characters=32):
    common = [c for c, _ in Counter(CHINESE.replace('\n', '')).most_common(characters)]
    index = {c: i for i, c in enumerate(common)}
    count = np.full((characters, characters), 0.1)
    for a, b in itertools.pairwise(CHINESE):
        if a in index and b in index:
            count[index[a], index[b]] += 1
    return count / count.sum(1, keepdims=True)


def least_kl(p, width):
    """Mean KL of the truncated singular value decomposition, and of the optimum L-BFGS finds from there."""
    logs = np.log(p)
    u, s, v = np.linalg.svd(logs - logs.mean(1, keepdims=True))
    rows, columns = p.shape
    start = np.concatenate([(u[:, :width] * s[:width] ** 0.5).ravel(), (v[:width].T * s[:width] ** 0.5).ravel()])

    def loss(x):
        h, w = x[: rows * width].reshape(rows, width), x[rows * width :].reshape(columns, width)
        z = h @ w.T
        q = z - logsumexp(z, 1, keepdims=True)
        slope = (np.exp(q) - p) / rows
        return (p * (logs - q)).sum() / rows, np.concatenate([(slope @ w).ravel(), (slope.T @ h).ravel()])

    found = optimize.minimize(loss, start, jac=True, method='L-BFGS-B', options={'maxiter': 2000, 'maxfun': 4000, 'ftol': 1e-13, 'gtol': 1e-8})
    return loss(start)[0], found.fun


@checks('fig-ar-bottleneck', 'prop-ar-rank')
def bottleneck():
    data = json.loads((ROOT / 'figures/chapter2/ar_bottleneck.json').read_text(encoding='utf-8'))
    p = bigrams()
    logs = np.log(p)
    centred = logs - logs.mean(1, keepdims=True)
    assert np.linalg.matrix_rank(centred) == data['rank'] == 31 and round(-(p * logs).sum(1).mean(), 2) == 2.45
    for width in (8, 16, 30):
        cut, best = least_kl(p, width)
        i = data['width'].index(width)
        np.testing.assert_allclose(cut, data['truncated'][i], rtol=1e-3, atol=1e-9)
        np.testing.assert_allclose(best, data['fitted'][i], rtol=0.05, atol=1e-7)
        if width == 8:
            assert round(best, 3) == 0.078 and round(cut, 3) == 0.268 and round(cut / best, 1) == 3.4
        if width == 16:
            assert round(best, 3) == 0.014
    assert abs(least_kl(p, 31)[0]) < 1e-12
    # Another optimiser, automatic differentiation, random starts: the spread of the optima at width 8.
    target, found = torch.tensor(p), []
    for _ in range(3):
        h, w = (torch.randn(32, 8, dtype=F64, requires_grad=True) for _ in range(2))
        optimiser = torch.optim.LBFGS([h, w], max_iter=300, history_size=20, line_search_fn='strong_wolfe')

        def closure(h=h, w=w, optimiser=optimiser):
            optimiser.zero_grad()
            loss = F.kl_div(torch.log_softmax(h @ w.T, -1), target, reduction='batchmean')
            loss.backward()
            return loss

        optimiser.step(closure)
        found.append(closure().item())
    assert 0.0765 < min(found) and max(found) < 0.0815


@checks('prop-ar-rank', 'eq-ar-bias')
def rank_criterion():
    """Ranks of log-probabilities, and both directions of the criterion."""
    project = np.eye(9) - 1 / 9
    for d in (1, 2, 4):
        z = np.random.randn(20, d) @ np.random.randn(d, 9)
        a = z - logsumexp(z, 1, keepdims=True)
        assert np.linalg.matrix_rank(a) <= d + 1 and np.linalg.matrix_rank(a @ project) <= d
        u, s, v = np.linalg.svd(a @ project)
        back = (u[:, :d] * s[:d]) @ v[:d]
        np.testing.assert_allclose(back - logsumexp(back, 1, keepdims=True), a)
        biased = z + np.random.randn(9)
        logs = biased - logsumexp(biased, 1, keepdims=True)
        rows = np.eye(20) - 1 / 20
        assert np.linalg.matrix_rank(logs @ project) == d + 1 and np.linalg.matrix_rank(rows @ logs @ project) == d
        # Back from the criterion: factors of the doubly centred matrix and the mean row as the bias.
        u, s, v = np.linalg.svd(rows @ logs @ project)
        again = (u[:, :d] * s[:d]) @ v[:d] + (logs @ project).mean(0)
        np.testing.assert_allclose(again - logsumexp(again, 1, keepdims=True), logs)
        # Rank d + 1 without the common offset: no bias reaches it.
        free = np.random.randn(20, d + 1) @ np.random.randn(d + 1, 9)
        free -= logsumexp(free, 1, keepdims=True)
        assert np.linalg.matrix_rank(free @ project) == d + 1 == np.linalg.matrix_rank(rows @ free @ project)
    a = np.log(np.random.dirichlet(np.ones(9), 20))
    assert np.linalg.matrix_rank(a) - 1 <= np.linalg.matrix_rank(a @ project) == 8 <= np.linalg.matrix_rank(a)
    assert round(100 * 4097 / 128_256, 1) == 3.2


@checks('ex-ar-hull')
def hull():
    """Which token can be the unique largest: a linear program for the margin, against membership in the hull of the others."""
    w = np.random.randn(12, 2)
    for v in range(12):
        rest = np.delete(w, v, 0)
        margin = optimize.linprog([0, 0, -1], A_ub=np.c_[rest - w[v], np.ones(11)], b_ub=np.zeros(11), bounds=[(-1, 1), (-1, 1), (None, None)])
        inside = optimize.linprog(np.zeros(11), A_eq=np.r_[rest.T, np.ones((1, 11))], b_eq=np.r_[w[v], 1], bounds=[(0, None)] * 11)
        assert (-margin.fun > 1e-9) == (inside.status == 2)
    line, h = np.random.randn(7), np.linspace(-50, 50, 2001)
    assert len(set(np.outer(h, line).argmax(1)) - {np.outer(0, line).argmax()}) <= 2
    tokens = np.arange(7)
    assert [int((t * tokens - tokens**2 / 2).argmax()) for t in tokens] == list(tokens)


# ---------------------------------------------------------------- decoding


@checks('prop-ar-trunc', 'eq-ar-project')
def projections():
    """Constrained optimisation finds the tempered and the truncated distribution."""
    p = np.random.dirichlet(np.ones(6))
    for tau in (0.5, 2.0):
        tempered = p ** (1 / tau) / (p ** (1 / tau)).sum()
        for q in np.random.dirichlet(np.ones(6), 5):
            left = -(q * np.log(p)).sum() - tau * entropy(q)
            assert math.isclose(left, tau * kl(q, tempered) - tau * math.log((p ** (1 / tau)).sum()))
        surprise = -(tempered * np.log(p)).sum()
        found = optimize.minimize(
            lambda q: (q * np.log(np.maximum(q, 1e-300) / p)).sum(), np.full(6, 1 / 6), bounds=[(1e-9, 1)] * 6, options={'ftol': 1e-14, 'maxiter': 500},
            constraints=[{'type': 'eq', 'fun': lambda q: q.sum() - 1}, {'type': 'eq', 'fun': lambda q: -(q * np.log(p)).sum() - surprise}],
        )
        np.testing.assert_allclose(found.x, tempered, atol=2e-4)
    keep = np.argsort(p)[-3:]
    cut = np.zeros(6)
    cut[keep] = p[keep] / p[keep].sum()
    assert math.isclose(kl(cut, p), -math.log(p[keep].sum())) and math.isclose(variation(cut, p), 1 - p[keep].sum())
    for q in np.random.dirichlet(np.ones(3), 20):
        full = np.zeros(6)
        full[keep] = q
        assert math.isclose(kl(full, p), kl(full, cut) - math.log(p[keep].sum()))
    # Top-k is nearest among all supports of its size; no smaller support than the nucleus reaches its mass.
    masses = [p[list(s)].sum() for s in itertools.combinations(range(6), 3)]
    assert math.isclose(max(masses), p[keep].sum())


@checks('eq-ar-budget', 'prop-ar-trunc')
def budget():
    """Nucleus at every step of an enumerated model: the divergence of whole sequences; which truncations commute with the temperature."""
    size, length, share = 4, 4, 0.8
    model = random_model(size, length)

    def nucleus(c, share=share):
        order = np.argsort(-c)
        return order[: int(np.searchsorted(np.cumsum(c[order]), share) + 1)]

    kept = {h: nucleus(c) for h, c in model.items()}
    cut = {h: np.where(np.isin(np.arange(size), kept[h]), c, 0) / c[kept[h]].sum() for h, c in model.items()}
    before, after = joint(model, size, length), joint(cut, size, length)
    paid = sum(w * sum(-math.log(model[x[:t]][kept[x[:t]]].sum()) for t in range(length)) for x, w in after.items())
    assert math.isclose(kl(list(after.values()), list(before.values())), paid) and paid <= length * math.log(1 / share)
    assert round(math.log(1 / 0.9), 3) == 0.105 and round(1000 * math.log(1 / 0.9)) == 105
    more = 0
    for p in np.random.dirichlet(np.ones(30), 50):
        hot = p**0.5 / (p**0.5).sum()
        assert set(np.argsort(-p)[:5]) == set(np.argsort(-hot)[:5])
        near = [(x >= 0.1 * x.max()).sum() for x in (p, hot)]
        assert len(nucleus(hot)) >= len(nucleus(p)) and near[1] >= near[0]
        more += len(nucleus(hot)) > len(nucleus(p))
        assert -math.log(np.sort(p)[-5:].sum()) <= math.log(30 / 5)
    assert more > 25


@checks('fig-ar-truncation')
def truncation():
    """Sets found by PyTorch's sort, topk and comparison of logits."""
    script = figure('ar_truncation')
    numbers = {}
    for tau in (1.0, 2.0):
        logits = -1.2 * torch.arange(1, 50_001, dtype=F64).log()
        p = torch.softmax(logits / tau, 0)[torch.randperm(50_000)]
        ranked, _ = p.sort(descending=True)
        nucleus = int((ranked.cumsum(0) - ranked < 0.9).sum())
        near = int((logits.max() - logits <= tau * math.log(10)).sum())
        numbers[tau] = [(50, p.topk(50).values.sum().item()), (nucleus, ranked[:nucleus].sum().item()), (near, ranked[:near].sum().item())]
        assert [n for n, _ in numbers[tau]] == list(script.kept(script.distribution(tau)).values())
        assert near <= 1 / (0.1 * p.max())
    assert [n for n, _ in numbers[1.0]] == [50, 2166, 6] and [round(m, 2) for _, m in numbers[1.0]] == [0.66, 0.9, 0.43]
    assert [n for n, _ in numbers[2.0]][1:] == [38_532, 46] and round(100 * (1 - numbers[2.0][2][1])) == 95
    assert round(numbers[2.0][0][1], 2) == 0.05


def tree(sizes):
    """Two-step sequences: first tokens with a probability each, and the probabilities of what follows."""
    return {(i, j): a * b for i, (a, tail) in enumerate(sizes) for j, b in enumerate(tail)}


@checks('prop-ar-seqtemp', 'eq-ar-seqtemp', 'eg-ar-seqtemp', 'ex-ar-temp')
def two_temperatures():
    """Enumerated sequences; the token-wise distribution by softmax of the tempered conditionals at every prefix."""
    model = random_model(3, 3)
    p = joint(model, 3, 3)
    beta = 2.5
    whole = sum(v**beta for v in p.values())
    sequence = {x: v**beta / whole for x, v in p.items()}
    sharp = {h: torch.softmax(beta * torch.tensor(c).log(), 0).numpy() for h, c in model.items()}
    token = joint(sharp, 3, 3)
    ratios = [token[x] / sequence[x] * math.prod((model[x[:t]] ** beta).sum() for t in range(3)) for x in p]
    np.testing.assert_allclose(ratios, ratios[0])
    ahead = {h: sum((v / math.prod(model[x[:t]][x[t]] for t in range(len(h)))) ** beta for x, v in p.items() if x[: len(h)] == h) for h in [(v,) for v in range(3)]}
    first = np.array([model[()][v] ** beta * ahead[v,] for v in range(3)])
    np.testing.assert_allclose(first / first.sum(), [sum(s for x, s in sequence.items() if x[0] == v) for v in range(3)])
    # Truncation token by token is not conditioning on the allowed sequences.
    keep = {h: np.sort(np.argsort(c)[-2:]) for h, c in model.items()}
    allowed = {x: v for x, v in p.items() if all(x[t] in keep[x[:t]] for t in range(3))}
    cut = {x: math.prod(model[x[:t]][x[t]] / model[x[:t]][keep[x[:t]]].sum() for t in range(3)) for x in allowed}
    assert math.isclose(sum(cut.values()), 1) and max(abs(cut[x] - allowed[x] / sum(allowed.values())) for x in cut) > 1e-3

    def compare(sizes, beta=2):
        p = tree(sizes)
        total = sum(v**beta for v in p.values())
        seq = [sum(v**beta for x, v in p.items() if x[0] == i) / total for i in range(len(sizes))]
        tok = torch.softmax(beta * torch.tensor([a for a, _ in sizes], dtype=F64).log(), 0).tolist()
        greedy = max(range(len(sizes)), key=lambda i: sizes[i][0])
        return seq, tok, max(p.values()), sizes[greedy][0] * max(sizes[greedy][1])

    seq, tok, _, _ = compare([(0.4, [1.0]), (0.6, [0.25] * 4)])
    a, b, best, greedy = compare([(0.5, [0.2] * 5), (0.3, [0.9, 0.1]), (0.2, [1.0])])
    return {
        'eg-ar-seqtemp': {'seq': seq[0], 'tok': tok[0]},
        'ex-ar-temp': {'a': a, 'b': b, 'c': (best, greedy) and [best, greedy], 'd': variation(a, b)},
    }


# ---------------------------------------------------------------- any order


def fillers(size, n):
    """A conditional distribution of position i given the tokens at any other positions; not of one joint distribution."""
    table = {}
    for i in range(n):
        others = [j for j in range(n) if j != i]
        for k in range(n):
            for seen in itertools.combinations(others, k):
                for values in itertools.product(range(size), repeat=k):
                    table[i, seen, values] = np.random.dirichlet(np.ones(size))
    return table


def of_joint(p, size, n):
    """The true conditionals of a joint distribution given as an array."""
    table = {}
    for i in range(n):
        for k in range(n):
            for seen in itertools.combinations([j for j in range(n) if j != i], k):
                for values in itertools.product(range(size), repeat=k):
                    index = [slice(None)] * n
                    for j, v in zip(seen, values, strict=True):
                        index[j] = slice(v, v + 1)
                    part = p[tuple(index)].sum(tuple(j for j in range(n) if j != i)).ravel()
                    table[i, seen, values] = part / part.sum()
    return table


def loss_at(table, x, i, seen):
    seen = tuple(sorted(seen))
    return -math.log(table[i, seen, tuple(x[j] for j in seen)][x[i]])


def along(table, x, order):
    return sum(loss_at(table, x, i, order[:k]) for k, i in enumerate(order))


def mask_integral(table, x, n, known=(), where=None):
    """The integral over the masking rate, by quadrature, of the enumerated expectation over masks."""
    where = tuple(range(n)) if where is None else where

    def inner(t):
        total = 0.0
        for k in range(1, len(where) + 1):
            for mask in itertools.combinations(where, k):
                seen = (*known, *(j for j in where if j not in mask))
                total += t ** (k - 1) * (1 - t) ** (len(where) - k) * sum(loss_at(table, x, i, seen) for i in mask)
        return total

    return integrate.quad(inner, 0, 1)[0]


@checks('thm-ar-elbo', 'eq-ar-elbo', 'eq-ar-beta', 'cor-ar-block')
def any_order():
    n, size = 4, 2
    orders = list(itertools.permutations(range(n)))
    p = np.random.dirichlet(np.ones(size**n)).reshape((size,) * n)
    for table, compatible in ((fillers(size, n), False), (of_joint(p, size, n), True)):
        for x in itertools.product(range(size), repeat=n):
            each = np.array([along(table, x, o) for o in orders])
            log_q = logsumexp(-each) - math.log(len(orders))
            by_size = sum(
                np.mean([sum(loss_at(table, x, i, [j for j in range(n) if j not in m]) for i in m) for m in itertools.combinations(range(n), k)]) / k
                for k in range(1, n + 1)
            )
            np.testing.assert_allclose([by_size, mask_integral(table, x, n)], each.mean())
            posterior = np.exp(-each - logsumexp(-each))
            np.testing.assert_allclose(each.mean() + log_q, kl(np.full(len(orders), 1 / len(orders)), posterior), atol=1e-12)
            two = sum(mask_integral(table, x, n, tuple(range(b)), (b, b + 1)) for b in (0, 2))
            one = sum(mask_integral(table, x, n, tuple(range(b)), (b,)) for b in range(n))
            np.testing.assert_allclose(one, along(table, x, tuple(range(n))))
            np.testing.assert_allclose(two, np.mean([along(table, x, (*a, *b)) for a in ((0, 1), (1, 0)) for b in ((2, 3), (3, 2))]))
            if compatible:
                np.testing.assert_allclose([each.mean(), two, one], -math.log(p[x]))
    total = sum(math.exp(logsumexp([-along(table, x, o) for o in orders])) / len(orders) for x in itertools.product(range(size), repeat=n))
    assert math.isclose(total, 1)
    # Pairs of a position and a set of others: 2^(n-1) times as many as from left to right.
    assert sum(1 for i in range(n) for k in range(n) for _ in itertools.combinations(range(n - 1), k)) == n * 2 ** (n - 1)


@checks('thm-ar-elbo')
def estimator_variance():
    """With equal losses: second moment over rates above a floor grows like its logarithm; the estimator by size is constant."""
    n = 8

    def second(floor):
        def inner(t):
            return sum(math.comb(n, k) * t ** (k - 2) * (1 - t) ** (n - k) * k * k for k in range(1, n + 1))
        return integrate.quad(inner, floor, 1)[0]

    values = [second(10.0**-k) for k in (2, 4, 6)]
    assert values[2] > values[1] > values[0] and abs((values[2] - values[1]) / (n * math.log(100)) - 1) < 0.01
    assert {n / k * k for k in range(1, n + 1)} == {n}


@checks('eq-ar-tc', 'ex-ar-parallel')
def parallel_price():
    p = np.random.dirichlet(np.ones(8)).reshape(2, 2, 2)
    margins = [p.sum(tuple(j for j in range(3) if j != i)) for i in range(3)]
    product = np.einsum('i,j,k->ijk', *margins)
    assert math.isclose(kl(p, product), sum(entropy(m) for m in margins) - entropy(p))
    pair = np.array([[0.5, 0], [0, 0.5]])
    assert math.isclose(kl(pair, np.full((2, 2), 0.25)), math.log(2)) and np.full((2, 2), 0.25)[pair == 0].sum() == 0.5
    size, n = 3, 4
    same = np.zeros((size,) * n)
    for v in range(size):
        same[(v,) * n] = 1 / size
    assert math.isclose(kl(same, np.full((size,) * n, size**-n)), (n - 1) * math.log(size))


# ---------------------------------------------------------------- PyTorch


@checks('tab-ar-torch')
def documented_behaviour():
    p, q = (torch.softmax(torch.randn(3, 5, dtype=F64), -1) for _ in range(2))
    forward = (p * (p / q).log()).sum(-1)
    torch.testing.assert_close(F.kl_div(q.log(), p, reduction='batchmean'), forward.mean())
    torch.testing.assert_close(F.kl_div(q.log(), p, reduction='sum') / 15, forward.mean() / 5)
    assert F.cross_entropy(torch.randn(3, 5), torch.full((3,), -100)).isnan()
    s, y = torch.randn(4, 5, dtype=F64), torch.tensor([1, -100, 3, 0])
    torch.testing.assert_close(F.cross_entropy(s, y), F.nll_loss(torch.log_softmax(s[[0, 2, 3]], -1), y[[0, 2, 3]]))
    assert torch.special.entr(torch.tensor([0.0, -1.0])).tolist() == [0.0, -math.inf]
    drawn = torch.multinomial(torch.tensor([0.0, 1.0, 0.0]), 2)
    assert 1 in drawn and len(set(drawn.tolist())) == 2     # the second has probability zero
    assert torch.multinomial(torch.tensor([3.0, 1.0, 0.0]), 1000, replacement=True).max() == 1
    tied = torch.tensor([3.0, 1.0, 1.0, 1.0])
    assert (tied >= tied.topk(2).values[-1]).sum() == 4
    assert torch.softmax(torch.tensor([1.0, 2.0]) / 0, 0).isnan().all() and torch.softmax(torch.full((3,), -math.inf), 0).isnan().all()
    assert not torch.softmax(torch.tensor([1.0, 2.0]), 0).isnan().any()


@checks('tab-ar-torch')
def precision():
    """The numbers of the rows on cumsum and matrix_rank."""
    generator = torch.Generator().manual_seed(0)
    p = torch.softmax(2 * torch.randn(128_256, generator=generator), -1).sort(descending=True).values
    kept = [int((values.cumsum(0) < 0.99).sum()) + 1 for values in (p, p.bfloat16(), p.bfloat16().float())]
    assert abs(kept[0] / 80_400 - 1) < 0.004 and abs(kept[1] / 74_500 - 1) < 0.005 and abs(kept[2] / kept[0] - 1) < 0.003
    assert round(torch.tensor(0.99).bfloat16().item(), 5) == 0.98828 and torch.finfo(torch.bfloat16).eps == 2 / 256
    assert torch.nextafter(torch.tensor(1.0).bfloat16(), torch.tensor(0.0).bfloat16()).item() == 1 - 1 / 256
    h, w = (torch.randn(n, 8, generator=generator) for n in (200, 300))
    logs = torch.log_softmax(h @ w.T, -1)
    ranks = [torch.linalg.matrix_rank(m).item() for m in (logs, torch.log_softmax((h.bfloat16() @ w.bfloat16().T), -1).float())]
    assert ranks[0] == 9 and 180 <= ranks[1] <= 200 and torch.linalg.matrix_rank(logs.double()).item() == 200
