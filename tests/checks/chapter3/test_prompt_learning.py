"""Section 3.3: numbers and derivations of prompts and prefixes, each computed another way than in the text."""

import importlib
import itertools
import json
import math
from pathlib import Path

import numpy as np
import torch
from scipy import integrate, optimize, special, stats
from torch import nn
from torch.nn import functional as F
from torch.nn.attention.bias import causal_lower_right
from torch.nn.attention.flex_attention import AuxRequest, flex_attention
from torch.utils.flop_counter import FlopCounterMode

from checks import checks

F64 = torch.float64
FIGURES = Path(__file__).parents[3] / 'figures/chapter3'
SCALES = (1, 0.3, 0.1)


def near(value, expected, digits):
    assert abs(float(value) - expected) <= 0.5 * 10**-digits + 1e-12, (float(value), expected)


@checks('thm-prompt-closed', 'eq-prompt-closed', 'def-prompt-prefix')
def closed_form():
    """One attention over prefix and content against the mixture; ratios of the content's weights."""
    for m, n, d in ((1, 5, 4), (7, 3, 6)):
        q, k, v = torch.randn(1, d, dtype=F64), torch.randn(n, d, dtype=F64), torch.randn(n, 3, dtype=F64)
        p, u = torch.randn(m, d, dtype=F64), torch.randn(m, 3, dtype=F64)
        both = F.scaled_dot_product_attention(q, torch.cat([p, k]), torch.cat([u, v]))
        o, prefix = F.scaled_dot_product_attention(q, k, v), F.scaled_dot_product_attention(q, p, u)
        t, s = p @ q[0] / d**0.5, k @ q[0] / d**0.5
        share = torch.sigmoid(t.logsumexp(0) - s.logsumexp(0))
        torch.testing.assert_close(both, (1 - share) * o + share * prefix)
        weight = F.scaled_dot_product_attention(q, torch.cat([p, k]), torch.eye(m + n, dtype=F64))[0]
        torch.testing.assert_close(weight[m:] / weight[m], (s - s[0]).exp())
        torch.testing.assert_close(weight[:m].sum(), share)


@checks('thm-prompt-cannot', 'eq-prompt-cannot', 'fig-prompt-prefix')
def cannot():
    """General optimizers over prefixes of any length against the bound; accuracy over all thresholds; mutual information by quadrature."""
    a, b = np.array([1, 1, -1, -1.0]), np.array([1, -1, 1, -1.0])

    def loss(x, beta, m):
        w = np.exp(np.concatenate([x[:m], [beta, 0]]))
        w /= w.sum()
        return np.mean((w[:m] @ x[m:] + w[m] * a + w[m + 1] * b - b) ** 2)

    script = importlib.import_module('figures.chapter3.prompt_prefix')
    for beta, m in itertools.product((0.5, 1, 2), (1, 3, 8)):
        found = min(optimize.minimize(loss, np.random.randn(2 * m), (beta, m), 'L-BFGS-B').fun for _ in range(3))
        assert abs(found - script.best_prefix(beta)) < 1e-5 and abs(found - special.expit(2 * beta)) < 1e-5 and found > 0.5
    for _, beta, value in script.trained():
        assert -1e-9 < value - script.best_prefix(beta) < 0.02
    near(script.best_prefix(2), 0.982, 3)
    near(loss(np.array([-50.0, 0]), 2, 1), 1.552, 3)
    best = 0
    for t, c in itertools.product(np.linspace(0.01, 1, 50), np.linspace(-2, 2, 201)):
        best = max(best, np.mean((t * (0.88 * a + 0.12 * b) + c > 0) == (b > 0)))
    assert best == 0.75
    p, noise = 1 / (1 + math.exp(-6)), 0.01
    bound = 0.5 * math.log2(1 + (1 - p) ** 2 / noise**2)
    near(bound, 0.043, 3)
    x = np.linspace(-1.2, 1.2, 200001)
    given = {s: np.mean([stats.norm.pdf(x, p * t + (1 - p) * s, noise) for t in (1, -1)], 0) for s in (1, -1)}
    mixed = np.maximum((given[1] + given[-1]) / 2, 1e-300)
    information = sum(integrate.trapezoid(special.xlogy(g, g / mixed) / math.log(2), x) / 2 for g in given.values())
    assert 0.5 * bound < information <= bound


@checks('eq-prompt-onestep')
def one_step():
    """Autograd through LoRA's factor B; the step that brings the logit difference to -6."""
    d, dk = 6, 4
    key, q, low = torch.randn(dk, d, dtype=F64), torch.randn(dk, dtype=F64), torch.randn(1, d, dtype=F64)
    x = torch.randn(2, d, dtype=F64)
    factor = torch.zeros(dk, 1, dtype=F64, requires_grad=True)
    a, b = torch.tensor([1.0, 1, -1, -1], dtype=F64), torch.tensor([1.0, -1, 1, -1], dtype=F64)

    def difference():
        s = x @ (key + factor @ low).T @ q / dk**0.5
        return s[0] - s[1] - offset + 2

    offset = 0.0
    offset = (difference() - 2).item()      # so that the difference starts at 2
    w = torch.sigmoid(difference())
    slope, = torch.autograd.grad((w * a + (1 - w) * b - b).square().mean(), factor)
    size = q.square().sum() * (low @ (x[0] - x[1])).square().sum() / dk
    for eta in (0.1, 3.0):
        with torch.no_grad():
            factor.copy_(-eta * slope)
            p = 1 / (1 + math.exp(-2))
            torch.testing.assert_close(difference(), 2 - 4 * eta * p**2 * (1 - p) * size)
    p = 1 / (1 + math.exp(6))
    value = np.mean((p * a.numpy() + (1 - p) * b.numpy() - b.numpy()) ** 2)
    near(value * 1e5, 1.2, 1)


@checks('ex-prompt-critique', 'eq-prompt-second')
def second_layer():
    """Two layers built of tensors: the relative attention of the second changes."""
    x = torch.eye(4, dtype=F64)[:3]
    w = torch.zeros(4, 4, dtype=F64)
    w[2, 0], w[3, 0], w[3, 1] = 2.0, -5.0, 5.0
    w[:, 3] = torch.randn(4, dtype=F64)     # what the keys gain is the same for both and cancels

    def relative(prefix):
        zero = torch.zeros(3, 4, dtype=F64)
        if prefix:      # three logits of zero and one of ln 3
            weight = torch.softmax(torch.tensor([math.log(3), 0, 0, 0], dtype=F64), 0)
            h = x + weight @ torch.cat([torch.eye(4, dtype=F64)[3:], zero])
        else:
            h = x
        s = h[2] @ w @ h[:2].T
        return torch.softmax(s, 0)[0]

    near(relative(False), 0.881, 3)
    near(relative(True), 0.047, 3)


@checks('prop-prompt-universal', 'eq-prompt-universal', 'fig-prompt-prefix')
def table():
    """The bound against attention on the circle, and the errors quoted."""
    script = importlib.import_module('figures.chapter3.prompt_prefix')
    n, bound = 5, 1.0
    angle = np.linspace(0, 2 * np.pi, 400)
    q = torch.tensor(np.stack([np.cos(angle), np.sin(angle)], 1))
    for m, kappa in ((16, 30.0), (64, 300.0), (256, 4000.0)):
        c = 2 * np.pi * np.arange(m) / m
        keys = kappa * 2**0.5 * torch.tensor(np.stack([np.cos(c), np.sin(c)], 1))
        content = torch.randn(n, 2, dtype=F64)
        content = content / content.norm(dim=1, keepdim=True) * 2**0.5 * bound
        values = torch.cat([torch.tensor(np.sin(3 * c)), torch.rand(n, dtype=F64) * 2 - 1])[:, None]
        out = F.scaled_dot_product_attention(q, torch.cat([keys, content]), values)[:, 0].numpy()
        eps = np.pi / m
        limit = 6 * eps + 2 * m * math.exp(-kappa * (math.cos(eps) - math.cos(2 * eps))) + 2 * n * math.exp(bound - kappa * math.cos(eps))
        assert np.abs(out - np.sin(3 * angle)).max() <= limit
    smooth = dict(zip(script.LENGTHS.tolist(), script.errors()['光滑'], strict=True))
    for m, quoted, digits in ((16, 0.17, 2), (64, 0.013, 3), (256, 0.001, 3)):
        c = torch.arange(m, dtype=F64) * (2 * np.pi / m)
        keys, values = torch.stack([c.cos(), c.sin()], 1), (3 * c).sin()[:, None]

        def error(log_kappa, keys=keys, values=values):
            out = F.scaled_dot_product_attention(q, math.exp(log_kappa) * 2**0.5 * keys, values)[:, 0].numpy()
            return np.abs(out - np.sin(3 * angle)).max()

        grid = np.linspace(0, 9, 46)
        start = grid[np.argmin([error(x) for x in grid])]
        near(optimize.minimize_scalar(error, bounds=(start - 0.2, start + 0.2), method='bounded').fun, quoted, digits)
        assert smooth[m] < 1.15 * quoted


def tensors(layers, d, heads, groups, head, m):
    """Parameters, bytes and FLOPs of m prefix tokens: from tensors on the meta device and the FLOP counter."""
    key = torch.empty(layers, 2, groups, m, head, device='meta', dtype=torch.bfloat16)
    q = torch.empty(1, heads, 1, head, device='meta')
    flops = []
    for n in (50, 50 + m):
        k = torch.empty(1, heads, n, head, device='meta')
        with FlopCounterMode(display=False) as counter:
            F.scaled_dot_product_attention(q, k, k)
        flops.append(counter.get_total_flops())
    return key.numel(), key.numel() * key.element_size(), (flops[1] - flops[0]) * layers


@checks('tab-prompt-ledger', 'eq-prompt-cost')
def ledger():
    lora = sum(layer.weight.shape[0] * 16 + layer.weight.shape[1] * 16 for layer in (
        nn.Linear(i, o, bias=False, device='meta')
        for i, o in ((4096, 4096), (4096, 1024), (4096, 1024), (4096, 4096), (4096, 14336), (4096, 14336), (14336, 4096))
    )) * 32
    rows = {}
    for name, m in (('提示微调 20', 20), ('前缀 20', 20), ('前缀 640', 640)):
        size, memory, flops = tensors(32, 4096, 32, 8, 128, m)
        rows[name] = {'参数': 20 * 4096 if name.startswith('提示') else size, 'KV（MiB）': memory / 2**20, 'MFLOP': flops / 1e6}
    rows['LoRA 不合并'] = {'参数': lora, 'KV（MiB）': 0, 'MFLOP': 2 * lora / 1e6}
    rows['LoRA 合并'] = {'参数': lora, 'KV（MiB）': 0, 'MFLOP': 0}
    size, memory, flops = tensors(32, 4096, 32, 8, 128, 1)
    assert (size, memory, flops) == (65536, 131072, 524288) and flops / size == 8
    near(rows['前缀 20']['MFLOP'] * 1e6 / (2 * 7504658432) * 100, 0.07, 2)
    near(2 * 7504658432 / 1e9, 15.0, 1)
    assert 2 * lora == 160 * flops and 2 * lora == 80 * 2**20       # FLOPs of 160 prefix tokens; bytes of the adapter in bf16
    near(1000 * 100 * memory / 2**30, 12.2, 1)
    near(rows['前缀 640']['MFLOP'] / rows['LoRA 不合并']['MFLOP'], 4, 6)
    return {'tab-prompt-ledger': rows}


@checks('ex-prompt-ledger')
def larger():
    size, memory, flops = tensors(80, 8192, 64, 8, 128, 100)
    assert memory == 32768000
    return {'a': size, 'b': (memory / 2**20, 'MiB'), 'c': (flops, 'FLOP'), 'd': flops / size}


@checks('eq-prompt-gradient', 'eg-prompt-init')
def gradient():
    t, u = torch.randn(3, dtype=F64, requires_grad=True), torch.randn(3, 4, dtype=F64, requires_grad=True)
    s, v, g = torch.randn(6, dtype=F64), torch.randn(6, 4, dtype=F64), torch.randn(4, dtype=F64)
    weight = torch.softmax(torch.cat([t, s]), 0)
    out = weight @ torch.cat([u, v])
    dt, du = torch.autograd.grad(out @ g, (t, u))
    torch.testing.assert_close(du, weight[:3, None] * g)
    torch.testing.assert_close(dt, weight[:3] * ((u - out) @ g))
    total = 512 * integrate.quad(lambda z: math.exp(z) * stats.norm.pdf(z), -10, 12)[0]
    near(total, 844, 0)
    logit = optimize.brentq(lambda x: math.exp(x) / (math.exp(x) + total) - 0.5, 0, 20)
    return {'eg-prompt-init': {'share': 1 / (1 + total), 'logit': logit}}


@checks('eq-prompt-reparam', 'ex-prompt-reparam')
def reparametrized():
    e, w = torch.randn(5, 2, dtype=F64, requires_grad=True), torch.randn(2, 4, dtype=F64, requires_grad=True)
    target = torch.randn(5, 4, dtype=F64)
    p = e @ w
    g = (p - target).detach()
    g[1] = 0
    de, dw = torch.autograd.grad((p * g).sum(), (e, w))
    eta = 1e-6
    with torch.no_grad():
        torch.testing.assert_close(e @ (w - eta * dw) - p, -eta * e @ e.T @ g)
        both = ((e - eta * de) @ (w - eta * dw) - p) / eta
        torch.testing.assert_close(both, -(e @ e.T @ g + g @ w.T @ w), atol=1e-4, rtol=1e-4)
        assert (e @ e.T @ g)[1].abs().max() > 0


@checks('tab-prompt-labels', 'eq-prompt-labels')
def labels():
    """Bayes' rule on the probabilities of label strings, and enumeration of all 2^16 random ones by their counts."""
    rows = {}
    for name, error in (('弱', 0.4), ('强', 0.2)):
        def normal(right, wrong):
            a = 0.99 * (1 - error) ** right * error**wrong
            return a / (a + 0.01 * error**right * (1 - error) ** wrong)

        chance = sum(math.comb(16, w) for w in range(17) if normal(16 - w, w) < 0.5) / 2**16
        rows[name] = {
            '每例 $\\ell$': math.log(normal(1, 0) / (1 - normal(1, 0)) / 99),
            '翻转所需个数': next(k for k in range(100) if normal(0, k) < 0.5),
            '8 例全翻后正常的概率': normal(0, 8), '16 例随机而误翻的概率': chance,
        }
    return {'tab-prompt-labels': rows}


@checks('eg-prompt-order', 'eq-prompt-order')
def order():
    """All 24 orders, the accuracies by numerical integration."""
    w = 2 * np.array([1 / 8, 1 / 4, 1 / 2, 1])
    shift = [float(w @ s) for s in itertools.permutations([1, 1, -1, -1])]

    def accuracy(b):
        right = [integrate.quad(lambda x, y=y: stats.norm.pdf(x, y) * (y * (2 * x + b) > 0), -8, 8, points=[-b / 2], limit=200)[0] for y in (1, -1)]
        return sum(right) / 2

    found = {b: accuracy(b) for b in set(shift)}
    near(found[1.25], 0.797, 3)
    near(((w - w.mean()) ** 2).sum(), 1.797, 3)
    for k in (4, 6):
        weight, y = np.random.randn(k), np.random.randn(k)
        values = [weight @ np.array(s) for s in itertools.permutations(y)]
        assert math.isclose(np.var(values), ((weight - weight.mean()) ** 2).sum() * ((y - y.mean()) ** 2).sum() / (k - 1))
    return {'eg-prompt-order': {
        'var': np.var(shift), 'best': max(found.values()), 'worst': min(found.values()),
        'mean': np.mean([found[b] for b in shift]), 'calibrated': accuracy(0.0),
    }}


@checks('eg-prompt-calibrate', 'eq-prompt-calibrate')
def three_inputs():
    like = np.array([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    biased = like * np.array([[0.8], [0.2]])
    biased /= biased.sum(0)

    def accuracy(prediction):
        tie = np.isclose(prediction[0], prediction[1])
        pick = np.where(tie, 0, prediction.argmax(0))
        return 0.5 * like[pick, range(3)].sum()

    batch = biased @ like.mean(0)
    calibrated = biased / biased[:, 1:2]
    assert accuracy(biased / batch[:, None]) == accuracy(calibrated)
    limit = optimize.brentq(lambda d: accuracy(calibrated * np.exp([[-d], [0]])) - 0.6, 0.5, 1.5)
    return {'before': accuracy(biased), 'after': accuracy(calibrated), 'batch': batch[0] / batch[1], 'limit': limit}


@checks('ex-prompt-calibrate')
def three_classes():
    p, free = torch.tensor([0.5, 0.3, 0.2], dtype=F64), torch.tensor([0.6, 0.25, 0.15], dtype=F64)
    a = torch.softmax(p.log() - free.log(), 0)
    b = torch.softmax(a.log() + torch.tensor([0.5, 0.25, 0.25], dtype=F64).log(), 0)
    c = torch.softmax(torch.linalg.inv(torch.diag(free)) @ p, 0)
    assert a.argmax() == c.argmax() == 2 and b.argmax() == 0
    return {'a': a, 'b': b, 'c': c}


def small_model(size=300, d=24, n=6, classes=3, steps=250):
    """A one-layer transformer trained to name the class with the largest sum of token scores; its embeddings and its forward map."""
    draw = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(*shape, generator=draw, dtype=F64)

    p = {
        'e': random(size, d), 'pos': random(n, d) / 2, 'q': random(d, d) / d**0.5, 'k': random(d, d) / d**0.5, 'v': random(d, d) / d**0.5,
        'u': random(d, 4 * d) / d**0.5, 'w': random(4 * d, d) / (4 * d) ** 0.5, 'o': random(d, classes) / d**0.5,
    }
    for t in p.values():
        t.requires_grad_()

    def forward(x):
        h = x + p['pos']
        z = F.rms_norm(h, (d,))
        h = h + F.scaled_dot_product_attention(z @ p['q'], z @ p['k'], z @ p['v'])
        h = h + torch.tanh(F.rms_norm(h, (d,)) @ p['u']) @ p['w']
        return 3 * h.mean(-2) @ p['o']

    worth = random(size, classes)
    optimizer = torch.optim.Adam(p.values(), 1e-2)
    for _ in range(steps):
        x = torch.randint(size, (64, n), generator=draw)
        loss = F.cross_entropy(forward(p['e'][x]), worth[x].sum(1).argmax(-1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return p['e'].detach(), forward, draw


def replacements(count, contexts=8):
    """First-order estimate against true change of the loss, for every replacement of a trigger token shared by the contexts."""
    table, forward, draw = small_model()
    rows, pairs = [], None
    for t in range(count):
        x = torch.randint(len(table), (contexts, 6), generator=draw)
        y = torch.full((contexts,), t % 3)
        old = table[int(torch.randint(len(table), (1,), generator=draw))].clone().requires_grad_()
        rest = table[x[:, 1:]]

        def loss(first):
            k = len(first)
            full = torch.cat([first[:, None, None].expand(k, contexts, 1, -1), rest.expand(k, -1, -1, -1)], 2)
            return F.cross_entropy(forward(full).flatten(0, 1), y.repeat(k), reduction='none').view(k, contexts).mean(1)

        base = loss(old[None])[0]
        slope = torch.autograd.grad(base, old)[0]
        row = {}
        for scale in SCALES:
            step = scale * (table - old.detach())
            estimate = step @ slope
            with torch.no_grad():
                true = loss(old + step) - base
            row[str(scale)] = {
                'spearman': float(stats.spearmanr(estimate, true)[0]),
                'rank': int((estimate < estimate[true.argmin()]).sum()),
                'error': float((estimate - true).square().mean().sqrt()),
            }
            if t == 0 and scale == 1:
                pairs = [[round(v, 5) for v in u.tolist()] for u in (estimate, true)]
        rows.append(row)
    return {'rows': rows, 'pairs': pairs}


@checks('fig-prompt-hotflip', 'eq-prompt-hotflip')
def hotflip():
    """The first trials of the stored data again; the numbers quoted from all of them."""
    stored = json.loads((FIGURES / 'prompt_hotflip.json').read_text())
    again = replacements(3)
    for old, new in zip(stored['rows'], again['rows'], strict=False):
        for scale in map(str, SCALES):
            assert abs(old[scale]['spearman'] - new[scale]['spearman']) < 0.02
            assert math.isclose(old[scale]['error'], new[scale]['error'], rel_tol=0.1)
    assert np.corrcoef(stored['pairs'][1], again['pairs'][1])[0, 1] > 0.999
    full, tenth = ([row[scale] for row in stored['rows']] for scale in ('1', '0.1'))
    assert len(full) == 40 and len(stored['pairs'][0]) == 300
    near(np.mean([x['spearman'] for x in full]), 0.92, 2)
    near(min(x['spearman'] for x in full), 0.69, 2)
    near(np.mean([x['spearman'] for x in tenth]), 0.999, 3)
    near(np.mean([x['error'] for x in full]), 1.28, 2)
    near(np.mean([x['error'] for x in tenth]), 0.017, 3)
    rank = np.array([x['rank'] for x in full])
    assert ((rank < 1).sum(), (rank < 5).sum(), (rank < 20).sum()) == (15, 35, 40)
    assert [max(row[scale]['rank'] for row in stored['rows']) + 1 for scale in map(str, SCALES)] == [12, 5, 2]
    assert (np.array(stored['pairs'][1]) > stored['pairs'][0]).mean() > 0.9


@checks('prop-prompt-winner', 'eq-prompt-winner', 'eq-prompt-shrink', 'fig-prompt-selection')
def winner():
    """Binomial validation scores; a population of candidates with real differences."""
    script = importlib.import_module('figures.chapter3.prompt_selection')
    sigma = math.sqrt(0.21 / 200)
    near(sigma, 0.0324, 4)
    near(sigma * math.sqrt(2 * math.log(100)), 0.098, 3)
    normal = np.random.randn(100000, 100).max(1).mean()
    near(sigma * normal, 0.081, 3)
    assert abs(normal - script.top(100)) < 0.01
    near(dict(zip(script.COUNTS.tolist(), script.simulated(), strict=True))[100], 0.079, 3)
    near((1 - stats.binom.cdf(np.arange(200), 200, 0.7) ** 100).sum() / 200 - 0.7, 0.079, 3)
    x = np.linspace(0, 20, 500)     # the side t > 0 is sub-Gaussian with the variance for p >= 1/2, and not for p < 1/2
    for p in (0.5, 0.7, 0.9, 0.3):
        excess = np.log(p * np.exp(x * (1 - p)) + (1 - p) * np.exp(-x * p)) - x**2 * p * (1 - p) / 2
        assert (excess.max() <= 1e-12) == (p >= 0.5)
        assert (excess + x**2 * (p * (1 - p) - 0.25) / 2).max() <= 1e-12
    excess = {n: math.sqrt(2 * math.log(n)) / script.top(n) - 1 for n in (10, 1000)}
    near(excess[10], 0.4, 1)
    near(excess[1000], 0.15, 2)
    true = 0.02 * np.random.randn(20000, 100)
    score = true + sigma * np.random.randn(20000, 100)
    best = score.argmax(1)
    apparent, real = score.max(1).mean(), true[np.arange(len(true)), best].mean()
    near(apparent, 0.095, 2)
    assert abs(apparent - script.gains(200)[0]) < 1e-3 and abs(real - script.gains(200)[1]) < 1e-3
    near(script.gains(200)[0], 0.095, 3)
    near(script.gains(200)[1], 0.026, 3)
    near(script.gains(200)[1] / script.gains(200)[0], 0.28, 2)


@checks('ex-prompt-winner', 'ex-prompt-split')
def budget():
    """Exact expected maxima over all N; simulation of the equicorrelated case."""
    script = importlib.import_module('figures.chapter3.prompt_selection')
    rho, sigma = 0.6, 0.3
    noise = math.sqrt(rho) * np.random.randn(100000, 1) + math.sqrt(1 - rho) * np.random.randn(100000, 20)
    assert abs(sigma * noise.max(1).mean() - math.sqrt(1 - rho) * sigma * script.top(20)) < 0.003
    gain = {n: script.gains(20000 / n, n=n)[1] for n in range(2, 60)}
    best = max(gain, key=gain.get)
    assert best == 28
    near(100 * gain[28], 3.06, 2)
    near(100 * gain[19], 3.01, 2)
    near(100 * script.gains(200)[1], 2.63, 2)
    rough = optimize.minimize_scalar(lambda n: -math.sqrt(2 * math.log(n)) / math.sqrt(1 + n * 0.21 / (20000 * 0.0004)), (5, 30), bounds=(2, 200), method='bounded').x
    near(rough, 19.4, 1)
    assert 1025 < 20000 / rough < 1035
    near(20000 * 0.0004 / 0.21, 38.1, 1)
    real = 0.02 * np.random.randn(4000, 64)
    total = np.zeros_like(real)
    for left in (64, 32, 16, 8):        # successive halving: 5000 questions a round
        n = 5000 / left
        total += n * real + math.sqrt(0.21 * n) * np.random.randn(*real.shape)
        keep = np.argsort(-total, 1)[:, :left // 2]
        total, real, best = np.take_along_axis(total, keep, 1), np.take_along_axis(real, keep, 1), real[np.arange(4000), keep[:, 0]].mean()
    near(100 * best, 3.8, 1)
    deviation = stats.binom(240, 0.75).std() / 240
    near(100 * deviation, 2.80, 2)
    near(100 * deviation * math.sqrt(2 * math.log(50)), 7.8, 1)
    error = math.sqrt(0.10 / 300)
    near(100 * error, 1.83, 2)
    near(100 * stats.norm.ppf(0.975) * error, 3.6, 1)
    near(100 * (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) * error, 5.1, 1)


@checks('eq-prompt-capacity')
def capacity():
    bits = math.log2(128256)
    near(bits, 16.97, 2)
    near(torch.empty(4096, dtype=torch.bfloat16).element_size() * 8 * 4096 / bits, 3862, 0)
    cache = 131072 * 8
    assert cache == 1048576 and 5.5e4 < cache / bits < 6.5e4
    near(131072 * 131072 / 2**30, 16, 6)
    near(16 / 38.6, 0.41, 2)
    assert 3350 < 131072 / 38.6 < 3450


@checks('eg-prompt-variance', 'eq-prompt-variance')
def formats():
    """Simulated crossed design, with one format and with ten."""
    def deviation(count, items=500, draws=3000):
        a = 0.03 * np.random.randn(draws, count)
        c = math.sqrt(0.15) * np.random.randn(draws, items)
        e = math.sqrt(0.06) * np.random.randn(draws, count, items) if count < 3 else math.sqrt(0.06 / items) * np.random.randn(draws, count)
        return (a.mean(1) + c.mean(1) + e.reshape(draws, -1).mean(1)).std()

    exact = {f: math.sqrt(sum(v / n for v, n in ((0.0009, f), (0.15, 500), (0.06, 500 * f)))) for f in (1, 10)}
    for f, value in exact.items():
        assert math.isclose(deviation(f), value, rel_tol=0.05)
    y = 0.3 * np.random.randn(20000, 5, 1) + np.random.randn(20000, 1, 8) + 0.7 * np.random.randn(20000, 5, 8)
    rest = y - y.mean(1, keepdims=True) - y.mean(2, keepdims=True) + y.mean((1, 2), keepdims=True)
    assert abs(y.mean(2).var(1, ddof=1).mean() - (0.09 + 0.49 / 8)) < 0.004
    assert abs((rest**2).sum((1, 2)).mean() / (4 * 7) - 0.49) < 0.01
    return {'eg-prompt-variance': {'naive': math.sqrt(0.21 / 500), 'one': exact[1], 'ten': exact[10]}}


@checks('eq-prompt-power')
def power():
    """The power of both tests at the sample sizes given, by simulation."""
    z = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    near(stats.norm.ppf(0.975), 1.960, 3)
    near(stats.norm.ppf(0.8), 0.842, 3)
    paired, independent = math.ceil(z**2 * (0.10 - 0.0004) / 0.0004), math.ceil(z**2 * (0.7 * 0.3 + 0.72 * 0.28) / 0.0004)
    assert (paired, independent) == (1955, 8077)
    counts = np.random.multinomial(paired, [0.06, 0.04, 0.90], 20000)
    delta, rate = (counts[:, 0] - counts[:, 1]) / paired, (counts[:, 0] + counts[:, 1]) / paired
    assert abs((np.abs(delta) / np.sqrt((rate - delta**2) / paired) > 1.96).mean() - 0.8) < 0.015
    p, q = np.random.binomial(independent, 0.70, 20000) / independent, np.random.binomial(independent, 0.72, 20000) / independent
    assert (np.abs(p - q) / np.sqrt((p * (1 - p) + q * (1 - q)) / independent) > 1.96).mean() - 0.8 < 0.015


@checks('prop-prompt-inject')
def injection():
    """Least probability of a string under bounded logits; tries until success."""
    size, bound = 7, 2.0
    worst = 1.0
    for signs in itertools.product((-bound, bound), repeat=size):
        worst = min(worst, torch.softmax(torch.tensor(signs, dtype=F64), 0).min().item())
    assert worst >= math.exp(-2 * bound) / size
    tries = next(k for k in range(1, 1000) if 1 - 0.99**k > 0.5), next(k for k in range(1, 1000) if 1 - 0.99**k > 0.95)
    assert tries == (69, 299)


@checks('ex-prompt-lambda')
def share():
    weight = torch.softmax(torch.tensor([2.0, 2, 1, 0], dtype=F64), 0)
    logit = optimize.brentq(lambda t: torch.softmax(torch.tensor([t, 2.0, 1, 0], dtype=F64), 0)[0].item() - 0.9, 0, 10)
    s = torch.cat([torch.ones(200, dtype=F64), -torch.ones(20000, dtype=F64)])
    return {'a': weight, 'b': logit, 'c': torch.softmax(s, 0)[:200].sum()}


@checks('ex-prompt-kernel')
def merging():
    """Equal keys merge exactly; keys on the queries, with biases, reproduce output and log-sum-exp at finitely many queries."""
    q, k, v = torch.randn(9, 3, dtype=F64), torch.randn(1, 3, dtype=F64), torch.randn(4, 2, dtype=F64)
    other, value = torch.randn(2, 3, dtype=F64), torch.randn(2, 2, dtype=F64)
    full = torch.softmax(q @ torch.cat([k.expand(4, 3), other]).T, -1) @ torch.cat([v, value])
    short = torch.softmax(q @ torch.cat([k, other]).T + torch.tensor([math.log(4), 0, 0], dtype=F64), -1) @ torch.cat([v.mean(0, keepdim=True), value])
    torch.testing.assert_close(full, short)
    keys, values, asked = torch.randn(40, 3, dtype=F64), torch.randn(40, 2, dtype=F64), torch.randn(5, 3, dtype=F64)
    asked = 2 * asked / asked.norm(dim=1, keepdim=True)
    s = asked @ keys.T
    sharp = 1e4
    t = sharp * asked @ asked.T + (s.logsumexp(-1) - sharp * asked.square().sum(-1))     # one key and one bias per query
    torch.testing.assert_close(torch.softmax(t, -1) @ (torch.softmax(s, -1) @ values), torch.softmax(s, -1) @ values, atol=1e-6, rtol=0)
    torch.testing.assert_close(t.logsumexp(-1), s.logsumexp(-1), atol=1e-6, rtol=0)


@checks('tab-prompt-torch')
def torch_traps():
    prefix, content, d = 3, 4, 8
    q, k, v = torch.randn(1, 1, content, d), torch.randn(1, 1, prefix + content, d), torch.eye(prefix + content)[None, None]
    left = F.scaled_dot_product_attention(q, k, v, is_causal=True)[0, 0]
    assert (left[0, 1:] == 0).all() and left[0, 0] == 1      # the first content query sees the first prefix alone
    right = F.scaled_dot_product_attention(q, k, v, attn_mask=causal_lower_right(content, prefix + content))[0, 0]
    assert (right[:, :prefix] > 0).all() and (right[0, prefix + 1:] == 0).all()
    value = torch.randn(1, 1, prefix + content, d)
    halves = [flex_attention(q, k[:, :, part], value[:, :, part], return_aux=AuxRequest(lse=True)) for part in (slice(prefix), slice(prefix, None))]
    (a, one), (b, two) = halves
    mix = torch.sigmoid(one.lse - two.lse)[..., None]
    torch.testing.assert_close(mix * a + (1 - mix) * b, F.scaled_dot_product_attention(q, k, value), atol=1e-4, rtol=1e-4)
    table = nn.Embedding(4, 3, max_norm=1.0)
    with torch.no_grad():
        table.weight.fill_(5.0)
    table(torch.tensor([1]))
    assert table.weight[1].norm() < 1.001 and table.weight[0].norm() > 8
    student, teacher = torch.randn(5, 7).log_softmax(-1), torch.randn(5, 7).softmax(-1)
    total = (teacher * (teacher.log() - student)).sum()
    torch.testing.assert_close(F.kl_div(student, teacher, reduction='batchmean'), total / 5)
    torch.testing.assert_close(nn.KLDivLoss()(student, teacher), total / 35)      # kl_div with its default reduction
    assert torch.topk(torch.tensor([3.0, 1.0, 2.0]), 1).indices == 0
