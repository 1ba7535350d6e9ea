"""Section 3.5: numbers and derivations of multi-task learning and model merging, each computed another way than in the text."""

import importlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from scipy import optimize
from torch.nn import functional as F

from checks import checks

F64 = torch.float64
DATA = Path(__file__).parents[3] / 'figures/chapter3/multi_merge.json'


# The merging experiment: seven-segment digits, transposed (task A) or with inverted contrast (task B); a network 81-32-32-10.

SIZES = (81, 32, 32, 10)
SEGMENTS = {
    'a': (slice(1, 2), slice(3, 6)), 'g': (slice(4, 5), slice(3, 6)), 'd': (slice(7, 8), slice(3, 6)),
    'f': (slice(1, 5), slice(2, 3)), 'b': (slice(1, 5), slice(6, 7)), 'e': (slice(4, 8), slice(2, 3)), 'c': (slice(4, 8), slice(6, 7)),
}
DIGITS = ('abcdef', 'bc', 'abged', 'abgcd', 'fgbc', 'afgcd', 'afgedc', 'abc', 'abcdefg', 'abcdfg')
LAMBDAS = [round(0.1 * k, 1) for k in range(15)]
ALPHAS = [round(0.05 * k, 2) for k in range(21)]


def sample(n, kind, gen):
    shapes = torch.zeros(10, 9, 9, 9, 9, dtype=F64)
    for digit, names in enumerate(DIGITS):
        for name in names:
            shapes[(digit, 0, 0, *SEGMENTS[name])] = 1
    y = torch.randint(10, (n,), generator=gen)
    shift = torch.randint(-1, 2, (n, 2), generator=gen)
    table = {(i, j): torch.roll(shapes[:, 0, 0], (i, j), (1, 2)) for i in (-1, 0, 1) for j in (-1, 0, 1)}
    x = torch.stack([table[tuple(s)][k] for k, s in zip(y.tolist(), shift.tolist(), strict=True)])
    x = {'u': x, 'A': x.transpose(1, 2), 'B': 1 - x}[kind]
    return (x - 0.5 + 0.5 * torch.randn(n, 9, 9, dtype=F64, generator=gen)).flatten(1), y


def layers(theta):
    at = 0
    for i, o in zip(SIZES, SIZES[1:], strict=False):
        yield theta[at:at + i * o].view(i, o), theta[at + i * o:at + i * o + o]
        at += i * o + o


def forward(theta, x, kept=None):
    for k, (w, b) in enumerate(layers(theta)):
        if kept is not None:
            kept.append(x)
        x = x @ w + b
        if k < 2:
            x = F.gelu(x)
    return x


def fresh(gen):
    parts = []
    for i, o in zip(SIZES, SIZES[1:], strict=False):
        parts += [torch.randn(i * o, dtype=F64, generator=gen) * math.sqrt(2 / i), torch.zeros(o, dtype=F64)]
    return torch.cat(parts)


def train(theta, sets, steps, rate, gen):
    theta = theta.clone().requires_grad_()
    optimiser = torch.optim.Adam([theta], rate)
    for _ in range(steps):
        total = 0
        for x, y in sets:
            rows = torch.randint(len(y), (64,), generator=gen)
            total = total + F.cross_entropy(forward(theta, x[rows]), y[rows]) / len(sets)
        optimiser.zero_grad()
        total.backward()
        optimiser.step()
    return theta.detach()


def score(theta, data):
    z = forward(theta, data[0])
    return F.cross_entropy(z, data[1]).item(), (z.argmax(1) == data[1]).double().mean().item()


def fisher(theta, x):
    """Diagonal Fisher information: labels drawn from the model."""
    y = torch.multinomial(forward(theta, x).softmax(1), 1).squeeze(1)
    one = torch.func.grad(lambda t, a, b: F.cross_entropy(forward(t, a[None]), b[None]))
    return torch.func.vmap(one, (None, 0, 0))(theta, x, y).square().mean(0) + 1e-6


def regmean(thetas, inputs):
    out, grams = [], []
    for theta, x in zip(thetas, inputs, strict=True):
        kept = []
        forward(theta, x, kept)
        grams.append([torch.cat([a, torch.ones(len(a), 1, dtype=F64)], 1) for a in kept])
    for k, pairs in enumerate(zip(*(list(layers(t)) for t in thetas), strict=True)):
        g = [a[k].T @ a[k] for a in grams]
        w = torch.linalg.solve(sum(g) + 1e-6 * torch.eye(len(g[0]), dtype=F64), sum(m @ torch.cat([p[0], p[1][None]]) for m, p in zip(g, pairs, strict=True)))
        out += [w[:-1].flatten(), w[-1]]
    return torch.cat(out)


def ties(vectors, keep=0.2):
    kept = []
    for v in vectors:
        kept.append(torch.where(v.abs() >= v.abs().quantile(1 - keep), v, 0))
    v = torch.stack(kept)
    agree = (v.sign() == v.sum(0).sign()) & (v != 0)
    return (v * agree).sum(0) / agree.sum(0).clamp(min=1)


def dare(vector, p, gen):
    return vector * (torch.rand(len(vector), dtype=F64, generator=gen) >= p) / (1 - p)


def merge_run(seed):
    """One seed: {method: [loss A, loss B, accuracy A, accuracy B]} and the curves."""
    torch.manual_seed(seed)
    gen = torch.Generator().manual_seed(seed)
    fit = {k: sample(3000, k, gen) for k in 'uAB'}
    test = {k: sample(1000, k, gen) for k in 'AB'}
    base, other = (train(fresh(gen), list(fit.values()), 150, 3e-3, gen) for _ in range(2))
    a, b = (train(base, [fit[k]], 150, 2e-3, gen) for k in 'AB')
    far = train(other, [fit['B']], 150, 2e-3, gen)
    both = train(base, [fit['A'], fit['B']], 150, 2e-3, gen)

    def scores(theta):
        (la, ca), (lb, cb) = (score(theta, test[k]) for k in 'AB')
        return [la, lb, ca, cb]

    ta, tb = a - base, b - base
    fa, fb = fisher(a, fit['A'][0][:1000]), fisher(b, fit['B'][0][:1000])
    models = {
        '起点': base, '专家 A': a, '专家 B': b, '联合训练': both,
        '平均': base + (ta + tb) / 2, '相加': base + ta + tb, 'TIES': base + ties([ta, tb]),
        'DARE': base + (dare(ta, 0.9, gen) + dare(tb, 0.9, gen)) / 2, 'Fisher': (fa * a + fb * b) / (fa + fb),
        'RegMean': regmean([a, b], [fit['A'][0], fit['B'][0]]),
    }
    return {
        'methods': {name: scores(theta) for name, theta in models.items()},
        'scan': [scores(base + s * (ta + tb))[:2] for s in LAMBDAS],
        'near': [sum(scores(a + t * (b - a))[:2]) / 2 for t in ALPHAS],
        'far': [sum(scores(a + t * (far - a))[:2]) / 2 for t in ALPHAS],
        'cosine': F.cosine_similarity(ta, tb, dim=0).item(),
        'size': [v.norm().item() / base.norm().item() for v in (ta, tb)],
    }
