"""综合练习 of chapter 2: tokenizers in bits per byte, the memory of AdamW in tokens, and how far a loss can fall below the entropy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from checks import checks
from scipy import optimize
from torch.nn import functional as F


def best_loss(budget: float, a: float, b: float) -> float:
    """The least of 1.69 + a / N^0.34 + b / D^0.28 on the line 6 N D = budget, searched numerically."""
    def loss(log_n: float) -> float:
        n = math.exp(log_n)
        return 1.69 + a / n**0.34 + b / (budget / (6 * n)) ** 0.28

    return optimize.minimize_scalar(loss, bounds=(10, 40), method='bounded', options={'xatol': 1e-10}).fun


@checks('ex-chap2-tokenizer')
def tokenizers():
    """Uniform distributions with the given losses as a stand-in: PyTorch's cross-entropy, log2 and counts of whole tokens."""
    perplexity, per_byte, size = [], [], []
    for nats, width in ((2.05, 4.4), (1.72, 3.6)):
        logits = torch.tensor([0.0, math.log(math.expm1(nats))], dtype=torch.float64)      # P(token 0) = exp(-nats)
        assert abs(F.cross_entropy(logits, torch.tensor(0)).item() - nats) < 1e-12
        probability = torch.softmax(logits, 0)[0]
        perplexity.append(1 / probability)
        tokens = 1e9 / width
        bits = tokens * -torch.log2(probability)
        per_byte.append(bits / 1e9)
        size.append(bits / 8 / 1e6)
    # One budget and scale of the law such that the best loss is 2.05; the answer must not depend on the choice.
    found = []
    for budget, ratio in ((1e21, 1.0), (3e24, 5.0)):
        scale = 0.36 / (best_loss(budget, ratio, 1.0) - 1.69)
        assert abs(best_loss(budget, scale * ratio, scale) - 2.05) < 1e-9
        found.append(best_loss(budget * 4.4 / 3.6, scale * ratio, scale))
    assert abs(found[0] - found[1]) < 1e-6
    bits = (found[0] / math.log(2)) / 4.4
    assert abs(per_byte[1].item() - bits - 0.0207) < 5e-5 and abs(per_byte[1].item() - per_byte[0].item() - 0.0171) < 5e-5
    assert perplexity[1] / perplexity[0] < 0.72 and abs(per_byte[1] / per_byte[0] - 1.025) < 1e-3
    return {'a': perplexity, 'b': per_byte, 'c': size, 'd': (1e9 / 3.6) / (1e9 / 4.4), 'e': (found[0], 'nat'), 'f': (bits, 'bit')}


def memory(batch: float, rate: float, decay: float) -> float:
    """Mean age, in tokens, of the updates in a weight that AdamW has decayed for long: SGD with the same decoupled decay, run."""
    weight = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.AdamW([weight], lr=rate, weight_decay=decay)
    weight.grad = torch.zeros_like(weight)
    optimizer.step()                            # no gradient: only the decay acts
    kept = weight.item()
    age = np.arange(1_500_000)
    share = kept**age
    return batch * (share @ age) / share.sum()


@checks('ex-chap2-decay')
def decay():
    old, wrong = memory(1e6, 3e-4, 0.1), memory(4e6, 6e-4, 0.05)
    assert abs(memory(4e6, 6e-4, 0.1) / old - 2) < 1e-3
    right = optimize.brentq(lambda decay: memory(4e6, 6e-4, decay) - old, 0.05, 0.5, xtol=1e-6)
    return {'a': (old, 'token'), 'b': (wrong, 'token'), 'c': right}


@checks('ex-chap2-memory', 'eq-chap2-memory')
def memorised():
    """Coins, every corpus enumerated; the learners are deterministic, so that I(θ; S) is the entropy of θ."""
    def gap(chance: float, size: int, learn) -> tuple[float, float]:
        left, mass = 0.0, {}
        for corpus in itertools.product((0, 1), repeat=size):
            probability = math.prod(chance if x else 1 - chance for x in corpus)
            model = learn(corpus)
            mass[model] = mass.get(model, 0) + probability
            left += probability * sum(math.log((model if x else 1 - model) / (chance if x else 1 - chance)) for x in corpus)
        return left, -sum(p * math.log(p) for p in mass.values())

    for chance in (0.5, 0.3, 0.05):
        for size in (1, 2, 5, 9):
            for learn in (
                lambda corpus: sum(corpus) / len(corpus),                       # maximum likelihood
                lambda corpus: round(2 * sum(corpus) / len(corpus)) / 2 * 0.8 + 0.1,
                lambda corpus: (sum(corpus) + 0.5) / (len(corpus) + 1),
            ):
                left, right = gap(chance, size, learn)
                assert left <= right + 1e-12
        left, right = gap(chance, 1, lambda corpus: float(corpus[0]))
        assert abs(left - right) < 1e-12                                        # the example of equality
    bits = 3.6 * 8.03e9
    assert abs(bits * math.log(2) / 1.5e13 - 1.34e-3) < 5e-6
    assert abs(3.6 * math.log(2) / 20 - 0.125) < 5e-4
    assert abs(3.6 * math.log(2) / 0.1 - 25) < 0.05
