"""Section 3.2: numbers and derivations of parameter-efficient fine-tuning, each computed another way than in the text."""

import copy
import importlib
import itertools
import json
import math
from pathlib import Path

import numpy as np
import torch
from scipy import integrate, optimize, special, stats
from torch import nn

from checks import checks

F64 = torch.float64
FIGURES = Path(__file__).parents[3] / 'figures/chapter3'


class Adam:
    """Adam written out for batches of parameters: one learning rate per entry of the leading axis."""

    def __init__(self, *shapes):
        self.moments = [(torch.zeros(s, dtype=F64), torch.zeros(s, dtype=F64)) for s in shapes]
        self.t = 0

    def step(self, *updates):
        self.t += 1
        for (p, gradient, rate), (m, v) in zip(updates, self.moments, strict=True):
            m.mul_(0.9).add_(gradient, alpha=0.1)
            v.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
            p.sub_(rate * (m / (1 - 0.9**self.t)) / ((v / (1 - 0.999**self.t)).sqrt() + 1e-12))


def rank_sweep(r, scale, width=256, out=32, steps=10, seeds=4):
    """Best learning rate (base-2 logarithm, half steps) of Adam after ten steps on one sample, PyTorch's default A, B zero."""
    powers = [k / 2 for k in range(-26, 0)]
    rate = torch.tensor([2.0**k for k in powers], dtype=F64)[:, None, None]
    total = 0
    for seed in range(seeds):
        draw = torch.Generator().manual_seed(seed)
        x, y = torch.randn(width, 1, generator=draw, dtype=F64), torch.randn(out, 1, generator=draw, dtype=F64)
        a = ((torch.rand(r, width, generator=draw, dtype=F64) * 2 - 1) / math.sqrt(width)).repeat(len(powers), 1, 1)
        b = torch.zeros(len(powers), out, r, dtype=F64)
        adam = Adam(b.shape, a.shape)
        for _ in range(steps):
            z = a @ x
            e = scale * b @ z - y
            adam.step((b, scale * e @ z.mT, rate), (a, scale * b.mT @ e @ x.T, rate))
        total = total + (scale * b @ (a @ x) - y).square().mean((1, 2)).nan_to_num(1e9).clamp(max=1e3).log()
    return powers[total.argmin()]


def width_sweep(n, pairs, seeds=8, steps=40, r=4, out=8, samples=4):
    """Mean log loss of LoRA (A normal of variance 1/n, B zero, scale 1) on a few inputs of width n, for pairs of rates (A, B)."""
    rate_a, rate_b = (torch.tensor([2.0 ** p[i] for p in pairs], dtype=F64)[:, None, None] for i in (0, 1))
    total = 0
    for seed in range(seeds):
        draw = torch.Generator().manual_seed(seed)
        x = torch.randn(n, samples, generator=draw, dtype=F64)
        y = torch.randn(out, samples, generator=draw, dtype=F64)
        a = (torch.randn(r, n, generator=draw, dtype=F64) / math.sqrt(n)).repeat(len(pairs), 1, 1)
        b = torch.zeros(len(pairs), out, r, dtype=F64)
        adam = Adam(b.shape, a.shape)
        for _ in range(steps):
            z = a @ x
            e = (b @ z - y) / samples
            adam.step((b, e @ z.mT, rate_b), (a, b.mT @ e @ x.T, rate_a))
        loss = (b @ (a @ x) - y).square().mean((1, 2)) / y.square().mean()
        total = total + loss.nan_to_num(1e9).clamp(max=1e3).log() / seeds
    return total


def width_optima(n):
    """Best common rate (half steps), best pair with the rate of B at least that of A (whole steps), and their mean log losses."""
    common = [(k / 2, k / 2) for k in range(-18, -3)]
    low = round(-math.log2(n))
    pairs = [(low + i, j) for i, j in itertools.product(range(-3, 3), range(-4, 1)) if low + i <= j]
    one, two = width_sweep(n, common), width_sweep(n, pairs)
    i, j = one.argmin(), two.argmin()
    return {'common': common[i][0], 'a': pairs[j][0], 'b': pairs[j][1], 'loss common': one[i].item(), 'loss pair': two[j].item()}


def stored(name):
    return json.loads((FIGURES / f'{name}.json').read_text())


@checks('fig-peft-rates', 'prop-peft-scale', 'prop-peft-plus')
def rates():
    """The stored optima, some recomputed; slopes of the three lines; best rates over ten steps for several ranks."""
    data = stored('peft_rates')
    for n, row in zip(data['widths'], data['optima'], strict=True):
        if n in (64, 256):
            again = width_optima(n)
            assert all(again[key] == row[key] for key in ('common', 'a', 'b'))
        assert -0.01 < row['loss common'] - row['loss pair'] < 0.4
    x = np.log2(data['widths'])
    slope = {key: np.polyfit(x, [row[key] for row in data['optima']], 1)[0] for key in ('common', 'a', 'b')}
    assert round(slope['common'], 1) == -0.6 and round(slope['a'], 1) == -0.9 and abs(slope['b']) < 0.15
    ranks = (4, 16, 64, 256)
    assert len({rank_sweep(r, 16 / r) for r in ranks}) == 1
    assert abs(np.polyfit(np.log2(ranks), [rank_sweep(r, 4 / math.sqrt(r)) for r in ranks], 1)[0] + 0.25) < 0.04
    script = importlib.import_module('figures.chapter3.peft_rates')
    sgd, sign = script.first_step()
    flat = sgd[2:] / script.RANKS[2:], sign[2:] / script.RANKS[2:]
    assert all(line.max() / line.min() < 1.3 for line in flat)


@checks('eq-peft-grad', 'prop-peft-saddle', 'thm-peft-projection', 'eq-peft-first', 'eq-peft-general')
def gradients():
    """Autograd through the layer; a saddle; the first step from B = 0, from A = 0 and from both nonzero."""
    d, o, r, s = 7, 5, 3, 1.7
    w, x, y = torch.randn(o, d, dtype=F64), torch.randn(d, 9, dtype=F64), torch.randn(o, 9, dtype=F64)

    def loss(weight):
        return torch.tanh(weight @ x - y).square().sum()

    def step(a, b, rate):
        a, b = a.clone().requires_grad_(), b.clone().requires_grad_()
        base = w - (s * b @ a).detach()
        da, db = torch.autograd.grad(loss(base + s * b @ a), (a, b))
        return da, db, s * ((b - rate * db) @ (a - rate * da) - b @ a).detach()

    g = torch.autograd.grad(loss(at := w.clone().requires_grad_()), at)[0]
    a, b = torch.randn(r, d, dtype=F64), torch.randn(o, r, dtype=F64)
    da, db, change = step(a, b, 1e-7)
    torch.testing.assert_close(da, s * b.T @ g)
    torch.testing.assert_close(db, s * g @ a.T)
    torch.testing.assert_close(change / 1e-7, -(s**2) * (g @ a.T @ a + b @ b.T @ g), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(step(a, 0 * b, 0.1)[2], -0.1 * s**2 * g @ a.T @ a)
    torch.testing.assert_close(step(0 * a, b, 0.1)[2], -0.1 * s**2 * b @ b.T @ g)
    da, db, _ = step(0 * a, 0 * b, 0.1)
    assert not da.any() and not db.any()
    u, _, vh = torch.linalg.svd(g)
    bump = [(loss(w + sign * 1e-3 * torch.outer(u[:, 0], vh[0])) - loss(w)).item() for sign in (1, -1)]
    assert min(bump) < 0 < max(bump)


@checks('eq-peft-firstvar', 'ex-peft-firststep', 'ex-peft-critique')
def first_step_variance():
    """Simulation: relative variance of G A^T A for normal, uniform, sign and orthogonal A; the loss ratio of the critique."""
    d, r, draws = 24, 4, 60_000
    g = torch.randn(3, d, dtype=F64)

    def relative(a):
        s = g @ a.mT @ a
        mean = s.mean(0)
        torch.testing.assert_close(mean / mean.norm(), g / g.norm(), atol=0.03, rtol=0)
        scale = (mean * g).sum() / g.square().sum()
        return ((s - scale * g).square().sum((1, 2)).mean() / (scale * g).square().sum()).item()

    normal = torch.randn(draws, r, d, dtype=F64)
    assert abs(relative(normal) / ((d + 1) / r) - 1) < 0.03
    assert abs(relative(torch.rand(draws, r, d, dtype=F64) - 0.5) / ((d - 0.2) / r) - 1) < 0.03
    assert abs(relative(torch.randint(0, 2, (draws, r, d)).to(F64) * 2 - 1) / ((d - 1) / r) - 1) < 0.03
    assert abs(relative(torch.linalg.qr(normal[:20_000].mT)[0].mT) / ((d - r) / r) - 1) < 0.03
    after = (g - g @ normal.mT @ normal / r).square().sum((1, 2)).mean() / g.square().sum()
    assert abs(after.item() / ((d + 1) / r) - 1) < 0.03
    # The numbers of the text at width 4,096 and rank 16, from a direct draw.
    a = torch.randn(40, 16, 4096, dtype=F64)
    row = torch.randn(1, 4096, dtype=F64)
    update = row @ a.mT @ a
    cosine = (update * row).sum(-1).mean() / update.square().sum(-1).mean().sqrt() / row.norm()
    assert abs(cosine.item() - 0.062) < 0.006
    assert round((4096 + 1) / 16) == 256 and abs(math.sqrt(16 / (16 + 4097)) - 0.0624) < 1e-4
    init = nn.init.kaiming_uniform_(torch.empty(16, 4096, dtype=F64), a=math.sqrt(5))
    assert abs(4 * (init @ init.T).diagonal().mean().item() * 16 / 4096 - 0.0052) < 1e-4


@checks('prop-peft-scale', 'eq-peft-dh', 'eq-peft-norm', 'eq-peft-ten')
def first_step_size():
    """SGD and Adam's first step by torch.optim on one sample, averaged over draws."""
    d, o, r, s, rate = 40, 6, 8, 0.7, 0.01
    x, target = torch.randn(d, dtype=F64), torch.randn(o, dtype=F64)
    sgd, sign, norm = [], [], []
    for _ in range(1000):
        a0 = torch.randn(r, d, dtype=F64)
        for kind, out in ((torch.optim.SGD, sgd), (torch.optim.Adam, sign)):
            a, b = nn.Parameter(a0.clone()), nn.Parameter(torch.zeros(o, r, dtype=F64))
            optimizer = kind([a, b], lr=rate)
            (target @ (s * b @ (a @ x))).backward()
            optimizer.step()
            delta = (s * b @ a).detach()
            out.append(delta @ x)
        norm.append(delta.square().sum())
    sgd, sign = torch.stack(sgd), torch.stack(sign)
    mean = -rate * s**2 * r * x.square().sum() * target
    assert (sgd.mean(0) / mean - 1).abs().max() < 0.07
    assert abs((sgd.std(0) / sgd.mean(0).abs()).mean().item() / math.sqrt(2 / r) - 1) < 0.08
    expected = -rate * s * r * x.norm() * math.sqrt(2 / math.pi) * target.sign()
    assert (sign.mean(0) / expected - 1).abs().max() < 0.03
    assert abs(torch.stack(norm).mean().item() / (rate**2 * s**2 * o * r * (d + 2 * (r - 1) / math.pi)) - 1) < 0.02
    # Ratio of rates at equal root mean square of the first step, default initialisation, alpha = 32.
    for r, claimed in ((1, 3.5), (16, 13.9), (256, 55)):
        a = nn.init.kaiming_uniform_(torch.empty(r, 4096, dtype=F64), a=math.sqrt(5))
        rows = (32 / r) * (torch.randint(0, 2, (200, r)).to(F64) * 2 - 1) @ a
        assert abs(1 / rows.square().mean().sqrt().item() / claimed - 1) < 0.05


@checks('prop-peft-eckart', 'eq-peft-eckart', 'prop-peft-ga', 'prop-peft-onebit')
def eckart():
    """Alternating least squares from random starts reaches the tail and never goes below it."""
    d, o, r = 6, 5, 2
    gap, root = np.random.randn(o, d), np.random.randn(d, d)
    sigma = root @ root.T + 0.1 * np.eye(d)
    chol = np.linalg.cholesky(sigma)
    tail = (np.linalg.svd(gap @ chol, compute_uv=False)[r:] ** 2).sum()     # same singular values as with the symmetric root
    found = []
    for _ in range(8):
        b = np.random.randn(o, r)
        for _ in range(400):
            a = np.linalg.lstsq(b, gap, rcond=None)[0]
            b = np.linalg.lstsq((a @ chol).T, (gap @ chol).T, rcond=None)[0].T
        rest = gap - b @ a
        found.append(np.trace(rest @ sigma @ rest.T))
    assert min(found) >= tail - 1e-9 and abs(min(found) - tail) < 1e-6
    g = torch.randn(9, 8, dtype=F64)
    u, values, vh = torch.linalg.svd(g)
    a, b = vh[:2], u[:, 2:4]
    best = (g - g @ a.T @ a - b @ b.T @ g).square().sum()
    torch.testing.assert_close(best, values[4:].square().sum())
    for _ in range(200):
        a, b = torch.randn(2, 8, dtype=F64) * 0.3, torch.randn(9, 2, dtype=F64) * 0.3
        assert (g - g @ a.T @ a - b @ b.T @ g).square().sum() >= best
    m = torch.linalg.qr(torch.randn(10, 10, dtype=F64))[0]
    u, values, vh = torch.linalg.svd(m)
    assert abs(((m - u[:, :3] * values[:3] @ vh[:3]).square().sum() / m.square().sum()).item() - 0.7) < 1e-12


@checks('thm-peft-depth', 'eq-peft-depth', 'eq-peft-telescope', 'ex-peft-budget')
def depth():
    """The construction of the proof for three layers; random adapters never beat the bound; one layer of rank R is as good."""
    d, ranks = 8, (1, 2, 1)
    w = [torch.randn(d, d, dtype=F64) for _ in range(3)]
    start = w[2] @ w[1] @ w[0]
    target = torch.randn(d, d, dtype=F64) * 3
    u, values, vh = torch.linalg.svd(target - start)
    tail = values[sum(ranks):].square().sum()
    new, done = list(w), 0
    for k, r in enumerate(ranks):
        part = u[:, done:done + r] * values[done:done + r] @ vh[done:done + r]
        done += r
        left, right = torch.eye(d, dtype=F64), torch.eye(d, dtype=F64)
        for later in w[k + 1:]:
            left = later @ left
        for earlier in new[:k]:
            right = earlier @ right
        change = torch.linalg.solve(left, part) @ torch.linalg.inv(right)
        assert torch.linalg.matrix_rank(change, rtol=1e-8) == r
        new[k] = w[k] + change
    torch.testing.assert_close((target - new[2] @ new[1] @ new[0]).square().sum(), tail)
    for _ in range(200):
        moved = [m + torch.randn(d, r, dtype=F64) @ torch.randn(r, d, dtype=F64) for m, r in zip(w, ranks, strict=True)]
        assert torch.linalg.matrix_rank(moved[2] @ moved[1] @ moved[0] - start, rtol=1e-9) <= sum(ranks)
    # Two layers of rank one, all four vectors found by a general minimiser: the bound is the minimum.
    shapes = ((d, 1), (1, d), (d, 1), (1, d))
    goal = target.numpy()
    one, two = w[0].numpy(), w[1].numpy()

    def distance(flat):
        a, b, c, e = (part.reshape(s) for part, s in zip(np.split(flat, 4), shapes, strict=True))
        first, second = one + a @ b, two + c @ e
        rest = second @ first - goal
        df, ds = second.T @ rest, rest @ first.T
        return (rest**2).sum(), 2 * np.r_[(df @ b.T).ravel(), (a.T @ df).ravel(), (ds @ e.T).ravel(), (c.T @ ds).ravel()]

    found = min(optimize.minimize(distance, np.random.randn(4 * d), jac=True, method='L-BFGS-B', options={'maxiter': 600}).fun for _ in range(4))
    least = (np.linalg.svd(goal - two @ one, compute_uv=False)[2:] ** 2).sum()
    assert -1e-6 < found / least - 1 < 0.02
    # Wider inner layers: the whole rank in the first layer, or in the second.
    wide = 11
    w1, w2, w3 = (torch.randn(*s, dtype=F64) for s in ((wide, d), (wide, wide), (d, wide)))
    e = target - w3 @ w2 @ w1
    u, values, vh = torch.linalg.svd(e)
    cut = u[:, :3] * values[:3] @ vh[:3]
    first = torch.linalg.inv(w2) @ torch.linalg.pinv(w3) @ cut
    second = torch.linalg.pinv(w3) @ cut @ torch.linalg.pinv(w1)
    for product, change in ((w3 @ w2 @ (w1 + first), first), (w3 @ (w2 + second) @ w1, second)):
        assert torch.linalg.matrix_rank(change, rtol=1e-8) == 3
        torch.testing.assert_close((target - product).square().sum(), values[3:].square().sum())


@checks('eg-peft-intrinsic')
def intrinsic():
    """Least squares in random subspaces of two ambient dimensions; the smallest k from a linear fit of the rest on k."""
    m = 200
    rest = {}
    for big in (600, 1500):
        for k in (60, 140, 180):
            left = []
            for _ in range(16 if big == 600 else 6):
                u = torch.linalg.qr(torch.randn(big, m, dtype=F64))[0]
                e = torch.randn(m, 1, dtype=F64)
                p = u.T @ torch.randn(big, k, dtype=F64)
                z = torch.linalg.lstsq(p, e).solution
                left.append(((e - p @ z).square().sum() / e.square().sum()).item())
            rest[big, k] = np.mean(left) - (1 - k / m), stats.beta.std((m - k) / 2, k / 2) / len(left) ** 0.5
    for difference, error in rest.values():
        assert abs(difference) < 4 * error
    # Exact: the squared length of a uniform direction outside k coordinates is Beta((m - k) / 2, k / 2).
    k = next(k for k in range(1, m) if stats.beta.mean((m - k) / 2, k / 2) <= 0.1 + 1e-12)
    return {'k': k, 'left': stats.beta.mean((m - k) / 2, k / 2)}


LLAMA_8B = dict(layers=32, d=4096, kv=1024, ffn=14336, vocab=128256)


def linear_layers(layers, d, kv, ffn, vocab):
    with torch.device('meta'):
        block = nn.ModuleList([nn.Linear(i, o, bias=False) for i, o in ((d, d), (d, kv), (d, kv), (d, d), (d, ffn), (d, ffn), (ffn, d))])
    return block


def adapters(rank, block):
    return sum(p.numel() for layer in block for p in (torch.empty(rank, layer.in_features, device='meta'), torch.empty(layer.out_features, rank, device='meta')))


@checks('tab-peft-memory', 'eq-peft-count', 'eg-peft-serve', 'eg-peft-rl', 'ex-peft-serve', 'eq-peft-double')
def ledger():
    """Parameters counted on meta tensors of the model's shapes; bytes from the element sizes of the types."""
    c = LLAMA_8B
    block = linear_layers(**c)
    linear = c['layers'] * sum(layer.weight.numel() for layer in block)
    others = 2 * c['vocab'] * c['d'] + (2 * c['layers'] + 1) * c['d']
    lora = c['layers'] * adapters(16, block)
    total = linear + others
    assert (total, lora, linear, others) == (8_030_261_248, 41_943_040, 6_979_321_856, 1_050_939_392)
    assert sum(layer.in_features + layer.out_features for layer in block) == 81_920
    assert round(100 * lora / total, 2) == 0.52
    gib = 2**30
    bf16, fp32 = torch.bfloat16.itemsize, torch.float32.itemsize
    constants = linear // 64                       # one per block, a byte each, an fp32 per 256 of them
    nf4 = linear / 2 + constants + constants / 256 * fp32
    bits = 8 * nf4 / linear
    assert abs(bits - 4.127) < 5e-4 and abs(4.5 - bits - 0.373) < 5e-4
    saved = linear * (4.5 - bits) / 8 / gib
    assert round(saved, 3) == 0.303 and 3.5 < saved * 1024 / 80 < 4.5
    columns = {'全参': (linear * bf16, total), 'LoRA': (linear * bf16, lora), 'QLoRA': (nf4, lora)}
    table = {}
    for name, (base, trained) in columns.items():
        rows = {
            '线性层权重': base, '嵌入与增益': others * bf16, '适配器权重': 0 if name == '全参' else trained * bf16,
            '梯度': trained * bf16, 'fp32 主权重': trained * fp32, '两个矩': 2 * trained * fp32,
        }
        rows['合计'] = sum(rows.values())
        for row, size in rows.items():
            table.setdefault(row, {})[name] = size / gib
    mm = total - c['vocab'] * c['d'] - (2 * c['layers'] + 1) * c['d']
    assert mm == 7_504_658_432
    rank1 = c['layers'] * adapters(1, block)
    attention, feed_forward = (c['layers'] * adapters(1, block[a:b]) for a, b in ((0, 4), (4, 7)))
    assert (attention, feed_forward, rank1) == (851_968, 1_769_472, 2_621_440)
    assert round(2 * mm / gib, 2) == 13.98 and 64 * 2 * lora / gib == 5 and abs(2 * lora / 8.39e7 - 1) < 1e-3
    h = stats.entropy([0.1, 0.9], base=2)
    return {
        'tab-peft-memory': table,
        'eg-peft-serve': {'extra': (2 * lora, 'FLOP'), 'share': lora / mm, 'adapter': (2 * lora, 'byte'), 'read': 64 * lora / mm, 'even': mm / lora},
        'eg-peft-rl': {'cap': (2 * rank1, 'bit'), 'ratio': 2 * rank1 / 320_000, 'p10': (320_000 * h, 'bit')},
        'ex-peft-serve': {'a': 80_000_000_000 // (2 * total), 'b': (2 * total + 200 * 2 * lora, 'byte'), 'c': (1 + 64 * lora / mm, 1 + lora / mm)},
    }


@checks('ex-peft-count')
def seventy_billion():
    c = dict(layers=80, d=8192, kv=1024, ffn=28672, vocab=128256)
    block = linear_layers(**c)
    lora = c['layers'] * adapters(32, block)
    linear = c['layers'] * sum(layer.weight.numel() for layer in block)
    assert linear == 68_451_041_280
    constants = linear / 64
    return {'a': lora, 'b': (2 * lora, 'byte'), 'c': (16 * lora, 'byte'), 'd': (linear / 2 + constants + 4 * constants / 256, 'byte')}


@checks('eq-peft-bf16')
def merging():
    """Round merged weights to bfloat16: relative error in the Frobenius and spectral norms, and what is left along the update."""
    w = torch.exp(torch.rand(400_000, dtype=F64) * math.log(2) * 4)
    relative = ((w.float().bfloat16().double() - w) / w).square().mean().sqrt().item()
    assert abs(relative - 0.00166) < 1e-5
    n, r = 1024, 16
    base = (0.02 * torch.randn(n, n)).bfloat16().double()
    for rho in (0.01, 0.001):
        delta = torch.randn(n, r, dtype=F64) @ torch.randn(r, n, dtype=F64)
        delta *= rho * base.norm() / delta.norm()
        merged = (base + delta).float().bfloat16().double()
        error = merged - base - delta
        if rho == 0.01:
            assert abs((error.norm() / delta.norm()).item() - 0.165) < 0.003
            assert abs((torch.linalg.matrix_norm(error, 2) / torch.linalg.matrix_norm(delta, 2)).item() - 0.035) < 0.002
        else:
            assert 0.75 < (merged == base).double().mean().item() < 0.8
            assert abs(((merged - base) * delta).sum().item() / delta.square().sum().item() - 0.53) < 0.01


PUBLISHED = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)


def quantile(p):
    """The normal quantile by root finding on the distribution function, itself by quadrature of the density."""
    return optimize.brentq(lambda x: 0.5 + integrate.quad(lambda t: math.exp(-t * t / 2) / math.sqrt(2 * math.pi), 0, x)[0] - p, -6, 6, xtol=1e-13)


@checks('tab-peft-levels', 'eq-peft-nf4', 'eq-peft-offset')
def levels():
    """The formula by quadrature, against the constants of bitsandbytes."""
    delta = ((1 - 1 / 30) + (1 - 1 / 32)) / 2
    assert abs(delta - 0.9677083) < 5e-8 and math.isclose(delta, 929 / 960)
    top = quantile(delta)
    assert round(top, 4) == 1.8481
    positive = [quantile(0.5 + j / 8 * (delta - 0.5)) / top for j in range(1, 9)]
    negative = [-quantile(0.5 + j / 7 * (delta - 0.5)) / top for j in range(1, 8)]
    np.testing.assert_allclose(sorted([*negative, 0.0, *positive]), PUBLISHED, rtol=0, atol=2e-7)
    table = {str(j): {'负级': negative[j - 1], '正级': positive[j - 1]} for j in range(1, 8)}
    return table | {'8': {'正级': positive[7]}}


def exact_error(levels, block):
    """Mean squared error on normal blocks scaled by their largest magnitude: quadrature over that magnitude, closed form per cell."""
    levels = np.asarray(levels)
    m = np.linspace(0.2, 7, 801)[:, None]

    def phi(x):
        return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    inside = 2 * special.ndtr(m) - 1
    edges = np.r_[-1, (levels[1:] + levels[:-1]) / 2, 1] * m
    q = levels * m
    cells = (1 + q * q) * np.diff(special.ndtr(edges)) - np.diff(edges * phi(edges)) + 2 * q * np.diff(phi(edges))
    density = block * inside ** (block - 1) * 2 * phi(m)
    return integrate.trapezoid((cells.sum(1, keepdims=True) / inside * density * (1 - 1 / block))[:, 0], m[:, 0])


@checks('tab-peft-error', 'fig-peft-nf4')
def format_errors():
    """Quadrature with the published levels; simulation with torch.bucketize for one cell; the figure's sample; the optimum by a general minimiser."""
    script = importlib.import_module('figures.chapter3.peft_nf4')
    np.testing.assert_allclose(script.FORMATS['NF4'], PUBLISHED, atol=2e-7)
    half = {'INT4 对称': [j / 7 for j in range(1, 8)], 'FP4（bitsandbytes）': [1 / 192, 1 / 6, 1 / 4, 1 / 3, 1 / 2, 2 / 3, 1], 'E2M1': [j / 12 for j in (1, 2, 3, 4, 6, 8, 12)]}
    formats = {'NF4': PUBLISHED} | {name: sorted([*(-v for v in values), 0.0, *values]) for name, values in half.items()}
    table = {}
    for block in (64, 256):
        for name, values in formats.items():
            table.setdefault(name, {})[f'块 {block}'] = 1e3 * exact_error(values, block)
        best = optimize.minimize(lambda t, n=block: 1e3 * exact_error([-1, *t[:6], 0, *t[6:], 1], n), [*PUBLISHED[1:7], *PUBLISHED[8:15]], method='L-BFGS-B')
        table.setdefault('均方最优，固定 0 与 ±1', {})[f'块 {block}'] = best.fun
        x = np.random.standard_normal((2**17 // block, block))
        for name in (*script.FORMATS, '均方最优'):
            value = script.error(script.FORMATS.get(name), x)
            assert abs(1e3 * value / table['均方最优，固定 0 与 ±1' if name == '均方最优' else name][f'块 {block}'] - 1) < 0.03
    nf4, int4, best = (table[name] for name in ('NF4', 'INT4 对称', '均方最优，固定 0 与 ±1'))
    assert round(100 * (1 - nf4['块 64'] / int4['块 64'])) == 27 and round(100 * (nf4['块 64'] / best['块 64'] - 1)) == 6
    assert round(100 * (nf4['块 256'] / best['块 256'] - 1), 1) == 0.5 and round(100 * (nf4['块 256'] / nf4['块 64'] - 1)) == 15
    v = torch.tensor(PUBLISHED, dtype=F64)
    x = torch.randn(2**14, 64, dtype=F64)
    peak = x.abs().amax(1, keepdim=True)
    index = torch.bucketize(x / peak, (v[1:] + v[:-1]) / 2)
    assert abs(1e3 * (peak * v[index] - x).square().mean().item() / nf4['块 64'] - 1) < 0.01
    used = torch.bincount(index.flatten(), minlength=16) / index.numel()
    assert abs(used.min().item() - 0.017) < 5e-4 and abs(used.max().item() - 0.092) < 5e-4
    m = np.linspace(0, 8, 40_001)
    for block, mean, wide in ((64, 2.60, 1.40), (256, 3.04, 1.65), (1024, 3.44, 1.86)):
        expected = integrate.trapezoid(1 - (2 * special.ndtr(m) - 1) ** block, m)
        assert round(expected, 2) == mean and round(expected / 1.8481, 2) == wide
    return table


@checks('eq-peft-panter')
def level_density():
    """Lloyd's iteration for an unscaled normal: K^2 times the error tends to (integral of p^(1/3))^3 / 12, and the levels spread by the root of 3."""
    k = 48
    v = 1.7 * special.ndtri((np.arange(k) + 0.5) / k)
    for _ in range(6000):
        edge = np.r_[-40, (v[1:] + v[:-1]) / 2, 40]
        p, c = np.exp(-edge**2 / 2) / math.sqrt(2 * math.pi), special.ndtr(edge)
        v = (p[:-1] - p[1:]) / np.diff(c)
    error = 1 - (np.diff(c) * v**2).sum()
    density = integrate.quad(lambda x: stats.norm.pdf(x) ** (1 / 3), -30, 30)[0]
    assert abs(error * k**2 / (density**3 / 12) - 1) < 0.05
    quarter, half = v[3 * k // 4], special.ndtri((3 * k // 4 + 0.5) / k)
    assert abs(quarter / half / math.sqrt(3) - 1) < 0.04


@checks('ex-peft-nf3')
def three_bits():
    delta = 929 / 960
    p = torch.linspace(delta, 0.5, 5, dtype=F64)[:-1], torch.linspace(delta, 0.5, 4, dtype=F64)[:-1]
    v = torch.cat([-torch.special.ndtri(p[1]), torch.zeros(1, dtype=F64), torch.special.ndtri(p[0])]).sort().values
    v = v / v.max()
    x = torch.randn(2**21 // 64, 64, dtype=F64)
    peak = x.abs().amax(1, keepdim=True)
    q = v[torch.bucketize(x / peak, (v[1:] + v[:-1]) / 2)]
    count = 32 * 128
    return {'a': v, 'b': (peak * q - x).square().mean(), 'c': ((3 * count + 8 * 128 + 32) / count, 'bit')}


@checks('eq-peft-dora')
def dora():
    """Autograd through magnitude times direction, and through PyTorch's weight normalisation with one magnitude per column."""
    layer = nn.utils.parametrizations.weight_norm(nn.Linear(4, 6, bias=False, dtype=F64), dim=1)
    g = torch.randn(6, 4, dtype=F64)
    (layer.weight * g).sum().backward()
    m, v = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    with torch.no_grad():
        length = v.norm(dim=0)
        unit = v / length
        torch.testing.assert_close(m.grad.flatten(), (unit * g).sum(0))
        torch.testing.assert_close(v.grad, m / length * (g - unit * (unit * g).sum(0)))
        assert (v * v.grad).sum(0).abs().max() < 1e-12
        # Through the factors the direction's update, G A^T A, is no longer orthogonal to it.
        a = torch.randn(2, 4, dtype=F64)
        assert (v * (v.grad @ a.T @ a)).sum(0).abs().max() > 1e-3


@checks('ex-peft-balance')
def balance():
    """Small steps of gradient descent keep B^T B - A A^T; rank one ends where the formula says."""
    s = 2.0
    d, o, r = 8, 6, 3
    target = torch.randn(o, d, dtype=F64)
    a, b = torch.randn(r, d, dtype=F64) / 3, torch.zeros(o, r, dtype=F64)
    start = b.T @ b - a @ a.T
    for _ in range(4000):
        g = s * b @ a - target
        a, b = a - 2e-4 * s * b.T @ g, b - 2e-4 * s * g @ a.T
    assert b.norm() > 0.5
    torch.testing.assert_close(b.T @ b - a @ a.T, start, atol=5e-3, rtol=0)
    a, b = torch.randn(1, d, dtype=F64) / 3, torch.zeros(o, 1, dtype=F64)
    first = a.square().sum()
    for _ in range(2000):
        g = s * b @ a - target
        a, b = a - 2e-4 * s * b.T @ g, b - 2e-4 * s * g @ a.T
    tau = (s * b @ a).norm()
    torch.testing.assert_close(a.square().sum(), (first + (first**2 + 4 * tau**2 / s**2).sqrt()) / 2, rtol=2e-3, atol=0)


@checks('prop-peft-outlier', 'eq-peft-bbp', 'eq-peft-intruder', 'fig-peft-intruder')
def outlier():
    """Gaussian matrices of width 1,000 plus an update, on both sides of the threshold; the critical ratios of the text."""
    d = 1000
    base = torch.randn(d, d, dtype=F64) / math.sqrt(d)
    assert abs(base.norm().item() / math.sqrt(d) - 1) < 0.01
    u, v = (torch.linalg.qr(torch.randn(d, 4, dtype=F64))[0] for _ in range(2))
    for tau in (0.6, 1.5, 2.5):
        left, values, _ = torch.linalg.svd(base + tau * u @ v.T)
        weight = (u.T @ left[:, 0]).square().sum().item()
        if tau < 1:
            assert weight < 0.15 and abs(values[0].item() - 2) < 0.05
        else:
            assert (values[:4] - (tau + 1 / tau)).abs().max() < 0.1 and values[4] < 2.03
            assert abs(weight - (1 - 1 / tau**2)) < 0.08
    assert [round(100 * math.sqrt(r / 4096), 2) for r in (1, 16, 256)] == [1.56, 6.25, 25.0]
    # A full-rank update of half the norm leaves no outlier of its own but mixes neighbouring singular vectors.
    before = torch.linalg.svd(base)[0]
    after = torch.linalg.svd(base + 0.5 * torch.randn(d, d, dtype=F64) / math.sqrt(d))[0]
    assert 5 <= ((before.T @ after[:, :10]).abs().amax(0) < 0.5).sum() <= 10


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(64, 128), nn.Linear(128, 128), nn.Linear(128, 8)])
        self.factors = None

    def weight(self):
        return self.layers[1].weight if self.factors is None else self.layers[1].weight + self.factors[0] @ self.factors[1]

    def forward(self, x):
        x = torch.tanh(self.layers[0](x))
        return self.layers[2](torch.tanh(x @ self.weight().T + self.layers[1].bias))


def teacher(seed):
    draw = torch.Generator().manual_seed(seed)
    first, second = torch.randn(32, 64, generator=draw) / 8, torch.randn(8, 32, generator=draw) / 32**0.5
    return lambda x: torch.tanh(2 * x @ first.T) @ second.T


def fit(net, parameters, target, steps, rate, seed):
    optimizer, draw = torch.optim.Adam(parameters, lr=rate), torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = torch.randn(256, 64, generator=draw)
        loss = (net(x) - target(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def small_network(settings):
    """Train on task A, fine-tune the middle matrix on A + 0.3 B in each setting: errors, relative change, first ten cosines with W_0."""
    torch.manual_seed(0)
    task, other = teacher(1), teacher(2)

    def new(x):
        return task(x) + 0.3 * other(x)

    base = Small()
    fit(base, base.parameters(), task, 1500, 2e-3, 5)
    start = base.layers[1].weight.detach().clone()
    before = torch.linalg.svd(start)[0]
    x = torch.randn(4096, 64, generator=torch.Generator().manual_seed(99))
    found = {}
    for name, (rank, rate) in settings.items():
        net = copy.deepcopy(base).requires_grad_(False)
        if rank:
            draw = torch.Generator().manual_seed(7)
            net.factors = [nn.Parameter(torch.zeros(128, rank)), nn.Parameter((torch.rand(rank, 128, generator=draw) * 2 - 1) / 128**0.5)]
            fit(net, net.factors, new, 600, rate, 6)
        else:
            fit(net, [net.layers[1].weight.requires_grad_()], new, 600, rate, 6)
        with torch.no_grad():
            cosine = (before.T @ torch.linalg.svd(net.weight())[0]).abs().amax(0)[:10]
            errors = [((net(x) - f(x)).square().mean() / f(x).square().mean()).item() for f in (new, task)]
            update = net.weight() - start
            change = (update.norm() / start.norm()).item()
            above = (torch.linalg.svdvals(update) > torch.linalg.matrix_norm(start, 2) / 2).sum().item()
        found[name] = {'new': errors[0], 'old': errors[1], 'change': change, 'above': above, 'cosines': [round(c, 3) for c in cosine.tolist()]}
    return found


SETTINGS = {'full 1e-4': (0, 1e-4), 'full 3e-4': (0, 3e-4), 'r=1': (1, 1e-3), 'r=4': (4, 1e-3), 'r=8': (8, 1e-3)}


@checks('tab-peft-small')
def intruders():
    """Train again; what is stored and printed agrees within what another machine's rounding may change."""
    data, again = stored('peft_intruder'), small_network({name: SETTINGS[name] for name in ('full 1e-4', 'r=1', 'r=4')})
    for name, other in again.items():
        row = data[name]
        assert all(abs(other[key] / row[key] - 1) < 0.1 for key in ('new', 'old', 'change'))
        assert abs(sum(c < 0.5 for c in row['cosines']) - sum(c < 0.5 for c in other['cosines'])) <= 1
    assert min(data['full 1e-4']['cosines']) > 0.7
    assert [again[name]['above'] for name in ('full 1e-4', 'r=1', 'r=4')] == [0, 1, 4]
    assert round(data['r=8']['change'] / data['full 3e-4']['change'], 1) == 1.7 and round(data['r=4']['change'] / data['full 1e-4']['change'], 1) == 2.5
    names = {'全量，1e-4': 'full 1e-4', '全量，3e-4': 'full 3e-4', '$r=1$，1e-3': 'r=1', '$r=4$，1e-3': 'r=4', '$r=8$，1e-3': 'r=8'}
    return {
        row: {
            '新误差': data[name]['new'], '甲误差': data[name]['old'], '变化': data[name]['change'],
            '个数': sum(c < 0.5 for c in data[name]['cosines']),
        } for row, name in names.items()
    }


@checks('prop-peft-bits', 'eq-peft-bits')
def bits():
    """Exact enumeration of a two-armed bandit with three rounds and two environments: information against the sum of entropies."""
    reward = {0: (0.9, 0.2), 1: (0.3, 0.7)}           # environment: success probability of each arm

    def entropy(p):
        return stats.entropy([p, 1 - p], base=2)

    def walk(history, likelihood, bound):
        if len(history) == 3:
            yield likelihood, bound
            return
        arm = 0 if sum(r for _, r in history) % 2 == len(history) % 2 else 1     # any rule that reads only the history
        weights = likelihood[0] + likelihood[1]
        p = (likelihood[0] * reward[0][arm] + likelihood[1] * reward[1][arm]) / weights
        for r in (0, 1):
            step = [q * (reward[e][arm] if r else 1 - reward[e][arm]) for e, q in enumerate(likelihood)]
            yield from walk((*history, (arm, r)), step, bound + entropy(p))

    ends = list(walk((), [0.5, 0.5], 0.0))
    information = sum(q * math.log2(q / (0.5 * (a + b))) for (a, b), _ in ends for q in (a, b))
    limit = sum((a + b) * bound for (a, b), bound in ends)
    assert 0.05 < information <= limit <= 3


@checks('tab-peft-forms', 'def-peft-lora')
def forms():
    """Parameter counts of the forms as modules, and the merges that exist."""
    i, o, r = 12, 9, 3
    x = torch.randn(i, 5, dtype=F64)
    w, a, b, scale = (torch.randn(*s, dtype=F64) for s in ((o, i), (r, i), (o, r), (o, 1)))
    assert a.numel() + b.numel() == r * (i + o)
    torch.testing.assert_close((w + b @ a) @ x, w @ x + b @ (a @ x))
    torch.testing.assert_close((scale * w) @ x, w @ x + (scale - 1) * (w @ x))
    adapter = nn.Sequential(nn.Linear(o, r, bias=False), nn.GELU(), nn.Linear(r, o, bias=False))
    assert sum(p.numel() for p in adapter.parameters()) == 2 * r * o
    # A prefix: attention over prefix and context is a convex mix of the two, with one weight per query.
    q, k, v = torch.randn(1, 4, dtype=F64), torch.randn(7, 4, dtype=F64), torch.randn(7, 4, dtype=F64)
    attend = nn.functional.scaled_dot_product_attention
    both, prefix, context = attend(q, k, v), attend(q, k[:2], v[:2]), attend(q, k[2:], v[2:])
    weight = torch.softmax(q @ k.T / 2, -1)[:, :2].sum()
    torch.testing.assert_close(both, context + weight * (prefix - context))


@checks('tab-peft-torch')
def documented_behaviour():
    """What the table of PyTorch functions says, tried out."""
    layer = nn.Linear(12, 9)
    assert layer.weight.shape == (9, 12)
    right, wrong = (nn.init.kaiming_uniform_(torch.empty(*s), a=math.sqrt(5)) for s in ((8, 2048), (2048, 8)))
    assert abs(right.abs().max().item() * 2048**0.5 - 1) < 0.01
    assert abs((wrong.var() / right.var()).item() / (2048 / 8) - 1) < 0.05

    class Update(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.randn(2, 12)), nn.Parameter(torch.randn(9, 2))

        def forward(self, w):
            return w + self.b @ self.a

    before = layer.weight.detach().clone()
    nn.utils.parametrize.register_parametrization(layer, 'weight', Update())
    adapted = layer.weight.detach().clone()
    assert torch.linalg.matrix_rank(adapted - before, atol=1e-4) == 2
    nn.utils.parametrize.remove_parametrizations(layer, 'weight')
    torch.testing.assert_close(layer.weight.detach(), adapted)
    assert nn.utils.parametrizations.weight_norm(nn.Linear(12, 9)).parametrizations.weight.original0.shape == (9, 1)
    assert nn.utils.parametrizations.weight_norm(nn.Linear(12, 9), dim=1).parametrizations.weight.original0.shape == (1, 12)
    m = torch.randn(5, 3, dtype=F64)
    u, s, vh = torch.linalg.svd(m)
    assert u.shape == (5, 5)
    torch.testing.assert_close(u[:, :3] * s @ vh, m)
    assert torch.special.ndtri(torch.tensor([0.0, 1.0])).tolist() == [-math.inf, math.inf]
    levels = torch.tensor([-1.0, 0.0, 1.0])
    assert torch.bucketize(torch.tensor(0.4), (levels[1:] + levels[:-1]) / 2) == 1 and torch.bucketize(torch.tensor(0.4), levels) == 2
    # Decay moves the factors, hence the weight, towards W_0; training A alone from B = 0 moves nothing.
    a, b = nn.Parameter(torch.randn(2, 12)), nn.Parameter(torch.randn(9, 2))
    size = (b @ a).norm().item()
    optimizer = torch.optim.AdamW([{'params': [a], 'lr': 0.1}, {'params': [b], 'lr': 0.2}])
    ((b @ a).sum() * 0).backward()
    optimizer.step()
    assert 0 < (b @ a).norm().item() < size
    a, b = nn.Parameter(torch.randn(2, 12)), torch.zeros(9, 2)
    (b @ a).sum().backward()
    assert not a.grad.any()
