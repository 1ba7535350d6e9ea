"""Section 2.6: code lengths, in-context learning, scaling exponents, grokking, memory and hallucination, each computed another way."""

import importlib
import itertools
import json
import math
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import torch
from scipy import integrate, optimize, special
from scipy.interpolate import LinearNDInterpolator
from scipy.spatial import cKDTree
from torch.nn import functional as F

from checks import checks

F64 = torch.float64
FIGURES = Path(__file__).parents[3] / 'figures/chapter2'


# ---- code length

def kt_code(bits):
    """Code length of a binary sequence under the sequential predictor, symbol by symbol."""
    counts, total = [0, 0], 0.0
    for bit in bits:
        total -= math.log((counts[bit] + 0.5) / (sum(counts) + 1))
        counts[bit] += 1
    return total


def bernoulli_code(bits):
    ones, n = sum(bits), len(bits)
    return -sum(k * math.log(k / n) for k in (ones, n - ones) if k)


@checks('tab-learn-kt', 'prop-learn-kt', 'eq-learn-kt', 'def-learn-prequential', 'eq-learn-prequential')
def kt_table():
    table = {}
    for n in (10, 100, 1000, 10_000):
        same, mixed = [0] * n, [i % 2 for i in range(n)]
        excess = [kt_code(bits) - bernoulli_code(bits) for bits in (same, mixed)]
        bound = math.log(n) / 2 + math.log(2)
        table[str(n)] = {'全 0 序列': excess[0], '0、1 各半': excess[1], '界 {eq}`eq-learn-kt`': bound}
    assert abs(excess[0] - math.log(math.pi * n) / 2) < 1e-3 and abs(excess[1] - math.log(math.pi * n / 2) / 2) < 1e-3
    for n in range(1, 13):          # every sequence; and the code is complete
        words = list(itertools.product((0, 1), repeat=n))
        assert math.isclose(sum(math.exp(-kt_code(word)) for word in words), 1)
        assert max(kt_code(word) - bernoulli_code(word) for word in words) <= math.log(n) / 2 + math.log(2) + 1e-12
    for n in range(2, 300):         # the constant 0.70 of the proof, for a, b >= 1
        for a in {1, n // 3 or 1, n // 2}:
            excess = bernoulli_code([0] * a + [1] * (n - a)) - kt_code([0] * a + [1] * (n - a))
            assert math.exp(excess) > 0.70 / math.sqrt(n)
    per_token = 0.5 * math.log(20 * 8e9) / 20
    assert abs(per_token - 0.645) < 5e-4
    return table


@checks('thm-learn-mixture', 'eq-learn-mixture', 'eq-learn-regret')
def mixture_bound():
    """Random second-order Markov sources, all sequences of length 8; sequential KL summed step by step."""
    rng, n = np.random.default_rng(0), 8
    weight = np.array([0.5, 0.3, 0.15, 0.05])
    sources = rng.dirichlet((0.5, 0.5), size=(4, 4))
    words = np.array(list(itertools.product((0, 1), repeat=n)))
    log_p = np.zeros((4, len(words), n + 1))
    for t in range(n):
        context = 2 * (words[:, t - 1] if t > 0 else 0) + (words[:, t - 2] if t > 1 else 0)
        log_p[:, :, t + 1] = log_p[:, :, t] + np.log(sources[:, context, words[:, t]])
    log_xi = special.logsumexp(log_p + np.log(weight)[:, None, None], axis=0)
    for i in range(4):
        assert (-log_xi[:, -1] <= -log_p[i, :, -1] - np.log(weight[i]) + 1e-12).all()
        step = [(np.exp(log_p[i, :, -1]) * ((log_p[i, :, t + 1] - log_p[i, :, t]) - (log_xi[:, t + 1] - log_xi[:, t]))).sum() for t in range(n)]
        assert min(step) > -1e-12 and sum(step) <= -math.log(weight[i]) + 1e-12
    two_part = (-log_p[:, :, -1] - np.log(weight)[:, None]).min(0)
    assert (-log_xi[:, -1] <= two_part + 1e-12).all()


@checks('ex-learn-area')
def area():
    def loss(d):
        return 1.7 + 400 * d**-0.28

    end = 1e12
    # substitute d = e^s to integrate over twelve decades
    total = integrate.quad(lambda s: (loss(math.exp(s)) - 1.7) * math.exp(s), -40, math.log(end), limit=500)[0]
    bits = (total - (loss(end) - 1.7) * end) / math.log(2)
    assert abs(total / end / (loss(end) - 1.7) - 1.39) < 0.005
    return {'a': (loss(end) - 1.7, 'nat'), 'b': (total / end, 'nat'), 'c': (bits, 'bit'), 'd': (bits / (end / 20), 'bit')}


# ---- in-context learning

def hmm(stay, n, emit=0.9):
    """Probabilities of all 2^n observations, by summing over all hidden paths of a batch of words (the forward recursion in torch)."""
    words = torch.arange(2**n)[:, None] >> torch.arange(n - 1, -1, -1) & 1
    move = torch.tensor([[stay, 1 - stay], [1 - stay, stay]], dtype=F64)
    show = torch.tensor([[emit, 1 - emit], [1 - emit, emit]], dtype=F64)
    state = 0.5 * show[:, words[:, 0]].T
    for t in range(1, n):
        state = (state @ move) * show[:, words[:, t]].T
    return state.sum(1)


@checks('eg-learn-hmm', 'eq-learn-iclcost', 'thm-learn-bayes', 'eq-learn-posterior')
def hmm_mixture():
    # The forward recursion against brute force over hidden paths, for short words.
    brute = []
    for word in itertools.product((0, 1), repeat=4):
        total = 0
        for path in itertools.product((0, 1), repeat=4):
            p = 0.5
            for t, (s, x) in enumerate(zip(path, word, strict=True)):
                p *= (0.3 if t and s != path[t - 1] else 0.7 if t else 1) * (0.9 if s == x else 0.1)
            total += p
        brute.append(total)
    torch.testing.assert_close(hmm(0.7, 4), torch.tensor(brute, dtype=F64))

    kl, cost = {}, {}
    for n in (15, 16):
        p = torch.stack([hmm(stay, n) for stay in (0.9, 0.5, 0.1)])
        mixture = p.mean(0)
        kl[n] = [(p[0] * (p[0] / p[j]).log()).sum().item() for j in (1, 2)]
        cost[n] = (p[0] * (p[0] / mixture).log()).sum().item()
    assert cost[16] < math.log(3) and abs(math.log(3) - 1.099) < 5e-4
    assert abs(kl[16][1] - kl[15][1] - 0.452) < 5e-4
    post = (p[0] * p[0] / p.sum(0)).sum().item()

    # The minimiser of the next-token loss, found by gradient descent on free conditionals, is the posterior predictive.
    past = torch.stack([hmm(stay, 3) for stay in (0.9, 0.5, 0.1)])
    joint = torch.stack([hmm(stay, 4) for stay in (0.9, 0.5, 0.1)]).mean(0).view(8, 2)
    logits = torch.zeros(8, 2, dtype=F64, requires_grad=True)
    solver = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, tolerance_change=0)

    def closure():
        solver.zero_grad()
        loss = -(joint * logits.log_softmax(-1)).sum()
        loss.backward()
        return loss

    solver.step(closure)
    given = torch.stack([hmm(stay, 4) for stay in (0.9, 0.5, 0.1)]).view(3, 8, 2) / past[..., None]
    predictive = ((past / past.sum(0))[..., None] * given).sum(0)
    torch.testing.assert_close(logits.detach().softmax(-1), predictive, atol=1e-6, rtol=0)
    return {'odds': (kl[16][0] - kl[15][0], 'nat'), 'cost': (cost[16], 'nat'), 'last': (cost[16] - cost[15], 'nat'), 'post': post}


def figure_odds():
    return importlib.import_module('figures.chapter2.learn_icl').odds()


@checks('prop-learn-lsa', 'eq-learn-lsa')
def attention_is_descent():
    """The layers as real attention tensors against gradient descent by autograd, five layers, a dense symmetric preconditioner."""
    n, d = 11, 4
    x, y, query = torch.randn(n, d, dtype=F64), torch.randn(n, dtype=F64), torch.randn(d, dtype=F64)
    root = torch.randn(d, d, dtype=F64)
    a = 0.05 * (root @ root.T + torch.eye(d, dtype=F64))
    w_qk, w_ov = torch.zeros(d + 1, d + 1, dtype=F64), torch.zeros(d + 1, d + 1, dtype=F64)
    w_qk[:d, :d], w_ov[d, d] = a, -1
    tokens = torch.cat([torch.cat([x, y[:, None]], 1), torch.cat([query, torch.zeros(1, dtype=F64)])[None]])
    w = torch.zeros(d, dtype=F64)
    for _ in range(5):
        keys = tokens[:n]
        scores = torch.einsum('qd,de,ke->qk', tokens, w_qk.T, keys)
        tokens = tokens + scores @ (keys @ w_ov.T) / n
        w.requires_grad_()
        gradient = torch.autograd.grad(((x @ w - y) ** 2).sum() / (2 * n), w)[0]
        w = (w - a @ gradient).detach()
        torch.testing.assert_close(tokens[:n, d], y - x @ w)
        torch.testing.assert_close(tokens[n, d], -query @ w)
        torch.testing.assert_close(tokens[:, :d], torch.cat([x, query[None]]))


@checks('prop-learn-precond', 'eq-learn-precond', 'ex-learn-precond')
def best_layer():
    """Least squares on simulated prompts against the closed form, for commuting and for general prior covariance."""
    n, d, noise, prompts = 6, 3, 0.5, 400_000
    sigma = torch.diag(torch.tensor([2.0, 1.0, 0.4], dtype=F64))
    turn = torch.linalg.qr(torch.randn(d, d, dtype=F64))[0]
    for prior in (torch.eye(d, dtype=F64), turn @ torch.diag(torch.tensor([3.0, 1.0, 0.2], dtype=F64)) @ turn.T):
        x = torch.randn(prompts, n, d, dtype=F64) @ sigma.sqrt()
        w = torch.randn(prompts, d, dtype=F64) @ torch.linalg.cholesky(prior).T
        y = (x @ w[..., None])[..., 0] + noise**0.5 * torch.randn(prompts, n, dtype=F64)
        h = (x.mT @ y[..., None])[..., 0] / n
        fitted = torch.linalg.lstsq(h, w).solution.T
        inner = (1 + 1 / n) * sigma @ prior + (torch.trace(sigma @ prior) + noise) / n * torch.eye(d, dtype=F64)
        torch.testing.assert_close(fitted, prior @ torch.linalg.inv(inner), atol=0.01, rtol=0)
    big = prior @ torch.linalg.inv((1 + 1e-9) * sigma @ prior + 1e-9 * torch.eye(d, dtype=F64))
    torch.testing.assert_close(big, torch.linalg.inv(sigma), atol=1e-6, rtol=0)


def prompts(count, n=16, d=8, noise=0.25):
    x, w = torch.randn(count, n, d, dtype=F64), torch.randn(count, d, dtype=F64)
    y = (x @ w[..., None])[..., 0] + noise**0.5 * torch.randn(count, n, dtype=F64)
    return x, w, y


@checks('tab-learn-lsa', 'ex-learn-diversity')
def icl_table():
    n, d, noise = 16, 8, 0.25
    x, w, y = prompts(12_000)
    h, s = (x.mT @ y[..., None])[..., 0] / n, x.mT @ x / n
    a = n / (n + d + 1 + noise)

    def error(guess):
        return (guess - w).square().sum(-1).mean().item()

    table = {'一层，$A^\\star$': error(a * h)}
    assert abs(error(a * h) - d * (d + 1 + noise) / (n + d + 1 + noise)) < 0.06
    for layers in (2, 4, 8, 16):
        best = math.inf
        for rate in np.linspace(0.3, 0.8, 11):
            guess = torch.zeros_like(w)
            for _ in range(layers):
                guess = guess + rate * (h - (s @ guess[..., None])[..., 0])
            best = min(best, error(guess))
        table[f'{layers} 层' if layers > 2 else '2 层，最优的恒定步长'] = best
    table['岭回归'] = error(torch.linalg.solve(s + noise / n * torch.eye(d, dtype=F64), h))
    information = 0.5 * torch.linalg.slogdet(torch.eye(d, dtype=F64) + x.mT @ x / noise)[1].mean().item()
    assert abs(information - 15.4) < 0.05 and abs(math.exp(15.4) / 1e6 - 4.9) < 0.05

    # (a) of the exercise: the saving is I_G - I_M and at least I_G - ln M, here with 50 tasks redrawn for every prompt.
    m = 50
    x, w, y = prompts(4000)
    tasks = torch.cat([w[:, None], torch.randn(4000, m - 1, d, dtype=F64)], 1)      # the true one among m, exchangeable
    each = -((y[:, None] - tasks @ x.mT) ** 2).sum(-1) / (2 * noise)
    discrete = torch.logsumexp(each, 1) - math.log(m)
    cover = x @ x.mT / noise + torch.eye(n, dtype=F64)
    gauss = -0.5 * torch.linalg.slogdet(cover)[1] - 0.5 * (y[:, None] @ torch.linalg.solve(cover, y[..., None]))[:, 0, 0] / noise
    saving, task = (discrete - gauss).mean().item(), (each[:, 0] - discrete).mean().item()
    assert abs(saving - (information - task)) < 0.2 and task <= math.log(m) + 1e-9
    return {row: {'误差': value} for row, value in table.items()}


def discrete_posterior(m, seen, trials, seed):
    """Error of the posterior mean over m tasks on seen or new tasks."""
    rng = np.random.default_rng(seed)
    tasks, total = rng.standard_normal((m, 8)), 0.0
    for _ in range(trials):
        x = rng.standard_normal((16, 8))
        w = tasks[rng.integers(m)] if seen else rng.standard_normal(8)
        y = x @ w + 0.5 * rng.standard_normal(16)
        weight = special.softmax(-((y - tasks @ x.T) ** 2).sum(1) / 0.5)
        total += ((weight @ tasks - w) ** 2).sum()
    return total / trials


def icl_data():
    """What learn_icl.json holds."""
    tasks = [4**k for k in range(8)]
    x, w, y = prompts(20_000)
    ridge = torch.linalg.solve(x.mT @ x + 0.25 * torch.eye(8, dtype=F64), (x.mT @ y[..., None])[..., 0])
    return {
        'tasks': tasks, 'ridge': (ridge - w).square().sum(-1).mean().item(),
        'new': [discrete_posterior(m, False, 1500, 1) for m in tasks], 'seen': [discrete_posterior(m, True, 1500, 2) for m in tasks],
    }


@checks('fig-learn-icl', 'eq-learn-dmmse')
def icl_figure():
    stored = json.loads((FIGURES / 'learn_icl.json').read_text())
    for m in (64, 1024):
        fresh = discrete_posterior(m, False, 600, 7)
        assert abs(fresh / stored['new'][stored['tasks'].index(m)] - 1) < 0.2
    assert min(stored['new']) > 4 * stored['ridge'] and max(stored['seen']) < stored['ridge'] / 4 and abs(stored['ridge'] - 0.265) < 0.01
    assert all((seen < 2e-5) == (m <= 64) for m, seen in zip(stored['tasks'], stored['seen'], strict=True))
    rows = figure_odds()
    p = [hmm(stay, 14) for stay in (0.9, 0.5, 0.1)]
    for j in (1, 2):
        assert math.isclose(rows[-1][j - 1], (p[0] * (p[0] / p[j]).log()).sum().item(), rel_tol=1e-9)


@checks('eq-learn-logistic')
def two_factors():
    """The two strengths integrated numerically."""
    start = 1e-4
    run = integrate.solve_ivp(lambda _, s: (s[1] * (1 - s[0] * s[1]), s[0] * (1 - s[0] * s[1])), (0, 12), [start**0.5] * 2,
                              rtol=1e-10, atol=1e-12, dense_output=True)

    def when(level):
        return optimize.brentq(lambda t: np.prod(run.sol(t)) - level, 0, 12)

    assert abs(when(0.5) - math.log((1 - start) / start) / 2) < 1e-6 and abs(when(0.5) - 4.61) < 0.005
    assert abs(when(0.9) - when(0.1) - 2.20) < 0.005 and when(0.5) > 2 * (when(0.9) - when(0.1))


# ---- emergence and exponents

@checks('eq-learn-pk', 'ex-learn-critique', 'fig-learn-emergence')
def exact_match():
    alpha = 0.34

    def accuracy(log_n, k):
        return math.exp(-1e3 * math.exp(-alpha * log_n)) ** k     # k independent tokens

    def reach(level, k):
        return optimize.brentq(lambda s: accuracy(s, k) - level, 5, 60)

    ratios = [math.exp(reach(0.9, k) - reach(0.1, k)) for k in (1, 8, 64)]
    assert max(ratios) / min(ratios) - 1 < 1e-6 and abs(ratios[0] / 8700 - 1) < 0.005
    assert abs(math.log(10) / math.log(10 / 9) - 21.9) < 0.05
    for k in (1, 64):
        grid = np.linspace(10, 55, 40_001)
        slope = np.gradient([accuracy(s, k) for s in grid], grid).max()
        assert abs(slope - alpha / math.e) < 1e-5
    assert abs(math.exp(reach(0.5, 64) - reach(0.5, 1)) / 2.05e5 - 1) < 0.005
    silent = optimize.brentq(lambda p: (1 - p) ** 100 - 0.5, 0, 1)
    assert abs(silent - 0.0069) < 5e-5
    gap = math.exp(reach(0.5, 8) - reach(silent, 8))
    assert abs(gap / 329 - 1) < 0.005 and abs(math.log10(gap) - 2.5) < 0.03
    # The counterexample of the solution: 1 - p = e^-N narrows like 1 / ln k.
    for k in (10**3, 10**6):
        low, high = (optimize.brentq(lambda n, a=a: (1 - math.exp(-n)) ** k - a, 1e-9, 60) for a in (0.1, 0.9))
        assert abs(math.log(high / low) * math.log(k) / 3.1 - 1) < 0.1
    script = importlib.import_module('figures.chapter2.learn_emergence')
    assert math.isclose(math.exp(-8 * script.loss(1e12)), accuracy(math.log(1e12), 8)) and script.QUESTIONS == 100


@checks('eq-learn-quanta', 'eq-learn-quanta-exp', 'tab-learn-exponents')
def quanta():
    a = 0.4
    z = special.zeta(1 + a)
    for n in (1, 10, 1000, 10**5):
        tail = special.zeta(1 + a, n + 1) / z          # the Hurwitz zeta function: the exact tail
        assert (n + 1) ** -a / (a * z) <= tail <= n**-a / (a * z)
    script = importlib.import_module('figures.chapter2.learn_exponents')
    sizes, known, samples, seen = script.quanta()
    slope = np.polyfit(np.log(sizes[3:]), np.log(known[3:]), 1)[0]
    assert abs(slope + a) < 0.01
    assert abs(np.polyfit(np.log(samples[3:]), np.log(seen[3:]), 1)[0] + a / (1 + a)) < 0.01
    share = np.arange(1, 200_001.0) ** -(1 + a)
    share /= share.sum()
    counts = np.random.default_rng(0).multinomial(100_000, share)          # one real pass over the data
    expected = math.exp(np.interp(math.log(1e5), np.log(samples), np.log(seen))) - special.zeta(1 + a, 200_001) / z
    assert abs(share[counts < 3].sum() * (1 - special.zeta(1 + a, 200_001) / z) / expected - 1) < 0.05
    # numbers of the table
    assert abs(0.076 / 1.076 - 0.071) < 5e-4 and round(4 / 0.076) == 53 and 0.076 + 1 == 1.076 and 0.095 > 0.076


def surface(x):
    return np.sin(2 * x.sum(1)) + np.cos(3 * x[:, 0])


def interpolation(d, n, seed, repeats=3):
    rng, linear, nearest = np.random.default_rng(seed), [], []
    for _ in range(repeats):
        x, q = rng.random((n, d)), 0.3 + 0.4 * rng.random((1500, d))
        value = surface(x)
        nearest.append(((value[cKDTree(x).query(q)[1]] - surface(q)) ** 2).mean())
        if d == 1:
            order = np.argsort(x[:, 0])
            guess = np.interp(q[:, 0], x[order, 0], value[order])
        else:
            guess = LinearNDInterpolator(x, value)(q)
        linear.append(np.nanmean((guess - surface(q)) ** 2))
    return np.mean(linear), np.mean(nearest)


def kernel_regression(a, n, seed, modes=2000, repeats=8, b=1.5):
    rng, k, error = np.random.default_rng(seed), np.arange(1, modes + 1.0), []
    size, target = k ** (-b / 2), k ** ((b - a) / 2)      # feature scale; weight, so that the energy of a mode is k^-a
    for _ in range(repeats):
        weight = target * rng.choice([-1, 1], modes)
        x = rng.standard_normal((n, modes)) * size
        fit = x.T @ np.linalg.solve(x @ x.T, x @ weight)
        error.append(((size * (fit - weight)) ** 2).sum())
    return np.mean(error)


def exponent_data():
    """What learn_exponents.json holds."""
    manifold = {}
    for d, sizes in ((1, (20, 40, 80, 160, 320)), (2, (100, 300, 900, 2700, 8100)), (3, (200, 600, 1800, 5400))):
        pairs = [interpolation(d, n, 11 * d, 60 if d == 1 else 4) for n in sizes]
        manifold[str(d)] = {'n': list(sizes), 'linear': [p[0] for p in pairs], 'nearest': [p[1] for p in pairs]}
    sizes = [16, 32, 64, 128, 256]
    return {'manifold': manifold, 'spectrum': {'n': sizes} | {str(a): [kernel_regression(a, n, a) for n in sizes] for a in (2, 3, 5)}}


@checks('fig-learn-exponents', 'eq-learn-spectrum', 'prop-learn-manifold')
def exponents():
    stored = json.loads((FIGURES / 'learn_exponents.json').read_text())
    for d in (1, 2, 3):
        points = stored['manifold'][str(d)]
        for name, slope in (('linear', -4 / d), ('nearest', -2 / d)):
            assert abs(np.polyfit(np.log(points['n']), np.log(points[name]), 1)[0] / slope - 1) < 0.15
    for d, n in ((1, 80), (2, 900)):
        points = stored['manifold'][str(d)]
        i = points['n'].index(n)
        for fresh, name in zip(interpolation(d, n, 99, 30 if d == 1 else 3), ('linear', 'nearest'), strict=True):
            assert abs(math.log(fresh / points[name][i])) < 0.8
    spectrum = stored['spectrum']
    for a, slope in ((2, -1), (3, -2), (5, -3)):
        assert abs(np.polyfit(np.log(spectrum['n']), np.log(spectrum[str(a)]), 1)[0] - slope) < 0.15
        assert abs(math.log(kernel_regression(a, 64, 1000 + a) / spectrum[str(a)][2])) < 0.4
    # Mean error of linear interpolation of a parabola, and the bound on simplices.
    h, curve = 0.3, 1.7
    mean = integrate.quad(lambda x: (curve * x * x / 2 - curve * h * x / 2) ** 2, 0, h)[0] / h
    assert math.isclose(mean, curve**2 * h**4 / 120)
    rng = np.random.default_rng(0)
    for _ in range(200):
        vertices, weight = rng.random((4, 3)), rng.dirichlet(np.ones(4))
        matrix = rng.standard_normal((3, 3))
        matrix = matrix + matrix.T
        value = 0.5 * np.einsum('vi,ij,vj->v', vertices, matrix, vertices)
        x = weight @ vertices
        diameter = max(np.linalg.norm(p - q) for p in vertices for q in vertices)
        assert abs(weight @ value - x @ matrix @ x / 2) <= 0.5 * np.linalg.norm(matrix, 2) * diameter**2 + 1e-12


# ---- grokking

@checks('thm-learn-grok', 'eq-learn-sinh', 'eq-learn-hypentropy')
def hyperbolic_entropy():
    """An adaptive integrator on a small instance: the product of the factors, and the constrained minimiser by a general solver."""
    rng, n, d, scale, decay = np.random.default_rng(5), 3, 6, 1.3, 0.4
    x, y = rng.standard_normal((n, d)), rng.standard_normal(n)

    def flow(_, state):
        u, v = state[:d], state[d:]
        g = x.T @ (x @ (u * u - v * v) - y) / n
        return np.concatenate([-2 * u * g - decay * u, 2 * v * g - decay * v])

    run = integrate.solve_ivp(flow, (0, 4), np.full(2 * d, scale), rtol=1e-11, atol=1e-13, dense_output=True)
    for t in (0.5, 2.0, 4.0):
        u, v = run.sol(t)[:d], run.sol(t)[d:]
        square = (scale * math.exp(-decay * t)) ** 2
        np.testing.assert_allclose(u * v, square, rtol=1e-7)
        beta = u * u - v * v
        lift = np.arcsinh(beta / (2 * square))
        assert np.linalg.lstsq(x.T, lift, rcond=None)[1].max() < 1e-12          # in the row space
        found = optimize.minimize(
            lambda b, s=square: (b * np.arcsinh(b / (2 * s)) - np.sqrt(b * b + 4 * s * s)).sum(), np.linalg.pinv(x) @ (x @ beta),
            constraints={'type': 'eq', 'fun': lambda b, c=x @ beta: x @ b - c}, options={'ftol': 1e-15, 'maxiter': 1000},
        )
        np.testing.assert_allclose(found.x, beta, atol=1e-5)


def crossing(run, level=0.3):
    """First time the test error falls below the level, interpolated in its logarithm."""
    i = np.argmax(run[:, 2] < level)
    return np.interp(-math.log(level), -np.log(run[i - 1 : i + 1, 2]), run[i - 1 : i + 1, 0])


@checks('eq-learn-groktime', 'fig-learn-grokking')
def grokking():
    script = importlib.import_module('figures.chapter2.learn_grokking')
    runs, clock, theory = script.data()
    for scale, run in runs.items():
        assert abs(0.02 * crossing(run) - math.log(scale) - 2.37) < 0.005
        inside = (clock > 0.7 - math.log(scale)) & (clock < 2.4)
        simulated = np.interp(clock[inside], 0.02 * run[:, 0] - math.log(scale), run[:, 2])
        assert np.abs(simulated / theory[inside] - 1).max() < 0.12
    assert abs(crossing(runs[2]) - 153) < 0.5
    assert runs[2][runs[2][:, 1] < 0.01 * runs[2][0, 1]][0, 0] < 0.1
    assert 5e-4 < runs[2][runs[2][:, 0] > 10][:, 1].max() < 2e-3 and runs[2][:, 1].min() < 2e-6       # the training error comes back
    slow = script.train(1, decay=0.01)
    assert abs(0.01 * crossing(slow) - 0.02 * crossing(runs[1])) < 0.04
    # Euler steps against an adaptive integrator, up to the drop.
    x, truth = script.problem()
    d, y = script.DIMENSION, x @ truth

    def flow(_, s):
        g = x.T @ (x @ (s[:d] ** 2 - s[d:] ** 2) - y) / len(y)
        return np.concatenate([-2 * s[:d] * g - 0.02 * s[:d], 2 * s[d:] * g - 0.02 * s[d:]])

    end = integrate.solve_ivp(flow, (0, 120), np.ones(2 * d), method='LSODA', rtol=1e-7, atol=1e-9).y[:, -1]
    exact = ((end[:d] ** 2 - end[d:] ** 2 - truth) ** 2).sum()
    assert abs(np.interp(120, runs[1][:, 0], runs[1][:, 2]) / exact - 1) < 0.03


@checks('thm-learn-grok')
def dense_truth_gets_worse():
    """The same sweep with a dense truth: the small-scale (l1-like) interpolant is worse than the l2 one."""
    rng = np.random.default_rng(1)
    x, truth = rng.standard_normal((40, 100)), rng.standard_normal(100)
    least = np.linalg.pinv(x) @ (x @ truth)
    sparse = optimize.linprog(np.ones(200), A_eq=np.hstack([x, -x]), b_eq=x @ truth, bounds=(0, None)).x
    assert ((sparse[:100] - sparse[100:] - truth) ** 2).sum() > 1.1 * ((least - truth) ** 2).sum()


@checks('ex-learn-grok')
def two_coordinates():
    """Minimise the potential directly on the line 2 b1 + b2 = 2."""
    def second(square):
        def potential(b2):
            b = np.array([(2 - b2) / 2, b2])
            return (b * np.arcsinh(b / (2 * square)) - np.sqrt(b * b + 4 * square * square)).sum()
        return optimize.minimize_scalar(potential, bounds=(-0.5, 1), method='bounded', options={'xatol': 1e-10}).x

    assert abs(second(1e-6) / 1e-3 - 1) < 0.01 and abs(0.1 - math.sqrt(0.01)) < 1e-12
    least = np.linalg.pinv(np.array([[2.0, 1.0]])) @ np.array([2.0])
    return {'a': least[1], 'b': second(1.0), 'c': second(0.1), 'd': second(0.01)}


# ---- memory

def extractable(order, seed, repeats=(1, 2, 4, 8, 16), each=40, length=24, prefix=8):
    """Train a Markov table on random strings, decode greedily from every prefix, count exact continuations per repeat count."""
    rng = np.random.default_rng(seed)
    corpus = [(rng.integers(4, size=length), r) for r in repeats for _ in range(each)]
    table = defaultdict(Counter)
    for text, r in corpus:
        for i in range(order, length):
            table[tuple(text[i - order : i])][text[i]] += r
    hits = Counter()
    for text, r in corpus:
        made = list(text[:prefix])
        while len(made) < length:
            seen = table[tuple(made[-order:])]
            if not seen:
                break
            made.append(max(sorted(seen), key=seen.__getitem__))
        hits[r] += made == list(text)
    return {r: hits[r] / each for r in repeats}


@checks('tab-learn-extract', 'def-learn-extract')
def extraction():
    table = defaultdict(dict)
    for order in (6, 7, 8):
        runs = [extractable(order, seed) for seed in range(10)]
        for r in runs[0]:
            table[str(r)][f'$m={order}$'] = np.mean([run[r] for run in runs])
            assert np.std([run[r] for run in runs], ddof=1) / 10**0.5 < 0.03
    steps = np.diff(np.round([table[str(r)]['$m=8$'] for r in (1, 2, 4, 8, 16)], 2))
    assert round(min(steps), 2) == 0.06 and round(max(steps), 2) == 0.13
    # sampled extraction: chance of success in r draws
    for each, share in ((0.95, 0.077), (0.8, 1.4e-5)):
        assert abs(each**50 / share - 1) < 0.03
    draws = next(r for r in range(1, 100) if 1 - (1 - 0.95**50) ** r >= 0.9)
    assert draws == 29
    return dict(table)


@checks('eg-learn-capacity')
def capacity():
    meta = 8_030_261_248
    bits = 3.6 * meta
    random, text = bits / math.log2(128_256), bits * math.log(2) / 2
    assert abs(math.log2(128_256) - 16.97) < 0.005 and abs(2 / math.log(2) - 2.885) < 5e-4
    return {'bits': (bits, 'bit'), 'size': (bits / 8 / 2**30, 'GiB'), 'random': (random, 'token'), 'text': (text, 'token'), 'share': text / 15e12}


@checks('prop-learn-reversal')
def reversal():
    """Autograd: train the bilinear model on pairs; the forward answer is learnt, the reverse logits do not move at all."""
    size = 12
    e, o = torch.linalg.qr(torch.randn(size, size, dtype=F64))[0], torch.randn(size, size, dtype=F64)
    m = (0.1 * torch.randn(size, size, dtype=F64)).requires_grad_()
    asked, answer = torch.arange(6), torch.arange(6, 12)
    before = (e[answer] @ m.T @ o.T).detach().clone()
    solver = torch.optim.SGD([m], lr=0.5)
    for _ in range(400):
        solver.zero_grad()
        F.cross_entropy(e[asked] @ m.T @ o.T, answer).backward()
        solver.step()
    assert ((e[asked] @ m.T @ o.T).argmax(-1) == answer).all()
    torch.testing.assert_close(e[answer] @ m.T @ o.T, before)


@checks('prop-learn-augment')
def augmentation():
    fixed = np.linalg.pinv(np.ones((1, 6))) @ np.ones(1)
    assert np.allclose(fixed, 1 / 6)
    rows = {(1, *(int(i in order[: order.index(5)]) for i in range(5))) for order in itertools.permutations(range(6))}
    assert len(rows) == 32
    shuffled = np.linalg.pinv(np.array(sorted(rows), float)) @ np.ones(32)
    assert np.allclose(shuffled, [1, 0, 0, 0, 0, 0], atol=1e-10)


# ---- hallucination

@checks('ex-learn-diversity')
def many_tasks():
    """The saving of a mixture of M tasks for one weight and two examples: bounded by ln(1 + chi2 / M), close to chi2 / 2M when M is large."""
    rng, x = np.random.default_rng(0), np.array([0.6, 0.8])
    axis, nodes = np.linspace(-12, 12, 81), np.linspace(-12, 12, 121)
    y = np.stack(np.meshgrid(axis, axis), -1).reshape(-1, 2)
    area = (axis[1] - axis[0]) ** 2

    def likelihood(w):
        return np.exp(-((y - w[..., None, None] * x) ** 2).sum(-1) / 2) / (2 * math.pi)

    weights = np.exp(-(nodes**2) / 2)
    each = likelihood(nodes)
    gauss = weights @ each / weights.sum()
    spread = (weights @ each**2 / weights.sum() / gauss).sum() * area - 1
    assert abs(1 + spread - np.linalg.det(np.eye(2) + np.outer(x, x))) < 1e-4
    savings = {}
    for m in (1, 8, 64):
        draws = [likelihood(rng.standard_normal(m)).mean(0) for _ in range(50)]
        savings[m] = np.mean([special.rel_entr(p, gauss).sum() * area for p in draws])
        assert 0 < savings[m] < math.log1p(spread / m)
    assert abs(savings[64] / (spread / 128) - 1) < 0.35
    # E det(I + X'X / s2) of the section's setting: the principal minors are Wishart determinants.
    total = sum(math.comb(8, k) * math.perm(16, k) * 4**k for k in range(9))
    assert abs(math.log(total) - 31.4) < 0.05
    sample = 1 + np.linalg.eigvalsh((lambda z: z.mT @ z)(rng.standard_normal((100_000, 5, 2)))) / 0.25
    assert abs(sample.prod(-1).mean() / sum(math.comb(2, k) * math.perm(5, k) * 4**k for k in range(3)) - 1) < 0.02


@checks('thm-learn-gt', 'eq-learn-gt', 'ex-learn-gtvar')
def good_turing():
    """All samples of a small distribution, exactly; the variance bound on the same enumeration."""
    p, n = np.array([0.5, 0.25, 0.15, 0.1]), 6
    single = missing = once = square = 0.0
    for sample in itertools.product(range(4), repeat=n):
        weight, counts = p[list(sample)].prod(), np.bincount(sample, minlength=4)
        rate = (counts == 1).sum() / n
        single += weight * rate
        square += weight * rate**2
        missing += weight * p[counts == 0].sum()
        once += weight * p[counts == 1].sum()
    assert math.isclose(single - missing, once / n) and 0 <= single - missing <= 1 / n
    assert square - single**2 <= 2 / n
    assert abs(math.sqrt(40 / 1e6) - 0.0063) < 5e-5 and abs(math.sqrt(2 * math.log(2 / 0.05) / 1e6) - 0.0027) < 5e-5


@checks('tab-learn-halluc', 'thm-learn-halluc', 'eq-learn-halluc')
def hallucination():
    rng, subjects, documents, options = np.random.default_rng(0), 20_000, 5000, 20
    table = {}
    for s in (0, 0.6, 1, 1.4):
        p = np.arange(1, subjects + 1.0) ** -s
        p /= p.sum()
        single = (p * np.exp((documents - 1) * np.log1p(-p))).sum()
        missing = (p * np.exp(documents * np.log1p(-p))).sum()
        assert 0 <= single - missing <= 1 / documents
        wrong, drift, excess = [], [], []
        for _ in range(40):
            truth, counts = rng.integers(options, size=subjects), rng.multinomial(documents, p)
            new, rate = counts == 0, (counts == 1).sum() / documents
            q = np.where(new, rate / new.sum(), (1 - rate) * counts / documents)
            drift.append(math.sqrt(special.rel_entr([p[new].sum(), p[~new].sum()], [q[new].sum(), q[~new].sum()]).sum() / 2))
            excess.append(special.rel_entr(p, q).sum())
            assert 2 * drift[-1] ** 2 <= excess[-1]            # data processing: only membership of the new subjects is kept
            said = rng.choice(subjects, size=20_000, p=q / q.sum())
            fact = np.where(new[said], rng.integers(options, size=20_000), truth[said])
            wrong.append((fact != truth[said]).mean())
        bound = (1 - 1 / options) * (single - 1 / documents)
        assert np.mean(drift) < 0.01 and np.mean(wrong) >= bound - 0.95 * np.mean(drift) - 3 * np.std(wrong) / 40**0.5
        if s == 1:              # with the whole excess loss in place of the miscalibration the bound says nothing
            assert abs(np.mean(excess) - 0.34) < 0.01 and bound - 0.95 * np.mean(np.sqrt(np.array(excess) / 2)) < 0
        table[f'{s:g}'] = {'$\\E[N_1]/n$': single, '$\\E[M_0]$': missing, '模拟的 $H$': np.mean(wrong), '界，$q_I(U)=M_0$': bound}
    # The step from loss to calibration: KL(p || q) >= 2 (p(U) - q(U))^2 for random p, q, U.
    for _ in range(200):
        p, q, u = rng.dirichlet(np.ones(6)), rng.dirichlet(np.ones(6)), rng.random(6) < 0.5
        assert special.rel_entr(p, q).sum() >= 2 * (p[u].sum() - q[u].sum()) ** 2 - 1e-12
    return table


@checks('ex-learn-abstain', 'prop-learn-abstain')
def abstention():
    """Grid over confidence: score of answering, and of the best policy."""
    c = (np.arange(2_000_000) + 0.5) / 2_000_000
    score = c - (1 - c) * 0.75 / 0.25
    best = np.maximum(score, 0)
    answered = score > 0
    assert abs(c[answered].min() - 0.75) < 1e-6
    wrong = ((1 - c) * answered).mean()
    assert abs(wrong / answered.mean() - 0.125) < 1e-6 and abs(wrong / 0.5 - 1 / 16) < 1e-6
    return {'a': (1 - c).mean(), 'b': score.mean(), 'c': best.mean(), 'd': wrong}


@checks('prop-learn-merge', 'eq-learn-merge')
def merged_states():
    rng = np.random.default_rng(0)
    for _ in range(300):
        size = rng.integers(2, 7)
        p, q, weight = rng.dirichlet(np.full(size, 0.5)), rng.dirichlet(np.full(size, 0.5)), rng.random()
        bar = weight * p + (1 - weight) * q
        cost = weight * special.rel_entr(p, bar).sum() + (1 - weight) * special.rel_entr(q, bar).sum()
        apart = np.abs(p - q).sum() / 2
        assert cost <= apart * (special.entr(weight) + special.entr(1 - weight)) + 1e-12 <= apart * math.log(2) + 2e-12
    assert 6.7e-4 < 4**-5 * math.log(2) < 6.8e-4


# ---- PyTorch

@checks('tab-learn-torch')
def torch_traps():
    logits, target = torch.randn(6, 5, dtype=F64), torch.tensor([0, 1, 2, 3, -100, -100])
    total = F.cross_entropy(logits, target, reduction='sum')
    torch.testing.assert_close(F.cross_entropy(logits, target), total / 4)
    halves = (F.cross_entropy(logits[:3], target[:3]) + F.cross_entropy(logits[3:], target[3:])) / 2
    assert not torch.isclose(halves, total / 4)

    def kt(dtype):
        n = torch.arange(9_996_000, 10_000_000, 2, dtype=dtype)
        return 2 * torch.lgamma(n / 2 + 0.5) - torch.lgamma(n + 1) - math.log(math.pi)

    assert abs(torch.lgamma(torch.tensor(1e7, dtype=F64)) / 1.5e8 - 1) < 0.02
    big = torch.lgamma(torch.tensor(1e7))
    assert torch.nextafter(big, torch.tensor(math.inf)) - big == 16
    assert 11 < (kt(torch.float32).double() - kt(F64)).abs().max() < 20
    tiny = torch.full((3,), -800.0, dtype=F64)
    assert (tiny.exp() / tiny.exp().sum()).isnan().all() and torch.isclose(torch.logsumexp(tiny, 0), torch.tensor(-800 + math.log(3), dtype=F64))
    x = torch.randn(3, 7, dtype=F64)
    x[2] = x[0] + x[1]                                   # rank two: only gelsy and its like give the least norm
    y = x @ torch.ones(7, dtype=F64)
    least = torch.linalg.pinv(x) @ y
    torch.testing.assert_close(torch.linalg.lstsq(x, y[:, None]).solution[:, 0], least)
    other = torch.linalg.lstsq(x, y[:, None], driver='gels').solution[:, 0]
    assert not torch.allclose(other, least, atol=1e-3)
    assert torch.linalg.lstsq.__doc__.count('gelsy')
    draws = torch.multinomial(torch.tensor([0.97, 0.01, 0.01, 0.01]), 4)
    assert len(set(draws.tolist())) == 4
    values, counts = torch.unique(torch.tensor([3, 1, 1, 2, 5]), return_counts=True)
    assert len(values) == 4 and (counts == 1).sum() == 3
    assert torch.is_tensor(torch.unique(torch.tensor([1, 1])))
    still, skipped = (torch.nn.Parameter(torch.ones(1, dtype=F64)) for _ in range(2))
    still.grad = torch.zeros(1, dtype=F64)
    torch.optim.AdamW([still, skipped], lr=0.1).step()
    assert math.isclose(still.item(), 1 - 0.1 * 0.01) and skipped.item() == 1
