"""Section 3.6: numbers and derivations of continual learning, each computed another way than in the text."""

import importlib
import itertools
import json
import math
import warnings
from pathlib import Path

import numpy as np
import torch
from scipy import integrate, optimize
from torch import nn
from torch.nn import functional as F

from checks import checks

F64 = torch.float64
FIGURES = Path(__file__).parents[3] / 'figures/chapter3'

TASKS, CLASSES, WIDTH, SHARED, OWN, NOISE, HIDDEN = 5, 10, 40, 4, 12, 0.8, 64
METHODS = ('naive', 'ewc', 'replay', 'projection')


def world(seed):
    """Five tasks with the same ten classes; inputs fill the first coordinates and a random subspace of the others, new for each task."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(CLASSES, SHARED + OWN, generator=draw, dtype=F64)
    tasks = []
    for _ in range(TASKS):
        turn = torch.zeros(WIDTH, SHARED + OWN, dtype=F64)
        turn[:SHARED, :SHARED] = torch.eye(SHARED, dtype=F64)
        turn[SHARED:, SHARED:] = torch.linalg.qr(torch.randn(WIDTH - SHARED, OWN, generator=draw, dtype=F64))[0]
        sets = []
        for size in (500, 500):
            label = torch.randint(CLASSES, (size,), generator=draw)
            sets.append(((centres[label] + NOISE * torch.randn(size, SHARED + OWN, generator=draw, dtype=F64)) @ turn.T, label))
        tasks.append(sets)
    return tasks, draw


def forward(weights, x):
    """Logits of a network of three layers without biases, and what enters each layer."""
    inputs = [x]
    for w in weights[:-1]:
        inputs.append(torch.relu(inputs[-1] @ w.T))
    return inputs[-1] @ weights[-1].T, inputs


def accuracy(weights, data):
    return (forward(weights, data[0])[0].argmax(-1) == data[1]).double().mean().item()


def fisher_diagonal(weights, x, draw):
    """Diagonal of the true Fisher matrix (labels drawn from the model), by squared per-sample gradients of linear layers."""
    logits, inputs = forward(weights, x)
    p = torch.softmax(logits, -1)
    back = p - F.one_hot(torch.multinomial(p, 1, generator=draw).squeeze(-1), CLASSES)
    out = []
    for w, a in zip(reversed(weights), reversed(inputs), strict=True):
        out.append((back.square().T @ a.square()) / len(x))
        back = (back @ w) * (a > 0)
    return out[::-1]


def sequence(method, seed, steps=300, rate=0.05, batch=32, strength=100.0, stored=50, share=0.25, energy=0.95):
    """Accuracy after each task on every task, row 0 before any training; momentum 0.9, the same budget for every method."""
    tasks, draw = world(seed)
    shapes = ((HIDDEN, WIDTH), (HIDDEN, HIDDEN), (CLASSES, HIDDEN))
    weights = [(torch.randn(s, generator=draw, dtype=F64) * math.sqrt(2 / s[1])).requires_grad_() for s in shapes]
    rows = [[accuracy([w.detach() for w in weights], test) for _, test in tasks]]
    precision = [torch.zeros(s, dtype=F64) for s in shapes]
    anchor = [w.detach().clone() for w in weights]
    kept = [torch.zeros(s[1], 0, dtype=F64) for s in shapes]
    memory = []
    for (x, y), _ in tasks:
        velocity = [torch.zeros(s, dtype=F64) for s in shapes]
        for _ in range(steps):
            size = batch
            if method == 'replay' and memory:
                size = batch - int(share * batch)
            pick = torch.randint(len(x), (size,), generator=draw)
            bx, by = x[pick], y[pick]
            if size < batch:
                old = torch.cat([m[0] for m in memory]), torch.cat([m[1] for m in memory])
                pick = torch.randint(len(old[0]), (batch - size,), generator=draw)
                bx, by = torch.cat([bx, old[0][pick]]), torch.cat([by, old[1][pick]])
            loss = F.cross_entropy(forward(weights, bx)[0], by)
            if method == 'ewc':
                loss = loss + strength / 2 * sum((f * (w - a).square()).sum() for f, w, a in zip(precision, weights, anchor, strict=True))
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for w, g, v, basis in zip(weights, gradients, velocity, kept, strict=True):
                    v.mul_(0.9).add_(g - g @ basis @ basis.T if method == 'projection' else g)
                    w.sub_(rate * v)
        now = [w.detach() for w in weights]
        rows.append([accuracy(now, test) for _, test in tasks])
        if method == 'ewc':
            precision = [p + f for p, f in zip(precision, fisher_diagonal(now, x, draw), strict=True)]
            anchor = [w.clone() for w in now]
        elif method == 'replay':
            pick = torch.randperm(len(x), generator=draw)[:stored]
            memory.append((x[pick], y[pick]))
        elif method == 'projection':
            for i, a in enumerate(forward(now, x)[1]):
                rest = a.T - kept[i] @ (kept[i].T @ a.T)
                u, s, _ = torch.linalg.svd(rest, full_matrices=False)
                total = a.square().sum()
                have = total - rest.square().sum()
                share_kept = (have + s.square().cumsum(0)) / total
                count = int((share_kept < energy).sum()) + 1 if have / total < energy else 0
                kept[i] = torch.cat([kept[i], u[:, :count]], 1)
    return np.array(rows), [k.shape[1] for k in kept]


def summary(r):
    """Average accuracy, backward and forward transfer of a matrix whose row 0 is the untrained network."""
    t = len(r) - 1
    return {
        'ACC': r[t].mean(),
        'BWT': np.mean([r[t, j] - r[j + 1, j] for j in range(t - 1)]),
        'FWT': np.mean([r[j, j] - r[0, j] for j in range(1, t)]),
    }


def plastic(pull, seeds=2, rounds=30, steps=100, samples=200, rate=3e-3):
    """Memorising fresh random labels again and again with Adam: final loss, dead units and weight norm per round."""
    draw = torch.Generator().manual_seed(0)
    shapes = ((64, 32), (64, 64), (10, 64))
    start = [torch.randn(seeds, *s, generator=draw, dtype=F64) * math.sqrt(2 / s[1]) for s in shapes]
    weights = [w.clone().requires_grad_() for w in start]
    m, v, t = [torch.zeros_like(w) for w in start], [torch.zeros_like(w) for w in start], 0
    out = []
    for _ in range(rounds):
        x = torch.randn(seeds, samples, 32, generator=draw, dtype=F64)
        y = torch.randint(10, (seeds, samples), generator=draw)
        for _ in range(steps):
            h1 = torch.relu(x @ weights[0].mT)
            h2 = torch.relu(h1 @ weights[1].mT)
            each = F.cross_entropy((h2 @ weights[2].mT).flatten(0, 1), y.flatten(), reduction='sum') / samples
            penalty = pull / 2 * sum((w - s).square().sum() for w, s in zip(weights, start, strict=True))
            gradients = torch.autograd.grad(each + penalty, weights)
            t += 1
            with torch.no_grad():
                for w, g, a, b in zip(weights, gradients, m, v, strict=True):
                    a.mul_(0.9).add_(g, alpha=0.1)
                    b.mul_(0.999).addcmul_(g, g, value=0.001)
                    w.sub_(rate * (a / (1 - 0.9**t)) / ((b / (1 - 0.999**t)).sqrt() + 1e-8))
        dead = torch.cat([(h1.amax(1) == 0).double(), (h2.amax(1) == 0).double()], -1).mean().item()
        norm = sum(w.square().sum((1, 2)) for w in weights).sqrt().mean().item()
        out.append((each.item() / seeds, dead, norm))
    return out


def generate():
    """Write the data of the figures and tables: run by hand after a change of the experiments."""
    runs = {m: [sequence(m, seed) for seed in range(3)] for m in METHODS}
    data = {
        'matrix': {m: np.mean([r for r, _ in run], 0).round(4).tolist() for m, run in runs.items()},
        'first': {m: run[0][0].tolist() for m, run in runs.items()},
        'kept': [k for _, k in runs['projection']],
        'plastic': {str(pull): np.round(plastic(pull), 4).tolist() for pull in (0.0, 1e-3)},
    }
    (FIGURES / 'cl_matrix.json').write_text(json.dumps(data, indent=1) + '\n', encoding='utf-8')


def stored():
    return json.loads((FIGURES / 'cl_matrix.json').read_text(encoding='utf-8'))


@checks('tab-cl-matrix', 'fig-cl-matrix', 'def-cl-metrics')
def five_tasks():
    """The table from the stored matrices; one seed of each method trained again; a large EWC penalty makes the steps unstable."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)       # tiny matrices: threads cost more than they bring
    try:
        data = stored()
        for method in METHODS:
            again, kept = sequence(method, 0)
            np.testing.assert_allclose(again, data['first'][method], rtol=0, atol=0.008)     # four of 500 test inputs: a change of 1e-8 at the start moves none
        assert kept == data['kept'][0] and {k[0] for k in data['kept']} == {36, 37}
        try:
            far = sequence('ewc', 0, strength=1000.0)[0]
            assert far[-1].mean() < 0.3
        except RuntimeError as error:
            assert 'nan' in str(error)
    finally:
        torch.set_num_threads(threads)
    out = {}
    for name, method in zip(('朴素', 'EWC', '回放', '投影'), METHODS, strict=True):
        r = np.array(data['matrix'][method])
        out[name] = {k: round(v, 3) for k, v in summary(r).items()} | {'末任务精度': r[5, 4]}
        assert min(r[j, j - 1] for j in range(1, 6)) > 0.905
    r = np.array(data['matrix']['projection'])
    assert r[3, :2].min() > 0.93 and r[5, :4].max() < 0.86
    return out


@checks('tab-cl-plastic')
def plasticity():
    """The stored history; its first ten rounds trained again, tightly while rounding errors (1e-8 at the start) cannot be seen."""
    data, out = stored()['plastic'], {}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for name, pull in (('无约束', '0.0'), ('拉向初值', '0.001')):
            again, old = np.array(plastic(float(pull), rounds=10)), np.array(data[pull])
            assert (np.abs(again - old[:10])[:6] < (0.001, 0.0041, 0.02)).all()      # one of 256 units
            assert (np.abs(again - old[:10]) < (0.01, 0.013, 0.2)).all()
            assert (old[-1, 0] > 1 and old[-1, 1] > 0.2) if pull == '0.0' else (old[:, 0].max() < 0.1 and old[:, 1].max() < 0.06)
            for i in (1, 10, 30):
                loss, dead, norm = data[pull][i - 1]
                out[f'{name}，第 {i} 轮'] = {'损失': loss, '失活': dead, '范数': norm}
    finally:
        torch.set_num_threads(threads)
    # A unit dead on every input receives no gradient at all.
    w = torch.ones(1, 3, dtype=F64).neg().requires_grad_()
    F.relu(torch.rand(50, 3, dtype=F64) @ w.T).sum().backward()
    assert w.grad.abs().max() == 0
    return out


def fit(x, y, w):
    """Where gradient descent on the squared error goes from w: the nearest exact solution, by least squares."""
    return w + torch.linalg.lstsq(x, y - x @ w, driver='gelsd').solution


@checks('eq-cl-update', 'eq-cl-forget', 'thm-cl-angle', 'eq-cl-angle')
def two_tasks():
    d = 12
    x1, x2 = torch.randn(4, d, dtype=F64), torch.randn(5, d, dtype=F64)
    target1, target2, w0 = torch.randn(3, d, 1, dtype=F64)
    # Plain gradient descent, many steps, against the projection.
    w1 = w0.clone()
    for _ in range(4000):
        w1 -= 0.02 * x1.T @ (x1 @ (w1 - target1))
    torch.testing.assert_close(w1, fit(x1, x1 @ target1, w0), atol=1e-6, rtol=0)
    w1 = fit(x1, x1 @ target1, w0)
    w2 = fit(x2, x2 @ target2, w1)
    p2 = torch.linalg.pinv(x2) @ x2
    torch.testing.assert_close((x1 @ (w2 - target1)).square().mean(), (x1 @ p2 @ (target2 - w1)).square().sum() / 4)
    # Same inputs, opposite labels: task 1 is overwritten entirely.
    w2 = fit(x1, -x1 @ target1, w1)
    torch.testing.assert_close(x1 @ w2, -x1 @ target1)
    # Common truth: the bound over random pairs, attained in the plane of the angle nearest 45 degrees.
    for _ in range(50):
        q1, q2 = (torch.linalg.qr(torch.randn(d, k, dtype=F64))[0].T for k in (4, 5))
        e0 = torch.randn(d, 1, dtype=F64)
        e = fit(q2, torch.zeros(5, 1, dtype=F64), fit(q1, torch.zeros(4, 1, dtype=F64), e0))
        angles = torch.linalg.svdvals(q1 @ q2.T).clamp(max=1).acos()
        bound = (torch.sin(2 * angles).square() / 4).max()
        assert (q1 @ e).square().sum() <= bound * e0.square().sum() + 1e-12
        p, q = q1.T @ q1, q2.T @ q2
        torch.testing.assert_close(torch.linalg.matrix_norm(p @ q @ (torch.eye(d, dtype=F64) - p), 2) ** 2, bound)
    for angle, forgotten in ((0.0, 0.0), (math.pi / 4, 0.25), (math.pi / 2, 0.0)):
        q2 = torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=F64)
        e = fit(q2, torch.zeros(1, 1, dtype=F64), torch.tensor([[0.0], [1.0]], dtype=F64))
        assert abs(e[0, 0].item() ** 2 - forgotten) < 1e-12


@checks('prop-cl-random', 'eq-cl-random', 'fig-cl-angles')
def random_subspaces():
    """Simulation with fresh subspaces, and the points of the figure against its lines."""
    script = importlib.import_module('figures.chapter3.cl_angles')
    rng = np.random.default_rng(1)
    for d, k1, k2 in ((8, 2, 3), (20, 10, 4), (30, 12, 20)):
        assert abs(script.sample(k1, k2, rng, d, 2500) / ((d - k1) * k2 * (d - k2) / (d * (d - 1) * (d + 2))) - 1) < 0.08
    ranks, points = script.data()
    for ratio, values in points.items():
        assert np.abs(np.array(values) - script.exact(ratio * script.D, ranks)).max() < 0.02
    assert math.isclose(script.plane(math.pi / 4), 0.25)
    assert script.exact(8, 2) / script.exact(8, 1) > 1.95


@checks('eg-cl-fisher', 'eq-cl-ewc')
def fishers():
    """Scores by autograd; labels enumerated for the true Fisher; the true Fisher of softmax against the expected Hessian."""
    z = torch.tensor(math.log(0.95 / 0.05), dtype=F64, requires_grad=True)
    score = [torch.autograd.grad(F.binary_cross_entropy_with_logits(z, torch.tensor(y, dtype=F64)), z)[0] for y in (0.0, 1.0)]
    true = 0.05 * score[0] ** 2 + 0.95 * score[1] ** 2
    x, w = torch.randn(3, dtype=F64), torch.randn(4, 3, dtype=F64)
    p = torch.softmax(w @ x, 0)
    total = torch.zeros(12, 12, dtype=F64)
    for y in range(4):
        g = torch.func.grad(lambda v, y=y: -torch.log_softmax(v @ x, 0)[y])(w).flatten()
        total += p[y] * torch.outer(g, g)
    hessian = torch.func.hessian(lambda v: torch.logsumexp(v.view(4, 3) @ x, 0))(w.flatten())
    torch.testing.assert_close(total, hessian)
    turn = torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=F64) / math.sqrt(2)
    f = turn @ torch.diag(torch.tensor([100.0, 1.0], dtype=F64)) @ turn.T
    for i, (real, diagonal) in enumerate(((50, 25.25), (0.5, 25.25))):
        step = turn[:, i]
        torch.testing.assert_close(step @ f @ step / 2, torch.tensor(real, dtype=F64))
        torch.testing.assert_close(step @ torch.diag(f.diag()) @ step / 2, torch.tensor(diagonal, dtype=F64))
    return {'true': true, 'empirical': score[1] ** 2, 'ratio': true / score[1] ** 2}


def anchored(m, h, separate):
    """Sequential quadratic tasks by numerical minimisation: one penalty per task, or one penalty at the latest centre."""
    centres = []
    for t in range(len(m)):
        def objective(v, t=t, centres=tuple(centres)):
            value = h[t] / 2 * (v - m[t]) ** 2
            if centres and separate:
                value += sum(h[s] / 2 * (v - c) ** 2 for s, c in enumerate(centres))
            elif centres:
                value += sum(h[:t]) / 2 * (v - centres[-1]) ** 2
            return value
        centres.append(optimize.minimize_scalar(objective, tol=1e-14).x)
    return centres[-1]


@checks('ex-cl-huszar', 'prop-cl-huszar', 'eq-cl-huszar')
def penalties():
    unit = np.eye(4)
    weights = [round(anchored(unit[i], [1] * 4, True), 6) for i in range(4)]
    nine = anchored(np.eye(12)[8], [1] * 12, True)
    assert abs(nine - 1 / 90) < 1e-6 and abs(anchored(np.eye(12)[0], [1] * 12, True) - 0.5) < 1e-6
    m = [0, 1, 2, 3]
    return {
        'weights': np.round(np.array(weights) * 12, 4) / 12,     # the minimiser is good to about eight digits: round to the grid
        'a': np.round(anchored(m, [1] * 4, True) * 12, 4) / 12,
        'b': np.round(anchored(m, [1] * 4, False) * 2, 4) / 2,
        'c': np.round(anchored(m, [4, 1, 1, 1], False) * 7, 4) / 7,
    }


@checks('eq-cl-si')
def path_integral():
    """Gradient flow by small steps; minibatch noise adds eta times its variance per step."""
    h, start = torch.tensor([3.0, 0.4], dtype=F64), torch.tensor([1.0, -2.0], dtype=F64)
    theta, omega, rate = start.clone(), torch.zeros(2, dtype=F64), 1e-3
    for _ in range(30_000):
        g = h * theta
        omega += rate * g * g
        theta -= rate * g
    torch.testing.assert_close(omega, h * start.square() / 2, rtol=5e-3, atol=0)
    torch.testing.assert_close(omega / start.square(), h / 2, rtol=5e-3, atol=0)
    g, noise, rate = 0.3, 2.0, 0.1
    sample = g + noise * torch.randn(1_000_000, dtype=F64)
    assert abs((rate * sample * sample).mean().item() - rate * (g**2 + noise**2)) < 5e-3


@checks('eq-cl-kl', 'prop-cl-pinsker', 'eq-cl-pinsker')
def divergence():
    for _ in range(300):
        p0, p = torch.softmax(2 * torch.randn(2, 6, dtype=F64), -1)
        m = torch.rand(6, dtype=F64).round()
        kl = (p0 * (p0 / p).log()).sum()
        gap = (m * (p - p0)).sum().abs()
        assert gap <= torch.minimum((kl / 2).sqrt(), (1 - (-kl).exp()).sqrt()) + 1e-12
        z, delta = p0.log(), 1e-4 * torch.randn(6, dtype=F64)
        q = torch.softmax(z + delta, -1)
        small = (p0 * (p0 / q).log()).sum()
        fisher = torch.diag(p0) - torch.outer(p0, p0)
        torch.testing.assert_close(small, delta @ fisher @ delta / 2, rtol=2e-3, atol=1e-14)
        variance = ((p0 * m).sum() * (1 - (p0 * m).sum())).clamp(min=0)
        assert (m * (q - p0)).sum().abs() <= (2 * small * variance).sqrt() * 1.002 + 1e-14
    assert math.isclose(math.sqrt(2 / 2), 1) and round(math.sqrt(1 - math.exp(-2)), 2) == 0.93
    assert round(0.99 * 0.01, 4) == 0.0099 and 4.9 < math.sqrt(0.25 / 0.0099) < 5.1


def kept_loss(r, rho):
    """Old loss at the numerical minimum of the mixture, over its value without replay (unit distance, b = 1)."""
    x = optimize.minimize_scalar(lambda v: (1 - rho) * (v - 1) ** 2 + rho * r * v**2, tol=1e-14).x
    return x * x


@checks('eg-cl-mix', 'eq-cl-mix', 'ex-cl-design')
def replay_share():
    slope = (kept_loss(10, 1e-4) - 1) / 1e-4
    assert abs(slope / (-2 * 10) - 1) < 0.01       # a/2 times -2r
    rng = np.random.default_rng(3)                 # going back part of the way: same share in every direction, whatever the curvatures
    old, new = (m @ m.T for m in rng.standard_normal((2, 5, 5)))
    end = rng.standard_normal(5)
    part = 0.7 * end
    assert math.isclose(part @ old @ part / (end @ old @ end), 0.49) and math.isclose((part - end) @ new @ (part - end) / (end @ new @ end), 1 - 0.91)
    need = [optimize.brentq(lambda rho, r=r: kept_loss(r, rho) - 0.1, 1e-4, 0.95, xtol=1e-12) for r in (1, 10, 100)]
    return {
        'eg-cl-mix': {f'r{r}': kept_loss(r, 0.05) for r in (100, 10, 1)},
        'ex-cl-design': {'a': need, 'b': 2e11 / 0.95 - 2e11},
    }


def gem(g, rows):
    """The quadratic programme by a general solver."""
    found = optimize.minimize(lambda v: np.sum((v - g) ** 2), np.zeros(len(g)), method='SLSQP', tol=1e-14,
                              constraints=[{'type': 'ineq', 'fun': lambda v, row=row: row @ v} for row in rows])
    return found.x


@checks('ex-cl-gem', 'eq-cl-gem', 'eq-cl-gemdual', 'eq-cl-agem')
def constraints():
    g1, g2, g = np.array([1.0, 0.0]), np.array([-0.6, 0.8]), np.array([-0.3, 0.1])
    single = gem(g, [(g1 + g2) / 2])
    both = gem(g, [g1, g2])
    rng = np.random.default_rng(0)
    for _ in range(5):
        rows, x = rng.standard_normal((3, 8)), rng.standard_normal(8)
        dual = optimize.minimize(lambda v: v @ rows @ rows.T @ v / 2 + rows @ x @ v, np.ones(3), bounds=[(0, None)] * 3, tol=1e-14).x
        np.testing.assert_allclose(x + rows.T @ dual, gem(x, rows), atol=1e-4)
        ref = rows[0]
        np.testing.assert_allclose(x - min(x @ ref, 0) / (ref @ ref) * ref, gem(x, [ref]), atol=1e-6)
    assert both @ g2 > 0
    theta = -0.2 * both
    return {'a': single.round(6), 'inner': (single @ g1).round(6), 'b': both.round(6), 'c': (g1 @ theta + 10 * theta @ theta).round(6)}


@checks('prop-cl-null', 'eq-cl-null')
def null_space():
    """The constrained minimum by the KKT system; leakage after dropping small singular values; a random target's learnable share."""
    k0, g = torch.randn(7, 3, dtype=F64), torch.randn(2, 7, dtype=F64)
    for row in g:
        kkt = torch.zeros(10, 10, dtype=F64)
        kkt[:7, :7], kkt[:7, 7:], kkt[7:, :7] = torch.eye(7, dtype=F64), k0, k0.T
        found = torch.linalg.solve(kkt, torch.cat([-0.1 * row, torch.zeros(3, dtype=F64)]))[:7]
        p = torch.eye(7, dtype=F64) - k0 @ torch.linalg.pinv(k0)
        torch.testing.assert_close(found, -0.1 * row @ p)
    k0 = torch.randn(7, 40, dtype=F64)
    u, s, _ = torch.linalg.svd(k0)
    delta = g @ (torch.eye(7, dtype=F64) - u[:, :4] @ u[:, :4].T)
    assert (delta @ k0).norm() <= delta.norm() * s[4] + 1e-12
    target = torch.randn(4000, 40, dtype=F64)
    assert abs((target[:, 30:].square().sum() / target.square().sum()).item() - 0.25) < 0.01


@checks('thm-cl-rome', 'eq-cl-rome', 'eq-cl-phi', 'eq-cl-memit', 'eq-cl-alpha')
def edits():
    """KKT and stacked least squares instead of the closed forms."""
    do, d = 3, 6
    k0, key, r = torch.randn(d, 20, dtype=F64), torch.randn(d, dtype=F64), torch.randn(do, dtype=F64)
    c = k0 @ k0.T
    kkt = torch.zeros(d + 1, d + 1, dtype=F64)
    kkt[:d, :d], kkt[:d, d], kkt[d, :d] = c, key, key
    right = torch.zeros(d + 1, do, dtype=F64)
    right[d] = r
    found = torch.linalg.solve(kkt, right)[:d].T
    solve = torch.linalg.solve(c, key)
    torch.testing.assert_close(found, torch.outer(r, solve) / (key @ solve))
    torch.testing.assert_close((found @ k0).square().sum(), r.square().sum() / (key @ solve))
    other = torch.randn(d, dtype=F64)
    torch.testing.assert_close(found @ other, r * (solve @ other) / (solve @ key))

    k1, want = torch.randn(d, 4, dtype=F64), torch.randn(do, 4, dtype=F64)
    stacked = torch.linalg.lstsq(torch.cat([k1.T, k0.T]), torch.cat([want.T, torch.zeros(20, do, dtype=F64)])).solution.T
    torch.testing.assert_close(stacked, want @ k1.T @ torch.linalg.inv(c + k1 @ k1.T))
    one = torch.linalg.lstsq(torch.cat([key[None], k0.T]), torch.cat([r[None], torch.zeros(20, do, dtype=F64)])).solution.T
    q = key @ solve
    torch.testing.assert_close(one, found * q / (1 + q))

    k0, kp = torch.randn(d, 2, dtype=F64), torch.randn(d, 3, dtype=F64)
    u = torch.linalg.svd(k0)[0][:, 2:]             # the null space in coordinates: delta = M u^T
    rows = torch.cat([k1.T @ u, torch.eye(4, dtype=F64), kp.T @ u])
    inside = torch.linalg.lstsq(rows, torch.cat([want.T, torch.zeros(7, do, dtype=F64)])).solution.T @ u.T
    p = u @ u.T
    formula = want @ k1.T @ p @ torch.linalg.inv(kp @ kp.T @ p + k1 @ k1.T @ p + torch.eye(d, dtype=F64))
    torch.testing.assert_close(formula, inside)
    assert (formula @ k0).abs().max() < 1e-12


@checks('ex-cl-rome')
def edit_cost():
    """Simulated keys of a common covariance; the lazy update costs at least as much, every time."""
    d, n = 12, 50
    root = torch.randn(d, d, dtype=F64)
    c = n * root @ root.T
    keys = torch.randn(200_000, d, dtype=F64) @ root.T
    q = (keys * torch.linalg.solve(c, keys.T).T).sum(-1)
    assert abs((1 / (n * q)).mean().item() * (d - 2) - 1) < 0.02
    lazy = (keys * (keys @ c)).sum(-1) / keys.square().sum(-1) ** 2
    assert (lazy >= 1 / q * (1 - 1e-9)).all()


@checks('fig-cl-edits', 'eq-cl-growth', 'eq-cl-kaczmarz')
def many_edits():
    script = importlib.import_module('figures.chapter3.cl_edits')
    runs, counts, ridge = script.data()
    norm, error = runs[0.0]
    steps = np.arange(1, script.COUNT + 1)
    theory = script.D / (script.D - 2) * (1 - (1 - 1 / script.D) ** steps)
    assert np.abs(norm / theory - 1)[8:].max() < 0.08
    assert abs(error[127] - 1.0) < 0.05 and abs(ridge[counts.index(128)] - 0.04) < 0.01 and max(ridge[:3]) < 0.005
    assert runs[0.3][1][39] > error[39] + 0.2 and 0.7 < ridge[-1] < 0.8 and error[-1] > 1.8


@checks('eq-cl-npo', 'prop-cl-npo', 'eq-cl-npotime', 'ex-cl-npo')
def negative_preference():
    """Gradient weight by autograd; the flow by a numerical integrator."""
    u = torch.linspace(-30, 5, 30, dtype=F64, requires_grad=True)
    for beta in (0.05, 0.5):
        loss = -2 / beta * F.logsigmoid(-beta * u)
        weight = torch.autograd.grad(loss.sum(), u)[0]
        ratio = u.detach().exp()
        torch.testing.assert_close(weight, 2 * ratio**beta / (ratio**beta + 1))
    small = 1e-6
    torch.testing.assert_close(-2 / small * F.logsigmoid(-small * u) - 2 / small * math.log(2), u, atol=1e-3, rtol=1e-3)

    def flow(times, beta=0.1):
        return integrate.solve_ivp(lambda _, v: -2 / (1 + np.exp(-beta * v)), (0, times[-1]), [0.0], t_eval=times, rtol=1e-10, atol=1e-10).y[0]

    assert abs(flow([1000])[0] + 52.8) < 0.05
    reach = [integrate.quad(lambda v: (1 + np.exp(-0.1 * v)) / 2, end, 0)[0] for end in (-20, -100)]
    assert abs(flow([reach[0]])[0] + 20) < 1e-5 and abs(reach[1] - 110_177) < 1
    late = 1e7
    assert abs(flow([late])[0] + 10 * math.log(0.2 * late)) < 0.01
    w = torch.autograd.grad(-20 * F.logsigmoid(-0.1 * u).sum(), u)[0]
    exact = np.interp(-20, u.detach().numpy(), w.numpy())
    assert abs(exact - 0.2384) < 0.01
    v = torch.tensor(-20.0, dtype=F64, requires_grad=True)
    return {'ex-cl-npo': {'a': reach[0], 'ratio20': reach[0] / 20, 'ratio100': reach[1] / 100,
                          'w': torch.autograd.grad(-20 * F.logsigmoid(-0.1 * v), v)[0]}}


@checks('eg-cl-relearn', 'prop-cl-relearn', 'eq-cl-relearn')
def relearning():
    """Keys with the wanted inner products, refitted by least squares from the suppressed model."""
    def recovered(m, rho, facts=16, d=40):
        gram = (1 - rho) * torch.eye(facts, dtype=F64) + rho
        keys = torch.zeros(facts, d, dtype=F64)
        keys[:, :facts] = torch.linalg.cholesky(gram)
        shift = torch.linalg.lstsq(keys[:m], -torch.ones(m, 1, dtype=F64), driver='gelsd').solution
        return -(keys[-1] @ shift).item()

    for m, rho in itertools.product((1, 3, 12), (0.1, 0.6)):
        assert math.isclose(recovered(m, rho), m * rho / (1 + (m - 1) * rho), rel_tol=1e-9)
    return {'eg-cl-relearn': {'m1': recovered(1, 0.5), 'm10': recovered(10, 0.5)}}


@checks('eq-cl-fast', 'eq-cl-titans')
def fast_weights():
    keys, values, w = torch.randn(9, 4, dtype=F64), torch.randn(9, 3, dtype=F64), torch.randn(3, 4, dtype=F64)
    k, v = keys[0], values[0]
    for loss, after in ((lambda w: -(w @ k) @ v, w + 0.1 * torch.outer(v, k)),
                        (lambda w: (w @ k - v).square().sum() / 2, w @ (torch.eye(4, dtype=F64) - 0.1 * torch.outer(k, k)) + 0.1 * torch.outer(v, k))):
        torch.testing.assert_close(w - 0.1 * torch.func.grad(loss)(w), after)
    eta, theta, alpha = 0.6, 0.3, 0.2
    s = m = torch.zeros(3, 4, dtype=F64)
    for k, v in zip(keys, values, strict=True):
        s = eta * s - theta * torch.func.grad(lambda w, k=k, v=v: -(w @ k) @ v)(m)
        m = (1 - alpha) * m + s
    kernel = [sum(eta**j * (1 - alpha) ** (n - j) for j in range(n + 1)) for n in range(9)]
    torch.testing.assert_close(m, theta * sum(kernel[8 - i] * torch.outer(values[i], keys[i]) for i in range(9)))


@checks('ex-cl-metrics', 'eq-cl-metrics')
def metrics():
    r = np.array([[0.1, 0.1, 0.1], [0.9, 0.3, 0.2], [0.6, 0.9, 0.4], [0.5, 0.7, 0.9]])
    flat = np.array([[0.1] * 3] + [[0.5] * 3] * 3)
    assert summary(flat)['BWT'] == 0 and math.isclose(summary(flat)['FWT'], 0.4)
    return summary(r)


@checks('ex-cl-cycle')
def cycling():
    for angle, rounds in ((0.3, 1), (0.8, 2), (0.2, 5)):
        x = [torch.tensor([[1.0, 0.0]], dtype=F64), torch.tensor([[math.cos(angle), math.sin(angle)]], dtype=F64)]
        e = torch.tensor([[0.0], [1.0]], dtype=F64)
        for i in range(2 * rounds):
            e = fit(x[i % 2], torch.zeros(1, 1, dtype=F64), e)
        assert math.isclose(e[0, 0].item() ** 2, math.sin(angle) ** 2 * math.cos(angle) ** (4 * rounds - 2), rel_tol=1e-9)
    for n in (1, 3, 200):
        grid = np.linspace(0, np.pi / 2, 400_001)
        worst = (np.sin(grid) ** 2 * np.cos(grid) ** (4 * n - 2)).max()
        assert abs(worst / ((1 - 1 / (2 * n)) ** (2 * n - 1) / (2 * n)) - 1) < 1e-4
    assert abs(worst * 2 * math.e * 200 - 1) < 0.01


@checks('tab-cl-torch', 'ex-cl-olora')
def traps():
    p0, p = torch.softmax(torch.randn(2, 5, 7, dtype=F64), -1)
    reference = (p0 * (p0 / p).log()).sum(-1)
    torch.testing.assert_close(F.kl_div(p.log(), p0, reduction='batchmean'), reference.mean())
    with warnings.catch_warnings(action='ignore'):
        torch.testing.assert_close(nn.KLDivLoss()(p.log(), p0), reference.mean() / 7)    # the default of the function, too
    far = torch.tensor(-800.0, dtype=F64)
    assert F.logsigmoid(far) == -800 and torch.sigmoid(far).log() == -math.inf
    x, y = torch.randn(3, 8, dtype=F64), torch.randn(3, 1, dtype=F64)
    torch.testing.assert_close(torch.linalg.lstsq(x, y).solution, torch.linalg.pinv(x) @ y)
    # Squaring the gradient of a batch mean loses most of the mean of the squares.
    g = torch.randn(256, 10, dtype=F64)
    assert g.mean(0).square().sum() < 0.03 * g.square().mean(0).sum()
    # Adam after the projection is no longer orthogonal; momentum carries the old task; weight decay is outside the null space.
    key = torch.randn(6, dtype=F64)
    key /= key.norm()
    for make, leaks in ((lambda w: torch.optim.Adam([w], lr=0.1), True), (lambda w: torch.optim.SGD([w], lr=0.1), False),
                        (lambda w: torch.optim.SGD([w], lr=0.1, weight_decay=0.1), True)):
        w = nn.Parameter(torch.randn(6, dtype=F64))
        before, optimizer = (w @ key).item(), make(w)
        g = torch.randn(6, dtype=F64)
        w.grad = g - (g @ key) * key
        optimizer.step()
        assert (abs((w @ key).item() - before) > 1e-4) == leaks
    w = nn.Parameter(torch.zeros(6, dtype=F64))
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9)
    w.grad = key.clone()
    optimizer.step()
    before = (w @ key).item()
    w.grad = torch.zeros(6, dtype=F64)
    optimizer.step()
    assert abs((w @ key).item() - before) > 0.05
    x, a1, a2 = torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    assert a1 @ a2 == 0 and a2 @ x == 1
