"""Section 4.6: the small solvable models of the future of alignment, each computed another way than in the text."""

import importlib
import itertools
import math
import warnings
from fractions import Fraction

import numpy as np
import torch
from scipy import integrate, linalg, optimize, stats
from torch import distributions
from torch.nn import functional as F

from checks import checks

F64 = torch.float64


def logit(p):
    return math.log(p / (1 - p))


def sigmoid(u):
    return 1 / (1 + math.exp(-u))


def figure(name):
    return importlib.import_module(f'figures.chapter4.future4_{name}')


# Oversight by a weaker judge


@checks('thm-future4-debate')
def quantified_formulas_as_games():
    """The value of the debate by minimax against the truth of the formula by sets of assignments, for every order of play on four variables."""
    rng = np.random.default_rng(0)
    for _ in range(40):
        table = rng.random((2, 2, 2, 2)) < 0.5

        def play(history, table=table):
            if len(history) == 4:
                return bool(table[history])
            values = [play(history + (bit,)) for bit in (0, 1)]
            return max(values) if len(history) % 2 == 0 else min(values)

        # exists x1 forall x2 exists x3 forall x4, innermost first, on whole arrays
        truth = table.all(3).any(2).all(1).any(0)
        assert play(()) == bool(truth)


@checks('prop-future4-bisection')
def bisection_solved():
    """Minimax over every midpoint and every choice, five states, eight steps."""
    rng = np.random.default_rng(1)
    for _ in range(10):
        step = rng.integers(0, 5, 5)
        true = [0]
        for _ in range(8):
            true.append(int(step[true[-1]]))

        def value(left, right, length, step=step):
            if length == 1:
                return int(step[left] == right)
            half = length // 2
            return max(min(value(left, mid, half), value(mid, right, half)) for mid in range(5))

        for claim in range(5):
            assert value(0, claim, 8) == int(claim == true[8])


@checks('prop-future4-bisection', 'eg-future4-bisection')
def bisection_numbers():
    """Probabilities by multiplying out the rounds; (c) also played at random with four rounds."""
    passed = 1.0
    for _ in range(1024):
        passed *= 0.98
    held, rounds, left = 1.0, 0, 1024
    while left > 1:
        held, rounds, left = held * 0.9, rounds + 1, left // 2
    assert rounds == 10 and abs(held - 0.3487) < 1e-4
    good = (np.random.rand(400_000, 4) < 0.9).all(1) & (np.random.rand(400_000) < 0.98)
    assert abs(good.mean() - 0.9**4 * 0.98) < 0.003
    return {'full': passed, 'debate': 1 - 0.02, 'lost': held * (1 - 0.02)}


@checks('prop-future4-w2s', 'eq-future4-misfit')
def misfit_on_a_grid():
    """Projection by weighted least squares on a discrete distribution."""
    points, dim = 400, 7
    weight = np.random.dirichlet(np.ones(points))
    basis = np.random.randn(points, dim)
    truth, weak = basis @ np.random.randn(dim), np.random.randn(points)
    root = np.sqrt(weight)[:, None]
    strong = basis @ np.linalg.lstsq(root * basis, root[:, 0] * weak, rcond=None)[0]
    size = lambda f: np.sum(weight * f**2)
    np.testing.assert_allclose(size(strong - truth), size(weak - truth) - size(strong - weak), rtol=1e-10)


@checks('prop-future4-w2s', 'eq-future4-pgr', 'fig-future4-w2s')
def recovered_gap():
    """A torch simulation of the student against the formula, and the script's points against both."""
    script = figure('w2s')
    points = script.simulated()
    d = 50
    for share in (0.0, 0.25, 0.5):
        for n in (101, 150, 500):
            x = torch.randn(150 if n < 300 else 40, n, d, dtype=F64)
            bias = torch.zeros(d, dtype=F64)
            bias[3] = share**0.5
            y = x @ bias + (1 - share) ** 0.5 * torch.randn(x.shape[:2], dtype=F64)
            student = torch.cholesky_solve(x.mT @ y[..., None], torch.linalg.cholesky(x.mT @ x))
            error = student.square().sum((-1, -2))
            formula = (1 - share) * (1 - d / (n - d - 1))
            assert abs(1 - error.mean().item() - formula) < 5 * error.std().item() / len(error) ** 0.5 + 1e-3
            assert abs(points[share][script.SIZES.index(n)] - formula) < 0.08
        assert abs((1 - share) * (1 - d / (2 * d + 1 - d - 1))) < 1e-12
        assert points[share][0] < 0 < points[share][-1]


def missed(audited, gap):
    """Share of attacks below the threshold that sends ``audited`` of honest outputs to review: areas by erfc, the threshold by a root finder."""
    area = lambda x: math.erfc(x / math.sqrt(2)) / 2
    return area(gap - optimize.brentq(lambda k: area(k) - audited, -9, 9, xtol=1e-13))


@checks('tab-future4-control', 'eq-future4-roc', 'eq-future4-deter', 'prop-future4-audit')
def control_table():
    rows = {}
    for gap in (0, 1, 2, 3):
        deter = optimize.brentq(lambda a, gap=gap: missed(a, gap) - 0.1, 1e-3, 0.999)
        miss = missed(0.05, gap)
        assert abs(deter - (1 - stats.norm.cdf(stats.norm.ppf(1 / 10) + gap))) < 1e-6
        rows[f'{gap}'] = {'慑止所需 $a^\\star$': deter, '漏检率': miss, '十里挑一后': stats.binom.sf(0, 10, miss)}
    # The attacker picks the least suspicious of ten, drawn in full.
    scores = (np.random.randn(200_000, 10) + 3).min(1)
    assert abs((scores < stats.norm.isf(0.05)).mean() - rows['3']['十里挑一后']) < 0.005
    return rows


@checks('eq-future4-threshold')
def best_threshold():
    for gap, ratio in ((2, 10), (1, 3), (3, 0.5)):
        cost = lambda k, gap=gap, ratio=ratio: ratio * stats.norm.sf(k) + stats.norm.cdf(k - gap)
        found = optimize.minimize_scalar(cost, bounds=(-3, 8), method='bounded', options={'xatol': 1e-9}).x
        assert abs(found - (gap / 2 + math.log(ratio) / gap)) < 1e-5
    assert round(math.log(10) / 2, 2) == 1.15


@checks('ex-future4-audit')
def choosy_attacker():
    best_of = lambda m: stats.binom.sf(0, 20, m)
    single = optimize.brentq(lambda m: best_of(m) - 0.2, 1e-6, 0.5)
    assert abs(single - 0.01109) < 1e-5
    answer = {'a': missed(0.02, 1.5), 'c': optimize.brentq(lambda a: missed(a, 1.5) - 0.2, 1e-3, 0.99)}
    return answer | {'b': best_of(answer['a']), 'd': optimize.brentq(lambda a: missed(a, 1.5) - single, 1e-3, 0.999)}


@checks('ex-future4-design')
def design_numbers():
    miss = missed(0.005, 2)
    assert round(miss, 3) == 0.718 and round(stats.norm.isf(0.005), 3) == 2.576
    assert stats.binom.sf(0, 10, miss) > 0.99999 and round(missed(0.05, 2), 3) == 0.361


# Cheap labels with a bias


@checks('eq-future4-ppi', 'eq-future4-ppivar', 'prop-future4-ppi')
def prediction_powered():
    """Monte Carlo: unbiased whatever lambda, smallest variance at the regression coefficient, the stated value there."""
    n, m, rho, trials = 12, 60, 0.7, 60_000
    y = torch.randn(trials, m, dtype=F64)
    f = 2 * (rho * y + (1 - rho**2) ** 0.5 * torch.randn(trials, m, dtype=F64)) + 3      # biased, another scale
    y = y + 0.4
    variance = {}
    for lam in (0.0, rho / 2, 1.0):
        estimate = (y[:, :n] - lam * f[:, :n]).mean(1) + lam * f.mean(1)
        assert abs(estimate.mean().item() - 0.4) < 5 * estimate.std().item() / trials**0.5
        variance[lam] = estimate.var().item()
    assert abs(variance[rho / 2] / ((1 - rho**2) / n + rho**2 / m) - 1) < 0.03
    assert variance[rho / 2] < min(variance[0.0], variance[1.0])


def cheapest(rho, price):
    """Least variance per unit budget (human label = 1), and the mix, by search over the number of human labels; AI labels M >= n not imposed."""
    spread = lambda n: (1 - rho**2) / n + rho**2 * price / (1 - n)
    found = optimize.minimize_scalar(spread, bounds=(1e-6, 1 - 1e-6), method='bounded', options={'xatol': 1e-12})
    return found.fun, (1 - found.x) / price / found.x


@checks('tab-future4-ppi', 'eq-future4-ppicost')
def mixing_table():
    return {f'{rho}': {f'{price}': cheapest(rho, price)[0] for price in (0.1, 0.01, 0.001)} for rho in (0.5, 0.7, 0.8, 0.9)}


@checks('eg-future4-ppi', 'ex-future4-ppi')
def when_not_ai_alone():
    ratio, mix = cheapest(0.8, 0.01)
    crossing = optimize.brentq(lambda b: 0.05**2 + 0.25 * 0.01 / b - ratio * 0.25 / b, 1, 1000)
    limit = optimize.brentq(lambda z: cheapest(0.5, z)[0] - 1, 0.01, 0.5)
    assert abs(limit - 0.0718) < 5e-5 and abs(limit - math.tan(math.radians(15)) ** 2) < 1e-6
    for rho in (0.2, 0.5, 0.9):
        edge = optimize.brentq(lambda z, rho=rho: cheapest(rho, z)[0] - 1, 1e-4, 0.9)
        assert abs(math.sqrt(edge) - (1 - math.sqrt(1 - rho**2)) / rho) < 1e-4
        assert cheapest(rho, edge * 0.99)[1] > 2
    return {'eg-future4-ppi': {'ratio': ratio, 'mix': mix, 'budget': crossing}}


# Misalignment


@checks('eq-future4-faking')
def pairs_needed():
    """Power of the two-sample test of 14 % against 1 %, sixty and sixty-one per arm."""
    power = lambda n: stats.norm.cdf(0.13 / math.sqrt((0.14 * 0.86 + 0.01 * 0.99) / n) - stats.norm.ppf(0.975))
    assert power(60) < 0.8 <= power(61) and abs(optimize.brentq(lambda n: power(n) - 0.8, 10, 200) - 60.5) < 0.05
    # The exact test, its power by enumeration of both arms.
    def exact(n):
        first, second = (stats.binom.pmf(np.arange(n + 1), n, p) for p in (0.14, 0.01))
        rejected = lambda i, j: stats.fisher_exact([[i, n - i], [j, n - j]])[1] <= 0.05
        return sum(first[i] * second[j] for i in range(26) for j in range(6) if rejected(i, j))

    assert exact(68) < 0.8 < exact(69)
    # The gap of the log-odds has V in it and not k.
    for k in (-1.0, 2.0):
        odds = [(p * 3.0 - k) / 0.5 for p in (0.2, 0.7)]
        assert math.isclose(odds[1] - odds[0], 0.5 * 3.0 / 0.5)


@checks('eg-future4-transfer')
def transfer_by_descent():
    """Gradient descent on the training context alone, features with the given overlap, the other context only read."""
    answer = {}
    for name, overlap in (('low', 0.2), ('half', 0.5), ('high', 0.8)):
        here = torch.tensor([1.0, 0.0], dtype=F64)
        there = torch.tensor([overlap, 0.7], dtype=F64)
        theta = torch.zeros(2, dtype=F64, requires_grad=True)
        probability = torch.tensor(0.14)
        while probability < 0.98:
            out = logit(0.14) + here @ theta
            probability = torch.sigmoid(out)
            if probability < 0.98:
                grad = torch.autograd.grad(F.logsigmoid(out), theta)[0]
                theta = (theta + 0.02 * grad).detach().requires_grad_()
        assert abs((here @ theta).item() - 5.707) < 2e-3
        answer[name] = torch.sigmoid(logit(0.01) + there @ theta)
    return answer


def fitted(rows):
    """Bias and context weight of the penalised regression, by Newton's method on automatic derivatives."""
    theta = torch.zeros(2, dtype=F64)

    def loss(t):
        out = [(share, -6 + t[0] + t[1] * c, y) for share, c, y in rows]
        return sum(share * F.binary_cross_entropy_with_logits(s, torch.tensor(float(y), dtype=F64)) for share, s, y in out) + 0.001 * t @ t

    for _ in range(200):
        g, h = torch.autograd.functional.jacobian(loss, theta), torch.autograd.functional.hessian(loss, theta)
        theta = theta - 0.3 * torch.linalg.solve(h, g)
    return theta


@checks('eg-future4-conditional')
def dilution():
    narrow, mixed = fitted([(1.0, 1, 1)]), fitted([(0.05, 1, 1), (0.95, 0, 0)])
    bad = lambda t, c: torch.sigmoid(-6 + t[0] + t[1] * c)
    assert round(sigmoid(-6), 4) == 0.0025 and abs(narrow[0] - narrow[1]) < 1e-6 and round(narrow[0].item(), 2) == 5.27
    assert round(mixed[0].item(), 2) == 1.35 and round(mixed[1].item(), 2) == 5.84
    return {'narrow': bad(narrow, 0), 'diluted': bad(mixed, 0), 'similar': bad(mixed, 0.5), 'same': bad(mixed, 1)}


@checks('eq-future4-time', 'prop-future4-explore', 'fig-future4-explore')
def suppressed_action():
    """The flow integrated until it crosses 1/2; the group update by autograd over all outcomes of a group; the script's curves."""
    script = figure('explore')
    for start in (0.1, 0.01, 0.001):
        crossing = lambda t, u: u[0]
        crossing.terminal = True
        flow = lambda t, u: [np.exp(-np.logaddexp(0, u[0]) - np.logaddexp(0, -u[0]))]
        ran = integrate.solve_ivp(flow, (0, 5000), [logit(start)], events=crossing, rtol=1e-9, atol=1e-10)
        time = ran.t_events[0][0]
        formula = (1 - 2 * start) / (start * (1 - start)) + 2 * math.log((1 - start) / start)
        assert abs(time / formula - 1) < 1e-5 and abs(script.plain(start) / time - 1) < 1e-5
    group = 5
    for p in (0.02, 0.3):
        expected = 0.0
        for outcome in itertools.product((0.0, 1.0), repeat=group):
            r = torch.tensor(outcome, dtype=F64)
            if r.std(correction=0) == 0:
                continue
            u = torch.tensor(logit(p), dtype=F64, requires_grad=True)
            advantage = (r - r.mean()) / r.std(correction=0)
            log_probability = r * F.logsigmoid(u) + (1 - r) * F.logsigmoid(-u)
            step = torch.autograd.grad((advantage * log_probability).mean(), u)[0].item()
            k = sum(outcome)
            assert abs(step - math.sqrt(k / group * (1 - k / group))) < 1e-12
            expected += p**k * (1 - p) ** (group - k) * step
        assert abs(script.group_signal(p, group) - expected) < 1e-12
    assert abs(script.group_signal(1e-5) / 1e-5 / math.sqrt(15) - 1) < 1e-3
    # the unbiased deviation, which torch takes unless told otherwise
    r = torch.tensor([1.0] + [0.0] * 15, dtype=F64)
    assert abs((r * (r - r.mean()) / r.std()).mean().item() * 16 - 15 / 4) < 1e-12
    assert abs(script.grouped(1e-4) * math.sqrt(15) * 1e-4 - 1) < 0.01 and round(math.sqrt(15), 2) == 3.87


@checks('prop-future4-explore')
def never_seen():
    assert round(stats.binom.pmf(0, 10_000, 1e-5), 3) == 0.905
    average = lambda p, s: integrate.quad(lambda z: stats.norm.pdf(z) / (1 + math.exp(-(logit(p) + s * z))), -12, 12, limit=200)[0]
    assert abs(average(1e-4, 2) / 1e-4 / math.exp(2) - 1) < 0.05 and round(math.exp(2), 1) == 7.4
    # a small result is not enough: the tilted mass has to stay where the sigmoid is an exponential
    assert abs(average(1e-6, 4.5) / 1e-6 - 2299) < 1 and average(1e-6, 4.5) < 0.003 and abs(math.exp(4.5**2 / 2) / 2.5e4 - 1) < 0.01


# Rewarding the chain of thought

START = {'open': 0.19, 'silent': 0.01, 'honest': 0.8}


def tilted(t, penalty=1.0, gain=0.5):
    """The regularised optimum at beta = 1/t: quasi-Newton on two logits, gradients by autograd, no closed form."""
    prior = torch.tensor(list(START.values()), dtype=F64)
    reward = torch.tensor([gain - penalty, gain, 0.0], dtype=F64)

    def loss(z):
        z = torch.tensor([*z, 0.0], dtype=F64, requires_grad=True)
        log_p = torch.log_softmax(z, 0)
        value = -(log_p.exp() * (t * reward - log_p + prior.log())).sum()
        return value.item(), torch.autograd.grad(value, z)[0][:2].numpy()

    z = optimize.minimize(loss, [0.0, 0.0], jac=True, method='BFGS', options={'gtol': 1e-9}).x
    p = np.exp([*z, 0.0])
    return p / p.sum()


@checks('eq-future4-tilt', 'eq-future4-cot', 'eq-future4-turn', 'eg-future4-cot', 'fig-future4-cot', 'prop-future4-cot')
def cheating_under_a_penalty():
    script = figure('cot')
    # Natural gradient: the pseudo-inverse of the Fisher matrix of the softmax logits, integrated in time.
    reward = np.array([-0.5, 0.5, 0.0])

    def flow(_, z):
        p = np.exp(z - z.max())
        p /= p.sum()
        fisher = np.diag(p) - np.outer(p, p)
        return np.linalg.pinv(fisher, rcond=1e-12) @ (fisher @ reward)

    run = integrate.solve_ivp(flow, (0, 10), np.log(list(START.values())), dense_output=True, rtol=1e-9, atol=1e-11)
    for t in (1.0, 2.944, 5.889, 10.0):
        z = run.sol(t)
        p = np.exp(z - z.max())
        p /= p.sum()
        np.testing.assert_allclose(p, tilted(t), atol=2e-5)
        np.testing.assert_allclose(p[:2], script.policy(t), atol=1e-6)
        odds = p[0] / p[1]
        assert abs(math.log(odds) - (logit(0.95) - t)) < 1e-4
    cheat = lambda t: sum(script.policy(t))
    turn = optimize.minimize_scalar(cheat, bounds=(0, 8), method='bounded', options={'xatol': 1e-10}).x
    back = optimize.brentq(lambda t: cheat(t) - 0.2, 3, 10)
    openly = lambda t: script.policy(t)[0] / cheat(t)
    assert abs(openly(turn) - 0.5) < 1e-6 and abs(openly(10)) < 1e-3
    free = script.policy(10.0, 0.0)
    assert round(sum(free), 3) == 0.974 and abs(free[0] / sum(free) - 0.95) < 1e-9
    strong = [min(sum(script.policy(t, lam)) for t in np.linspace(0, 8, 4001)) for lam in (1, 2, 8, 200)]
    assert all(a > b for a, b in itertools.pairwise(strong))
    assert abs(strong[-1] / (1 - strong[-1]) / (0.25 * 0.05) - 1) < 0.05
    return {'eg-future4-cot': {'turn': turn, 'low': cheat(turn), 'back': back, 'open': openly(back), 'late': cheat(10.0)}}


@checks('ex-future4-vanilla')
def plain_gradient():
    """Autograd for the flow, the invariant along it, the values of the text, and an end that is cheating in silence."""
    gain, penalty = 0.5, 1.0
    y = torch.tensor([0.3, -0.7], dtype=F64, requires_grad=True)
    p, q = torch.sigmoid(y)
    slope = torch.autograd.grad(p * (gain - penalty * q), y)[0]
    a, b = p.item(), q.item()
    np.testing.assert_allclose(slope.numpy(), [a * (1 - a) * (gain - penalty * b), -penalty * a * b * (1 - b)], rtol=1e-12)

    def run(p0, q0, until):
        def f(_, y):
            p, q = sigmoid(y[0]), sigmoid(y[1])
            return [p * (1 - p) * (gain - penalty * q), -penalty * p * q * (1 - q)]

        return integrate.solve_ivp(f, (0, until), [logit(p0), logit(q0)], rtol=1e-10, atol=1e-12, dense_output=True)

    def invariant(u, v):
        q = sigmoid(v)
        return u + math.exp(u) + gain / penalty * (2 * v + (2 * q - 1) / (q * (1 - q))) - v - 1 / (1 - q)

    path = run(0.4, 0.8, 60)
    values = [invariant(*path.sol(t)) for t in np.linspace(0, 60, 13)]
    assert max(values) - min(values) < 1e-6
    p, q = (sigmoid(x) for x in run(0.2, 0.95, 1000).y[:, -1])
    assert round(p, 4) == 0.0024 and round(q, 3) == 0.902
    path = run(0.3, 0.7, 20_000)
    p, q = (np.array([sigmoid(x) for x in row]) for row in path.y)
    assert p.min() < 0.3 and p[-1] > 0.99 and q[-1] < 0.01 and (np.diff(q) < 0).all()


@checks('ex-future4-bayes')
def rare_events():
    base, hit, false = Fraction(1, 1000), Fraction(95, 100), Fraction(1, 100)
    posterior = lambda hit, false: base * hit / (base * hit + (1 - base) * false)
    spoken = Fraction(5, 100)
    weak = spoken * hit + (1 - spoken) * false
    assert weak == Fraction(57, 1000)
    assert abs(float(posterior(weak, false) / base) - 5.7) < 0.05
    return {
        'a': float(posterior(hit, false)),
        'b': optimize.brentq(lambda f: float(base * hit) - float(1 - base) * f, 1e-6, 0.1),
        'c': float(posterior(hit**2, false**2)),
        'd': float(posterior(weak, false)),
    }


# Directions for traits


@checks('prop-future4-persona', 'eq-future4-write')
def read_and_write():
    d = 6
    for _ in range(20):
        root = np.random.randn(d, d)
        sigma = root @ root.T + 0.3 * np.eye(d)
        delta, other = np.random.randn(2, d)
        best = linalg.eigh(np.outer(delta, delta), sigma)[0][-1]
        np.testing.assert_allclose(best, delta @ np.linalg.solve(sigma, delta), rtol=1e-9)
        values = np.linalg.eigvalsh(sigma)
        chi = values[-1] / values[0]
        mean = (delta @ delta) / math.sqrt(delta @ sigma @ delta)
        assert mean / math.sqrt(best) >= 2 * math.sqrt(chi) / (1 + chi) - 1e-12
        # the smallest change with the given reading: the KKT system
        w = np.linalg.solve(sigma, delta)
        system = np.block([[2 * np.linalg.inv(sigma), -w[:, None]], [w[None], np.zeros((1, 1))]])
        change = np.linalg.solve(system, np.r_[np.zeros(d), 1.7])[:d]
        np.testing.assert_allclose(change, 1.7 * delta / best, rtol=1e-7)
        np.testing.assert_allclose(np.linalg.solve(sigma, other) @ change, 1.7 * (other @ w) / best, rtol=1e-7)
    # equality of the bound: the difference in the two extreme directions
    spread = np.array([0.1, 10.0])
    delta = np.array([1.0, 1.0])
    reached = (delta @ delta) / math.sqrt((delta**2 * spread).sum()) / math.sqrt((delta**2 / spread).sum())
    assert abs(reached - 2 * 10 / 101) < 1e-9 and round(2 * 10 / 101, 3) == 0.198
    moved = integrate.quad(lambda x: (stats.norm.ppf(0.25) - x) * stats.norm.pdf(x), -12, stats.norm.ppf(0.25))[0]
    assert round(moved, 3) == 0.149


@checks('fig-future4-persona')
def persona_figure():
    """One point drawn again with torch; the limits the caption names."""
    script = figure('persona')
    curves, delta = script.curves(), torch.tensor(script.gap())
    spread = torch.tensor(script.SPECTRUM)
    assert abs(script.SPECTRUM[-1] / script.SPECTRUM[0] - 100) < 1e-9
    n, trials = 200, []
    for _ in range(12):
        a, b = (torch.randn(n, script.D, dtype=F64) * spread.sqrt() + s * delta / 2 for s in (1, -1))
        difference = a.mean(0) - b.mean(0)
        pooled = (torch.cov(a.T) + torch.cov(b.T)) / 2
        rule = torch.cholesky_solve(difference[:, None], torch.linalg.cholesky(pooled))[:, 0]
        trials.append([(w @ delta / (w.square() * spread).sum().sqrt()).item() for w in (difference, rule)])
    at = script.SIZES.index(n)
    assert np.abs(np.mean(trials, 0) - curves[:2, at]).max() < 0.08
    limit = script.separation(script.gap(), script.gap())
    assert round(limit, 2) == 0.94 and round(limit / 2, 2) == 0.47 and curves[0].max() < limit
    assert curves[1, 0] < curves[2, 0] and curves[1, -1] > curves[2, -1] and 1.95 < curves[1, -1] < 2


# Rubrics


@checks('eq-future4-sb', 'prop-future4-rubric', 'eg-future4-rubric')
def rubric_reliability():
    """Squared correlation of the mean score with the quality, from the covariance matrix of quality and items."""

    def reliability(rho, halo, k):
        covariance = np.full((k + 1, k + 1), rho + halo)
        np.fill_diagonal(covariance, 1.0)
        covariance[0, :] = covariance[:, 0] = rho
        mix = np.r_[0, np.full(k, 1 / k)]
        return (covariance[0] @ mix) ** 2 / (rho * (mix @ covariance @ mix))

    quality, halo = torch.randn(400_000, 1, dtype=F64) * 0.2**0.5, torch.randn(400_000, 1, dtype=F64) * 0.1**0.5
    score = (quality + halo + torch.randn(400_000, 10, dtype=F64) * 0.7**0.5).mean(1)
    simulated = torch.corrcoef(torch.stack([quality[:, 0], score]))[0, 1].square().item()
    assert abs(simulated - reliability(0.2, 0.1, 10)) < 0.005
    return {'eg-future4-rubric': {
        'plain': reliability(0.2, 0, 10), 'halo': reliability(0.2, 0.1, 10), 'seen': reliability(0.3, 0, 10),
        'ceiling': 1 / (2 / reliability(0.2, 0.1, 20) - 1 / reliability(0.2, 0.1, 10)), 'gate': stats.binom.pmf(0, 10, 0.05),
    }}


@checks('ex-future4-rubric', 'eq-future4-kstar')
def how_many_items():
    reach = lambda rho, halo, k: rho / (rho + halo + (1 - rho - halo) / k)
    rho, halo = Fraction(1, 5), Fraction(1, 20)
    first = lambda halo, goal: next(k for k in itertools.count(1) if reach(rho, halo, Fraction(k)) >= goal)
    best = optimize.minimize_scalar(lambda k: (25 + k) * (1 + 4 / k), bounds=(1, 200), method='bounded', options={'xatol': 1e-8}).x
    assert min(range(1, 100), key=lambda k: (25 + k) / float(reach(rho, 0, Fraction(k)))) == 10
    seen, real = reach(rho + halo, 0, Fraction(20)), reach(rho, halo, Fraction(20))
    assert seen / real == (rho + halo) / rho and round(float(seen), 4) == 0.8696 and round(float(real), 4) == 0.6957
    return {'a': first(0, Fraction(9, 10)), 'b': float(rho / (rho + halo)), 'c': first(halo, Fraction(7, 10)), 'd': round(best, 4),
            'e': float(seen - real)}


# On-policy distillation


@checks('eq-future4-opd', 'prop-future4-opd')
def reverse_kl_gradient():
    """All strings of three tokens from a small network with shared parameters: exact gradient of the KL, the sum with returns to go, and the myopic one."""
    size, length = 3, 3
    student, teacher = (torch.randn(1 + size * length, size, dtype=F64) for _ in range(2))

    def log_probabilities(weight, string):
        state, out = torch.zeros(1 + size * length, dtype=F64), []
        state[0] = 1
        for t, token in enumerate(string):
            out.append(torch.log_softmax(torch.tanh(state @ weight), -1))
            state = state.clone()
            state[1 + t * size + token] = 1
        return out

    weight = student.clone().requires_grad_()
    strings = list(itertools.product(range(size), repeat=length))
    divergence, togo, myopic, frozen = 0, 0, 0, 0
    for y in strings:
        mine, theirs = log_probabilities(weight, y), log_probabilities(teacher, y)
        own = torch.stack([lp[t] for lp, t in zip(mine, y, strict=True)])
        other = torch.stack([lp[t] for lp, t in zip(theirs, y, strict=True)])
        chance, reward = own.sum().exp(), (other - own).detach()
        divergence = divergence + chance * (own - other).sum()
        togo = togo + chance.detach() * (own * reward.flip(0).cumsum(0).flip(0)).sum()
        myopic = myopic + chance.detach() * (own * reward).sum()
        frozen = frozen + chance.detach() * sum((lp.exp() * (lp - lq)).sum() for lp, lq in zip(mine, theirs, strict=True))
    gradient = [torch.autograd.grad(f, weight, retain_graph=True)[0] for f in (divergence, togo, myopic, frozen)]
    torch.testing.assert_close(-gradient[0], gradient[1])
    torch.testing.assert_close(-gradient[3], gradient[2])
    assert not torch.allclose(gradient[1], gradient[2], atol=1e-3)


@checks('eq-future4-self')
def feedback_as_evidence():
    """A random joint distribution of two tokens and a feedback of three kinds."""
    joint = torch.rand(4, 5, 3, dtype=F64)
    joint /= joint.sum()
    for a, b, f in itertools.product(range(4), range(5), range(3)):
        with_feedback = joint[..., f] / joint[..., f].sum()
        without = joint.sum(-1)
        tokens = (with_feedback.sum(1)[a] / without.sum(1)[a]).log()
        tokens += (with_feedback[a, b] / with_feedback[a].sum()).log() - (without[a, b] / without[a].sum()).log()
        evidence = (joint[a, b, f] / joint[a, b].sum() / joint[..., f].sum()).log()
        torch.testing.assert_close(tokens, evidence)


@checks('prop-future4-opd')
def amount_of_signal():
    first = 0.5**20
    assert round(1 / first) == 1_048_576
    entropy = stats.entropy([first, 1 - first], base=2)
    assert abs(entropy - 2.04e-5) < 0.01e-5
    student, teacher = distributions.Bernoulli(torch.tensor(0.5, dtype=F64)), distributions.Bernoulli(torch.tensor(0.99, dtype=F64))
    assert abs(20 * distributions.kl_divergence(student, teacher).item() - 32.3) < 0.05

    def speed(_, u):
        z = torch.tensor(float(u[0]), dtype=F64, requires_grad=True)
        return [-torch.autograd.grad(distributions.kl_divergence(distributions.Bernoulli(logits=z), teacher), z)[0].item()]

    reached = lambda t, u: u[0] - logit(0.9)
    reached.terminal = True
    run = integrate.solve_ivp(speed, (0, 20), [0.0], events=reached, rtol=1e-7, atol=1e-9)
    assert abs(run.t_events[0][0] - 4.18) < 0.005


@checks('ex-future4-discount')
def first_token():
    def total(p, k=1.0):
        return p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5) + p * k

    found = optimize.minimize_scalar(total, bounds=(1e-6, 1 - 1e-6), method='bounded', options={'xatol': 1e-10})
    assert round(found.x, 3) == 0.269 and round(found.fun, 3) == 0.380 and abs(total(0.5) - 0.5) < 1e-12
    assert abs(found.x - 0.5 * math.exp(-1) / (0.5 * math.exp(-1) + 0.5)) < 1e-6


@checks('ex-future4-critique')
def residual_is_not_the_gain():
    """Ten dimensions, sixteen labels: a positive residual, a negative gain; the held-out disagreement; the difference of squares."""
    d, n, trials = 10, 16, 200_000
    x = torch.randn(trials, n, d, dtype=F64)
    e = torch.randn(trials, n, dtype=F64)
    gram = x.mT @ x
    error = torch.linalg.solve(gram, (x.mT @ e[..., None]))[..., 0]
    residual = (e - (x @ error[..., None])[..., 0]).square().mean().item()
    size = error.square().sum(-1)
    slack = 5 * size.std().item() / trials**0.5
    assert abs(residual - (1 - d / n)) < 0.005 and residual > 0
    assert abs(1 - size.mean().item() - (1 - d / (n - d - 1))) < slack and 1 - size.mean().item() < 0
    truth = torch.ones(d, dtype=F64)
    learned = (truth + error).square().sum(-1)
    squares = truth.square().sum() + 1 - learned.mean()
    assert abs(squares.item() - (1 - size.mean().item())) < 5 * learned.std().item() / trials**0.5
    # (n = 2 d + 1): inside the sample the gain is (d + 1) / (2 d + 1), outside it is zero
    assert Fraction(1) - Fraction(d, 2 * d + 1) == Fraction(d + 1, 2 * d + 1) and 1 - d / (2 * d + 1 - d - 1) == 0


# More than one kind of user


@checks('eq-future4-pool', 'eg-future4-plural')
def pooled_reward():
    """One reward fitted to the mixture by maximum likelihood; utilities by enumeration of the choices."""
    share, gap = np.array([0.7, 0.3]), np.array([1.0, -4.0])
    chosen = np.array([sigmoid(g) for g in gap])
    assert [round(c, 4) for c in chosen] == [0.7311, 0.0180] and round(share @ chosen, 4) == 0.5171
    loss = lambda r: sum(w * (c * np.logaddexp(0, -r) + (1 - c) * np.logaddexp(0, r)) for w, c in zip(share, chosen, strict=True))
    fit = optimize.minimize_scalar(loss, bounds=(-5, 5), method='bounded', options={'xatol': 1e-10}).x
    assert max(share @ gap, 0) == 0
    return {'eg-future4-plural': {'pooled': fit, 'mean': share @ gap, 'personal': share @ np.maximum(gap, 0)}}


@checks('eq-future4-shrink')
def users_and_samples():
    """Chernoff information by search and against exact error probabilities; the shrunken estimate by simulation."""
    one, two = sigmoid(1), sigmoid(-4)
    exponent = -optimize.minimize_scalar(
        lambda s: math.log(one**s * two ** (1 - s) + (1 - one) ** s * (1 - two) ** (1 - s)), bounds=(0, 1), method='bounded').fun
    assert round(exponent, 3) == 0.482

    def error(m):
        k = np.arange(m + 1)
        return np.minimum(0.7 * stats.binom.pmf(k, m, one), 0.3 * stats.binom.pmf(k, m, two)).sum()

    assert error(10) < math.exp(-10 * exponent) < 0.0081
    assert abs(-math.log(error(400) / error(200)) / 200 - exponent) < 0.02
    m = 8011 / 1396
    assert round(m, 2) == 5.74
    own = np.random.randn(400_000)
    heard = own + np.random.randn(400_000) * math.sqrt(4 / m)
    slope = np.cov(own, heard)[0, 1] / heard.var()
    shrunk = ((slope * heard - own) ** 2).mean()
    assert abs(shrunk - 0.411) < 0.004 and round(4 / (4 + m), 3) == 0.411 and round(4 / m, 3) == 0.697
    logits = torch.zeros((), dtype=F64, requires_grad=True)
    information = torch.autograd.functional.hessian(lambda z: -F.logsigmoid(z), logits)
    assert abs(information.item() - 0.25) < 1e-12


@checks('tab-future4-torch')
def documented_behaviour():
    p, q = torch.softmax(torch.randn(2, 5, 7, dtype=F64), -1)
    exact = (p * (p / q).log()).sum(-1)
    torch.testing.assert_close(F.kl_div(q.log(), p, reduction='none').sum(-1), exact)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', UserWarning)      # the one that says what the table says
        torch.testing.assert_close(F.kl_div(q.log(), p.log(), log_target=True), exact.sum() / p.numel())
    torch.testing.assert_close(F.kl_div(q.log(), p, reduction='batchmean'), exact.mean())
    torch.testing.assert_close(distributions.kl_divergence(distributions.Categorical(p), distributions.Categorical(q)), exact)
    try:
        distributions.kl_divergence(distributions.Normal(0.0, 1.0), distributions.Bernoulli(0.5))
        raise AssertionError('the pair is registered after all')
    except NotImplementedError:
        pass
    u = torch.tensor(-200.0, requires_grad=True)
    naive = torch.log(torch.sigmoid(u))
    assert naive == -math.inf and torch.autograd.grad(naive, u)[0].isnan() and F.logsigmoid(u) == -200
    ten = torch.tensor(10.0, dtype=F64)
    assert torch.special.ndtr(-ten) == 0
    assert abs(torch.special.log_ndtr(-ten).exp() / 7.6e-24 - 1) < 0.01 and abs(torch.erfc(ten / 2**0.5) / 2 / 7.6e-24 - 1) < 0.01
    assert torch.special.ndtri(torch.tensor(0.0)) == -math.inf and torch.special.ndtri(torch.tensor(1.0)) == math.inf

    layer, x = torch.nn.Linear(4, 4, dtype=F64), torch.randn(2, 4, dtype=F64)
    plain = layer(x)
    handle = layer.register_forward_hook(lambda module, args, out: None)
    torch.testing.assert_close(layer(x), plain)
    handle.remove()
    handle = layer.register_forward_hook(lambda module, args, out: out + 1)
    torch.testing.assert_close(layer(x), plain + 1)
    handle.remove()
    same = torch.nn.Identity()
    same.register_forward_hook(lambda module, args, out: (out.add_(1), None)[1])
    kept = torch.zeros(3)
    same(kept)
    assert (kept == 1).all()

    a, b = torch.randn(6, 2, dtype=F64) @ torch.randn(2, 4, dtype=F64), torch.randn(6, 1, dtype=F64)
    torch.testing.assert_close(torch.linalg.lstsq(a, b).solution, torch.linalg.pinv(a, rtol=1e-10) @ b)
