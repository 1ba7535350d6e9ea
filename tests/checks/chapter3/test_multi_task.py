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

    def change(theta, k):
        z = forward(theta, test[k][0]) - forward(base, test[k][0])
        return (z - z.mean(1, keepdim=True)).square().sum().item()

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
        'cross': [change(b, 'A') / change(a, 'A'), change(a, 'B') / change(b, 'B')],
        'cosine': F.cosine_similarity(ta, tb, dim=0).item(),
        'size': [v.norm().item() / base.norm().item() for v in (ta, tb)],
    }


def stored():
    return json.loads(DATA.read_text())


@checks('tab-multi-merge', 'fig-multi-merge', 'eq-multi-regmean')
def merging():
    """One seed trained again agrees with the stored runs, whose means are the table and the sentences about it."""
    data = stored()
    assert data['lambdas'] == LAMBDAS and data['alphas'] == ALPHAS and len(data['runs']) == 4
    threads = torch.get_num_threads()
    torch.set_num_threads(1)                             # a fixed order of summation
    again, kept = merge_run(1), data['runs'][1]
    torch.set_num_threads(threads)
    for name, values in kept['methods'].items():
        np.testing.assert_allclose(again['methods'][name], values, atol=0.03 if name == 'Fisher' else 0.003, rtol=0, err_msg=name)   # Fisher: labels drawn by the library's own sampler
    for key in ('scan', 'near', 'far'):
        np.testing.assert_allclose(again[key], kept[key], atol=0.002, rtol=0)
    runs = data['runs']
    mean = {name: np.mean([r['methods'][name] for r in runs], 0) for name in kept['methods']}
    scan = np.mean([r['scan'] for r in runs], 0)
    assert [LAMBDAS[k] for k in scan.argmin(0)] == [0.6, 0.6]
    assert all(-0.04 < r['cosine'] < 0 for r in runs) and all(0.22 < v < 0.29 for r in runs for v in r['size'])
    assert abs(np.mean([r['size'] for r in runs]) - 0.25) < 0.005
    np.testing.assert_allclose(again['cross'], kept['cross'], rtol=0.005)
    cross = np.array([r['cross'] for r in runs])
    assert abs(cross.min() - 0.30) < 0.006 and abs(cross.max() - 0.78) < 0.006
    predicted, actual = 1 / (1 + cross), np.array([[LAMBDAS[k] for k in np.argmin(r['scan'], 0)] for r in runs])
    assert abs(predicted.min() - 0.56) < 0.005 and abs(predicted.max() - 0.77) < 0.005 and abs(predicted.mean() - 0.72) < 0.006
    assert abs(actual.mean() - 0.61) < 0.006 and (predicted > actual).all() and abs((predicted - actual).mean() - 0.1) < 0.02
    assert np.corrcoef(predicted.flat, actual.flat)[0, 1] > 0.8
    assert (actual.min(), actual.max()) == (0.4, 0.7)
    near, far = (np.mean([r[k] for r in runs], 0) for k in ('near', 'far'))
    assert near[10] < min(near[0], near[-1])
    chord = far[0] + np.array(ALPHAS) * (far[-1] - far[0])
    assert abs((far - chord).max() - 0.84) < 0.01
    assert sum(i * o + o for i, o in zip(SIZES, SIZES[1:], strict=False)) == 4010
    total = {name: v[:2].sum() for name, v in mean.items()}
    assert total['联合训练'] < total['RegMean'] < total['Fisher'] < total['平均'] < total['TIES'] < total['DARE']
    each = {name: np.array([sum(r['methods'][name][:2]) / 2 for r in runs]) for name in ('平均', 'Fisher', 'RegMean')}
    lead = each['Fisher'] - each['RegMean']
    assert (each['平均'] > np.maximum(each['Fisher'], each['RegMean'])).all() and sorted(lead > 0) == [False, True, True, True] and abs(lead.min() + 0.001) < 5e-4
    rows = {'相加': '相加（$\\lambda=1$）', 'DARE': 'DARE（$p=0.9$）', 'TIES': 'TIES（留 20%）', '平均': '平均（$\\lambda=\\frac12$）', 'Fisher': 'Fisher（对角）'}
    return {rows.get(n, n): {'任务 A': v[0], '任务 B': v[1], '准确率': (v[2] + v[3]) / 2} for n, v in mean.items()}


# Pareto sets and directions


@checks('eq-multi-hull', 'thm-multi-scalar', 'fig-multi-front')
def hull():
    """Grid search over all weights; Chebyshev with the weights of the theorem returns each point of the front."""
    script = importlib.import_module('figures.chapter3.multi_front')
    line = script.reached(np.linspace(0.001, 0.999, 301), 'linear')
    root = optimize.brentq(lambda x: (1 - x) / (1 + x) - math.exp(-4 * x), 0.5, 0.999)
    assert abs(root - 0.9575) < 5e-5 and abs(np.abs(line).min() - root) < 1e-3
    both = script.losses(script.GRID)
    assert abs(script.GRID[np.argmin(both[0] + both[1])].__abs__() - root) < 1e-3
    for x in np.linspace(-0.95, 0.95, 9):
        first, second = script.losses(x)
        best = script.GRID[np.argmin(np.maximum((both[0] + 1) / (first + 1), (both[1] + 1) / (second + 1)))]   # z = -1
        assert abs(best - x) < 2e-4
    x = torch.tensor(0.0, dtype=F64)
    second = torch.autograd.functional.hessian(lambda t: 1 - (torch.exp(-(t - 1) ** 2) + torch.exp(-(t + 1) ** 2)) / 2, x)
    assert abs(second.item() + 2 / math.e) < 1e-12


@checks('prop-multi-quad', 'eq-multi-quad', 'ex-multi-front')
def quadratics():
    rng = np.random.default_rng(0)
    for _ in range(3):
        h = [a @ a.T + np.eye(3) for a in rng.standard_normal((2, 3, 3))]
        c = rng.standard_normal((2, 3))
        loss = [lambda t, h=h[i], c=c[i]: 0.5 * (t - c) @ h @ (t - c) for i in range(2)]

        def at(w, h=h, c=c, loss=loss):
            found = optimize.minimize(lambda t: w * loss[0](t) + (1 - w) * loss[1](t), np.zeros(3), tol=1e-12).x
            formula = np.linalg.solve(w * h[0] + (1 - w) * h[1], w * h[0] @ c[0] + (1 - w) * h[1] @ c[1])
            np.testing.assert_allclose(found, formula, atol=1e-5)
            return np.array([f(formula) for f in loss])

        for w in (0.3, 0.7):
            step = at(w + 1e-4) - at(w - 1e-4)
            assert abs(step[1] / step[0] + w / (1 - w)) < 1e-3
            point = w * c[0] + (1 - w) * c[1]
            assert abs(sum(np.linalg.norm(point - k) for k in c) - np.linalg.norm(c[0] - c[1])) < 1e-12

    def front(w):
        x = optimize.minimize_scalar(lambda x: w * (x - 1) ** 2 / 2 + (1 - w) * 2 * (x + 1) ** 2, bounds=(-1, 1), method='bounded', options={'xatol': 1e-12}).x
        return x, (x - 1) ** 2 / 2, 2 * (x + 1) ** 2

    np.testing.assert_allclose(front(0.5), (-0.6, 1.28, 0.32), atol=1e-6)
    assert abs(front(0.691)[0] + 0.283) < 1e-3
    w = optimize.brentq(lambda w: front(w)[1] - front(w)[2], 0.1, 0.9, xtol=1e-9)
    low, high = front(w - 1e-4), front(w + 1e-4)
    return {'ex-multi-front': {'a': np.round(front(0.8)[0], 6), 'b': np.round(front(0.8)[1:], 6), 'c': round(w * 3e6) / 3e6 if abs(w - 2 / 3) > 1e-6 else 2 / 3,
                               'd': np.round((high[2] - low[2]) / (high[1] - low[1]), 3)}}


def min_norm(g):
    """Minimum-norm point of the hull of the rows of g, by a general solver."""
    k = len(g)
    out = optimize.minimize(lambda w: ((w @ g) ** 2).sum(), np.full(k, 1 / k), jac=lambda w: 2 * g @ (w @ g), bounds=[(0, 1)] * k,
                            constraints={'type': 'eq', 'fun': lambda w: w.sum() - 1}, method='SLSQP', options={'ftol': 1e-15, 'maxiter': 500})
    return out.x


@checks('thm-multi-mgda', 'eq-multi-descent', 'eq-multi-mgda2')
def minimum_norm():
    rng = np.random.default_rng(1)
    for k in (2, 3, 4):
        for _ in range(5):
            g = rng.standard_normal((k, 6)) * rng.uniform(0.3, 3, (k, 1))
            w = min_norm(g)
            d = -w @ g
            assert (g @ d <= -(d @ d) + 1e-5).all()
            assert np.abs((g @ d + d @ d)[w > 1e-3]).max() < 1e-5
            direct = optimize.minimize(lambda v, g=g: v[0] + v[1:] @ v[1:] / 2, np.zeros(7), method='SLSQP', options={'ftol': 1e-14, 'maxiter': 500},
                                       constraints={'type': 'ineq', 'fun': lambda v, g=g: v[0] - g @ v[1:]}).x[1:]
            np.testing.assert_allclose(direct, d, atol=1e-4)
            if k == 2:
                gap = g[1] - g[0]
                assert abs(np.clip(g[1] @ gap / (gap @ gap), 0, 1) - w[0]) < 1e-5


def surgery(g, order):
    """PCGrad of the book's definition for each task, other tasks visited in the given order."""
    out = []
    for i, own in enumerate(g):
        v = own.copy()
        for j in order:
            if j != i and v @ g[j] < 0:
                v = v - (v @ g[j]) / (g[j] @ g[j]) * g[j]
        out.append(v)
    return np.array(out)


@checks('prop-multi-pcgrad', 'eq-multi-pc2', 'eq-multi-pcgain', 'eq-multi-pcstep', 'eg-multi-order')
def projections():
    rng = np.random.default_rng(2)
    wins = 0
    for _ in range(300):
        g = rng.standard_normal((2, 5)) * rng.uniform(0.2, 3, (2, 1))
        if g[0] @ g[1] >= 0:
            g[1] = -g[1]
        a, b = np.linalg.norm(g, axis=1)
        c = abs(g[0] @ g[1]) / (a * b)
        d, s = surgery(g, (0, 1)).sum(0), g.sum(0)
        np.testing.assert_allclose(np.linalg.lstsq(g.T, d, rcond=None)[0], (1 + c * b / a, 1 + c * a / b))
        np.testing.assert_allclose(((s @ d), (d @ d)), ((1 - c * c) * (a * a + b * b), (1 - c * c) * (a * a + b * b + 2 * c * a * b)))
        h = rng.standard_normal((5, 5))
        h, eta = h @ h.T, rng.uniform(0.01, 1)
        loss = lambda v: -eta * s @ v + eta**2 / 2 * v @ h @ v   # noqa: E731, B023
        better = loss(d) < loss(s)
        assert better == (2 * c * (2 * a * b - c * (a * a + b * b)) > eta * (d @ h @ d - s @ h @ s))
        wins += better
    assert 20 < wins < 280
    # Cosine beyond Phi: the step at which the two losses cross, found by a root search, against the bound of the text.
    crossed = 0
    while crossed < 10:
        a, b, c = 1.0, rng.uniform(3, 6), -rng.uniform(0.7, 0.95)
        g = np.array([[a, 0, 0], [b * c, b * math.sqrt(1 - c * c), 0]])
        d, s = surgery(g, (0, 1)).sum(0), g.sum(0)
        h = np.outer(s, s) + 0.1 * np.eye(3)
        saved = s @ h @ s - d @ h @ d
        lead = lambda eta: (-eta * s @ d + eta**2 / 2 * d @ h @ d) - (-eta * s @ s + eta**2 / 2 * s @ h @ s)   # noqa: E731, B023
        assert abs(c) > 2 * a * b / (a * a + b * b) and lead(1e-6) > 0      # small steps: always worse
        if saved > 1e-3:
            edge = optimize.brentq(lead, 1e-6, 1e6)
            np.testing.assert_allclose(edge, 2 * (c * c * (a * a + b * b) + 2 * c * a * b) / saved)
            crossed += 1
        else:
            assert lead(1e3) > 0
    g = np.array([[1.0, 0], [-1, 2], [-1, -1]])
    p, q = surgery(g, (1, 2))[0], surgery(g, (2, 1))[0]
    assert abs(p @ g[1] + 0.6) < 1e-12 and abs(q @ g[2] + 0.3) < 1e-12
    return {'eg-multi-order': {'p': p, 'q': q}}


def conflict_averse(g, kappa):
    """The ball problem of CAGrad solved directly, not through its dual."""
    mean = g.mean(0)
    radius = kappa * np.linalg.norm(mean)
    start = np.concatenate([[(g @ mean).min()], mean])
    out = optimize.minimize(lambda v: -v[0], start, method='SLSQP', options={'ftol': 1e-14, 'maxiter': 500}, constraints=[
        {'type': 'ineq', 'fun': lambda v: g @ v[1:] - v[0]}, {'type': 'ineq', 'fun': lambda v: radius**2 - ((v[1:] - mean) ** 2).sum()}])
    return out.x[1:], out.x[0]


@checks('eq-multi-cagrad', 'eq-multi-nash', 'tab-multi-weights', 'ex-multi-nash')
def other_directions():
    rng = np.random.default_rng(3)
    for _ in range(5):
        g = rng.standard_normal((3, 4))
        mean, kappa = g.mean(0), 0.4
        d, value = conflict_averse(g, kappa)
        dual = lambda w: (w @ g) @ mean + kappa * np.linalg.norm(mean) * np.linalg.norm(w @ g)   # noqa: E731, B023
        low = optimize.minimize(dual, np.full(3, 1 / 3), bounds=[(0, 1)] * 3, constraints={'type': 'eq', 'fun': lambda w: w.sum() - 1}, method='SLSQP',
                                options={'ftol': 1e-14}).fun
        assert abs(low - value) < 1e-5 and d @ mean >= (1 - kappa) * mean @ mean - 1e-6

        def nash(g):
            """Maximise the sum of logarithms over the unit ball, then rescale to the length sqrt(m)."""
            d = min_norm(g) @ g
            best = optimize.minimize(lambda v: -np.log(np.maximum(g @ v / np.linalg.norm(v), 1e-12)).sum(), d, tol=1e-12).x
            return best / np.linalg.norm(best) * math.sqrt(len(g))

        one = nash(g)
        alpha = np.linalg.lstsq(g.T, one, rcond=None)[0]
        np.testing.assert_allclose(g @ g.T @ alpha, 1 / alpha, rtol=1e-3)
        np.testing.assert_allclose(nash(g * np.array([[2.0], [0.5], [3.0]])), one, atol=2e-3)
    # Equiangular unit gradients.
    m, c = 4, -0.2
    unit = np.linalg.cholesky((1 - c) * np.eye(m) + c * np.ones((m, m)))
    alpha = optimize.fsolve(lambda a: unit @ unit.T @ a - 1 / a, np.ones(m))
    np.testing.assert_allclose(alpha, 1 / math.sqrt(1 + (m - 1) * c), rtol=1e-6)
    g = np.array([[1, 0], [3 * -0.5, 3 * math.sqrt(0.75)]])
    alpha = optimize.fsolve(lambda a: g @ g.T @ a - 1 / a, np.ones(2))
    ratio = lambda d: (lambda w: w[0] / w[1])(np.linalg.solve(g.T, d))   # noqa: E731
    return {'tab-multi-weights': {
        '等权': {'数值': 1.0}, 'PCGrad': {'数值': ratio(surgery(g, (0, 1)).sum(0))}, 'CAGrad，$\\kappa=\\frac12$': {'数值': ratio(conflict_averse(g, 0.5)[0])},
        'Nash-MTL': {'数值': alpha[0] / alpha[1]}, 'MGDA': {'数值': ratio(min_norm(g) @ g)}}}


@checks('eq-multi-kendall')
def uncertainty():
    for loss in (0.1, 2.0):
        found = optimize.minimize_scalar(lambda s, loss=loss: loss / (2 * s * s) + math.log(s), bounds=(0.01, 10), method='bounded', options={'xatol': 1e-10})
        assert abs(found.x**2 - loss) < 1e-6 and abs(found.fun - 0.5 - 0.5 * math.log(loss)) < 1e-9
    for sigma in (0.5, 1.0, 3.0):
        exact = F.cross_entropy(torch.zeros(1, 10, dtype=F64) / sigma**2, torch.tensor([0])).item()
        assert abs(exact - 2.303) < 5e-4
    low = optimize.minimize_scalar(lambda s: math.log(10) / s**2 + math.log(s), bounds=(0.1, 10), method='bounded', options={'xatol': 1e-10})
    assert abs(low.x**2 - 2 * math.log(10)) < 1e-5 and abs(low.fun - 1.264) < 5e-4


@checks('tab-multi-ends', 'fig-multi-front')
def where_methods_stop():
    """The figure's rules against an independent implementation of each (autograd, general solvers) with the same step."""
    script = importlib.import_module('figures.chapter3.multi_front')

    def grads(t):
        x, y = (torch.tensor(v, dtype=F64, requires_grad=True) for v in t)
        first, second = (x - 1) ** 2 / 2 + 5 * y**2, 2 * (x + 1) ** 2 + y**2 / 2
        return np.array([[v.item() for v in torch.autograd.grad(f, (x, y))] for f in (first, second)])

    rng = np.random.default_rng(4)
    for _ in range(20):
        t = rng.uniform(-2, 2, 2)
        g = grads(t)
        np.testing.assert_allclose(g, [[t[0] - 1, 10 * t[1]], [4 * (t[0] + 1), t[1]]], atol=1e-12)
        np.testing.assert_allclose(script.pcgrad(*g), surgery(g, (0, 1)).mean(0), atol=1e-12)
        np.testing.assert_allclose(script.mgda(*g), min_norm(g) @ g, atol=1e-4)

    def averse(g1, g2):
        mean, k = (g1 + g2) / 2, 0.5 * np.linalg.norm((g1 + g2) / 2)
        w = optimize.minimize_scalar(lambda w: (w * g1 + (1 - w) * g2) @ mean + k * np.linalg.norm(w * g1 + (1 - w) * g2), bounds=(0, 1), method='bounded').x
        mix = w * g1 + (1 - w) * g2
        return mean + k * mix / max(np.linalg.norm(mix), 1e-300)

    rows = {}
    for start, name in zip(script.STARTS, ('$(0.5,2)$', '$(-1.5,1.5)$', '$(2,1)$'), strict=True):
        rows[name] = {}
        for head, rule, steps in (('等权', script.equal, 1500), ('CAGrad', averse, 900), ('PCGrad', script.pcgrad, 1500), ('MGDA', script.mgda, 6000)):
            end = script.path(rule, start, steps)[-1]
            assert abs(end[1]) < 1e-3
            rows[name][head] = end[0]
    return {'tab-multi-ends': rows}


# Transfer


def borrowing(d, n1, n2, gap, share, draws=40_000):
    """Simulated risk of the first task."""
    one = torch.randn(draws, d, dtype=F64) / math.sqrt(n1)
    two = torch.randn(draws, d, dtype=F64) / math.sqrt(n2) + math.sqrt(gap / d)
    return ((1 - share) * one + share * two).square().sum(1).mean().item()


def exact(d, n1, n2, gap):
    """Alone, pooled and best risk from the covariance of the two estimates; the best by a one-dimensional search."""
    risk = lambda s: np.array([1 - s, s]) @ np.diag([d / n1, d / n2 + gap]) @ np.array([1 - s, s])   # noqa: E731
    best = optimize.minimize_scalar(risk, bounds=(0, 1), method='bounded', options={'xatol': 1e-12})
    return risk(0), risk(n2 / (n1 + n2)), best.fun, best.x


@checks('thm-multi-borrow', 'eq-multi-risk', 'eq-multi-neff', 'eg-multi-borrow', 'ex-multi-borrow', 'fig-multi-transfer')
def borrowed_samples():
    sep, pool, best, share = exact(64, 100, 10_000, 0.5)
    for value, s in ((sep, 0), (pool, 10_000 / 10_100), (best, share)):
        assert abs(borrowing(64, 100, 10_000, 0.5, s) / value - 1) < 0.01
    assert abs(share - 0.558) < 5e-4
    assert abs(64 / 10_100 - 0.0063) < 5e-5 and abs(pool - 64 / 10_100 - 0.4901) < 1e-4
    assert abs(64 / best - 100 - 126.4) < 0.05
    cap = 64 / exact(64, 100, 1e12, 0.5)[2] - 100
    cross = optimize.brentq(lambda n: exact(64, n, 10_000, 0.5)[0] - exact(64, n, 10_000, 0.5)[1], 50, 500)
    assert abs(cross - 129.7) < 0.1
    script = importlib.import_module('figures.chapter3.multi_transfer')
    sizes, points = script.simulated()
    for name, share in script.shares(sizes).items():
        np.testing.assert_allclose(points[name], script.risk(sizes, share), rtol=0.03)
    edge = optimize.brentq(lambda g: exact(256, 150, 3000, g)[0] - exact(256, 150, 3000, g)[1], 0.1, 10)
    other = optimize.brentq(lambda g: exact(256, 3000, 150, g)[0] - exact(256, 3000, 150, g)[1], 0.1, 10)
    assert abs(edge - other) < 1e-9
    one = exact(256, 150, 3000, 4)
    two = exact(256, 3000, 150, 4)
    return {
        'eg-multi-borrow': {'sep': sep, 'pool': pool, 'best': best, 'neff': 64 / best, 'cap': round(cap, 3)},
        'ex-multi-borrow': {'a': edge, 'b': one[:3], 'c': (256 / one[2] - 150, round(256 / exact(256, 150, 1e12, 4)[2] - 150, 4)), 'd': two[1] / two[0]},
    }


@checks('eq-multi-stein')
def james_stein():
    """Shrinking towards the other task by the estimated amount is never worse than no borrowing."""
    d, n1, n2 = 64, 100, 10_000
    for gap in (0.0, 0.5, 50.0):
        one = torch.randn(40_000, d, dtype=F64) / math.sqrt(n1)
        two = torch.randn(40_000, d, dtype=F64) / math.sqrt(n2) + math.sqrt(gap / d)
        far = (one - two).square().sum(1)
        assert abs(far.mean().item() / (gap + d / n1 + d / n2) - 1) < 0.02
        share = (d - 2) / n1 / far
        risk = (one + share[:, None] * (two - one)).square().sum(1).mean().item()
        assert risk < one.square().sum(1).mean().item()
        if gap == 0.5:
            assert abs(risk - 0.296) < 0.002


@checks('eq-multi-rank')
def shared_subspace():
    """Risk of the rank-k least-squares fit, orthonormal design and high signal-to-noise ratio."""
    d, m, k, n = 30, 12, 3, 100
    truth = torch.randn(d, k, dtype=F64) @ torch.randn(k, m, dtype=F64) * 3
    total = 0
    for _ in range(200):
        u, s, v = torch.linalg.svd(truth + torch.randn(d, m, dtype=F64) / math.sqrt(n), full_matrices=False)
        total += ((u[:, :k] * s[:k]) @ v[:k] - truth).square().sum().item() / m / 200
    assert abs(total / (k * (d + m - k) / (m * n)) - 1) < 0.03
    for d, m, k in ((9, 4, 3), (9, 3, 3), (9, 2, 3), (3, 7, 3)):
        assert (k * (d + m - k) < d * m) == ((d - k) * (m - k) > 0)


@checks('eq-multi-noise')
def measured_cosine():
    n = 4000
    zero = [F.cosine_similarity(*torch.randn(2, n, dtype=F64), dim=0).item() for _ in range(400)]
    assert abs(np.std(zero) * math.sqrt(n) - 1) < 0.12
    scale = torch.linspace(0.1, 3, n, dtype=F64)         # unequal variances: the effective dimension of the text
    zero = [F.cosine_similarity(*(torch.randn(2, n, dtype=F64) * scale), dim=0).item() for _ in range(400)]
    effective = scale.square().sum() ** 2 / scale.pow(4).sum()
    assert abs(np.std(zero) * effective.sqrt().item() - 1) < 0.12
    c = 0.6
    a = torch.zeros(n, dtype=F64)
    b = torch.zeros(n, dtype=F64)
    a[0], b[0], b[1] = 1, c, math.sqrt(1 - c * c)
    values = []
    for _ in range(300):
        x, y = (v + torch.randn(n, dtype=F64) * math.sqrt(nu / n) for v, nu in ((a, 9.0), (b, 9.0)))
        values.append(F.cosine_similarity(x, y, dim=0).item())
    assert abs(np.mean(values) - c / 10) < 0.004


# Sampling


def unimax(sizes, total, cap):
    """Largest equal share: the water level found by bisection, not by the book's loop."""
    level = optimize.brentq(lambda mu: np.minimum(mu, cap * sizes).sum() - total, 0, total)
    return np.minimum(level, cap * sizes)


@checks('alg-multi-unimax', 'eg-multi-unimax', 'ex-multi-unimax')
def water_level():
    def loop(sizes, total, cap):
        left, out = total, []
        for i, n in enumerate(sizes):
            out.append(min(left / (len(sizes) - i), cap * n))
            left -= out[-1]
        return np.array(out)

    rng = np.random.default_rng(5)
    for _ in range(20):
        sizes = np.sort(rng.uniform(1, 100, 6))
        np.testing.assert_allclose(loop(sizes, 150, 3), unimax(sizes, 150, 3), atol=1e-6)
    sizes = np.array([1.0, 4, 20, 200])
    share = torch.softmax(torch.tensor(np.log(sizes) / 3.33), 0).numpy()
    taken = unimax(sizes, 100, 4)
    np.testing.assert_allclose(taken / sizes, (4, 4, 2, 0.2))
    big = np.array([2.0, 5, 30, 60, 400])
    got = unimax(big, 200, 2)
    gamma = optimize.brentq(lambda g: 2**g / (big**g).sum() - 0.02, 0.1, 2)
    assert abs(200 * 400**gamma / (big**gamma).sum() - 128.2) < 0.05
    return {'eg-multi-unimax': {'u': np.round(taken, 9), 't': 100 * share / sizes}, 'ex-multi-unimax': {'a': np.round(got, 9), 'b': np.round(got / big, 9), 'c': gamma}}


@checks('eq-multi-sgd')
def second_moment():
    rng = np.random.default_rng(6)
    q, m = rng.uniform(0.1, 1, 4), rng.uniform(0.1, 5, 4)
    best = optimize.minimize(lambda z: (q**2 * m / np.exp(z - np.log(np.exp(z).sum()))).sum(), np.zeros(4), tol=1e-12)
    assert abs(best.fun - (q * np.sqrt(m)).sum() ** 2) < 1e-6


def adam_drift(draw, steps):
    """Mean step of torch.optim.Adam, in units of the learning rate, fed with the gradients drawn."""
    p = torch.zeros(64, dtype=F64, requires_grad=True)
    optimiser = torch.optim.Adam([p], 1.0, betas=(0.9, 0.999), eps=1e-30)
    warm = steps // 4
    for t in range(steps):
        p.grad = draw()
        if t == warm:
            start = p.detach().clone()
        optimiser.step()
    return ((p.detach() - start).mean() / (steps - warm)).item()


@checks('prop-multi-adam', 'eq-multi-adam', 'ex-multi-adam')
def adam_mixtures():
    p, mu, spread, batch = 1 / 16, 0.1, 1.0, 256
    gen = torch.Generator().manual_seed(0)
    noise = lambda n: mu + torch.randn(64, dtype=F64, generator=gen) * spread / math.sqrt(n)   # noqa: E731
    coin = lambda: torch.rand((), generator=gen).item() < p   # noqa: E731
    for scale in (1.0, 20.0):
        alone = adam_drift(lambda scale=scale: scale * noise(batch) if coin() else torch.zeros(64, dtype=F64), 8000)
        assert abs(alone + 0.212) < 0.02
    mixed = adam_drift(lambda: p * noise(p * batch), 4000)
    assert abs(mixed + 0.371) < 0.02
    skipped = adam_drift(lambda: noise(batch) if coin() else None, 8000)
    assert abs(skipped + p * mu / math.sqrt(mu**2 + spread**2 / batch)) < 0.006
    assert abs(math.sqrt(p) * mu / math.sqrt(mu**2 + spread**2 / batch) - 0.212) < 5e-4
    assert abs(mu / math.sqrt(mu**2 + spread**2 / (p * batch)) - 0.371) < 5e-4


@checks('prop-multi-adam')
def adam_shared():
    """A coordinate two tasks share: scaling one loss saturates."""
    gen = torch.Generator().manual_seed(1)
    p, mean, std = 0.25, (1.0, -0.5), (0.5, 0.5)
    for scale in (1.0, 30.0):
        def draw(scale=scale):
            first = torch.rand((), generator=gen).item() < p
            value = (mean[0] if first else mean[1]) + (std[0] if first else std[1]) * torch.randn(64, dtype=F64, generator=gen)
            return value * (scale if first else 1.0)

        top = p * scale * mean[0] + (1 - p) * mean[1]
        down = math.sqrt(p * scale**2 * (mean[0] ** 2 + std[0] ** 2) + (1 - p) * (mean[1] ** 2 + std[1] ** 2))
        assert abs(adam_drift(draw, 8000) + top / down) < 0.03


# Merging


@checks('thm-multi-jacobi', 'eq-multi-jacobi', 'eq-multi-lambda')
def linear_merging():
    """Gradient descent on the linearised model, run to the end."""
    n, wide = 4, 30
    phi = [torch.randn(n, wide, dtype=F64) for _ in range(3)]
    r = [torch.randn(n, dtype=F64) for _ in range(3)]
    taus = []
    for f, y in zip(phi, r, strict=True):
        t = torch.zeros(wide, dtype=F64)
        rate = 1 / torch.linalg.matrix_norm(f, 2) ** 2
        for _ in range(4000):
            t = t - rate * f.T @ (f @ t - y)
        taus.append(t)
    for lam in (0.3, 1.0):
        for i in range(3):
            left = r[i] - lam * phi[i] @ sum(taus)
            cross = sum(phi[i] @ phi[j].T @ torch.linalg.solve(phi[j] @ phi[j].T, r[j]) for j in range(3) if j != i)
            torch.testing.assert_close(left, (1 - lam) * r[i] - lam * cross, atol=1e-8, rtol=0)
    for rho in (0.0, 0.5, 1.0):
        own, other = torch.randn(2, 400_000, dtype=F64)
        best = optimize.minimize_scalar(lambda s, rho=rho, own=own, other=other: ((1 - s) * own - s * rho * other).square().mean().item(), bounds=(0, 1.5), method='bounded')
        assert abs(best.x - 1 / (1 + rho**2)) < 0.01 and abs(best.fun - rho**2 / (1 + rho**2)) < 0.01


@checks('eq-multi-soup', 'eq-multi-bias')
def soups():
    torch.manual_seed(3)
    f = lambda t: torch.stack([torch.tanh(t[0] * t[1]), t[1] ** 2, torch.sin(t[0]) + t[2]])   # noqa: E731
    centre = torch.randn(3, dtype=F64)
    u = torch.randn(5, 3, dtype=F64)
    u = 0.01 * (u - u.mean(0))
    gap = f(centre) - torch.stack([f(centre + v) for v in u]).mean(0)
    hess = torch.stack([torch.autograd.functional.hessian(lambda t, k=k: f(t)[k], centre) for k in range(3)])
    torch.testing.assert_close(gap, -torch.einsum('kij,ni,nj->k', hess, u, u) / 10, rtol=0.05, atol=1e-7)
    z, y = torch.randn(6, 1, 10, dtype=F64), torch.tensor([3])
    assert F.cross_entropy(z.mean(0), y) <= torch.stack([F.cross_entropy(v, y) for v in z]).mean()
    a = torch.randn(3, 3, dtype=F64)
    h, star = a @ a.T, torch.randn(3, dtype=F64)
    half = lambda v: 0.5 * v @ h @ v   # noqa: E731
    t = torch.randn(5, 3, dtype=F64)
    torch.testing.assert_close(sum(half(v - star) for v in t) / 5, half(t.mean(0) - star) + sum(half(v - t.mean(0)) for v in t) / 5)


@checks('eq-multi-regmean')
def closed_forms():
    """RegMean is the least-squares fit to both layers' outputs; Fisher merging maximises the product of Gaussians."""
    x = [torch.randn(20, 4, dtype=F64) for _ in range(2)]
    w = [torch.randn(4, 3, dtype=F64) for _ in range(2)]
    fit = torch.linalg.lstsq(torch.cat(x), torch.cat([a @ b for a, b in zip(x, w, strict=True)])).solution
    formula = torch.linalg.solve(sum(a.T @ a for a in x), sum(a.T @ a @ b for a, b in zip(x, w, strict=True)))
    torch.testing.assert_close(fit, formula)
    mats = [a.T @ a for a in x]
    centre = [torch.randn(4, dtype=F64) for _ in range(2)]
    dist = [torch.distributions.MultivariateNormal(c, precision_matrix=m) for c, m in zip(centre, mats, strict=True)]
    best = torch.linalg.solve(0.3 * mats[0] + 0.7 * mats[1], 0.3 * mats[0] @ centre[0] + 0.7 * mats[1] @ centre[1]).requires_grad_()
    (0.3 * dist[0].log_prob(best) + 0.7 * dist[1].log_prob(best)).backward()
    assert best.grad.norm() < 1e-9


@checks('prop-multi-dare', 'eq-multi-dare', 'ex-multi-dare', 'ex-multi-critique')
def dropping():
    """Enumeration of all masks."""
    tau, p = torch.tensor([0.5, -0.4, 0.1, 0.3], dtype=F64), 0.9
    other = torch.tensor([-0.3, -0.2, 0.05, 0.6], dtype=F64)
    masks = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=F64)] * 4)
    prob = (masks * (1 - p) + (1 - masks) * p).prod(1)
    kept = masks * tau / (1 - p)
    torch.testing.assert_close(prob @ kept, tau)
    h = torch.tensor([[1, 0.5, 0, 0], [0.5, 2, 0, 0], [0, 0, 4, 1], [0, 0, 1, 8]], dtype=F64)
    grad = torch.randn(4, dtype=F64)
    loss = lambda v: v @ grad + 0.5 * ((v @ h) * v).sum(-1)   # noqa: E731
    rise = prob @ loss(kept) - loss(tau)
    out = kept.sum(1)
    spread = (prob @ out.square() - (prob @ out) ** 2).sqrt()
    assert abs((prob @ out).item() - 0.5) < 1e-12 and abs(spread**2 - 4.59) < 1e-9
    one = p * 0.5 + (1 - p) * 0.5 * (1 / (1 - p) - 1) ** 2
    assert abs(one - 4.5) < 1e-12
    return {'ex-multi-dare': {'a': ties([tau, other], 0.5), 'b': (tau + other) / 2, 'c': rise, 'd': spread}}


@checks('prop-multi-teachers')
def teachers():
    q = torch.softmax(torch.randn(3, 6, dtype=F64), -1)
    w = torch.tensor([0.2, 0.5, 0.3], dtype=F64)
    for reverse, target in ((True, torch.softmax(w @ q.log(), 0)), (False, w @ q)):
        z = torch.zeros(6, dtype=F64, requires_grad=True)
        optimiser = torch.optim.LBFGS([z], max_iter=200, tolerance_grad=1e-12, line_search_fn='strong_wolfe')

        def step(reverse=reverse, z=z, optimiser=optimiser):
            optimiser.zero_grad()
            lp = torch.log_softmax(z, 0)
            total = sum(a * (F.kl_div(b.log(), lp, log_target=True, reduction='sum') if reverse else F.kl_div(lp, b, reduction='sum')) for a, b in zip(w, q, strict=True))
            total.backward()
            return total

        optimiser.step(step)
        torch.testing.assert_close(torch.softmax(z.detach(), 0), target, atol=1e-4, rtol=0)


@checks('tab-multi-torch')
def documented_behaviour():
    net = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    assert torch.nn.utils.parameters_to_vector(net.parameters()).numel() == 10       # no running statistics
    average = torch.optim.swa_utils.AveragedModel(net)
    for _ in range(3):
        net(torch.randn(8, 2) + 5)
        average.update_parameters(net)
    torch.testing.assert_close(average.module[1].running_mean, net[1].running_mean)  # the last, not the mean
    a, b = (torch.ones(1, requires_grad=True) for _ in range(2))
    try:
        torch.autograd.grad(a.sum(), (a, b))
    except RuntimeError:
        pass
    else:
        raise AssertionError
    assert torch.autograd.grad(a.sum(), (a, b), allow_unused=True)[1] is None
    optimiser = torch.optim.Adam([a, b], 0.1)
    for p in (a, b):
        p.grad = torch.ones(1)
    optimiser.step()
    a.grad, b.grad = torch.zeros(1), None
    before = a.item(), b.item()
    optimiser.step()
    assert a.item() != before[0] and b.item() == before[1]
    draws = list(torch.utils.data.WeightedRandomSampler([0.5 / 10] * 10 + [0.5 / 90] * 90, 4000))
    assert abs(sum(i < 10 for i in draws) / 4000 - 0.5) < 0.04
    try:
        torch.func.vmap(lambda x: F.dropout(x, 0.5))(torch.ones(3, 4))
    except RuntimeError:
        pass
    else:
        raise AssertionError
