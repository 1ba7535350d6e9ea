"""Section 3.4: filtering, selection, mixtures, judges, error bars and constrained decoding, each computed another way than in the text."""

import importlib
import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, stats
from scipy.special import expit
from torch.nn import functional as F

from checks import checks

F64 = torch.float64


def inverse_trace(n, k):
    """E tr (X'X)^-1 for n standard normal rows, from scipy's inverse Wishart distribution."""
    return np.trace(np.atleast_2d(stats.invwishart(df=n, scale=np.eye(k)).mean()))


def crossing(n, good, k):
    """Noise ratio at which keeping all and keeping the good samples have equal risk."""
    share = good / n
    return optimize.brentq(lambda kappa: (share + (1 - share) * kappa) * inverse_trace(n, k) - inverse_trace(good, k), 1, 100)


def fourth_moment(k):
    """E |x|^2 x_1^2 for a standard normal x in k dimensions, by quadrature."""
    nodes, weight = np.polynomial.hermite_e.hermegauss(20)
    weight = weight / weight.sum()
    return weight @ nodes**4 + (k - 1) * (weight @ nodes**2) ** 2


def size_to_filter(k, rho, bias):
    """Where the leading terms of the two risks cross, by root finding."""
    def gap(n):
        return rho**2 * bias + (k + fourth_moment(k) * rho * (1 - rho) * bias) / n - k / ((1 - rho) * n)
    return optimize.brentq(gap, 1, 1e7)


@checks('prop-inst-noise', 'eq-inst-noise', 'eq-inst-kappa', 'ex-inst-filter', 'eq-inst-nstar')
def when_to_filter():
    assert round(crossing(500, 350, 100), 2) == 3.01
    assert round(crossing(10**8, 7 * 10**7, 2), 2) == 2.43
    # Large samples: inverse Fisher information per sample, weighted and unweighted.
    weighted = (0.7 / (0.7 + 0.3 / 4), (0.7 + 0.3 * 4) * 0.7)
    assert [round(x, 2) for x in weighted] == [0.90, 1.33]
    assert round(size_to_filter(20, 0.3, 0.05)) == 1853
    # Closed form of the trace against sampled designs.
    x = np.random.standard_normal((2000, 60, 10))
    sample = np.trace(np.linalg.inv(x.transpose(0, 2, 1) @ x), axis1=1, axis2=2)
    assert abs(sample.mean() - inverse_trace(60, 10)) < 5 * sample.std() / 2000**0.5
    information = np.array([0.8, 0.2 / 4])
    return {
        'a': crossing(10**8, 8 * 10**7, 2), 'b': crossing(200, 160, 50),
        'c': information[0] / information.sum(), 'd': size_to_filter(50, 0.2, 0.02),
    }


@checks('prop-inst-bias', 'eq-inst-bias', 'fig-inst-filter')
def biased_samples():
    """Least squares on simulated data against the curves of the figure, and which of the two wins on either side of the crossing."""
    script = importlib.import_module('figures.chapter3.inst_filter')
    rng = np.random.default_rng(1)
    for n, repeats in ((800, 160), (3000, 80)):
        found = script.simulate(n, script.BIAS, 1.0, rng, repeats)
        np.testing.assert_allclose(found[:2], script.biased(n), rtol=0.12)
        assert (found[0] < found[1]) == (n < 1853)
        noise = script.simulate(n, 0.0, script.KAPPA, rng, repeats)
        np.testing.assert_allclose(noise, script.noise_only(n), rtol=0.12)
        assert noise[2] < noise[1] < noise[0]
    # The 1/n term alone, with a large bias: independent labels and a fixed number of bad samples differ in one unit of k.
    n, k, rho, bias, repeats = 400, 4, 0.5, 16.0, 4000
    spread = {True: [], False: []}
    for fixed, _ in itertools.product(spread, range(repeats)):
        x = rng.standard_normal((n, k))
        bad = np.arange(n) < rho * n if fixed else rng.random(n) < rho
        fit = np.linalg.solve(x.T @ x, x.T @ (bad * x[:, 0] * bias**0.5 + rng.standard_normal(n)))
        spread[fixed].append(n * ((fit - rho * bias**0.5 * (np.arange(k) == 0)) ** 2).sum())
    independent, counted = np.mean(spread[False]), np.mean(spread[True])
    assert abs(independent - (k + fourth_moment(k) * 0.25 * bias)) < 1.3
    assert abs(counted - (k + (fourth_moment(k) - 1) * 0.25 * bias)) < 1.3 and independent - counted > 2


@checks('eq-inst-coverage')
def coverage():
    """A filter that drops samples along one direction: least-squares variance there against the bound."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((200_000, 3))
    keep = rng.random(len(x)) < 1 / (1 + 5 * x[:, 0] ** 2)
    v = np.array([1.0, 0, 0])
    second = x[keep].T @ x[keep] / len(x)
    variance = v @ np.linalg.inv(second) @ v
    assert variance >= 1 / (v @ second @ v) - 1e-12 and variance > 2 / keep.mean()


@checks('eq-inst-influence', 'eq-inst-adam', 'tab-inst-torch')
def influence():
    """One SGD step and one Adam step of PyTorch against the inner products; the bound on the remainder; the first Adam step."""
    torch.manual_seed(1)
    w = torch.randn(6, dtype=F64)
    train, valid = torch.randn(6, dtype=F64), torch.randn(20, 6, dtype=F64)
    def loss(p):
        return F.softplus(-(train @ p))
    def held_out(p):
        return F.softplus(-(valid @ p)).mean()
    g, gv = torch.func.grad(loss)(w), torch.func.grad(held_out)(w)
    smooth = torch.linalg.eigvalsh(valid.T @ valid / 20)[-1] / 4
    for rate in (1e-1, 1e-3):
        change = held_out(w - rate * g) - held_out(w)
        assert (change + rate * gv @ g).abs() <= 0.5 * smooth * rate**2 * (g @ g)
    m, v, step, (b1, b2) = torch.randn(6, dtype=F64), torch.rand(6, dtype=F64), 7, (0.9, 0.999)
    p = w.clone().requires_grad_()
    adam = torch.optim.Adam([p], lr=1e-4, betas=(b1, b2), eps=1e-8)
    adam.state[p] = {'step': torch.tensor(float(step - 1)), 'exp_avg': m.clone(), 'exp_avg_sq': v.clone()}
    p.grad = g.clone()
    adam.step()
    gamma = (b1 * m + (1 - b1) * g) / (1 - b1**step) / (((b2 * v + (1 - b2) * g**2) / (1 - b2**step)).sqrt() + 1e-8)
    torch.testing.assert_close(w - p.detach(), 1e-4 * gamma)
    fresh = w.clone().requires_grad_()
    first = torch.optim.Adam([fresh], lr=1e-4)
    fresh.grad = g.clone()
    first.step()
    torch.testing.assert_close((w - fresh.detach()) / 1e-4, g.sign(), atol=1e-4, rtol=0)
    # Squared norm of a mean of T noisy token gradients.
    tokens = torch.randn(20_000, 8, 5, dtype=F64) * 0.7 + 1
    assert abs(tokens.mean(1).square().sum(-1).mean() - (5 + 0.49 * 5 / 8)) < 0.03


@checks('prop-inst-jl', 'eq-inst-jl')
def projection():
    """All sign matrices of a small size; then the largest of many projected cosines."""
    u, v = np.random.randn(5), np.random.randn(5)
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=10))).reshape(-1, 5, 2) / math.sqrt(2)
    projected = signs.transpose(0, 2, 1)
    products = ((projected @ u) * (projected @ v)).sum(1)
    assert math.isclose(products.mean(), u @ v, abs_tol=1e-12)
    formula = ((u @ u) * (v @ v) + (u @ v) ** 2 - 2 * (u**2 * v**2).sum()) / 2
    assert math.isclose(products.var(), formula, rel_tol=1e-10)
    assert round(8192**-0.5, 4) == 0.0110
    largest = integrate.quad(lambda x: x * 1e5 * stats.norm.pdf(x) * stats.norm.cdf(x) ** (1e5 - 1), 0, 10, points=[4, 5])[0]
    assert round(largest / 8192**0.5, 3) == 0.048 and round(math.sqrt(2 * math.log(1e5) / 8192), 3) == 0.053
    with torch.device('meta'):
        layer = [torch.nn.Linear(a, b, bias=False) for a, b in
                 ((4096, 4096), (4096, 1024), (4096, 1024), (4096, 4096), (4096, 14336), (4096, 14336), (14336, 4096))]
    lora = 32 * sum(16 * (one.in_features + one.out_features) for one in layer)
    assert lora == 41_943_040


@checks('eg-inst-store')
def datastore():
    half = torch.finfo(torch.bfloat16).bits // 8
    return {'a': (270_000 * 4 * 41_943_040 * half / 1e12, 'TB'), 'b': (270_000 * 4 * 8192 * half / 1e9, 'GB')}


def facility(similarity, chosen):
    return similarity[:, sorted(chosen)].max(1).sum() if chosen else 0.0


def greedy(similarity, size):
    chosen = set()
    for _ in range(size):
        chosen.add(max(set(range(similarity.shape[1])) - chosen, key=lambda e: facility(similarity, chosen | {e})))
    return facility(similarity, chosen)


@checks('eg-inst-greedy', 'thm-inst-greedy', 'eq-inst-greedy', 'eq-inst-facility')
def cover():
    """Exhaustive search over subsets; diminishing returns and the bound on random instances."""
    rng = np.random.default_rng(0)
    for _ in range(30):
        s = rng.random((8, 7)) ** 4
        size = int(rng.integers(2, 5))
        best = max(facility(s, set(c)) for c in itertools.combinations(range(7), size))
        assert greedy(s, size) >= (1 - (1 - 1 / size) ** size) * best - 1e-12
        order = list(rng.permutation(7))
        small, large, extra = set(order[:2]), set(order[:5]), order[6]
        assert facility(s, small | {extra}) - facility(s, small) >= facility(s, large | {extra}) - facility(s, large) - 1e-12 >= -2e-12
    s = np.array([[0.6, 1, 0], [0.6, 1, 0], [0.6, 0, 1], [0.6, 0, 1]])
    best = max(facility(s, set(c)) for c in itertools.combinations(range(3), 2))
    return {'greedy': greedy(s, 2), 'opt': best, 'ratio': greedy(s, 2) / best}


@checks('ex-inst-kcenter')
def farthest_first():
    def radius(points, centres):
        return np.abs(points[:, None] - points[list(centres)]).max(-1).min(1).max()
    def run(points, size, start=0):
        centres = [start]
        while len(centres) < size:
            centres.append(int(np.abs(points[:, None] - points[centres]).max(-1).min(1).argmax()))
        return radius(points, centres), centres
    rng = np.random.default_rng(0)
    for _ in range(30):
        points = rng.random((9, 2))
        best = min(radius(points, c) for c in itertools.combinations(range(9), 3))
        assert run(points, 3)[0] <= 2 * best + 1e-12
    line = np.array([[0.0], [1.0], [2.0]])
    assert run(line, 1)[0] == 2 and radius(line, [1]) == 1
    assert 9 in run(np.vstack([rng.random((9, 2)), [[50.0, 50.0]]]), 2)[1]


@checks('eq-inst-novelty', 'eq-inst-zipf')
def novelty():
    """Good–Turing by enumeration of all sequences; the power law against the sum over two million classes."""
    p = np.array([0.5, 0.3, 0.2])
    n, unseen, single, seen = 4, 0.0, 0.0, 0.0
    for draw in itertools.product(range(3), repeat=n + 1):
        weight = p[list(draw)].prod()
        unseen += weight * (draw[-1] not in draw[:-1])
        single += weight * sum(draw.count(j) == 1 for j in range(3)) / (n + 1)
        seen += weight * len(set(draw[:-1]))
    assert math.isclose(unseen, (p * (1 - p) ** n).sum()) and math.isclose(single, unseen)
    assert math.isclose(seen, (1 - (1 - p) ** n).sum())
    p = np.arange(1, 2_000_001.0) ** -1.5
    p /= p.sum()
    size = np.array([1e4, 1e5])
    new = [(p * np.exp(m * np.log1p(-p))).sum() for m in size]
    kinds = [-np.expm1(m * np.log1p(-p)).sum() for m in size]
    scale = p[0] ** (1 / 1.5) * math.gamma(1 / 3)
    np.testing.assert_allclose(new, scale / 1.5 * size ** (-1 / 3), rtol=0.04)
    np.testing.assert_allclose(kinds, scale * size ** (2 / 3), rtol=0.04)
    assert round(new[1], 3) == 0.020 and abs(kinds[1] / kinds[0] - 4.64) < 0.1 and round(10 ** (2 / 3), 2) == 4.64
    assert f'{math.comb(52_000, 2):.3g}' == '1.35e+09' and round(16 / (1 + 15 * 0.3), 1) == 2.9


@checks('eq-inst-dedup')
def false_duplicates():
    """Cosines of random directions: the density (1 - u^2)^((m-3)/2) integrated, and sampled."""
    def beyond(tau, m):
        return integrate.quad(lambda u: (1 - u * u) ** ((m - 3) / 2), tau, 1)[0] / integrate.quad(lambda u: (1 - u * u) ** ((m - 3) / 2), -1, 1)[0]
    pairs = math.comb(100_000, 2)
    assert f'{pairs * beyond(0.7, 30):.1e}' == '2.9e+04' and round(pairs * beyond(0.8, 30)) == 166 and round(pairs * beyond(0.7, 50)) == 27
    for tau, m in ((0.3, 30), (0.7, 50), (0.1, 5)):
        assert math.isclose(beyond(tau, m), stats.beta.sf(tau**2, 0.5, (m - 1) / 2) / 2, rel_tol=1e-6) and beyond(tau, m) <= math.exp(-m * tau**2 / 2)
    x = np.random.default_rng(0).standard_normal((200_000, 30))
    cosine = x[:, 0] / np.linalg.norm(x, axis=1)
    assert abs(cosine.var() * 30 - 1) < 0.02 and abs((cosine > 0.3).mean() - beyond(0.3, 30)) < 0.003


def fitted(weight):
    """Distribution that minimises the weighted cross entropy of one decision, found by PyTorch."""
    weight = torch.as_tensor(weight, dtype=F64)
    logit = torch.zeros(len(weight), dtype=F64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logit], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn='strong_wolfe')
    def closure():
        optimiser.zero_grad()
        loss = F.cross_entropy(logit.expand(len(weight), -1), torch.arange(len(weight)), reduction='none') @ (weight / weight.sum())
        loss.backward()
        return loss
    optimiser.step(closure)
    return torch.softmax(logit.detach(), 0)


@checks('tab-inst-mix', 'prop-inst-mixture', 'eq-inst-mixture', 'ex-inst-tokens')
def mixture():
    count, length = np.array([0.6, 0.2, 0.1, 0.1]), np.array([300, 8000, 60, 150])
    tokens, decision = count * length / (count @ length), fitted(count / length)
    assert abs(fitted(count)[2] - 0.1) < 1e-6
    assert round(stats.binom.pmf(0, 128, 0.01), 2) == 0.28
    # Two sources that overlap on one prompt only, full distributions: best fit by a general optimiser.
    g, q, weight = np.array([[0.5, 0.5, 0], [0, 0.25, 0.75]]), np.array([0.9, 0.2]), np.array([3.0, 1.0])
    mass = weight[:, None] * g
    found = optimize.minimize(lambda s: (mass * (q[:, None] * np.logaddexp(0, -s) + (1 - q[:, None]) * np.logaddexp(0, s))).sum(), np.zeros(3)).x
    np.testing.assert_allclose(expit(found), (mass * q[:, None]).sum(0) / mass.sum(0), atol=1e-4)
    assert math.isclose((mass * q[:, None]).sum(0)[0] / mass.sum(0)[0], 0.9)
    other, size = np.array([0.7, 0.28, 0.02]), np.array([400, 1200, 40])
    return {
        'tab-inst-mix': {name: {'token 占比': tokens[i], '$\\alpha_i$': decision[i].item()}
                         for i, name in enumerate(('对话', '长思维链数学', '安全拒答', '工具调用'))},
        'ex-inst-tokens': {'a': 0.8 / (other @ size), 'b': fitted(other)[2], 'c': fitted(other / size)[2], 'd': stats.binom.pmf(0, 64, 0.02)},
    }


def logistic(share, delta):
    """Slope and intercept of the population logistic regression on a grid of scores."""
    s = np.linspace(-10, 10, 4001)
    harm, safe = share * stats.norm.pdf(s, delta / 2), (1 - share) * stats.norm.pdf(s, -delta / 2)
    def loss(v):
        z = v[0] * s + v[1]
        return (harm * np.logaddexp(0, -z) + safe * np.logaddexp(0, z)).sum()
    def slope(v):
        r = (harm + safe) * expit(v[0] * s + v[1]) - harm
        return np.array([r @ s, r.sum()])
    return optimize.minimize(loss, [1.0, 0.0], jac=slope, options={'gtol': 1e-9}).x


def best_threshold(prior, cost, delta):
    """Threshold that minimises the expected cost of deployment."""
    def risk(t):
        return prior * cost * stats.norm.cdf(t - delta / 2) + (1 - prior) * stats.norm.sf(t + delta / 2)
    return optimize.minimize_scalar(risk, bounds=(-5, 5), method='bounded', options={'xatol': 1e-10}).x


@checks('tab-inst-refusal', 'eq-inst-refusal', 'eq-inst-threshold', 'eq-inst-bayes', 'ex-inst-bayes', 'fig-inst-refusal')
def refusals():
    script = importlib.import_module('figures.chapter3.inst_refusal')
    rows = {}
    for share in (0.01, 0.03, 0.1, 0.3):
        slope, intercept = logistic(share, 3)
        assert abs(slope - 3) < 1e-3
        t = -intercept / slope
        rows[f'{share}'] = {'有害': stats.norm.sf(t - 1.5), '无害': stats.norm.sf(t + 1.5), '边界': stats.norm.sf(t - 0.5)}
        np.testing.assert_allclose(script.rates(share), [rows[f'{share}'][k] for k in ('有害', '边界', '无害')], atol=1e-3)
    def operating(prior, cost, delta):
        t = best_threshold(prior, cost, delta)
        share = optimize.brentq(lambda r: -np.divide(*logistic(r, delta)[::-1]) - t, 0.01, 0.4)
        harm, safe = stats.norm.sf(t - delta / 2), stats.norm.sf(t + delta / 2)
        return share, t, harm, safe, safe * (1 - prior) / (safe * (1 - prior) + harm * prior)
    share, _, harm, safe, wrong = operating(0.001, 100, 3)
    assert [round(x, d) for x, d in ((share, 3), (harm, 3), (safe, 4), (wrong, 2))] == [0.091, 0.768, 0.0117, 0.94]
    assert abs(script.best_share() - share) < 1e-4
    return {'tab-inst-refusal': rows, 'ex-inst-bayes': dict(zip('abcde', operating(0.002, 50, 4), strict=True))}


def controlled(mean, slope):
    """Raw win rate, sigma(intercept) of the logistic regression and the equal-length truth: a grid of lengths, PyTorch's optimiser."""
    z = torch.linspace(mean - 8, mean + 8, 4001, dtype=F64)
    weight = torch.exp(-0.5 * (z - mean) ** 2)
    weight = weight / weight.sum()
    g, u = torch.tanh(z), slope * (z - mean)
    p = torch.sigmoid(g + u)
    v = torch.zeros(2, dtype=F64, requires_grad=True)
    optimiser = torch.optim.LBFGS([v], max_iter=300, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn='strong_wolfe')
    def closure():
        optimiser.zero_grad()
        loss = weight @ F.binary_cross_entropy_with_logits(v[0] + v[1] * g, p, reduction='none')
        loss.backward()
        return loss
    optimiser.step(closure)
    return (weight @ p).item(), torch.sigmoid(v[0]).item(), (weight @ torch.sigmoid(u)).item()


@checks('tab-inst-lc', 'eq-inst-lc', 'eq-inst-lcwin', 'fig-inst-length')
def length_control():
    script = importlib.import_module('figures.chapter3.inst_length')
    rows = {}
    for name, slope in (('纯偏好：$\\tanh z$', 0.0), ('混杂：$\\tanh z+0.6(z-1)$', 0.6), ('混杂：$\\tanh z-0.6(z-1)$', -0.6)):
        rows[name] = dict(zip(('原始胜率', '长度控制', '同长真值'), controlled(1.0, slope), strict=True))
        np.testing.assert_allclose(script.win_rates(1.0, slope), list(rows[name].values())[:2], atol=2e-4)
    assert controlled(2.0, 0.6)[1] < 0.2 and 0.75 < controlled(2.0, -0.6)[1] < 0.85 and 0.66 < controlled(2.0, 0.0)[0] < 0.72
    return {'tab-inst-lc': rows}


@checks('eq-inst-ovb')
def omitted_variable():
    rng = np.random.default_rng(0)
    g = rng.standard_normal(5000) + 0.8
    u = 0.4 * g + rng.standard_normal(5000)
    u -= u.mean()
    theta, phi = 0.3, 0.7
    intercept, slope = np.linalg.lstsq(np.c_[np.ones(5000), g], theta + phi * g + u, rcond=None)[0]
    ratio = np.cov(u, g, ddof=0)[0, 1] / g.var()
    assert math.isclose(slope, phi + ratio) and math.isclose(intercept, theta - ratio * g.mean())


@checks('prop-inst-swap')
def swapping():
    w = {d: 0.5 * (expit(d + 0.8) + expit(d - 0.8)) for d in (-0.5, 0.0, 0.5)}
    assert round(w[0.5], 3) == 0.606 and round(expit(0.5), 3) == 0.622 and w[0.0] == 0.5 and math.isclose(w[-0.5], 1 - w[0.5])
    for d, a in itertools.product((0.01, 0.5, 3), (-2, 0.1, 5)):
        assert 0.5 < 0.5 * (expit(d + a) + expit(d - a)) < expit(d)


@checks('prop-inst-paired', 'eq-inst-mcnemar', 'eg-inst-power', 'eq-inst-power', 'ex-inst-paired')
def paired():
    """The joint distribution of a pair enumerated; power of the sample size by the normal approximation and by simulation."""
    def size(variance, delta, power):
        def gap(n):
            return stats.norm.sf(stats.norm.ppf(0.975) - delta / math.sqrt(variance / n)) - power
        return math.ceil(optimize.brentq(gap, 10, 1e6))
    def spread(gain, loss):
        values, weight = np.array([1, -1, 0]), np.array([gain, loss, 1 - gain - loss])
        return weight @ values**2 - (weight @ values) ** 2
    gain, loss = 0.07, 0.05                                # q = 0.12 and a difference of 0.02
    variance, apart = spread(gain, loss), 0.8 * 0.2 + 0.82 * 0.18
    need, unpaired = size(variance, 0.02, 0.8), size(apart, 0.02, 0.8)
    assert round(unpaired / need, 2) == 2.57
    assert round((apart - variance) / 2 / math.sqrt(0.16 * 0.1476), 2) == 0.61
    draws = np.random.default_rng(0).multinomial(need, [gain, loss, 1 - gain - loss], 20_000)
    z = (draws[:, 0] - draws[:, 1]) / np.sqrt(draws[:, 0] + draws[:, 1])
    assert abs((np.abs(z) > 1.96).mean() - 0.8) < 0.015
    score = math.sqrt(stats.chisquare([70, 50]).statistic)
    low = spread(60 / 600, 36 / 600)
    best8 = integrate.quad(lambda x: 8 * x * stats.norm.pdf(x) * stats.norm.cdf(x) ** 7, -9, 9)[0]
    cov = np.full((5, 5), 0.4) + 0.6 * np.eye(5)
    assert round(2 * 0.7 * 0.3 / spread(0.095, 0.065), 1) == 2.6
    return {
        'eg-inst-power': {'paired': need, 'unpaired': unpaired, 'z': score, 'p': stats.chisquare([70, 50]).pvalue, 'exact': stats.binomtest(70, 120).pvalue},
        'ex-inst-paired': {
            'a': math.sqrt(low / 600), 'b': math.sqrt(stats.chisquare([60, 36]).statistic), 'c': size(spread(0.095, 0.065), 0.03, 0.9),
            'd': math.sqrt((1 / 5) / cov.mean()), 'e': 1.6 * math.sqrt(0.5) * best8,
        },
    }


@checks('eq-inst-cluster')
def clusters():
    """Beta-distributed pass rates with mean 0.6 and variance 0.12, simulated; then the best of ten correlated scores."""
    rng = np.random.default_rng(0)
    total = 0.6 * 0.4 / 0.12 - 1
    means = rng.binomial(8, rng.beta(0.6 * total, 0.4 * total, (4000, 500))).mean(1) / 8
    assert abs(means.std() * 100 - 1.64) < 0.06
    exact = [100 * math.sqrt(x) for x in (0.24 / 4000, (0.12 + 0.12 / 8) / 500, 0.12 / 500)]
    assert [round(x, 2) for x in exact] == [0.77, 1.64, 1.55] and round(exact[1] / exact[0], 2) == 2.12
    best = integrate.quad(lambda x: 10 * x * stats.norm.pdf(x) * stats.norm.cdf(x) ** 9, -9, 9)[0]
    assert round(best, 3) == 1.539
    error = 100 * math.sqrt(0.16 / 500)
    assert [round(error, 2), round(error * best, 2)] == [1.79, 2.75] and abs(error * best * math.sqrt(1 - 0.61) - 1.72) < 0.005
    scores = rng.multivariate_normal(np.zeros(10), 0.61 + 0.39 * np.eye(10), 40_000).max(1)
    assert abs(scores.mean() - best * math.sqrt(0.39)) < 5 * scores.std() / 200
    # The open exercise: calls, and the coarsest standard error of 125 prompts.
    assert 125 * 4 * 2 == 1000 and round(0.5 / 125**0.5, 3) == 0.045


def tree(rng, depth=4, tokens=3):
    """A random language model over strings of one length: a table of next-token probabilities per prefix."""
    return {prefix: rng.dirichlet(np.full(tokens, 0.7)) for t in range(depth) for prefix in itertools.product(range(tokens), repeat=t)}


def decode(model, legal, depth, tokens):
    """Probability of every string under the model and under masked decoding; the product of what was left after masking."""
    p, q, kept = {}, {}, {}
    alive = {y[:t] for y in legal for t in range(depth + 1)}
    for y in itertools.product(range(tokens), repeat=depth):
        p[y] = math.prod(model[y[:t]][y[t]] for t in range(depth))
        if y in legal:
            kept[y] = math.prod(sum(model[y[:t]][v] for v in range(tokens) if (*y[:t], v) in alive) for t in range(depth))
            q[y] = math.prod(model[y[:t]][y[t]] / sum(model[y[:t]][v] for v in range(tokens) if (*y[:t], v) in alive) for t in range(depth))
    return p, q, kept


@checks('eq-inst-gcd', 'eq-inst-doob', 'prop-inst-tv', 'ex-inst-constrained', 'eg-inst-gcd')
def constrained():
    """Every string of a small model enumerated."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        model = tree(rng)
        strings = list(itertools.product(range(3), repeat=4))
        legal = {strings[i] for i in rng.choice(81, 12, replace=False)}
        p, q, kept = decode(model, legal, 4, 3)
        mass = sum(p[y] for y in legal)
        assert math.isclose(sum(q.values()), 1)
        assert math.isclose(sum(abs(p[y] - q.get(y, 0)) for y in strings) / 2, 1 - mass)
        assert sum(abs(p[y] / mass - q[y]) for y in legal) / 2 <= 1 - mass + 1e-12
        assert math.isclose(sum(q[y] * kept[y] for y in legal), mass)
        divergence = sum(q[y] * math.log(q[y] * mass / p[y]) for y in legal)
        assert math.isclose(divergence, math.log(mass) - sum(q[y] * math.log(kept[y]) for y in legal)) and divergence >= 0
        assert sum(q[y] * kept[y] ** 2 for y in legal) / mass**2 <= 1 / mass
        ahead = {pre: sum(p[y] for y in legal if y[:len(pre)] == pre) / max(1e-300, sum(p[y] for y in strings if y[:len(pre)] == pre))
                 for t in range(5) for pre in itertools.product(range(3), repeat=t)}
        for y in legal:
            assert math.isclose(math.prod(model[y[:t]][y[t]] * ahead[y[:t + 1]] / ahead[y[:t]] for t in range(4)), p[y] / mass)
    # Equal chances of finishing: masking is conditioning. Legal strings: the first two tokens free, the third must be 0, same odds everywhere.
    even = {pre: np.array([0.2, 0.3, 0.5]) for pre in tree(rng, 3)}
    p, q, _ = decode(even, {y for y in itertools.product(range(3), repeat=3) if y[2] == 0}, 3, 3)
    assert all(math.isclose(q[y], p[y] / 0.2) for y in q)
    # Without a bound on the length: go on with probability 1/2, end legally with 0.4 / 4^t. Follow model and mask for 60 steps.
    reach, alive, legal = 1.0, 1.0, 0.0
    for t in range(60):
        end = 0.4 / 4**t
        legal, reach, alive = legal + reach * end, reach / 2, alive * 0.5 / (0.5 + end)
    assert round(legal, 3) == 0.457 and round(alive, 3) == 0.434
    a, b = (0, 1), (1, 1)
    p, q, kept = decode({(): np.array([0.9, 0.1]), (0,): np.array([0.99, 0.01]), (1,): np.array([0.0, 1.0])}, {a, b}, 2, 2)
    assert math.isclose(kept[a], 0.01) and math.isclose(kept[b], 1) and math.isclose(sum(q[y] * kept[y] for y in q), 0.109)
    cond = p[a] / (p[a] + p[b])
    return {'eg-inst-gcd': {'q': q[a], 'cond': cond, 'tv': abs(q[a] - cond)}}


@checks('ex-inst-additive')
def not_additive():
    for rate, steps, drop in ((0.5, 4, 0.498), (0.05, 40, 0.49)):
        theta = torch.ones(1, dtype=F64, requires_grad=True)
        sgd = torch.optim.SGD([theta], lr=rate)
        for _ in range(steps):
            sgd.zero_grad()
            (0.5 * theta.square().sum()).backward()
            sgd.step()
        assert abs(0.5 - 0.5 * theta.item() ** 2 - drop) < 0.0051 and rate * steps == 2


@checks('tab-inst-torch')
def documented():
    logits, target = torch.randn(6, 4), torch.tensor([1, -100, 2, -100, 0, 3])
    torch.testing.assert_close(F.cross_entropy(logits, target), F.cross_entropy(logits, target, reduction='sum') / 4)
    share, cost = 0.1, 5.0                                 # pos_weight adds its logarithm to the best logit
    def slope(z):
        z = torch.tensor(z, dtype=F64, requires_grad=True)
        loss = F.binary_cross_entropy_with_logits(z, torch.tensor(1.0, dtype=F64), pos_weight=torch.tensor(cost, dtype=F64)) * share
        loss = loss + F.binary_cross_entropy_with_logits(z, torch.tensor(0.0, dtype=F64), pos_weight=torch.tensor(cost, dtype=F64)) * (1 - share)
        return torch.autograd.grad(loss, z)[0].item()
    assert math.isclose(optimize.brentq(slope, -5, 5), math.log(share / (1 - share)) + math.log(cost), abs_tol=1e-9)
    with pytest.raises(RuntimeError):
        torch.func.vmap(lambda x: F.dropout(x, 0.5, training=True))(torch.ones(3, 4))
    tiny = torch.full((1, 4), 1e-10)
    assert F.cosine_similarity(tiny, tiny).item() < 0.9
    points = torch.randn(30, 64) + 100
    assert torch.cdist(points, points).diagonal().max() > 1e-3
    assert torch.cdist(points[:20], points[:20]).diagonal().max() == 0
    with pytest.raises(RuntimeError):
        torch.multinomial(torch.zeros(1, 5), 1)
