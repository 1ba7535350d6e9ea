"""Section 4.1: what comparisons identify, how errors of a proxy bend the gold reward, judges, verifiers and aggregation."""

import itertools
import math
from functools import cache

import numpy as np
import torch
from scipy import optimize, sparse, special, stats
from scipy.sparse import csgraph
from torch.nn import functional as F

from checks import checks
from figures.chapter4 import rm_calibration, rm_overopt, rm_votes

F64 = torch.float64


def bradley_terry(p, weight=None):
    """Population MLE by BFGS on the negative log-likelihood, the first reward fixed at zero."""
    p = np.asarray(p, dtype=float)
    weight = np.ones_like(p) if weight is None else weight

    def loss(r):
        r = np.append(0.0, r)
        return (weight * p * np.logaddexp(0, r[None] - r[:, None])).sum()

    return np.append(0.0, optimize.minimize(loss, np.zeros(len(p) - 1), tol=1e-12).x)


def information(r, wins):
    """Minus the Hessian of the log-likelihood of a matrix of wins, by autograd."""
    wins = torch.as_tensor(wins, dtype=F64)
    return -torch.autograd.functional.hessian(lambda x: (wins * F.logsigmoid(x[:, None] - x)).sum(), torch.as_tensor(r, dtype=F64))


def contrast(matrix, i, j):
    e = torch.zeros(len(matrix), dtype=F64)
    e[i], e[j] = 1, -1
    return e @ torch.linalg.pinv(matrix, rtol=1e-10) @ e


@checks('thm-rm-gumbel', 'eq-rm-pl')
def race_of_gumbels():
    """Ranks drawn with PyTorch's Gumbel noise against the formula, all orders of four; doubling the noise halves the rewards."""
    r = torch.tensor([0.7, -0.4, 0.1, 0.0], dtype=F64)
    noise = torch.distributions.Gumbel(torch.zeros(4, dtype=F64), 1.0).sample((400_000,))
    for scale in (1, 2):
        order = (r + scale * noise).argsort(dim=1, descending=True)
        code = (order * torch.tensor([64, 16, 4, 1])).sum(1)
        for o in itertools.permutations(range(4)):
            exact = math.prod(torch.softmax(r[list(o[k:])] / scale, 0)[0].item() for k in range(3))
            share = (code == 64 * o[0] + 16 * o[1] + 4 * o[2] + o[3]).double().mean().item()
            assert abs(share - exact) < 5 * math.sqrt(exact / 400_000)
    # The denominators of a ranked list come from logcumsumexp on the flipped list.
    ranked = r[[0, 2, 3, 1]]
    value = (ranked - torch.logcumsumexp(ranked.flip(0), 0).flip(0)).sum().exp().item()
    assert math.isclose(value, math.prod(torch.softmax(ranked[k:], 0)[0].item() for k in range(4)))


@checks('eq-rm-order', 'eq-rm-loss')
def logarithm_before_expectation():
    p = 0.6
    delta = torch.zeros((), dtype=F64, requires_grad=True)
    optimizer = torch.optim.LBFGS([delta], max_iter=200, tolerance_grad=1e-12)

    def closure():
        optimizer.zero_grad()
        value = F.binary_cross_entropy_with_logits(delta, torch.tensor(p, dtype=F64))
        value.backward()
        return value

    optimizer.step(closure)
    assert abs(delta.item() - 0.405) < 5e-4 and math.isclose(delta.item(), math.log(1.5), rel_tol=1e-5)
    x = torch.linspace(-6, 6, 200, dtype=F64, requires_grad=True)
    slope = torch.autograd.grad((p * torch.sigmoid(x) + (1 - p) * torch.sigmoid(-x)).sum(), x)[0]
    assert (slope > 0).all()


@checks('thm-rm-graph')
def connected_and_strongly_connected():
    """Directions of recession by linear programming, and the null space of the Hessian, on random tournaments."""
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(150):
        n = int(rng.integers(3, 6))
        wins = rng.integers(0, 3, (n, n)) * (rng.random((n, n)) < 0.45)
        np.fill_diagonal(wins, 0)
        edges = np.argwhere(wins > 0)
        if not len(edges):
            continue
        strong = csgraph.connected_components(sparse.csr_matrix(wins), connection='strong')[0] == 1
        linked = csgraph.connected_components(sparse.csr_matrix(wins), directed=False)[0] == 1
        nullity = n - np.linalg.matrix_rank(information(rng.standard_normal(n), wins).numpy(), tol=1e-9)
        assert (nullity == 1) == linked
        # A direction along which no term falls, other than a common shift: the maximum is not unique or not attained.
        rows = np.zeros((len(edges), n))
        rows[np.arange(len(edges)), edges[:, 0]], rows[np.arange(len(edges)), edges[:, 1]] = -1, 1
        recedes = any(
            optimize.linprog(np.eye(n)[b] - np.eye(n)[a], A_ub=rows, b_ub=np.zeros(len(edges)), bounds=[(0, 1)] * n).fun < -1e-7
            for a, b in itertools.permutations(range(n), 2)
        )
        assert recedes != strong
        seen.add((strong, linked))
    assert seen == {(True, True), (False, True), (False, False)}


@cache
def rank_information(k):
    """PL information, curvature and score covariance of the pairs, over every ranking of k equal items, per unit of the projection."""
    orders = torch.tensor(list(itertools.permutations(range(k))))
    r = torch.zeros(len(orders), k, dtype=F64, requires_grad=True)
    ranked = r.gather(1, orders)
    pl = (ranked - torch.logcumsumexp(ranked.flip(1), 1).flip(1)).sum()
    score = torch.autograd.grad(pl, r)[0]
    full = score.square().sum(1).mean().item() / (k - 1)
    upper = torch.triu_indices(k, k, 1)
    ranked = r.gather(1, orders)
    pairs = F.logsigmoid(ranked[:, upper[0]] - ranked[:, upper[1]]).sum()
    score = torch.autograd.grad(pairs, r)[0]
    spread = score.square().sum(1).mean().item() / (k - 1)
    curvature = information(np.zeros(k), np.triu(np.ones((k, k)), 1)).trace().item() / (k - 1)
    return full, curvature, spread


@checks('prop-rm-info', 'eq-rm-info', 'eq-rm-neff', 'tab-rm-info', 'ex-rm-weights')
def worth_of_a_ranking():
    table = {}
    for k in (2, 4, 6, 9):
        full, curvature, spread = rank_information(k)
        harmonic = sum(1 / m for m in range(1, k + 1))
        np.testing.assert_allclose([full, curvature, spread], [(k - harmonic) / (k - 1), k / 4, k * (k + 1) / 12], rtol=1e-9)
        actual = curvature**2 / spread
        count = math.comb(k, 2)
        table[str(k)] = {'对数': count, '有效对数': count * actual / curvature, '拆对相对 PL 的效率': actual / full}
    assert abs(table['9']['有效对数'] - 10.8) < 1e-9
    # Many items: n_eff from the score covariance k (k + 1) / 12, against its asymptote 1.5 k - 3.
    assert all(abs(math.comb(k, 2) * (k / 4) / (k * (k + 1) / 12) - (1.5 * k - 3)) < 0.1 for k in (40, 400))
    assert abs((10.8 / 36) ** 0.5 - 0.55) < 0.005
    efficiency = [3 * k * (k - 1) / (4 * (k + 1) * (k - float(special.digamma(k + 1)) - np.euler_gamma)) for k in range(2, 4000)]
    assert min(efficiency) > 0.75 and efficiency[-1] < 0.7525 and np.all(np.diff(efficiency) < 0)
    # The exercise: half of the rankings K = 2, half K = 9, S_K = K - 1; the best weights by search.
    (_, a2, b2), (_, a9, b9) = rank_information(2), rank_information(9)

    def info(w):
        return (a2 + 8 * w * a9) ** 2 / (b2 + 8 * w**2 * b9)

    best = optimize.minimize_scalar(lambda w: -info(w), bounds=(0, 2), method='bounded')
    assert abs(best.x - 3 / 10) < 1e-5 and abs(-best.fun - 5.9) < 1e-6
    assert abs(info(1 / 36) - 1.830) < 1e-3 and abs(info(1 / 36) / 5.9 - 0.310) < 5e-4
    assert abs(info(1) - 5.657) < 5e-4 and abs(info(1) / 5.9 - 0.959) < 5e-4
    return {'tab-rm-info': table}


@checks('eg-rm-chain', 'ex-rm-bt', 'eq-rm-resistance')
def resistance():
    chain, full = np.zeros((5, 5)), np.full((5, 5), 20.0)
    for i in range(4):
        chain[i, i + 1] = chain[i + 1, i] = 50
    np.fill_diagonal(full, 0)
    assert chain.sum() == full.sum() == 400
    ends = contrast(information(np.zeros(5), chain), 0, 4), contrast(information(np.zeros(5), full), 0, 4)
    assert abs(ends[0].sqrt() - 0.40) < 1e-9 and abs(ends[1].sqrt() - 0.20) < 1e-9
    tail = special.expit(4) * special.expit(-4)
    assert abs(tail - 0.0177) < 5e-5 and abs(0.25 / tail - 14) < 0.3
    # Simulated: on a chain the MLE of a difference is the log ratio of wins.
    rng = np.random.default_rng(0)
    wins = rng.binomial(100, 0.5, (200_000, 4))
    assert abs(np.log(wins / (100 - wins)).sum(1).var() - 0.16) < 0.005
    wins = np.array([[0, 7, 5], [3, 0, 6], [5, 4, 0]])
    r = bradley_terry(wins)
    fitted = special.expit(r[:, None] - r)
    scale = information(r, 10 * fitted * (1 - np.eye(3)))
    assert wins.sum(1).tolist() == [12, 9, 9]
    return {
        'eg-rm-chain': {'链': ends[0], '完全图': ends[1]},
        'ex-rm-bt': {'a': r[0] - r[1], 'b': round(r[1] - r[2], 5), 'c': round(fitted[1, 2], 5), 'd': contrast(scale, 1, 2).sqrt()},
    }


@checks('eq-rm-fisher')
def weighted_error_is_d_over_n():
    d, n, repeats = 5, 2000, 150
    rng = np.random.default_rng(0)
    truth = np.array([0.8, -0.5, 0.3, 0.0, 0.2])
    total = 0
    for _ in range(repeats):
        z = rng.standard_normal((n, d))
        z *= np.where(rng.random(n) < special.expit(z @ truth), 1, -1)[:, None]
        w = optimize.minimize(lambda w, z=z: np.logaddexp(0, -z @ w).sum(), truth, jac=lambda w, z=z: -z.T @ special.expit(-z @ w)).x
        m = z @ truth
        total += np.mean(special.expit(m) * special.expit(-m) * (z @ (w - truth)) ** 2)
    assert abs(total / repeats * n / d - 1) < 0.12


@checks('fig-rm-calibration')
def overconfidence():
    """Newton's method in PyTorch on its own draws, the losses on fresh pairs; the curves of the figure against binned frequencies."""
    dim, gamma, n = 200, 1.5, 1000
    rows = []
    for _ in range(40):
        z = torch.randn(n, dim, dtype=F64)
        z = torch.where(torch.rand(n, dtype=F64)[:, None] < torch.sigmoid(gamma * z[:, :1]), z, -z)
        w = torch.zeros(dim, dtype=F64)
        for _ in range(13):
            p = torch.sigmoid(-z @ w)
            w = w + torch.linalg.solve((z * (p * (1 - p))[:, None]).T @ z, z.T @ p)
        fresh = torch.randn(10_000, dim, dtype=F64)
        margin = fresh @ w
        label = (torch.rand(10_000, dtype=F64) < torch.sigmoid(gamma * fresh[:, 0])).double()

        def loss(t, margin=margin, label=label):
            return F.binary_cross_entropy_with_logits(margin / t, label).item()

        best = optimize.minimize_scalar(loss, bounds=(0.5, 20), method='bounded')
        right = ((margin > 0) == (fresh[:, 0] > 0)).double().mean().item()
        rows.append([w.norm().item(), right, loss(1.0), best.x, best.fun, w[0].item() / gamma])
    size, right, raw, t, cooled, inflation = np.mean(rows, axis=0)
    assert abs(size - 2.67) < 0.1 and size / gamma > 1.75 and abs(inflation - 1.38) < 0.06
    assert abs(right - 0.78) < 0.012 and abs(raw - 0.73) < 0.025 and abs(t - 2.7) < 0.12 and abs(cooled - 0.60) < 0.01
    assert raw > math.log(2) and abs(math.log(2) - 0.69) < 0.005
    models = rm_calibration.data()
    assert abs(rm_calibration.actual(special.logit(0.95), *models[5][1:]) - 0.75) < 0.008
    for size, slope, rest in models.values():
        m = torch.randn(1_000_000, dtype=F64) * size
        truth = torch.sigmoid(slope * m + rest * torch.randn(len(m), dtype=F64))
        for q in (0.2, 0.6, 0.9):
            near = (torch.sigmoid(m) - q).abs() < 0.005
            assert abs(truth[near].mean().item() - rm_calibration.actual(special.logit(q), slope, rest)) < 0.012


def t_cdf(x):
    x = x / 3**0.5
    return 0.5 + (np.arctan(x) + x / (1 + x * x)) / np.pi


HERMITE, MASS = np.polynomial.hermite_e.hermegauss(64)
MASS = MASS / MASS.sum()


def nested(cdf, errors, weights, counts):
    """Gold of the best of N as N E[v F(v + e)^(N-1)], by Gauss–Hermite over v and a quadrature over e; F from the error's distribution."""
    u = HERMITE[:, None] + errors
    grid = np.linspace(-14, 14, 3001)
    grid = np.concatenate([-np.geomspace(1e4, 14, 400)[:-1], grid, np.geomspace(14, 1e4, 400)[1:]])
    above = sum(m * (1 - cdf(grid - h)) for h, m in zip(HERMITE, MASS, strict=True))
    low = np.exp(np.interp(u, grid, np.log(np.maximum(above, 1e-300))))
    return [n * np.sum(MASS[:, None] * HERMITE[:, None] * weights * np.exp((n - 1) * np.log1p(-np.minimum(low, 1 - 1e-15)))) for n in counts]


def quantile_nodes(ppf, count=4000):
    """Equal steps in the logit of the probability: a quadrature that sees both tails."""
    x = np.linspace(-30, 30, count)
    p = special.expit(x)
    return ppf(p, special.expit(-x)), p * special.expit(-x) * (x[1] - x[0])


@cache
def curves():
    s = rm_overopt.SCALE
    counts = 2.0 ** np.arange(21)

    def t_ppf(p, q):
        return np.where(p < 0.5, stats.t.ppf(p, 3), stats.t.isf(q, 3)) * s

    def median_ppf(p, q):
        return np.where(p < 0.5, stats.t.ppf(stats.beta.ppf(p, 3, 3), 3), stats.t.isf(stats.beta.ppf(q, 3, 3), 3)) * s

    def normal_ppf(p, q):
        return np.where(p < 0.5, stats.norm.ppf(p), stats.norm.isf(q))

    return {
        'gauss': nested(stats.norm.cdf, *quantile_nodes(normal_ppf), counts),
        't': nested(lambda e: t_cdf(e / s), *quantile_nodes(t_ppf), counts),
        'median': nested(lambda e: special.betainc(3, 3, t_cdf(e / s)), *quantile_nodes(median_ppf), counts),
    }


def leak(size):
    hack = torch.rand(size, dtype=F64) < rm_overopt.LEAK
    v = torch.where(hack, -1.0, torch.randn(size, dtype=F64))
    noise = torch.randn(size, dtype=F64)
    return v, torch.where(hack, 4 + rm_overopt.SIGMA2**0.5 * noise, v + (rm_overopt.SIGMA2 - 1) ** 0.5 * noise)


@checks('fig-rm-overopt', 'thm-rm-monotone', 'tab-rm-fit')
def gold_curves():
    """Another quadrature and simulation against the figure; accuracy by simulation; the fits by SciPy's curve_fit."""
    figure, mine = rm_overopt.data(), curves()
    for name in mine:
        tail = 2e-3 if name == 't' else 1e-2
        np.testing.assert_allclose(figure[name], mine[name], atol=tail)
    for name, n in (('mean', 256), ('median', 256), ('exploit', 256), ('exploit', 16)):
        size = (12_000, n) if name == 'exploit' else (4000, n)
        if name == 'exploit':
            v, u = leak(size)
        else:
            v = torch.randn(size, dtype=F64)
            e = torch.as_tensor(np.random.default_rng(0).standard_t(3, (*size, 5))) * rm_overopt.SCALE
            u = v + (e.mean(-1) if name == 'mean' else e.median(-1).values)
        gold = v.gather(1, u.argmax(1, keepdim=True))
        assert abs(gold.mean() - figure[name][int(math.log2(n))]) < 4.5 * gold.std() / size[0] ** 0.5
    # Pairwise accuracy 75 %.
    m = 2_000_000
    v = torch.randn(2, m, dtype=F64)
    t3 = torch.as_tensor(np.random.default_rng(1).standard_t(3, (2, m))) * rm_overopt.SCALE
    vh, uh = leak((2, m))
    for v2, u2 in ((v, v + torch.randn(2, m, dtype=F64)), (v, v + t3), (vh, uh)):
        dv, du = v2[0] - v2[1], u2[0] - u2[1]
        assert abs((du[dv != 0] * dv[dv != 0] > 0).double().mean() - 0.75) < 0.0015
    assert abs((rm_overopt.SIGMA2 - 1) ** 0.5 - 0.930) < 5e-4 and abs(rm_overopt.SCALE - 0.762) < 5e-4
    gold = {name: figure[name] - figure[name][0] for name in figure}
    for name, at32, at1024 in (('gauss', 1.46, 2.30), ('t', 1.09, 0.47), ('exploit', 0.98, -0.83)):
        assert abs(gold[name][5] - at32) < 0.005 and abs(gold[name][10] - at1024) < 0.006
    peak = {name: (int(np.argmax(g)), g.max()) for name, g in gold.items()}
    assert peak['gauss'][0] == 20 and peak['t'][0] == 5 and peak['exploit'][0] == 4 and peak['mean'][0] == 8 and peak['median'][0] == 15
    for name, top, where in (('t', 1.09, 1.58), ('exploit', 1.02, 1.35), ('mean', 2.04, 2.13), ('median', 3.16, 3.07)):
        assert abs(peak[name][1] - top) < 0.005 and abs(rm_overopt.D[peak[name][0]] - where) < 0.006
    assert abs(gold['gauss'][20] - 3.45) < 0.01 and gold['t'][20] < 0.05 and gold['exploit'][20] < -0.98
    # The tilted policy of the leak: exact sums over a fine grid of proxies, its best gain.
    sd = rm_overopt.SIGMA2**0.5
    u = np.linspace(-40, 60, 100_001)
    honest, hack = 0.99 * stats.norm.pdf(u, 0, sd), 0.01 * stats.norm.pdf(u, 4, sd)
    gains = []
    for lam in np.linspace(0.05, 2, 40):
        w = (honest + hack) * np.exp(lam * u)
        q = w / w.sum()
        value = (q * (honest * u / sd**2 - hack) / np.maximum(honest + hack, 1e-300)).sum()
        kl = (q * (lam * u)).sum() - math.log(w.sum() * (u[1] - u[0]))
        np.testing.assert_allclose(rm_overopt.exploit_tilted(lam), (math.sqrt(kl), value), rtol=1e-5)
        gains.append(value + 0.01)
    assert abs(max(gains) - 0.47) < 0.005
    table = {}
    d = rm_overopt.D[1:10]
    for name, label in (('gauss', '高斯'), ('t', '$t_3$'), ('exploit', '漏洞')):
        y = gold[name][1:10]
        (alpha, beta), _ = optimize.curve_fit(lambda d, a, b: d * (a - b * d), d, y)
        other, _ = optimize.curve_fit(lambda d, a, b: d * (a - b * np.log(d)), d, y)
        table[label] = {
            '$\\alpha$（BoN 式）': alpha,
            '$\\beta$（BoN 式）': beta,
            '均方根残差': np.sqrt(np.mean((d * (alpha - beta * d) - y) ** 2)),
            'RL 式残差': np.sqrt(np.mean((d * (other[0] - other[1] * np.log(d)) - y) ** 2)),
        }
    assert table['$t_3$']['均方根残差'] > 100 * table['高斯']['均方根残差']
    return {'tab-rm-fit': table}


@checks('thm-rm-monotone', 'eq-rm-tail', 'ex-rm-clip')
def regression_curves():
    """Posterior means for log-concave and heavy-tailed errors under an awkward prior; clipping; the tails of mean and median."""
    v = np.linspace(-8, 8, 1601)
    prior = 0.5 * stats.norm.pdf(v, -2, 0.3) + 0.3 * stats.norm.pdf(v, 0.5, 0.2) + 0.2 * stats.norm.pdf(v, 3, 0.5)
    prior /= prior.sum()
    u = np.linspace(-9, 9, 400)
    for error in (stats.norm(scale=1.5), stats.laplace(scale=0.7), stats.logistic(), stats.gamma(2)):
        joint = prior * np.exp(error.logpdf(u[:, None] - v))
        seen = joint.sum(1) > 0
        g = (joint * v).sum(1)[seen] / joint.sum(1)[seen]
        assert np.all(np.diff(g) > -1e-9)
    for error in (stats.t(3), stats.cauchy(), stats.t(1.5, scale=3)):
        far = np.array([1e3, 1e4, 1e5])
        joint = prior * error.pdf(far[:, None] - v)
        g = (joint * v).sum(1) / joint.sum(1)
        assert abs(g[-1] - prior @ v) < 1e-3 and abs(g[-1] - prior @ v) < abs(g[0] - prior @ v)
        # N = 2: the gain is 2 Cov(v, F(v + e)) > 0, here by simulation.
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((2, 400_000))
    proxy = truth + 5 * rng.standard_cauchy((2, 400_000))
    assert np.where(proxy[0] > proxy[1], truth[0], truth[1]).mean() > 0.02
    truth = rng.standard_normal(8_000_000)
    proxy = truth + rm_overopt.SCALE * rng.standard_t(3, len(truth))
    assert abs(truth[proxy >= 2.39].mean() - 1.15) < 0.008
    # Where to clip: the best limit, from a sorted sample, and the regression there; the peak of the regression lies higher.
    for true, seen, where, value in ((truth, proxy, 2.39, 1.15), (*(x.numpy() for x in leak(8_000_000)), 2.16, 1.13)):
        order = np.argsort(-seen)
        running = np.cumsum(true[order]) / np.arange(1, len(true) + 1)
        best = 2000 + np.argmax(running[2000:])
        assert abs(seen[order][best] - where) < 0.12 and abs(running[best] - value) < 0.01
        assert abs(true[np.abs(seen - where) < 0.05].mean() - running[best]) < 0.03
    grid = np.linspace(2, 5, 301)
    v = np.linspace(-9, 9, 1801)
    joint = stats.norm.pdf(v) * stats.t.pdf((grid[:, None] - v) / rm_overopt.SCALE, 3)
    g = (joint * v).sum(1) / joint.sum(1)
    assert abs(grid[g.argmax()] - 3.15) < 0.011 and g.max() > 1.2
    x = 60.0
    one = stats.t.sf(x, 3)
    assert abs(stats.binom.sf(2, 5, one) / (10 * one**3) - 1) < 1e-3
    mean = rng.standard_t(3, (2_000_000, 5)).mean(1)
    assert abs((mean > 8).mean() / (5 * stats.t.sf(40, 3)) - 1) < 0.35


@checks('prop-rm-gauss', 'eq-rm-gauss', 'eq-rm-bonkl', 'eq-rm-drift', 'prop-rm-length')
def gaussian_case():
    rho, sv, su, beta = 0.6, 1.3, 2.1, 1.7
    u = np.linspace(-30, 40, 40_001)
    base = stats.norm.pdf(u, 0, su)
    q = base * np.exp(u / beta)
    q, base = q / q.sum(), base / base.sum()
    kl = (q * np.log(np.maximum(q, 1e-300) / np.maximum(base, 1e-300))).sum()
    assert math.isclose(kl, su**2 / (2 * beta**2), rel_tol=1e-6)
    assert math.isclose(q @ u, su * math.sqrt(2 * kl), rel_tol=1e-6)
    assert math.isclose(q @ (rho * sv / su * u), rho * sv * math.sqrt(2 * kl), rel_tol=1e-6)
    for n in (2, 8, 64, 1024):
        x = np.linspace(-10, 12, 200_001)
        density = n * stats.norm.cdf(x) ** (n - 1) * stats.norm.pdf(x)
        step = x[1] - x[0]
        divergence = (density * (math.log(n) + (n - 1) * stats.norm.logcdf(x))).sum() * step
        assert abs(divergence - (math.log(n) - (n - 1) / n)) < 1e-6
        assert (density * x).sum() * step <= math.sqrt(2 * divergence)
    # Ties: the value is only an upper bound.
    p = np.full(3, 1 / 3)
    best = np.diff(np.append(0, np.cumsum(p) ** 16))
    assert (best * np.log(np.maximum(best, 1e-300) / p)).sum() < math.log(16) - 15 / 16
    # The identity of the drift on random discrete policies.
    base, proxy, f = torch.rand(3, 50, dtype=F64)
    lam = torch.tensor(0.9, dtype=F64, requires_grad=True)
    policy = torch.softmax(base.log() + lam * proxy, 0)
    slope = torch.autograd.grad(policy @ f, lam, retain_graph=True)[0]
    policy = policy.detach()
    torch.testing.assert_close(slope, policy @ (proxy * f) - (policy @ proxy) * (policy @ f))
    # Length: a = 1, lambda = 0.5, importance weights on samples.
    a, lam, beta = 1.0, 0.5, 1.5
    q, ell = torch.randn(2, 2_000_000, dtype=F64)
    w = torch.softmax((a * q + lam * ell) / beta, 0)
    kl = (w * (w * len(w)).log()).sum()
    assert abs((w @ ell) - lam / beta) < 0.005
    share = (w @ ell) ** 2 / 2 / kl
    assert abs(share - 0.2) < 0.005
    assert abs((w @ q) / (a * (2 * kl).sqrt()) - 0.894) < 0.005
    # (kappa, lambda) enter through their sum; padding shows lambda alone.
    p = special.expit(0.7 * 1.3)
    assert math.isclose(math.log(p / (1 - p)) / 1.3, 0.7)
    assert abs(2 / math.sqrt(1000) - 0.063) < 5e-4


@checks('eq-rm-warm')
def averaging_weights():
    m, d = 6, 4
    weights = torch.randn(m, d, dtype=F64)
    x = torch.randn(d, dtype=F64)
    torch.testing.assert_close(weights.mean(0) @ x, (weights @ x).mean())
    sigma = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=F64)
    draws = torch.distributions.MultivariateNormal(torch.zeros(2, dtype=F64), sigma).sample((200_000, m))
    phi = torch.tensor([1.0, -2.0], dtype=F64)
    assert abs((draws.mean(1) @ phi).var() / (phi @ sigma @ phi / m) - 1) < 0.02

    def f(w):
        return torch.tanh(w[:2] @ x[:2]) * torch.sigmoid(w[2:] @ x[2:])

    center = torch.randn(d, dtype=F64)
    gap = []
    for scale in (0.1, 0.05):
        w = center + scale * weights
        hessian = torch.autograd.functional.hessian(f, w.mean(0))
        spread = (w - w.mean(0)).T @ (w - w.mean(0)) / m
        actual = torch.stack([f(row) for row in w]).mean() - f(w.mean(0))
        gap.append((actual - 0.5 * torch.trace(hessian @ spread)).abs())
    assert gap[1] < gap[0] / 5


@checks('tab-rm-eval', 'eq-rm-variance')
def same_accuracy_other_policy():
    """Every composition of N draws over four responses, by its multinomial probability."""
    base = [0.4, 0.3, 0.2, 0.1]
    table = {}
    for name, score in (('真值', (0, 1, 2, 3)), ('错在底部', (1, 0, 2, 3)), ('错在顶部', (0, 1, 3, 2))):
        pairs = list(itertools.combinations(range(4), 2))
        row = {'准确率': sum(score[i] < score[j] for i, j in pairs) / len(pairs)}
        for n in (4, 16, 64):
            grid = np.array([(a, b, c, n - a - b - c) for a in range(n + 1) for b in range(n + 1 - a) for c in range(n + 1 - a - b)])
            chance = stats.multinomial.pmf(grid, n, base)
            row[f'$N={n}$'] = chance @ np.where(grid > 0, score, -1).argmax(1)
        table[name] = row
    z, r = torch.randn(2, 6, dtype=F64)
    z.requires_grad_()
    policy = torch.softmax(z, 0)
    gradient = torch.autograd.grad(policy @ r, z)[0]
    policy = policy.detach()
    variance = policy @ r.square() - (policy @ r) ** 2
    torch.testing.assert_close(gradient.square().sum(), (policy.square() * (r - policy @ r).square()).sum())
    assert gradient.square().sum() <= policy.max() * variance
    return {'tab-rm-eval': table}


@checks('prop-rm-vote', 'fig-rm-votes', 'ex-rm-votes')
def verdicts():
    for p in (0.6, 0.75):
        exponent = -0.5 * math.log(4 * p * (1 - p))
        for k in (11, 101, 1001):
            assert stats.binom.logcdf(k // 2, k, p) <= -k * exponent
        assert abs(-special.logsumexp(stats.binom.logpmf(np.arange(10_001), 20_001, p)) / 20_001 / exponent - 1) < 0.02
    x = 1e-3
    p = stats.norm.cdf(x)
    assert abs(-0.5 * math.log(4 * p * (1 - p)) / (x**2 / 2) - 2 / math.pi) < 1e-4 and abs(math.pi / 2 - 1.57) < 0.001
    # Majorities by simulation, each pair with its own chance.
    for a, b, limit in ((3, 1.5, 0.784), (1, 0.5, 0.707)):
        chance = torch.distributions.Beta(torch.tensor(a, dtype=F64), torch.tensor(b, dtype=F64)).sample((1_000_000,))
        assert abs(chance.mean() - 2 / 3) < 0.002 and abs((chance > 0.5).double().mean() - limit) < 0.002
        votes = torch.distributions.Binomial(17, chance).sample()
        assert abs((votes > 8).double().mean() - stats.betabinom.sf(8, 17, a, b)) < 0.002
        if a == 3:
            assert abs(stats.betabinom.sf(8, 17, a, b) - 0.762) < 5e-4
    assert list(rm_votes.BETAS.values()) == [(3, 1.5), (1, 0.5)]
    assert abs(stats.binom.sf(8, 17, 2 / 3) - 0.925) < 5e-4
    p = stats.norm.cdf(0.3)
    mean = next(k for k in range(1, 500) if stats.norm.sf(0.3 * math.sqrt(k)) <= 0.01)
    vote = next(k for k in range(1, 500, 2) if sum(math.comb(k, j) * p**j * (1 - p) ** (k - j) for j in range(k // 2 + 1)) <= 0.01)
    exponent = -0.5 * math.log(4 * p * (1 - p))
    assert abs(exponent - 0.0286) < 5e-5 and abs(math.log(100) / exponent - 161) < 0.5 and abs(vote / mean - 1.56) < 0.005
    mixture = np.mean([0.5 * (s > 0) + 0.5 * (s >= 0) for s in [0.3] * 5 + [-0.3] * 2 + [0.0] * 3])
    return {'ex-rm-votes': {'a': mean, 'b': p, 'c': vote, 'd': mixture}}


def verifier(p, false_positive, false_negative):
    """Exact joint of truth and verdict."""
    joint = np.array([[(1 - p) * (1 - false_positive), (1 - p) * false_positive], [p * false_negative, p * (1 - false_negative)]])
    passed = joint[:, 1].sum()
    slope = (joint[1, 1] / p) - joint[0, 1] / (1 - p)
    return slope, joint[1, 1] / passed, passed * (1 - passed) / (slope**2 * p * (1 - p))


@checks('prop-rm-verifier', 'eq-rm-affine', 'eq-rm-snr', 'ex-rm-verifier', 'eg-rm-hack')
def verifiers():
    slope, precision, factor = verifier(0.02, 0.02, 0.1)
    assert abs(factor - 2.38) < 0.005 and abs(precision - 0.479) < 5e-4
    # After division by the standard deviation the expected gradient shrinks by the root of the factor.
    logits = torch.randn(7, dtype=F64, requires_grad=True)
    truth = torch.tensor([0, 0, 1, 0, 1, 0, 0], dtype=F64)
    noisy = truth * 0.9 + (1 - truth) * 0.02
    policy = torch.softmax(logits, 0)
    clean, seen = (torch.autograd.grad(policy @ r, logits, retain_graph=True)[0] for r in (truth, noisy))
    torch.testing.assert_close(seen, 0.88 * clean)
    p, q = (policy @ truth).item(), (policy @ noisy).item()
    ratio = (seen.norm() / math.sqrt(q * (1 - q)) / (clean.norm() / math.sqrt(p * (1 - p)))).item()
    assert math.isclose(ratio, verifier(p, 0.02, 0.1)[2] ** -0.5, rel_tol=1e-9) and abs(factor**-0.5 - 0.65) < 0.003
    estimates = (np.random.default_rng(0).binomial(500, 0.0376, 200_000) / 500 - 0.02) / 0.88
    assert abs(estimates.mean() - 0.02) < 1e-4 and abs(estimates.var() / (0.02 * 0.98 / 500) / factor - 1) < 0.02
    a, b, c = verifier(0.1, 0.05, 0.2)
    base, reward = torch.tensor([0.2, 0.7999, 1e-4], dtype=F64), torch.tensor([0.9, 0.01, 0.95], dtype=F64)

    def policy_at(t):
        return torch.softmax(base.log() + t * reward, 0)

    meet = optimize.brentq(lambda t: (policy_at(t)[0] - policy_at(t)[2]).item(), 50, 300)
    return {
        'ex-rm-verifier': {'a': a, 'b': b, 'c': c, '去假阳': verifier(0.1, 0.0, 0.2)[2], '去假阴': verifier(0.1, 0.05, 0.0)[2]},
        'eg-rm-hack': {
            '平均假阳率': (base[1:] @ reward[1:]) / base[1:].sum(),
            '相等时刻': meet,
            '二十': policy_at(20)[0],
            '三百': policy_at(300)[0],
        },
    }


@checks('thm-rm-borda', 'prop-rm-cycle', 'ex-rm-cycle')
def aggregation():
    rng = np.random.default_rng(0)
    for _ in range(40):
        n = int(rng.integers(3, 7))
        p = rng.random((n, n))
        p = np.triu(p, 1) + np.tril(1 - p.T, -1)
        r = bradley_terry(p)
        assert (np.argsort(r) == np.argsort(p.sum(1))).all()
    p = np.array([[0, 0.6, 0.6], [0.4, 0, 1.0], [0.4, 0, 0]])
    np.testing.assert_allclose(p.sum(1), [1.2, 1.4, 0.4])
    assert abs(bradley_terry(p)[1] - 0.305) < 5e-4
    for times, value in ((2, 0.0), (3, -0.121)):
        weight = np.ones((3, 3))
        weight[0, 1] = weight[1, 0] = times
        assert abs(bradley_terry(p, weight)[1] - value) < 5e-4
    cycle = np.array([[0, 2, 1], [1, 0, 2], [2, 1, 0]]) / 3
    np.testing.assert_allclose(bradley_terry(cycle), 0, atol=1e-5)
    assert abs(0.6 * special.expit(1) + 0.4 * special.expit(-1.6) - 0.506) < 5e-4 and math.isclose(0.6 - 0.4 * 1.6, -0.04)
    # Rewards fitted to a mixture leave a residual exactly when a triple breaks the criterion.
    groups = np.array([[3.0, 0, -3], [-3, 3, 0]])
    mix = special.expit(groups[:, :, None] - groups[:, None]).mean(0)
    left, right = mix[0, 1] * mix[1, 2] * mix[2, 0], mix[1, 0] * mix[2, 1] * mix[0, 2]
    np.testing.assert_allclose([mix[0, 1], mix[1, 2], mix[2, 0], left, right], [0.4775, 0.9526, 0.4775, 0.2172, 0.0129], atol=6e-5)
    assert abs(left / right - 17) < 0.3
    for p in (mix, special.expit(groups[0][:, None] - groups[0])):
        r = bradley_terry(p * (1 - np.eye(3)))
        misfit = np.abs(special.expit(r[:, None] - r) - p)[~np.eye(3, dtype=bool)].max()
        fits = math.isclose(p[0, 1] * p[1, 2] * p[2, 0], p[1, 0] * p[2, 1] * p[0, 2])
        assert (misfit < 1e-4) == fits
    noisy = 0.9 * special.expit(np.array([2.0, 4.0])) + 0.05
    one, two = np.log(noisy / (1 - noisy))
    assert two < 1.9 * one
    # Utilities that differ in spread: A is always 1, B is 0 or 4.
    assert abs(math.log(0.6 / 0.4) - 0.405) < 5e-4 and math.isclose(0.4 * 4, 1.6)


@checks('ex-rm-critique')
def optimism_of_the_selected():
    picked = [max(pair) for pair in itertools.product((-1, 1), repeat=2)]
    assert np.mean(picked) == 0.5
    v, e = torch.randn(2, 40_000, 64, dtype=F64)
    u = v + 1.5 * e
    index = u.argmax(1, keepdim=True)
    top = torch.randn(40_000, 64, dtype=F64).amax(1).mean()
    assert abs((u - v).gather(1, index).mean() - 1.5**2 / math.sqrt(1 + 1.5**2) * top) < 0.03


@checks('tab-rm-torch')
def pytorch_traps():
    x = torch.tensor(-120.0, requires_grad=True)
    naive = torch.sigmoid(x).log()
    assert naive == -math.inf and torch.autograd.grad(naive, x)[0].isnan()
    assert F.logsigmoid(x) == -120 and torch.autograd.grad(F.logsigmoid(x), x)[0] == 1
    assert F.softplus(torch.tensor(20.5, dtype=F64)) == 20.5
    torch.testing.assert_close(F.softplus(-x), -F.logsigmoid(x))
    a, b = torch.tensor([2.0], requires_grad=True), torch.tensor([1.9])
    assert torch.autograd.grad(F.margin_ranking_loss(a, b, torch.ones(1)), a)[0] == 0
    # The mean over pairs gives a prompt with 36 pairs 36 times the weight of one with a single pair.
    z = torch.zeros(37, requires_grad=True)
    gradient = torch.autograd.grad(F.binary_cross_entropy_with_logits(z, torch.ones(37)), z)[0]
    assert torch.allclose(gradient[:36].sum() / gradient[36:].sum(), torch.tensor(36.0))
    model = torch.nn.BatchNorm1d(1)
    average = torch.optim.swa_utils.AveragedModel(model)
    for value in (1.0, 2.0, 6.0):
        with torch.no_grad():
            model.weight.fill_(value)
            model.running_mean.fill_(value)
        average.update_parameters(model)
    assert average.module.weight.item() == 3 and average.module.running_mean.item() == 6
    assert abs(torch.distributions.Gumbel(0.0, 1.0).mean - 0.577) < 5e-4
