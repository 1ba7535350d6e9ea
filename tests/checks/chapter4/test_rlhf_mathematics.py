"""Section 4.4: every policy here is small enough to enumerate, so expectations are sums and gradients come from autograd."""

import importlib
import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from scipy import integrate, optimize, stats
from torch.nn import functional as F

from checks import checks

F64 = torch.float64


def entropy(p):
    return -(p * p.log()).sum(-1)


def kl(p, q):
    return torch.distributions.kl_divergence(torch.distributions.Categorical(probs=p), torch.distributions.Categorical(probs=q))


def tensor(*values):
    return torch.tensor(values, dtype=F64)


def draw(n):
    return torch.distributions.Dirichlet(torch.ones(n, dtype=F64)).sample()


def gibbs(p, r, s):
    return torch.softmax(p.log() + s * r, -1)


# Control as inference


@checks('thm-rlhf-gibbs', 'eq-rlhf-gibbs', 'eq-rlhf-limits', 'eq-rlhf-objective')
def gibbs_policy():
    """The identity at random policies, the maximum by a general optimiser, both limits, and the evidence bound as Bayes' rule."""
    p0, r, beta = draw(6), torch.randn(6, dtype=F64), 0.7
    top = beta * torch.log((p0 * torch.exp(r / beta)).sum())
    best = gibbs(p0, r, 1 / beta)
    for _ in range(20):
        p = draw(6)
        torch.testing.assert_close((p * r).sum() - beta * kl(p, p0), top - beta * kl(p, best))
    a, rew = p0.numpy(), r.numpy()
    found = optimize.minimize(
        lambda q: -(q @ rew - beta * (q * np.log(q / a)).sum()), np.full(6, 1 / 6), bounds=[(1e-9, 1)] * 6,
        constraints={'type': 'eq', 'fun': lambda q: q.sum() - 1}, options={'ftol': 1e-14, 'maxiter': 500},
    )
    np.testing.assert_allclose(found.x, best.numpy(), atol=1e-5)
    r = tensor(1.0, 1.0, 0.2, -0.5, 0.0, 0.9)
    mass = p0[:2].sum()
    for beta in (0.01, 0.1, 1.0, 10.0):
        value = beta * torch.logsumexp(p0.log() + r / beta, 0)
        assert 1 + beta * mass.log() - 1e-12 <= value <= 1
    cold = gibbs(p0, r, 1 / 0.005)
    torch.testing.assert_close(cold[:2], p0[:2] / mass, atol=1e-6, rtol=0)
    torch.testing.assert_close(kl(cold, p0), -mass.log(), atol=1e-5, rtol=0)
    mean, var = (p0 * r).sum(), (p0 * r.square()).sum() - (p0 * r).sum() ** 2
    errors = [abs(b * torch.logsumexp(p0.log() + r / b, 0) - mean - var / (2 * b)).item() for b in (50.0, 100.0)]
    assert 3.5 < errors[0] / errors[1] < 4.5
    likelihood = torch.exp((r - 1) / 0.7)
    torch.testing.assert_close(p0 * likelihood / (p0 * likelihood).sum(), gibbs(p0, r, 1 / 0.7))
    p = draw(6)
    bound = (p * likelihood.log()).sum() - kl(p, p0)
    torch.testing.assert_close(bound, ((p * r).sum() - 0.7 * kl(p, p0) - 1) / 0.7)
    assert bound <= (p0 * likelihood).sum().log()


@checks('prop-rlhf-path', 'eq-rlhf-slope', 'eq-rlhf-sqrt')
def temperature_path():
    p0, r, g = draw(5), torch.randn(5, dtype=F64), torch.randn(5, dtype=F64)
    s = tensor(1.3).squeeze().requires_grad_()
    p = gibbs(p0, r, s)
    other, reward, cost = (p * g).sum(), (p * r).sum(), kl(p, p0)
    slopes = [torch.autograd.grad(x, s, retain_graph=True)[0] for x in (other, reward, cost)]
    q = p.detach()
    torch.testing.assert_close(slopes[0], (q * g * r).sum() - (q * g).sum() * (q * r).sum())
    torch.testing.assert_close(slopes[1] / slopes[2], 1 / s.detach())
    for _ in range(400):
        other = draw(5)
        if kl(other, p0) <= cost.detach():
            assert (other * r).sum() <= reward.detach() + 1e-12
    var = (p0 * r.square()).sum() - (p0 * r).sum() ** 2
    gaps = []
    for t in (0.02, 0.01):
        near = gibbs(p0, r, t)
        gaps.append(abs((near * r).sum() - (p0 * r).sum() - torch.sqrt(2 * var * kl(near, p0))).item())
    assert 3.5 < gaps[0] / gaps[1] < 4.5


def sequences(vocab, length):
    return list(itertools.product(range(vocab), repeat=length))


def prefix_masses(weights, strings):
    """Sum of ``weights`` over all strings that continue each prefix."""
    mass = {}
    for y, value in zip(strings, weights, strict=True):
        for t in range(len(y) + 1):
            mass[y[:t]] = mass.get(y[:t], 0) + value
    return mass


@checks('prop-rlhf-bellman', 'eq-rlhf-bellman', 'eq-rlhf-token')
def soft_bellman():
    """Conditional probabilities of the Gibbs policy by summing over all 27 strings, against the soft values."""
    strings, beta = sequences(3, 3), 0.6
    p0, p, r = draw(27), draw(27), torch.randn(27, dtype=F64)
    best = gibbs(p0, r, 1 / beta)
    base, mine, top = (prefix_masses(x, strings) for x in (p0, p, best))
    soft = prefix_masses(p0 * torch.exp(r / beta), strings)
    value = {h: beta * (soft[h] / base[h]).log() for h in base}
    cost = 0
    for h in base:
        if len(h) == 3:
            torch.testing.assert_close(value[h], r[strings.index(h)])
            continue
        children = [(*h, v) for v in range(3)]
        p_base, p_top, p_mine = (torch.stack([m[c] / m[h] for c in children]) for m in (base, top, mine))
        future = torch.stack([value[c] for c in children])
        torch.testing.assert_close(value[h], beta * torch.logsumexp(p_base.log() + future / beta, 0))
        torch.testing.assert_close(beta * (p_top / p_base).log(), future - value[h])
        cost = cost + mine[h] * kl(p_mine, p_top)
    torch.testing.assert_close((p * r).sum() - beta * kl(p, p0), value[()] - beta * cost)


@checks('eg-rlhf-tree')
def small_tree():
    p0, r, beta = torch.full((4,), 0.25, dtype=F64), tensor(0.0, 0.0, 0.0, 1.0), 0.5
    p = gibbs(p0, r, 1 / beta)
    first = p[2:].sum()
    z = (p0 * torch.exp(r / beta)).sum()
    assert abs(z - 2.5973) < 5e-5 and abs(beta * torch.log(torch.exp(r[2:] / beta).mean()) - 0.7169) < 5e-5
    assert abs(kl(torch.stack([first, 1 - first]), tensor(0.5, 0.5)) - 0.2033) < 5e-5
    assert abs(p[3] - beta * kl(p, p0) - 0.4772) < 5e-5
    return {'V': beta * z.log(), 'first': first, 'second': p[3] / first, 'R': p[3], 'K': kl(p, p0)}


# Best-of-N


def best_of(p, level, n):
    """Distribution of best-of-n with random ties, by enumerating all tuples of answers."""
    q = np.zeros(len(p))
    for group in itertools.product(range(len(p)), repeat=n):
        weight = np.prod([p[i] for i in group])
        top = max(level[i] for i in group)
        winners = [i for i in group if level[i] == top]
        for i in winners:
            q[i] += weight / len(winners)
    return q


def win_rate(q, p, level):
    return sum(q[i] * p[j] * ((level[i] > level[j]) + 0.5 * (level[i] == level[j])) for i in range(len(p)) for j in range(len(p)))


@checks('thm-rlhf-bon', 'eq-rlhf-bon', 'eq-rlhf-bonkl', 'eq-rlhf-bongap')
def best_of_n():
    p, level = np.array([0.3, 0.1, 0.25, 0.2, 0.15]), [0, 1, 1, 2, 2]
    mass = np.array([0.3, 0.35, 0.35])
    cdf = np.concatenate([[0], mass.cumsum()])
    for n in (2, 3, 5):
        q = best_of(p, level, n)
        by_level = np.array([q[0], q[1] + q[2], q[3] + q[4]])
        np.testing.assert_allclose(by_level, np.diff(cdf**n))
        np.testing.assert_allclose(q[1] / q[2], 0.1 / 0.25)
        win, cost = win_rate(q, p, level), (q * np.log(q / p)).sum()
        np.testing.assert_allclose(win, (by_level * (cdf[1:] + cdf[:-1]) / 2).sum())
        np.testing.assert_allclose(cost, (by_level * np.log(by_level / mass)).sum())
        assert win < n / (n + 1) and cost < math.log(n) - (n - 1) / n and cost <= -math.log(0.35)
        density = lambda u, n=n: n * u ** (n - 1)
        continuous = integrate.quad(lambda u, f=density: f(u) * math.log(f(u)) if u else 0.0, 0, 1)[0]
        assert math.isclose(continuous, math.log(n) - (n - 1) / n, rel_tol=1e-8)
        np.testing.assert_allclose(integrate.quad(lambda u, f=density: u * f(u), 0, 1)[0], n / (n + 1))
    figure = importlib.import_module('figures.chapter4.rlhf_bon')
    gap = math.log(10) - 0.9 - figure.kl(100, 10)
    assert abs(gap - 4.2e-4) < 5e-6 and abs(gap / (10 * 81 / (24 * 8 * 100**2)) - 1) < 1e-3
    q = (1 - 0.5**64, 0.5**64)
    assert abs(math.log(64) - 63 / 64 - 3.17) < 5e-3 and abs(q[0] * math.log(2 * q[0]) + q[1] * math.log(2 * q[1]) - 0.693) < 5e-4
    # Best of n groups of m is best of nm.
    p = np.array([0.5, 0.3, 0.2])
    np.testing.assert_allclose(best_of(best_of(p, [0, 1, 2], 2), [0, 1, 2], 3), best_of(p, [0, 1, 2], 6))


def tilted(weight):
    """KL and win rate of the density proportional to ``weight`` on the unit interval, by quadrature."""
    z = integrate.quad(weight, 0, 1)[0]
    win = integrate.quad(lambda u: u * weight(u) / z, 0, 1)[0]
    cost = integrate.quad(lambda u: weight(u) / z * math.log(weight(u) / z) if weight(u) else 0.0, 0, 1)[0]
    return cost, win


@checks('tab-rlhf-bon', 'eq-rlhf-winopt', 'fig-rlhf-bon', 'ex-rlhf-bonopt')
def win_rates():
    figure = importlib.import_module('figures.chapter4.rlhf_bon')
    rows = {}
    for n in (2, 4, 16, 64):
        cost, win = tilted(lambda u, n=n: n * u ** (n - 1))
        c = optimize.brentq(lambda c: tilted(lambda u: math.exp(c * (u - 1)))[0] - cost, 0.1, 90)
        best = tilted(lambda u: math.exp(c * (u - 1)))[1]
        np.testing.assert_allclose(figure.frontier(c), (cost, best), rtol=1e-6)
        shift = math.sqrt(2 * cost)
        normal = integrate.quad(lambda x: stats.norm.pdf(x - shift) * stats.norm.cdf(x), -10, 14)[0]
        t = optimize.brentq(lambda t: figure.exponential(t)[0] - cost, 1e-6, 1 - 1e-6)
        # An exponential reward x has density e^-x; the tilt e^(t x) makes its rate 1 - t.
        rate = 1 - t
        heavy = integrate.quad(lambda x: rate * math.exp(-rate * x) * (1 - math.exp(-x)), 0, np.inf)[0]
        np.testing.assert_allclose(figure.exponential(t), (math.log(rate) + (1 - rate) / rate, heavy))
        rows[str(n)] = {'KL': cost, 'BoN': win, '最优': best, '正态奖励': normal, '指数奖励': heavy}
        assert 0 < best - win < 0.01
        assert (normal > win) == (n == 2)
        if n == 16:
            assert abs(best - win - 1.1e-4) < 5e-6 and abs(1 / (2 * n**3) - 1.2e-4) < 5e-6
    for n, low, high in ((200, 0.97, 1.03), (50, 0.9, 1.1)):
        c = optimize.brentq(lambda c: figure.frontier(c)[0] - figure.bound(n), n / 2, 2 * n, xtol=1e-12, rtol=1e-14)
        assert abs((c - n - 1) * 2 * n - 1) < 4 / n
        assert low < (figure.frontier(c)[1] - n / (n + 1)) * 2 * n**3 < high
    # The Gibbs policy for the reward ln F and beta = 1/(N - 1).
    cost, win = tilted(lambda u: math.exp(3 * math.log(u)) if u else 0.0)
    np.testing.assert_allclose((cost, win), (math.log(4) - 0.75, 0.8), rtol=1e-8)
    return rows


# Mirror descent


@checks('thm-rlhf-mirror', 'eq-rlhf-mirror', 'eq-rlhf-rate', 'eq-rlhf-anchored', 'eq-rlhf-three')
def mirror_descent():
    """Every step by projected optimisation of its definition; the natural gradient by inverting the Fisher matrix of autograd."""
    p0, r, eta, beta = tensor(0.35, 0.3, 0.2, 0.1, 0.05), tensor(0.1, -0.4, 0.3, 0.9, 1.0), 0.8, 0.3
    logits = p0.log().requires_grad_()
    p = torch.softmax(logits, 0)
    gradient = torch.autograd.grad((p * r).sum(), logits)[0]
    torch.testing.assert_close(gradient, p0 * (r - (p0 * r).sum()))
    score = torch.autograd.functional.jacobian(lambda z: torch.log_softmax(z, 0), p0.log())
    fisher = (score.T * p0) @ score
    step = torch.linalg.pinv(fisher) @ gradient
    torch.testing.assert_close(torch.softmax(p0.log() + eta * step, 0), gibbs(p0, r, eta))

    def solve(value):
        found = optimize.minimize(lambda z: -value(torch.softmax(torch.tensor(z), 0)).item(), np.zeros(5), tol=1e-12)
        return torch.softmax(torch.tensor(found.x), 0)

    best = gibbs(p0, r, 1 / beta)
    lam = 1 / (1 + eta * beta)
    free = held = p0
    reward = []
    for k in range(1, 7):
        before = free
        free = gibbs(free, r, eta)
        if k <= 2:
            torch.testing.assert_close(solve(lambda q, b=before: (q * r).sum() - kl(q, b) / eta), free, atol=1e-5, rtol=0)
            now = held
            target = solve(lambda q, h=now: (q * r).sum() - beta * kl(q, p0) - kl(q, h) / eta)
            torch.testing.assert_close(torch.softmax(lam * held.log() + (1 - lam) * best.log(), 0), target, atol=1e-5, rtol=0)
        held = torch.softmax(lam * held.log() + (1 - lam) * best.log(), 0)
        ratio = kl(best, torch.softmax(lam * held.log() + (1 - lam) * best.log(), 0)) / kl(best, held)
        assert ratio < lam and (k < 6 or abs(ratio / lam**2 - 1) < 0.1)
        assert kl(best, held) <= lam**k * kl(best, p0)
        torch.testing.assert_close(free, gibbs(p0, r, k * eta))
        reward.append((free * r).sum())
        for _ in range(20):
            mu = draw(5)
            left = eta * ((mu * r).sum() - reward[-1])
            torch.testing.assert_close(left, kl(mu, before) - kl(mu, free) - kl(free, before))
            assert (mu * r).sum() - reward[-1] <= kl(mu, p0) / (eta * k) + 1e-12
        assert 1 - reward[-1] <= -p0[4].log() / (eta * k)
        assert 1 - free[4] <= (1 - p0[4]) / p0[4] * math.exp(-0.1 * eta * k)
    assert all(b >= a for a, b in itertools.pairwise(reward))
    start = tensor(0.001, 0.999)
    for time, rate in ((6.9, 0.5), (13.8, 0.999)):
        assert abs(gibbs(start, tensor(1.0, 0.0), time)[0] - rate) < 3e-3


# Estimators of the divergence


def estimators(p, p0):
    ratio = p0 / p
    return -ratio.log(), ratio.log().square() / 2, ratio - 1 - ratio.log()


def gradients(logits, p0):
    """Expected gradients of the three estimators as a loss and as a reward, summed over all answers; the two true ones."""
    fixed = torch.softmax(logits.detach(), 0)
    out = {}
    for name, make in (
        ('loss', lambda k, log_p: (fixed * k).sum()),
        ('reward', lambda k, log_p: (fixed * k.detach() * log_p).sum()),
    ):
        for i in range(3):
            log_p = torch.log_softmax(logits, 0)
            out[name, i + 1] = torch.autograd.grad(make(estimators(log_p.exp(), p0)[i], log_p), logits)[0]
    p = torch.softmax(logits, 0)
    out['reverse'] = torch.autograd.grad(kl(p, p0), logits, retain_graph=True)[0]
    out['forward'] = torch.autograd.grad(kl(p0, p), logits)[0]
    return out


@checks('tab-rlhf-k', 'fig-rlhf-kl')
def estimator_table():
    figure = importlib.import_module('figures.chapter4.rlhf_kl')
    p0, r = tensor(0.4, 0.3, 0.2, 0.1), tensor(0.0, 0.0, 1.0, 2.0)
    rows = {}
    for s in (1.0, 3.0):
        logits = (p0.log() + s * r).requires_grad_()
        p = torch.softmax(logits.detach(), 0)
        g = gradients(logits, p0)
        size = g['reverse'].norm()
        errors = {key: ((g[key] - g['reverse']).norm() / size).item() for key in g if isinstance(key, tuple)}
        np.testing.assert_allclose(figure.row(s), [kl(p, p0), errors['loss', 3], errors['reward', 2], errors['reward', 3]], rtol=1e-9)
        moments = []
        for k in estimators(p, p0):
            mean = (p * k).sum()
            moments.append((mean.item(), ((p * k.square()).sum() - mean**2).sqrt().item()))
        if s == 1:
            rows = {f'k{i}': dict(zip(('均值', '标准差', '作损失的误差', '作奖励的误差'), (*moments[i - 1], errors['loss', i], errors['reward', i]), strict=True)) for i in (1, 2, 3)}
        else:
            assert abs(torch.cosine_similarity(g['reward', 3], g['reverse'], 0) + 0.57) < 5e-3
            assert abs(moments[2][1] - 4.83) < 5e-3 and abs(moments[0][1] - 1.11) < 5e-3
            assert errors['loss', 3] > 1 and errors['reward', 3] > 1
    near = figure.row(0.02)
    assert near[1] < 0.02 and near[2] > 0.98 and near[3] > 0.98
    return rows


@checks('prop-rlhf-kgrad', 'eq-rlhf-k', 'eq-rlhf-kloss', 'eq-rlhf-kreward')
def expected_gradients():
    p0, old = draw(5), draw(5)
    logits = torch.randn(5, dtype=F64, requires_grad=True)
    g = gradients(logits, p0)
    zero = torch.zeros(5, dtype=F64)
    for key, want in (
        (('loss', 1), zero), (('loss', 2), g['reverse']), (('loss', 3), g['forward']),
        (('reward', 1), g['reverse']), (('reward', 3), g['reverse'] - g['forward']),
    ):
        torch.testing.assert_close(g[key], want)
    for i in (0, 2):
        p = torch.softmax(logits, 0)
        corrected = (old * (p / old) * estimators(p, p0)[i]).sum()
        torch.testing.assert_close(torch.autograd.grad(corrected, logits)[0], g['reverse'])
    p = torch.softmax(logits.detach(), 0)
    ratio = p0 / p
    for i in (0, 2):
        torch.testing.assert_close((p * estimators(p, p0)[i]).sum(), kl(p, p0))
    torch.testing.assert_close((p * ratio).sum(), torch.ones((), dtype=F64))
    torch.testing.assert_close((p * ratio.square()).sum() - 1, ((p - p0).square() / p).sum())
    # Off-policy, with the ratio held fixed, k2 still gives the gradient.
    log_p = torch.log_softmax(logits, 0)
    held = (p * estimators(log_p.exp(), p0)[1]).sum()
    torch.testing.assert_close(torch.autograd.grad(held, logits)[0], g['reverse'])
    # With the gradient passing through the ratio it does not.
    p = torch.softmax(logits, 0)
    through = torch.autograd.grad((old * (p / old) * estimators(p, p0)[1]).sum(), logits)[0]
    assert (through - g['reverse']).norm() > 1e-3 * g['reverse'].norm()


@checks('ex-rlhf-tokens')
def later_tokens():
    """Two tokens: per-token k2 misses the effect of the first token on the divergence of the second."""
    first, second = torch.randn(2, dtype=F64, requires_grad=True), torch.randn(2, 2, dtype=F64, requires_grad=True)
    base_first, base_second = torch.randn(2, dtype=F64).log_softmax(0), torch.randn(2, 2, dtype=F64).log_softmax(1)

    def parts(first, second):
        a, b = first.log_softmax(0), second.log_softmax(1)
        return a, b, a - base_first, b - base_second

    def gradient(make):
        a, b, da, db = parts(first, second)
        joint = (a[:, None] + b).detach().exp()
        return torch.autograd.grad((joint * make(a[:, None].expand(2, 2), b, da[:, None].expand(2, 2), db)).sum(), (first, second))

    a, b, da, db = parts(first, second)
    true = torch.autograd.grad(((a[:, None] + b).exp() * (da[:, None] + db)).sum(), (first, second))
    full = gradient(lambda a, b, da, db: a * (da + db).detach() + b * db.detach())
    whole = gradient(lambda a, b, da, db: (da + db).square() / 2)
    token = gradient(lambda a, b, da, db: (da.square() + db.square()) / 2)
    missing = gradient(lambda a, b, da, db: a * db.detach() + 0 * b)
    for got in (full, whole, [x + y for x, y in zip(token, missing, strict=True)]):
        for x, y in zip(got, true, strict=True):
            torch.testing.assert_close(x, y)
    # (d)
    z = torch.zeros(2, dtype=F64, requires_grad=True)
    p = tensor(0.9, 0.1)
    c = kl(p, tensor(0.5, 0.5))
    torch.testing.assert_close(torch.autograd.grad(torch.softmax(z, 0)[1] * c, z)[0][1], c / 4)


# Group-relative methods


CHANCE, LENGTH, RIGHT = np.array([0.2, 0.1, 0.4, 0.3]), np.array([2, 8, 2, 8]), np.array([1.0, 1.0, 0.0, 0.0])


def weights(rule, answers):
    """The weight of each member of a group, the group given as indices of answers."""
    r, length = RIGHT[answers], LENGTH[answers]
    size = len(answers)
    centred = r - r.mean()
    scaled = centred / r.std() if r.std() else 0 * r
    return {
        '留一法': np.array([r[i] - np.delete(r, i).mean() for i in range(size)]),
        '减均值': centred,
        '除以标准差': scaled,
        '除以 $s_r\\ell_i$': scaled / length,
        '除以 $s_r\\bar\\ell$': scaled * size / length.sum(),
        'c': centred / length,
    }[rule]


@checks('tab-rlhf-pseudo', 'prop-rlhf-pseudo')
def pseudo_rewards():
    """All 256 groups of four: conditional means of the weights, and the expected gradient by autograd on each group's objective."""
    rows = {}
    groups = [np.array(g) for g in itertools.product(range(4), repeat=4)]
    logits = torch.tensor(np.log(CHANCE), requires_grad=True)
    for rule in ('留一法', '减均值', '除以标准差', '除以 $s_r\\ell_i$', '除以 $s_r\\bar\\ell$', 'c'):
        total, given = 0.0, np.zeros(4)
        log_p = torch.log_softmax(logits, 0)
        for g in groups:
            chance, a = CHANCE[g].prod(), weights(rule, g)
            total = total + chance * (torch.tensor(a) * log_p[torch.tensor(g)]).mean()
            given[g[0]] += chance / CHANCE[g[0]] * a[0]
        got = torch.autograd.grad(total, logits, retain_graph=True)[0]
        want = torch.autograd.grad((torch.tensor(CHANCE * given) * log_p).sum(), logits)[0]
        torch.testing.assert_close(got, want)
        rows[rule] = given
    np.testing.assert_allclose(rows['留一法'], RIGHT - 0.3)
    np.testing.assert_allclose(rows['减均值'], 0.75 * (RIGHT - 0.3))
    np.testing.assert_allclose(rows.pop('c'), 0.75 * (RIGHT - 0.3) / LENGTH)
    drift = {rule: f[3] - f[2] for rule, f in rows.items()}
    assert abs(drift['除以 $s_r\\ell_i$'] - 0.184) < 5e-4 and abs(drift['除以 $s_r\\bar\\ell$'] - 0.050) < 5e-4 + 5e-5
    assert abs(drift['留一法']) < 1e-12
    return {rule: dict(zip(('对短', '对长', '错短', '错长'), f, strict=True)) for rule, f in rows.items()}


def weight(rate, size):
    """Expected group gradient over the gradient of the pass rate, over all strings of right and wrong."""
    bits = torch.cartesian_prod(*[tensor(0.0, 1.0)] * size).reshape(-1, size)
    chance = (bits * rate + (1 - bits) * (1 - rate)).prod(1)
    spread = bits.std(1, correction=0, keepdim=True)
    a = torch.where(spread > 0, (bits - bits.mean(1, keepdim=True)) / spread.clamp_min(1e-9), torch.zeros_like(bits))
    logit = torch.tensor(math.log(rate / (1 - rate)), dtype=F64, requires_grad=True)
    objective = (chance[:, None] * a * (bits * F.logsigmoid(logit) + (1 - bits) * F.logsigmoid(-logit))).sum() / size
    gradient = torch.autograd.grad(objective, logit)[0]
    slope = torch.autograd.grad(torch.sigmoid(logit), logit)[0]
    return (gradient / slope).item()


@checks('eq-rlhf-weight', 'fig-rlhf-weight', 'eg-rlhf-weight', 'ex-rlhf-weight')
def prompt_weights():
    figure = importlib.import_module('figures.chapter4.rlhf_weight')
    for size in (2, 4, 8):
        for rate in (0.01, 0.2, 0.5, 0.9):
            value = weight(rate, size)
            assert math.isclose(figure.weight(rate, size), value, rel_tol=1e-9)
            assert value <= math.sqrt((size - 1) / size / (rate * (1 - rate))) + 1e-12
            assert 2 * (size - 1) / size - 1e-12 <= value <= math.sqrt(size - 1) + 1e-12
            j = stats.binom(size - 2, rate)
            assert math.isclose(value, j.expect(lambda k, n=size: (n - 1) / np.sqrt((k + 1) * (n - 1 - k))) if size > 2 else 1, rel_tol=1e-9)
            assert math.isclose(value, weight(1 - rate, size), rel_tol=1e-9)
        assert abs(figure.weight(1e-7, size) - math.sqrt(size - 1)) < 1e-4
    assert all(abs(figure.weight(rate, 2) - 1) < 1e-12 for rate in (0.01, 0.3, 0.5))
    assert all(abs(weight(rate, 3) - math.sqrt(2)) < 1e-12 for rate in (0.01, 0.3, 0.5))
    assert abs(figure.weight(0.3, 20_000) * math.sqrt(0.21) - 1) < 1e-3
    p = torch.tensor(0.3, dtype=F64, requires_grad=True)
    torch.testing.assert_close(torch.autograd.grad(2 * torch.asin(p.sqrt()), p)[0], (p * (1 - p)).detach() ** -0.5)
    hard, mid, limit = weight(0.01, 8), weight(0.5, 8), 1 / math.sqrt(0.0099)
    assert abs(hard - 2.6) < 0.05 and abs(hard / mid - 1.41) < 5e-3 and abs(limit / 2 - 5) < 0.03
    w = weight(0.05, 16)
    bits = tensor(1.0, *[0.0] * 15)
    bessel = w * (bits.std(correction=0) / bits.std()).item()
    assert abs(1 / math.sqrt(0.0475) / 2 - 2.294) < 5e-4
    return {
        'eg-rlhf-weight': {'hard': hard, 'mid': mid, 'limit': limit},
        'ex-rlhf-weight': {'a': w, 'b': 1 / math.sqrt(0.0475), 'c': bessel, 'd': w / weight(0.5, 16), 'e': 1 - stats.binom.pmf([0, 16], 16, 0.05).sum()},
    }


@checks('ex-rlhf-dynamic', 'eq-rlhf-dynamic')
def dynamic_sampling():
    """Two prompts with probability one half each; keep only mixed groups of eight, enumerated by the number of right answers."""
    parts, kept = {}, {}
    for rate in (0.01, 0.5):
        k = np.arange(9)
        chance = stats.binom.pmf(k, 8, rate)
        keep = (k > 0) & (k < 8)
        a = np.sqrt(k * (8 - k)) / 8                       # mean over the group of a_i r_i
        parts[rate] = (chance * a * keep).sum() / (rate * (1 - rate))
        kept[rate] = (chance * keep).sum()
    assert abs(kept[0.01] - 0.077) < 5e-4 and abs(kept[0.5] - 0.992) < 5e-4 and abs(kept[0.5] / kept[0.01] - 13) < 0.2
    total = (kept[0.01] + kept[0.5]) / 2
    share = {rate: kept[rate] / 2 / total for rate in kept}
    inside = {rate: parts[rate] / kept[rate] for rate in kept}
    ratio = share[0.01] * inside[0.01] / (share[0.5] * inside[0.5])
    assert math.isclose(ratio, weight(0.01, 8) / weight(0.5, 8), rel_tol=1e-9)
    assert math.isclose(inside[0.01], weight(0.01, 8) / (1 - 0.01**8 - 0.99**8), rel_tol=1e-9)
    small = 1e-5
    assert abs(weight(small, 8) / (1 - (1 - small) ** 8) / (math.sqrt(7) / (8 * small)) - 1) < 1e-3


@checks('eq-rlhf-sapo')
def soft_gate():
    for tau in (1.0, 1.05):
        for value in (0.4, 1.0, 1.28, 3.0):
            log_ratio = torch.tensor(math.log(value), dtype=F64, requires_grad=True)
            gate = 4 / tau * torch.sigmoid(tau * (log_ratio.exp() - 1))
            got = torch.autograd.grad(gate, log_ratio)[0].item()
            assert math.isclose(got, value / math.cosh(tau * (value - 1) / 2) ** 2, rel_tol=1e-12)
            if value == 1:
                assert math.isclose(got, 1)
            if value == 3 and tau == 1:
                assert abs(got - 1.26) < 5e-3
    decay = [x / math.cosh((x - 1) / 2) ** 2 / (x * math.exp(-x)) for x in (20.0, 30.0)]
    assert abs(decay[0] / decay[1] - 1) < 1e-6
    # Clamped and detached, the ratio still passes a gradient; clamped inside the objective it does not.
    log_p = torch.tensor(math.log(1.5), dtype=F64, requires_grad=True)
    assert torch.autograd.grad(torch.minimum(log_p.exp(), log_p.exp().clamp(0.8, 1.2)), log_p)[0] == 0
    assert math.isclose(torch.autograd.grad(log_p.exp().clamp(0.8, 1.2).detach() * log_p, log_p)[0], 1.2)


@checks('eg-rlhf-gspo', 'eq-rlhf-gspo')
def sequence_ratio():
    """One hundred tokens: the number of first values is binomial; moments by summing over it."""
    old, new = np.array([0.6, 0.4]), np.array([0.7, 0.3])

    def moments(length, power):
        k = np.arange(length + 1)
        chance = stats.binom.pmf(k, length, 0.6)
        value = np.exp(power * (k * math.log(7 / 6) + (length - k) * math.log(3 / 4)))
        mean = chance @ value
        return mean, math.sqrt(chance @ value**2 - mean**2)

    m = {'product': moments(100, 1), 'gspo': moments(100, 1 / 100)}
    token = math.sqrt(old @ (new / old) ** 2 - 1)
    kappa = (old * np.log(old / new)).sum()
    sigma = math.sqrt(old @ np.log(new / old) ** 2 - kappa**2)
    assert math.isclose(m['product'][0], 1, rel_tol=1e-9)
    assert math.isclose(m['product'][1], math.sqrt((1 + token**2) ** 100 - 1), rel_tol=1e-9)
    assert abs(math.exp(-kappa) - 0.9777) < 5e-5
    assert abs(m['gspo'][1] / (sigma / 10 * math.exp(-kappa)) - 1) < 0.01
    assert abs(moments(5000, 1 / 5000)[0] - math.exp(-kappa)) < 1e-5
    # Share of sequences below the left bound: simulated Gaussian log-ratios with mean -kappa and variance 2 kappa.
    rng = np.random.default_rng(0)
    for length, share in ((1000, 0.69), (10_000, 0.94)):
        log_s = rng.normal(-1e-3, math.sqrt(2e-3), (4000, length)).mean(1) if length == 1000 else rng.normal(-1e-3, math.sqrt(2e-3 / length), 40_000)
        assert abs((np.exp(log_s) < 1 - 3e-4).mean() - share) < 0.02
    return {'token': token, 'product': m['product'][1], 'gspo': m['gspo'][1], 'mean': m['gspo'][0]}


@checks('prop-rlhf-surrogate', 'eq-rlhf-surrogate')
def token_surrogate():
    """All strings of five bits of an autoregressive table; the bound, and equal gradients at the old policy."""
    strings = sequences(2, 5)
    reward = torch.rand(32, dtype=F64) * 2 - 1
    old = torch.randn(63, 2, dtype=F64).log_softmax(-1)
    where = torch.tensor([[2**t - 1 + int('0' + ''.join(map(str, y[:t])), 2) for t in range(5)] for y in strings])
    what = torch.tensor(strings)
    old_log = old[where, what]
    chance = old_log.sum(1).exp()

    def both(table):
        ratio = (table.log_softmax(-1)[where, what] - old_log).exp()
        return (chance * reward * ratio.prod(1)).sum(), (chance * reward * (1 + (ratio - 1).sum(1))).sum(), (ratio - 1).abs().sum(1)

    table = old.clone().requires_grad_()
    j, l, _ = both(table)
    for a, b in zip(torch.autograd.grad(j, table, retain_graph=True), torch.autograd.grad(l, table), strict=True):
        torch.testing.assert_close(a, b)
    for scale in (0.01, 0.1, 0.5):
        j, l, size = both(old + scale * torch.randn(63, 2, dtype=F64))
        assert (j - l).abs() <= reward.abs().max() * (chance * (size.exp() - 1 - size)).sum()
    for size, value in ((0.1, 0.0052), (1.0, 0.72)):
        assert abs(math.exp(size) - 1 - size - value) < 0.005 * (size == 1) + 5e-5
    # Independent ratios with mean one: the second-order term has standard deviation close to length * variance / sqrt 2.
    eps = 0.02 * (torch.randint(0, 2, (20_000, 400)).to(F64) * 2 - 1)
    second = (eps.sum(1).square() - eps.square().sum(1)) / 2
    assert abs(second.std() / (400 * 0.02**2 / math.sqrt(2)) - 1) < 0.05


# Entropy


@checks('prop-rlhf-entropy', 'eq-rlhf-entropy', 'eq-rlhf-sample')
def entropy_change():
    """Directional derivatives of the entropy by autograd, in each update's direction."""
    p = tensor(0.7, 0.2, 0.08, 0.02)

    def rate(direction, p=p):
        z = p.log().requires_grad_()
        return torch.autograd.grad(entropy(torch.softmax(z, 0)), z)[0] @ direction

    def cov(a, b):
        return (p * a * b).sum() - (p * a).sum() * (p * b).sum()

    for r, natural, plain in ((tensor(1.0, 0.0, 0.0, 0.0), -0.347, -0.102), (tensor(0.0, 0.0, 0.0, 1.0), 0.061, 0.0052)):
        a = r - (p * r).sum()
        z = p.log().requires_grad_()
        gradient = torch.autograd.grad((torch.softmax(z, 0) * r).sum(), z)[0]
        torch.testing.assert_close(rate(a), -cov(p.log(), a))
        torch.testing.assert_close(rate(gradient), -cov(p.log(), p * a))
        assert abs(rate(a) - natural) < 5e-4 and abs(rate(gradient) - plain) < max(5e-4 * abs(plain) / 0.1, 5e-5)
    h = entropy(p)
    s = p * (p.log() + h)
    for i in range(4):
        logits = p.log().requires_grad_()
        direction = 0.8 * torch.autograd.grad(torch.log_softmax(logits, 0)[i], logits)[0]
        torch.testing.assert_close(rate(direction), -0.8 * (s[i] - (p * s).sum()))


def clipped_update(start, counts, upper, steps=50, rate=1.0, lower=0.8, scaled=True):
    """Gradient ascent by autograd on the clipped objective, one group per row."""
    reward = tensor(1.0, 1.0, 0.0, 0.0)
    r = (counts @ reward) / 8
    spread = (r * (1 - r)).sqrt()
    a = torch.where(spread[:, None] > 0, (reward - r[:, None]) / (spread[:, None].clamp_min(1e-9) if scaled else 1), torch.zeros_like(counts))
    z = start.log().expand(len(counts), 4).clone().requires_grad_()
    optimizer = torch.optim.SGD([z], lr=rate, maximize=True)
    for _ in range(steps):
        ratio = torch.softmax(z, -1) / start
        objective = (counts / 8 * torch.minimum(ratio * a, ratio.clamp(lower, upper) * a)).sum()
        optimizer.zero_grad()
        objective.backward()
        optimizer.step()
    return torch.softmax(z.detach(), -1)


@checks('eg-rlhf-clip', 'fig-rlhf-entropy')
def clip_higher():
    figure = importlib.import_module('figures.chapter4.rlhf_entropy')
    counts = np.array([c for c in np.ndindex(9, 9, 9, 9) if sum(c) == 8])
    assert len(counts) == 165
    found = {}
    for name, start in zip(('late', 'early'), figure.STARTS, strict=True):
        chance = torch.tensor(stats.multinomial.pmf(counts, 8, start))
        seen = torch.tensor(counts[:, 1] > 0)
        p = torch.tensor(start)
        for upper in (1.2, 1.28, 1e9):
            q = clipped_update(p, torch.tensor(counts, dtype=F64), upper)
            np.testing.assert_allclose(q.numpy(), figure.update(np.tile(start, (165, 1)), counts, upper), atol=1e-9)
            change = entropy(q) - entropy(p)
            found[name, upper] = (chance * change).sum().item()
            found[name, upper, 'hit'] = ((chance * change)[seen].sum() / chance[seen].sum()).item()
            found[name, upper, 'share'] = (chance * q[:, 1] / q[:, :2].sum(1)).sum().item()
    assert abs(found['late', 1e9] + 0.2329) < 5e-5 and abs(found['late', 1e9, 'share'] - 0.20) < 5e-3
    assert abs(found['late', 1.28, 'hit'] / found['late', 1.2, 'hit'] - 1) < 0.1
    p = tensor(0.8, 0.1, 0.05, 0.05)
    chance = torch.tensor(stats.multinomial.pmf(counts, 8, p.numpy()))
    for upper, value in ((1.2, -0.1837), (1.28, -0.1935)):
        change = entropy(clipped_update(p, torch.tensor(counts, dtype=F64), upper)) - entropy(p)
        assert abs((chance * change).sum() - value) < 5e-5
    # The direction survives other settings, and vanishes when nothing reaches a bound.
    for name, start in zip(('late', 'early'), figure.STARTS, strict=True):
        chance, p = torch.tensor(stats.multinomial.pmf(counts, 8, start)), torch.tensor(start)
        for options in ({'steps': 10}, {'steps': 200}, {'scaled': False}, {'lower': 0.5}, {'steps': 4, 'rate': 0.05}):
            narrow, wide = ((chance * entropy(clipped_update(p, torch.tensor(counts, dtype=F64), upper, **options))).sum() for upper in (1.2, 1.28))
            if 'rate' in options:
                assert abs(wide - narrow) < 1e-12
            else:
                assert (wide > narrow) if name == 'late' else (wide < narrow)
    # The order of the curves at equal reward, another seed.
    shares = {}
    for name, start in zip(('late', 'early'), figure.STARTS, strict=True):
        for upper in figure.BOUNDS:
            rows = figure.course(start, upper, seed=1, runs=3000)
            shares[name, upper] = np.interp(0.985, rows[:, 1], rows[:, 2])
    assert shares['late', 1.2] < shares['late', 1.28] < shares['late', 1.5]
    assert shares['early', 1.28] < shares['early', 1.2] and shares['early', 1.28] < shares['early', 1.5]
    return {
        'late': [found['late', u] for u in (1.2, 1.28)],
        'hit': [found['late', u, 'hit'] for u in (1.2, 1.28)],
        'early': [found['early', u] for u in (1.2, 1.28)],
    }


@checks('ex-rlhf-hr')
def entropy_of_reward():
    p0, r = tensor(0.04, 0.01, 0.5, 0.3, 0.15), tensor(1.0, 1.0, 0.0, 0.0, 0.0)
    s = torch.linspace(0, 8, 4001, dtype=F64)
    path = torch.softmax(p0.log() + s[:, None] * r, -1)
    h, reward = entropy(path), path @ r
    right, wrong = entropy(p0[:2] / 0.05), entropy(p0[2:] / 0.95)
    binary = -(reward * reward.log() + (1 - reward) * (1 - reward).log())
    torch.testing.assert_close(h, binary + reward * right + (1 - reward) * wrong)
    top = h.argmax()
    assert abs(right - 0.5004) < 5e-5 and abs(wrong - 0.9933) < 5e-5 and abs(h[0] - 1.1671) < 5e-5
    assert abs(reward[top] - 0.3792) < 5e-4 and abs(h[top] - 1.4700) < 5e-5
    z, plain = p0.log(), []
    for _ in range(20_000):
        p = torch.softmax(z, 0)
        plain.append(entropy(p).item())
        z = z + 0.1 * p * (r - p @ r)
    assert abs(plain[0] - 1.167) < 5e-4 and abs(max(plain) - 1.423) < 5e-4 and plain[-1] < plain[0]
    torch.testing.assert_close(1 / (1 + torch.exp(wrong - right)), reward[top], atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.logaddexp(right, wrong), h[top], atol=1e-6, rtol=0)


# Coverage and hacking


@checks('prop-rlhf-unseen', 'eq-rlhf-cover')
def unseen_answers():
    """The population loss of DPO is flat in the mass of an answer that no pair contains; the numbers of the example."""
    p0, beta = tensor(0.5, 0.49, 0.01), 0.5
    prefer = torch.sigmoid(tensor(1.0))

    def loss(p):
        margin = beta * (p[0] / p[1] * p0[1] / p0[0]).log()
        return -(prefer * F.logsigmoid(margin) + (1 - prefer) * F.logsigmoid(-margin)).squeeze()

    odds = p0[0] / p0[1] * math.exp(1 / beta)
    values = []
    for mass in (0.0, 0.01, 0.99):
        p = torch.stack([(1 - mass) * odds / (1 + odds), (1 - mass) / (1 + odds), torch.tensor(mass, dtype=F64)])
        logits = p.clamp_min(1e-300).log().requires_grad_()
        gradient = torch.autograd.grad(loss(torch.softmax(logits, 0)), logits)[0]
        assert gradient.abs().max() < 1e-9
        values.append(loss(p).item())
    np.testing.assert_allclose(values, values[0])
    assert abs(kl(p, p0) - 4.51) < 5e-3
    online = gibbs(p0, tensor(1.0, 0.0, 1.0), 1 / beta)
    assert abs(online[2] - 0.0174) < 5e-5 and abs(kl(online, p0) - 0.321) < 5e-4
    for _ in range(50):
        base, r = draw(4), torch.rand(4, dtype=F64) * 2 - 1
        ratio = (gibbs(base, r, 1 / beta) / base).log().abs().max()
        assert ratio <= 2 / beta
        p, mu, e = draw(4), draw(4), torch.randn(4, dtype=F64)
        square = (mu * (p / mu).square()).sum()
        assert (p * e.abs()).sum() <= torch.sqrt(square * (mu * e.square()).sum()) + 1e-12
        assert square <= (p / mu).max()


@checks('prop-rlhf-hack', 'def-rlhf-hack', 'eg-rlhf-hack')
def hacking():
    """Random rewards are hackable near any interior policy; affine ones are not. The example along the proxy's path."""
    for _ in range(50):
        p, r, proxy = draw(5), torch.randn(5, dtype=F64), torch.randn(5, dtype=F64)
        u, v = r - r.mean(), proxy - proxy.mean()
        step = v / v.norm() - u / u.norm()
        q = p + 1e-3 * p.min() * step
        assert q.min() > 0 and abs(q.sum() - 1) < 1e-12
        assert (q - p) @ proxy > 0 and (q - p) @ r < 0
        q = draw(5)
        assert ((q - p) @ r) * ((q - p) @ (2 * r + 1)) >= 0
    p0, r, proxy = tensor(0.6, 0.39, 0.01), tensor(0.0, 1.0, 0.2), tensor(0.0, 1.0, 1.2)
    found = optimize.minimize_scalar(lambda s: -(gibbs(p0, proxy, s) @ r).item(), bounds=(0.1, 30), method='bounded', options={'xatol': 1e-10})
    p = gibbs(p0, proxy, found.x)
    assert abs((p * r * proxy).sum() - (p @ r) * (p @ proxy)) < 1e-6
    assert math.isclose(p0 @ r, 0.392) and abs(gibbs(p0, proxy, 100.0) @ r - 0.2) < 1e-3
    return {'s': found.x, 'J': p @ r, 'K': kl(p, p0)}


# Exercises and PyTorch


@checks('ex-rlhf-path', 'ex-rlhf-bon')
def small_exercises():
    p0, r = tensor(0.5, 0.3, 0.2), tensor(0.0, 1.0, 2.0)
    p = gibbs(p0, r, 1.0)
    cost, var = kl(p, p0), (p0 * r.square()).sum() - (p0 @ r) ** 2
    np.testing.assert_allclose(p.numpy(), (0.1790, 0.2919, 0.5291), atol=5e-5)
    s = torch.tensor(1.0, dtype=F64, requires_grad=True)
    q = gibbs(p0, r, s)
    rate = torch.autograd.grad((q * r).sum(), s, retain_graph=True)[0] / torch.autograd.grad(kl(q, p0), s)[0]
    rough = p0 @ r + (2 * var * cost).sqrt()
    assert abs(1 - rough / (p @ r) - 0.017) < 5e-4
    chance = np.array([0.7, 0.3])
    best = best_of(chance, [0, 1], 4)
    return {
        'ex-rlhf-path': {'a': p @ r - cost, 'b': p @ r, 'c': cost, 'd': rough, 'e': round(rate.item(), 12)},
        'ex-rlhf-bon': {
            'a': best[1], 'b': (best * np.log(best / chance)).sum(), 'c': tilted(lambda u: 4 * u**3)[0], 'd': -math.log(0.3),
            'e': win_rate(best, chance, [0, 1]),
        },
    }


@checks('tab-rlhf-torch')
def pytorch_traps():
    r = tensor(1.0, 0.0, 0.0, 1.0)
    torch.testing.assert_close(r.std(correction=0) / r.std(), torch.tensor(math.sqrt(3 / 4), dtype=F64))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert torch.isnan(torch.ones(1).std())
    p, q = draw(4), draw(4)
    torch.testing.assert_close(F.kl_div(p.log(), q, reduction='sum'), kl(q, p))
    with pytest.warns(UserWarning, match='batchmean'):
        mean = F.kl_div(p.log()[None].expand(3, 4), q[None].expand(3, 4))
    torch.testing.assert_close(mean, kl(q, p) / 4)
    delta = torch.tensor(1e-3)
    exact = math.expm1(-1e-3) + 1e-3
    naive = abs((torch.exp(-delta) - 1 + delta).item() / exact - 1)
    stable = abs((torch.expm1(-delta) + delta).item() / exact - 1)
    assert naive > 0.01 and stable < 0.001
    z = torch.zeros((), dtype=F64, requires_grad=True)
    ratio, bound = z.exp(), z.exp().clamp(0.8, 1.2)
    for leaf, share in ((ratio, 0.5), (bound, 0.5)):
        assert torch.autograd.grad(torch.minimum(ratio, bound), leaf, retain_graph=True)[0] in (share, 1.0)
    assert torch.autograd.grad(torch.minimum(ratio, bound), z)[0] == 1
    value = torch.logsumexp(tensor(0.5, 0.5).log() + tensor(1.0, 2.0) / 1e-3, 0) * 1e-3
    assert torch.isfinite(value) and torch.isinf(torch.exp(tensor(2.0) / 1e-3)).all()
