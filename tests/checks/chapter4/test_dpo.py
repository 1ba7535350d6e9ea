"""Section 4.3: direct preference optimisation and its relatives, each number obtained another way than in the text."""

import importlib
import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy import optimize, special
from torch.nn import functional as F

from checks import checks

F64 = torch.float64


def tensor(*values):
    return torch.tensor(values, dtype=F64)


def dpo(log_pi, log_ref, w, l, beta):
    """The loss as trained: four log-probabilities, a binary cross-entropy with target one."""
    logit = beta * (log_pi[w] - log_ref[w] - log_pi[l] + log_ref[l])
    return F.binary_cross_entropy_with_logits(logit, torch.ones_like(logit))


def kl(p, q):
    return special.rel_entr(np.asarray(p), np.asarray(q)).sum()


def skew(a12, a23, a31):
    return np.array([[0, a12, -a31], [-a12, 0, a23], [a31, -a23, 0]])


@checks('thm-dpo-gibbs', 'eq-dpo-gibbs', 'eq-dpo-invert', 'eq-dpo-objective')
def closed_form():
    """The maximum by constrained optimisation; any other policy falls short by beta times a divergence."""
    rng = np.random.default_rng(0)
    ref, reward, beta = rng.dirichlet(np.ones(5)), rng.normal(size=5), 0.7

    def value(p):
        return p @ reward - beta * (p * np.log(np.maximum(p, 1e-300) / ref)).sum()

    found = optimize.minimize(lambda p: -value(p), ref, bounds=[(1e-9, 1)] * 5,
                              constraints={'type': 'eq', 'fun': lambda p: p.sum() - 1}, options={'ftol': 1e-15, 'maxiter': 500})
    best = torch.softmax(torch.tensor(np.log(ref) + reward / beta), 0).numpy()
    np.testing.assert_allclose(found.x, best, atol=1e-5)
    top = beta * math.log(ref @ np.exp(reward / beta))
    for p in rng.dirichlet(np.ones(5), 20):
        np.testing.assert_allclose(value(p), top - beta * kl(p, best), rtol=1e-11)
    back = beta * np.log(best / ref)
    assert np.ptp(reward - back) < 1e-12 and math.isclose((reward - back)[0], top)
    assert math.isclose(ref @ np.exp(back / beta), 1)


@checks('eq-dpo-loss', 'eq-dpo-gradient', 'eq-dpo-margin', 'eq-dpo-implicit')
def gradient():
    """Autograd through the whole loss of a small network against weight times the difference of two scores."""
    net = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Tanh(), torch.nn.Linear(4, 1)).double()
    x, log_ref, beta = torch.randn(6, 3, dtype=F64), torch.log_softmax(torch.randn(6, dtype=F64), 0), 0.3
    parameters = list(net.parameters())

    def flat(scalar):
        return torch.cat([g.flatten() for g in torch.autograd.grad(scalar, parameters, retain_graph=True)])

    log_pi = torch.log_softmax(net(x).squeeze(-1) + log_ref, 0)
    reward = beta * (log_pi - log_ref).detach()
    direct = flat(dpo(log_pi, log_ref, 1, 4, beta))
    formula = -beta * torch.sigmoid(reward[4] - reward[1]) * (flat(log_pi[1]) - flat(log_pi[4]))
    torch.testing.assert_close(direct, formula)


@checks('eq-dpo-hessian')
def convexity():
    features, log_ref, beta = torch.randn(5, 3, dtype=F64), torch.log_softmax(torch.randn(5, dtype=F64), 0), 0.4

    def linear(theta):
        return dpo(torch.log_softmax(features @ theta + log_ref, 0), log_ref, 0, 1, beta)

    for _ in range(20):
        values = torch.linalg.eigvalsh(torch.autograd.functional.hessian(linear, 3 * torch.randn(3, dtype=F64)))
        assert values[0] > -1e-12 and values[-1] > 0
    saddle = torch.autograd.functional.hessian(lambda v: F.softplus(-beta * v[0] * v[1]), tensor(0, 0))
    torch.testing.assert_close(torch.linalg.eigvalsh(saddle), tensor(-beta / 2, beta / 2))

    def bent(v):        # a margin with curvature: both terms of the formula
        return torch.sin(v[0]) * v[1] + v[0] ** 2

    v = torch.randn(2, dtype=F64)
    h, slope, curve = bent(v), torch.autograd.functional.jacobian(bent, v), torch.autograd.functional.hessian(bent, v)
    up, down = torch.sigmoid(beta * h), torch.sigmoid(-beta * h)
    torch.testing.assert_close(torch.autograd.functional.hessian(lambda v: F.softplus(-beta * bent(v)), v),
                               beta**2 * up * down * torch.outer(slope, slope) - beta * down * curve)


def minimise(function, start):
    return optimize.minimize(function, start, options={'gtol': 1e-11, 'maxiter': 5000}).x


@checks('thm-dpo-equivalence')
def two_stage():
    """Policies fitted by DPO and rewards fitted by Bradley–Terry, separately; finite samples, population, a graph in two pieces."""
    rng = np.random.default_rng(1)
    n, beta = 4, 0.3
    ref, truth = rng.dirichlet(np.full(n, 3.0)), rng.normal(size=n)
    for counts in (rng.integers(1, 9, (n, n)).astype(float), 1 / (1 + np.exp(truth[None] - truth[:, None]))):
        np.fill_diagonal(counts, 0)         # counts[i, j]: how often i beat j

        def loss_policy(z, counts=counts):
            log = z - np.logaddexp.reduce(z)
            g = log - np.log(ref)
            return (counts * np.logaddexp(0, -beta * (g[:, None] - g))).sum()

        def loss_reward(r, counts=counts):
            return (counts * np.logaddexp(0, -(r[:, None] - r))).sum()

        z, r = minimise(loss_policy, np.log(ref)), minimise(loss_reward, np.zeros(n))
        direct = np.exp(z - np.logaddexp.reduce(z))
        staged = ref * np.exp(r / beta)
        np.testing.assert_allclose(direct, staged / staged.sum(), atol=1e-5)
    staged = ref * np.exp(truth / beta)
    np.testing.assert_allclose(direct, staged / staged.sum(), atol=1e-5)
    # Pairs {0, 1} and {2, 3} only: moving mass between the pieces leaves the loss where it is, moving it within does not.
    split = np.zeros((n, n))
    split[:2, :2], split[2:, 2:] = counts[:2, :2], counts[2:, 2:]
    base = loss_policy(np.log(staged), split)
    for shift in (-2, 3):
        assert math.isclose(loss_policy(np.log(staged) + shift * np.array([1, 1, 0, 0]), split), base)
        assert loss_policy(np.log(staged) + 0.1 * shift * np.array([1, 0, 0, 0]), split) > base + 1e-5


@checks('eg-dpo-unseen')
def unseen_response():
    """Plain gradient descent on the three logits."""
    log_ref = tensor(0.05, 0.9, 0.05).log()
    theta, best = torch.zeros(3, dtype=F64, requires_grad=True), (0, 0)
    for _ in range(3000):
        log_pi = torch.log_softmax(log_ref + theta, 0)
        (step,) = torch.autograd.grad(dpo(log_pi, log_ref, 0, 1, 1.0), theta)
        theta = (theta - 0.01 * step).detach().requires_grad_()
        best = max(best, (log_pi[2].exp().item(), theta[0].item()))
        assert abs(theta.sum().item()) < 1e-10 and theta[2] == 0
    assert best[0] > 2 * 0.05
    sum_of_others = optimize.minimize_scalar(lambda s: 0.05 * math.exp(s) + 0.9 * math.exp(-s), (0, 1))
    assert abs(best[1] - sum_of_others.x) < 0.02
    return {'q': best[0], 's': sum_of_others.x}


@checks('prop-dpo-deterministic')
def no_constraint():
    """Descent on one certain pair: whatever beta, the loss and the rejected response go to zero; smoothing the label stops it."""
    log_ref = tensor(0.05, 0.9, 0.05).log()
    for beta in (0.1, 1.0, 10.0):
        theta = torch.zeros(3, dtype=F64, requires_grad=True)
        for _ in range(600):
            log_pi = torch.log_softmax(log_ref + theta, 0)
            loss = -F.logsigmoid(beta * (log_pi[0] - log_pi[1] - log_ref[0] + log_ref[1]))
            if loss < 1e-12 and log_pi[1] < -30:
                break
            (step,) = torch.autograd.grad(loss, theta)
            theta = (theta - step / step.norm()).detach().requires_grad_()     # the size of beta only sets the pace
        assert loss < 1e-12 and log_pi[1].exp() < 1e-12
    smooth = optimize.minimize_scalar(lambda h: 0.9 * np.logaddexp(0, -0.1 * h) + 0.1 * np.logaddexp(0, 0.1 * h), (0, 10), tol=1e-12).x
    assert round(smooth, 2) == 21.97


@checks('thm-dpo-ipo', 'eq-dpo-ipotarget', 'eq-dpo-ipotwo', 'eq-dpo-ipocross', 'eq-dpo-psi')
def ipo():
    """All pairs and both labels enumerated for an intransitive preference; the minimiser by a solver, the optimum by another."""
    rng = np.random.default_rng(3)
    n, tau = 4, 0.6
    ref = rng.dirichlet(np.full(n, 2.0))
    win = np.triu(rng.random((n, n)), 1)
    win = win + np.tril(1 - win.T, -1) + 0.5 * np.eye(n)
    mu, rate = rng.dirichlet(np.full(n, 2.0)), None
    rate = win @ mu
    pairs = np.outer(mu, mu)

    def margin(z):
        g = z - np.logaddexp.reduce(z) - np.log(ref)
        return g[:, None] - g

    def labels(z):
        h = margin(z)
        return (pairs * (win * (h - 1 / tau) ** 2 + (1 - win) * h**2)).sum()

    def regression(z):
        return (pairs * (margin(z) - (rate[:, None] - rate) / tau) ** 2).sum()

    def chosen(z):      # each labelled pair once, chosen first
        h = margin(z)
        return (pairs * (win * (h - 0.5 / tau) ** 2 + (1 - win) * (-h - 0.5 / tau) ** 2)).sum()

    points = rng.normal(size=(6, n))
    for other in (regression, chosen):
        assert np.ptp([labels(z) - other(z) for z in points]) < 1e-12
    z = minimise(labels, np.log(ref))
    found = np.exp(z - np.logaddexp.reduce(z))
    best = optimize.minimize(lambda p: -(p @ rate - tau * (p * np.log(np.maximum(p, 1e-300) / ref)).sum()), ref, bounds=[(1e-9, 1)] * n,
                             constraints={'type': 'eq', 'fun': lambda p: p.sum() - 1}, options={'ftol': 1e-15}).x
    np.testing.assert_allclose(found, best, atol=1e-5)
    assert np.abs(margin(z)).max() <= 1 / tau
    # With log-odds in place of the win rate and a Bradley–Terry truth, the first term is the reward up to a constant.
    r = rng.normal(size=n)
    odds = 1 / (1 + np.exp(r - r[:, None]))
    assert np.ptp(np.log(odds / (1 - odds)) @ mu - r) < 1e-12


@checks('eq-dpo-gpo', 'eq-dpo-localkl', 'tab-dpo-losses')
def convex_losses():
    """Second-order expansions by automatic differentiation; the divergence near the reference from all pairs."""
    beta = 0.2
    for outer, where in ((lambda u: F.softplus(-u), 2 / beta), (lambda u: (u - 1) ** 2, 1 / beta)):
        first = torch.autograd.functional.jacobian(outer, torch.zeros((), dtype=F64))
        second = torch.autograd.functional.hessian(outer, torch.zeros((), dtype=F64))
        assert math.isclose(-first / (beta * second), where) and first < 0
    matched = optimize.minimize_scalar(lambda h: (h - 1 / (2 * beta / 4)) ** 2, (0, 1)).x      # IPO with tau a quarter of beta
    assert math.isclose(matched, 2 / beta, rel_tol=1e-6)
    hinge = torch.autograd.functional.hessian(lambda u: F.relu(1 - u), torch.zeros((), dtype=F64))
    assert hinge == 0
    rng = np.random.default_rng(2)
    ref, direction = rng.dirichlet(np.ones(6)), rng.normal(size=6)
    errors = []
    for size in (0.02, 0.01):
        pi = ref * np.exp(size * direction)
        pi /= pi.sum()
        g = np.log(pi / ref)
        errors.append(abs(kl(pi, ref) - np.outer(ref, ref).ravel() @ ((g[:, None] - g) ** 2).ravel() / 4))
    assert errors[0] < 1e-5 and 6 < errors[0] / errors[1] < 10        # third order
    tau, h = 0.3, torch.linspace(-2, 2, 9, dtype=F64)
    torch.testing.assert_close((tau * h - 0.5) ** 2 / tau**2, (h - 1 / (2 * tau)) ** 2)


@checks('tab-dpo-weights')
def weights():
    rows = {
        '$\\ln(1+\\ee^{-u})$': lambda u: -F.logsigmoid(u),
        '$\\max(0,1-u)$': lambda u: F.margin_ranking_loss(u[None], torch.zeros(1, dtype=F64), torch.ones(1), margin=1.0),
        '$(u-1)^2$': lambda u: F.mse_loss(u, torch.ones((), dtype=F64)),
        '$1-\\sigmoid(u)$': lambda u: 1 - torch.sigmoid(u),
    }
    return {name: {f'$u={u}$': -torch.autograd.functional.jacobian(loss, torch.tensor(float(u), dtype=F64)) for u in (-4, 0, 4)}
            for name, loss in rows.items()}


@checks('eq-dpo-kto', 'eq-dpo-orpo', 'eq-dpo-simpo')
def single_and_reference_free():
    beta, weight = 0.1, 1.3
    g, z0 = tensor(2.0).requires_grad_(), tensor(0.7)
    for sign in (1, -1):
        u = sign * beta * (g - z0)
        (slope,) = torch.autograd.grad((weight * (1 - torch.sigmoid(u))).sum(), g)
        torch.testing.assert_close(slope, -sign * beta * weight * torch.sigmoid(u) * torch.sigmoid(-u))
    logits = torch.randn(7, 11, dtype=F64, requires_grad=True)
    labels = torch.randint(0, 11, (7,))
    mean = -F.cross_entropy(logits, labels)
    odds = torch.logit(mean.exp())
    (grad,), (plain,) = torch.autograd.grad(odds, logits, retain_graph=True), torch.autograd.grad(mean, logits)
    torch.testing.assert_close(grad, plain / (1 - mean.detach().exp()))
    # SimPO on padded token tables: the official mean cross-entropy per response against sums of log-probabilities over lengths.
    tables, lengths, gamma = torch.randn(2, 9, 11, dtype=F64, requires_grad=True), (9, 4), 0.4
    targets = torch.randint(0, 11, (2, 9))
    targets[1, 4:] = -100
    win, lose = (-F.cross_entropy(tables[i], targets[i]) for i in (0, 1))
    loss = F.softplus(gamma - 2 * (win - lose))
    picked = [torch.log_softmax(tables[i, :n], -1)[torch.arange(n), targets[i, :n]] for i, n in enumerate(lengths)]
    u = 2 * picked[0].sum() / 9 - 2 * picked[1].sum() / 4 - gamma
    torch.testing.assert_close(loss, F.binary_cross_entropy_with_logits(u, torch.ones((), dtype=F64)))
    for p, factor in ((0.5, 2), (0.9, 10)):
        log = tensor(math.log(p)).requires_grad_()
        assert math.isclose(torch.autograd.grad(torch.logit(log.exp()).sum(), log)[0].item(), factor)


@checks('eg-dpo-length', 'eq-dpo-length')
def stopping_model():
    """The likelihood of the 60/40 pairs over the stopping probability itself, geometric lengths from a library."""
    from scipy.stats import geom

    start, gap = 1 / 200, 50

    def loss(c, beta):
        log = geom.logpmf([225, 175], c) - geom.logpmf([225, 175], start)
        u = beta * (log[0] - log[1])
        return 0.6 * np.logaddexp(0, -u) + 0.4 * np.logaddexp(0, u), u

    grid = np.geomspace(1e-12, 0.02, 400)
    assert np.argmin([loss(c, 0.1)[0] for c in grid]) == 0
    assert np.argmin([loss(c, 1.60)[0] for c in grid]) == 0
    assert 0 < np.argmin([loss(c, 1.75)[0] for c in grid]) < 399
    cap = (loss(1e-14, 1.0)[1]) / gap
    need = optimize.brentq(lambda beta: 1 / (1 + math.exp(-loss(1e-14, beta)[1])) - 0.6, 0.1, 10)
    assert abs(math.log(1.5) - 0.4055) < 5e-5
    return {'lam': cap, 'z': loss(1e-14, 0.1)[1], 'need': need}


@checks('eq-dpo-length')
def length_penalty():
    """The penalised objective solved numerically; the margin that explains the reward adds the penalty, it does not subtract it."""
    rng = np.random.default_rng(8)
    ref, reward, length, beta, alpha = rng.dirichlet(np.full(5, 3.0)), rng.normal(size=5), rng.integers(1, 9, 5), 0.8, 0.1

    def loss(z):
        p = special.softmax(z)
        return -(p @ (reward - alpha * length) - beta * kl(p, ref))

    g = np.log(special.softmax(minimise(loss, np.log(ref))) / ref)
    np.testing.assert_allclose(beta * np.diff(g) + alpha * np.diff(length), np.diff(reward), atol=1e-4)
    # Per-token drift of one sampler's sequences: a two-state chain, enumerated, signs under either sampler.
    for a, b in ((0.3, 0.6), (0.7, 0.2)):
        words = list(product((0, 1), repeat=4))
        new, old = (np.array([np.prod([p if x else 1 - p for x in w]) for w in words]) for p in (a, b))
        assert old @ np.log(new / old) < 0 < new @ np.log(new / old)


@checks('prop-dpo-norm')
def length_normalised():
    rng = np.random.default_rng(5)
    ref, reward, length, beta = rng.dirichlet(np.ones(6)), rng.normal(size=6), rng.integers(1, 30, 6), 3.0

    def mass(c):
        return (ref * np.exp(length * (reward - c) / beta)).sum() - 1

    c = optimize.brentq(mass, reward.min() - 50, reward.max() + 50)
    pi = ref * np.exp(length * (reward - c) / beta)
    np.testing.assert_allclose(beta / length * np.log(pi / ref), reward - c, atol=1e-9)
    values = [mass(x) for x in np.linspace(-5, 5, 50)]
    assert all(a > b for a, b in zip(values, values[1:], strict=False))
    # Mean log-ratios under either sampler have the signs the text gives.
    assert ref @ np.log(pi / ref) < 0 < pi @ np.log(pi / ref)
    for tokens, beta, other in ((200, 20, 0.1), (200, 5, 0.025), (200, 2, 0.01)):
        g = tensor(1.7)
        torch.testing.assert_close(beta * g / tokens, other * g)


def features(square):
    """Shared strength of denial, then one private coordinate each: No, Never, Yes."""
    private = math.sqrt(square) * torch.eye(3, dtype=F64)
    return torch.cat([tensor(1, 2, -1)[:, None], private], 1)


def step(phi, theta, beta=1.0, rate=1.0, extra=None):
    log_ref = tensor(1, 1, 1).div(3).log()
    theta = theta.clone().requires_grad_()
    log_pi = torch.log_softmax(phi @ theta, 0)
    loss = dpo(log_pi, log_ref, 0, 1, beta) if extra is None else extra(log_pi, log_ref)
    return (theta - rate * torch.autograd.grad(loss, theta)[0]).detach(), loss.item()


@checks('eg-dpo-no')
def no_never_yes():
    phi = features(0)
    theta, before = step(phi, torch.zeros(4, dtype=F64))
    after = step(phi, theta)[1]
    p = torch.softmax(phi @ theta, 0)
    assert abs(p.sum() - 1) < 1e-12 and p[0] < 1 / 3 < p[2]
    # A linear reward on the same features, trained by Bradley–Terry alone, then tilted: the same curve, Yes on top.
    v = torch.zeros(4, dtype=F64, requires_grad=True)
    F.softplus(-(phi @ v)[0] + (phi @ v)[1]).backward()
    scores = phi @ (v - v.grad).detach()
    torch.testing.assert_close(torch.softmax(scores, 0), p)
    assert scores.argmax() == 2
    return {'p': p, 'before': before, 'after': after}


@checks('thm-dpo-displacement', 'eq-dpo-flow', 'eq-dpo-ches', 'eq-dpo-sft', 'eq-dpo-kappa', 'eq-dpo-dpop')
def displacement():
    """A tiny step of descent against the formulas, random features; then the thresholds of the example, found by bisection."""
    for trial in range(40):
        torch.manual_seed(trial)
        phi, theta, beta = torch.randn(5, 3, dtype=F64), torch.randn(3, dtype=F64), 0.7
        log_ref = torch.log_softmax(torch.randn(5, dtype=F64), 0)

        def policy(theta, phi=phi, log_ref=log_ref):
            return torch.log_softmax(log_ref + phi @ theta, 0)

        leaf = theta.clone().requires_grad_()
        (grad,) = torch.autograd.grad(dpo(policy(leaf), log_ref, 0, 1, beta), leaf)
        rate = torch.autograd.functional.jvp(policy, theta, -grad)[1]
        pi, a = policy(theta).exp(), phi[0] - phi[1]
        mean = pi @ phi
        h = (phi @ theta)[0] - (phi @ theta)[1]
        torch.testing.assert_close(rate, beta * torch.sigmoid(-beta * h) * ((phi - mean) @ a))
        score = phi[0] @ phi[1] - phi[0] @ phi[0] + a @ mean
        assert (rate[0] < 0) == (score > 0)
        assert rate.argmax() == (phi @ a).argmax()
        alpha = 0.3
        (grad,) = torch.autograd.grad(dpo(policy(leaf), log_ref, 0, 1, beta) - alpha * policy(leaf)[0], leaf)
        b = phi[0] - mean
        torch.testing.assert_close(torch.autograd.functional.jvp(policy, theta, -grad)[1][0],
                                   beta * torch.sigmoid(-beta * h) * a @ b + alpha * b @ b)
        tabular = torch.autograd.functional.jvp(lambda z: torch.log_softmax(z, 0), torch.randn(5, dtype=F64), tensor(1, -1, 0, 0, 0))[1]
        assert tabular[0] > 0

    def first_move(square, alpha=0.0, lam=0.0):
        phi = features(square)

        def loss(log_pi, log_ref):
            fallen = log_ref[0] - log_pi[0]       # the penalty on its active side
            u = log_pi[0] - log_ref[0] - log_pi[1] + log_ref[1] - lam * fallen
            return F.softplus(-u) - alpha * log_pi[0]

        theta = step(phi, torch.zeros(4, dtype=F64), rate=1e-6, extra=loss)[0]
        return (torch.log_softmax(phi @ theta, 0)[0] + math.log(3)).item()

    assert abs(optimize.brentq(first_move, 0, 2, xtol=1e-7) - 1 / 3) < 1e-4
    assert abs(optimize.brentq(lambda alpha: first_move(0, alpha), 0.1, 5) - 1.5) < 1e-3
    assert abs(optimize.brentq(lambda lam: first_move(0, 0, lam), 0.1, 9) - 3) < 1e-3


@checks('ex-dpo-displace')
def displacement_exercise():
    phi = features(0.25)
    theta = step(phi, torch.zeros(4, dtype=F64))[0]

    def first_move(square, alpha):
        phi = features(square)
        theta = step(phi, torch.zeros(4, dtype=F64), rate=1e-6, extra=lambda p, r: dpo(p, r, 0, 1, 1.0) - alpha * p[0])[0]
        return (torch.log_softmax(phi @ theta, 0)[0] + math.log(3)).item()

    late = torch.zeros(4, dtype=F64)
    for _ in range(300):
        late = step(phi, late, rate=20.0)[0]
    assert torch.softmax(phi @ late, 0)[2] > 0.99
    kappa = optimize.brentq(lambda square: first_move(square, 0.0), 0, 2, xtol=1e-9)
    return {'a': round(kappa * 3, 3) / 3, 'b': torch.softmax(phi @ theta, 0),
            'c': round(optimize.brentq(lambda alpha: first_move(0.25, alpha), 0, 2, xtol=1e-9), 4)}


@checks('fig-dpo-displacement', 'eq-dpo-kappa')
def displacement_figure():
    """Gradient descent retraces the drawn curves; where No peaks, where it ends."""
    script = importlib.import_module('figures.chapter4.dpo_displacement')
    for square in script.STRENGTHS:
        phi, theta = features(square), torch.zeros(4, dtype=F64)
        for _ in range(60):
            theta = step(phi, theta, rate=0.3)[0]
        score = phi @ theta
        margin = (score[0] - score[1]).item()
        np.testing.assert_allclose(torch.softmax(score, 0).numpy(), script.probabilities(square, [margin])[:, 0], atol=1e-12)
    no = {square: script.probabilities(square, script.MARGINS)[0] for square in script.STRENGTHS}
    assert (np.diff(no[0]) < 0).all() and (np.diff(no[3]) > 0).all() and no[3][-1] > 0.99
    assert 0 < no[1].argmax() < 40 and no[1][-1] < 0.01
    for square, winner in ((1.99, 2), (2.01, 0)):
        assert script.probabilities(square, [1e5])[:, 0].argmax() == winner


@checks('fig-dpo-coverage')
def coverage_figure():
    """Plain gradient descent in PyTorch to the end points of the three curves; nothing beats the frontier."""
    script = importlib.import_module('figures.chapter4.dpo_coverage')
    truth = torch.sigmoid(torch.tensor(script.REWARD)[:, None] - torch.tensor(script.REWARD))
    phi, log_ref = features(0.25), tensor(1, 1, 1).div(3).log()
    np.testing.assert_allclose(phi.numpy(), script.FEATURES)
    drawn = script.data()
    tilted = special.softmax(np.geomspace(1e-4, 9, 20_000)[:, None] * script.REWARD, axis=1)
    grid = np.log(3) - special.entr(tilted).sum(1), tilted @ script.REWARD
    np.testing.assert_allclose(np.interp(script.frontier()[0][1:], *grid), script.frontier()[1][1:], atol=1e-4)
    ends = []
    for curve, pairing in zip(drawn, (script.one_pair, script.all_pairs, script.on_policy), strict=True):
        theta = torch.zeros(4, dtype=F64)
        optimiser = torch.optim.SGD([theta.requires_grad_()], lr=7.0)
        for _ in range(1400):
            optimiser.zero_grad()
            log_pi = torch.log_softmax(phi @ theta, 0)
            weight = torch.tensor(pairing(log_pi.detach().exp().numpy()))
            logit = script.BETA * ((log_pi - log_ref)[:, None] - (log_pi - log_ref))
            (weight * F.binary_cross_entropy_with_logits(logit, truth, reduction='none')).sum().backward()
            optimiser.step()
        ends.append((torch.softmax(phi @ theta, 0).detach() @ torch.tensor(script.REWARD)).item())
        np.testing.assert_allclose(curve[-1] @ script.REWARD, ends[-1], atol=2e-3)
        assert (curve @ script.REWARD <= np.interp(script.kl(curve), *grid) + 1e-4).all()
    # The labelled pair leaves a whole set of minima: Adam ends in another one.
    theta = torch.zeros(4, dtype=F64, requires_grad=True)
    optimiser = torch.optim.Adam([theta], lr=0.01)
    for _ in range(1500):
        optimiser.zero_grad()
        log_pi = torch.log_softmax(phi @ theta, 0)
        logit = script.BETA * (log_pi[0] - log_pi[1])
        F.binary_cross_entropy_with_logits(logit, truth[0, 1]).backward()
        optimiser.step()
    assert abs(log_pi[0] - log_pi[1] - 2) < 1e-3
    assert round((log_pi.exp() @ torch.tensor(script.REWARD)).item(), 2) == -0.62
    best = torch.softmax(torch.tensor(script.REWARD) / script.BETA, 0)
    np.testing.assert_allclose(drawn[1][-1], best, atol=1e-6)
    np.testing.assert_allclose(drawn[2][-1], best, atol=1e-6)
    assert round(drawn[2][-1] @ script.REWARD, 3) == 0.851 and round(drawn[0][-1] @ script.REWARD, 3) == -0.813
    assert (np.diff(drawn[0] @ script.REWARD) < 1e-9).all()
    assert (drawn[0][1:, 0] > drawn[0][1:, 1]).all()        # the one labelled pair is always ranked right
    score = np.log(drawn[0][-1])
    assert abs(score[0] - score[1] - 2) < 1e-6
    # On policy runs closer to the frontier at every divergence.
    at = np.linspace(0.02, 0.6, 30)
    offline, online = (np.interp(at, script.kl(c), c @ script.REWARD) for c in drawn[1:])
    assert (online >= offline - 1e-3).all()


@checks('prop-dpo-fdiv', 'eq-dpo-fdiv', 'ex-dpo-fdiv')
def divergences():
    """Optima by constrained optimisation for four generators; the difference formula holds exactly where the slope at zero is infinite."""
    ref, reward, beta = np.full(3, 1 / 3), np.array([1.0, 0.0, -1.0]), 0.5

    def solve(generator):
        def value(p):
            return -(p @ reward - beta * (ref * generator(np.maximum(p, 1e-12) / ref)).sum())

        return optimize.minimize(value, ref, bounds=[(0, 1)] * 3, constraints={'type': 'eq', 'fun': lambda p: p.sum() - 1},
                                 options={'ftol': 1e-15, 'maxiter': 1000}).x

    def js(u):
        return u * np.log(u) - (u + 1) * np.log((u + 1) / 2)

    cases = (
        (lambda u: u * np.log(u), lambda u: np.log(u) + 1),
        (lambda u: -np.log(u), lambda u: -1 / u),
        (js, lambda u: np.log(2 * u / (1 + u))),
        (lambda u: u * np.log(u) + (u - 1) ** 2 / 2, lambda u: np.log(u) + u),
    )
    for generator, slope in cases:
        pi = solve(generator)
        assert pi.min() > 1e-4
        np.testing.assert_allclose(np.diff(beta * slope(pi / ref)), np.diff(reward), atol=2e-3)
    forward = solve(cases[1][0])
    lam = optimize.brentq(lambda x: (beta * ref / (x - reward)).sum() - 1, reward.max() + 1e-9, 50)
    np.testing.assert_allclose(forward, beta * ref / (lam - reward), atol=1e-4)
    assert forward[0] / forward[2] <= 1 + 2 / (beta / 3)
    square = solve(lambda u: (u - 1) ** 2 / 2)
    np.testing.assert_allclose(square, [5 / 6, 1 / 6, 0], atol=1e-5)
    np.testing.assert_allclose(-beta * np.diff(square / ref), [1, 0.25], atol=1e-4)


@checks('thm-dpo-token', 'eq-dpo-advantage', 'eq-dpo-bellman', 'eg-dpo-token')
def credit():
    """No recursion: the optimum over whole responses, its conditionals by summation, the logarithms of their ratios."""
    beta = 0.5
    words = [''.join(w) for w in product('ab', repeat=2)]
    weight = {w: 0.25 * math.exp((w == 'aa') / beta) for w in words}
    total = sum(weight.values())
    first = sum(v for w, v in weight.items() if w[0] == 'a')
    credit = [beta * math.log(first / total / 0.5), beta * math.log(weight['aa'] / first / 0.5)]
    start = beta * math.log(total)
    after = beta * math.log(first / 0.5)
    assert math.isclose(sum(credit), 1 - start) and round(1 - start, 4) == 0.5228
    # Random rewards per token, three steps: backward recursion against conditionals of the tilted distribution over responses.
    rng = np.random.default_rng(6)
    prefixes = [''.join(w) for n in range(1, 4) for w in product('ab', repeat=n)]
    rewards, tilt = {w: rng.normal() for w in prefixes}, {}
    chance = {w: q for w, q in zip(prefixes, rng.uniform(0.2, 0.8, len(prefixes)), strict=True)}
    for w in [w for w in prefixes if w[-1] == 'b']:
        chance[w] = 1 - chance[w[:-1] + 'a']
    value = dict.fromkeys([w for w in prefixes if len(w) == 3], 0.0)
    for w in sorted([w for w in prefixes if len(w) < 3] + [''], key=len, reverse=True):
        value[w] = beta * math.log(sum(chance[w + c] * math.exp((rewards[w + c] + value[w + c]) / beta) for c in 'ab'))
    for w in (w for w in prefixes if len(w) == 3):
        parts = [w[:k] for k in (1, 2, 3)]
        tilt[w] = math.prod(chance[v] for v in parts) * math.exp(sum(rewards[v] for v in parts) / beta)
    for w in prefixes:
        mass, before = (sum(v for k, v in tilt.items() if k.startswith(s)) for s in (w, w[:-1]))
        log_ratio = beta * math.log(mass / before / chance[w])
        assert math.isclose(log_ratio, rewards[w] + value[w] - value[w[:-1]], rel_tol=1e-9, abs_tol=1e-12)
    # Shaping by a potential that ends at zero changes no response's return beyond the constant of the prompt.
    potential = {'': 0.3, 'a': -0.7, 'b': 1.1}
    shaped = {w: (w == 'aa') + (potential[w[0]] - potential['']) + (0 - potential[w[0]]) for w in words}
    assert np.ptp([shaped[w] - (w == 'aa') for w in words]) < 1e-12
    return {'V': (start, after), 'credit': credit}


def nash(game):
    """Maximin by linear programming."""
    n = len(game)
    found = optimize.linprog(np.r_[np.zeros(n), -1], A_ub=np.c_[-game.T, np.ones(n)], b_ub=np.zeros(n),
                             A_eq=[np.r_[np.ones(n), 0]], b_eq=[1], bounds=[(0, 1)] * n + [(None, None)])
    assert abs(found.x[-1]) < 1e-9      # the value of the game
    return found.x[:n]


def rank(game):
    """Bradley–Terry by maximum likelihood on equally frequent pairs."""
    win = game + 0.5

    def loss(r):
        off = ~np.eye(len(game), dtype=bool)
        return (win * np.logaddexp(0, r - r[:, None]))[off].sum() + r.sum() ** 2

    return minimise(loss, np.zeros(len(game)))


@checks('eg-dpo-rps', 'eq-dpo-game')
def cycle():
    game = skew(0.4, 0.2, 0.1)
    solution, reward = nash(game), rank(game)
    assert (game @ solution).max() < 1e-9 and reward.argmax() == 0 and solution.argmax() == 2
    assert math.isclose(game[2, 0] + 0.5, 0.6)
    assert math.isclose(solution[2] / solution[1], 4, rel_tol=1e-6) and math.isclose(game[0, 1] / game[2, 0], 4)
    for p in np.random.default_rng(0).dirichlet(np.ones(3), 5):
        assert abs(p @ game @ p) < 1e-12
    return {'nash': solution, 'bt': reward}


@checks('ex-dpo-nash')
def other_cycle():
    game = skew(0.3, 0.3, 0.1)
    win = game + 0.5
    steps = next(t for t in range(1, 10**5) if math.sqrt(math.log(3) / (2 * t)) <= 0.01)
    mean = [np.mean([win[i, j] for j in range(3) if j != i]) for i in range(3)]
    assert np.argsort(rank(game)).tolist() == np.argsort(mean).tolist()
    return {'a': nash(game), 'b': mean, 'c': win[:, 0].max(), 'd': steps}


@checks('thm-dpo-selfplay', 'eq-dpo-nashmd', 'eq-dpo-mixkl', 'eq-dpo-nashgap', 'fig-dpo-nash')
def self_play():
    """Bounds along simulated play of random games, and of the drawn one."""
    rng = np.random.default_rng(4)
    for n in (3, 6):
        game = rng.uniform(-0.5, 0.5, (n, n))
        game = np.triu(game, 1) - np.triu(game, 1).T
        steps = 400
        eta = math.sqrt(8 * math.log(n) / steps)
        pi, total = np.full(n, 1 / n), np.zeros(n)
        for _ in range(steps):
            total += pi
            pi = pi * np.exp(eta * game @ pi)
            pi /= pi.sum()
        assert (game @ total / steps).max() <= math.sqrt(math.log(n) / (2 * steps))
        ref, tau = rng.dirichlet(np.ones(n) * 2), 0.2
        target = ref
        for _ in range(20000):      # damped best replies of the tied game
            reply = ref * np.exp(game @ target / tau)
            target = 0.98 * target + 0.02 * reply / reply.sum()
        np.testing.assert_allclose(target, (ref * np.exp(game @ target / tau)) / (ref * np.exp(game @ target / tau)).sum(), atol=1e-9)
        for eta in (0.05, 1.0):
            pi = rng.dirichlet(np.ones(n))
            for _ in range(60):
                mixed = pi ** (1 - eta * tau) * ref ** (eta * tau)
                mixed /= mixed.sum()
                new = mixed * np.exp(eta * game @ mixed)
                new /= new.sum()
                assert kl(target, new) <= (1 - eta * tau) * kl(target, pi) + eta**2 / 8 + 1e-12
                gain = target @ game @ mixed - tau * kl(target, ref) + tau * kl(mixed, ref)
                assert gain > -1e-9
                assert kl(target, new) <= (1 - eta * tau) * kl(target, pi) + eta**2 / 8 - eta * gain + 1e-9
                gaps = [kl(q, mixed) - (1 - eta * tau) * kl(q, pi) - eta * tau * kl(q, ref) for q in (target, new)]
                assert math.isclose(gaps[0], gaps[1], abs_tol=1e-10) and gaps[0] <= -eta * tau * kl(mixed, ref) + 1e-10
                pi = new
            assert kl(target, pi) <= (1 - eta * tau) ** 60 * 50 + eta / (8 * tau)
    script = importlib.import_module('figures.chapter4.dpo_nash')
    solution = nash(script.GAME)
    free, mean, tied = script.data()
    distance = [kl(solution, p) for p in free[:3000:10]]
    assert all(b >= a - 1e-12 for a, b in zip(distance, distance[1:], strict=False)) and distance[-1] > distance[0]
    np.testing.assert_allclose(mean[-1], solution, atol=0.01)
    start, tau = np.log(script.REFERENCE), script.TAU
    fixed = optimize.root(lambda z: z - start - script.GAME @ special.softmax(z) / tau, np.log(solution))
    target = special.softmax(fixed.x)
    assert fixed.success and f'{kl(target, tied[-1]):.1e}' == '1.3e-06' and math.isclose(script.ETA / (8 * tau), 0.625)
    assert script.weakness(target) < script.weakness(script.REFERENCE) and round(script.weakness(target), 4) == 0.0143
    assert round(script.weakness(tied[-1]), 4) == 0.0143 and script.weakness(free[-5000:]).min() > 0.02
    assert np.abs(tied[-1] - tied[-2000]).max() < 1e-9
    # The regression target with one half for the normaliser errs by the first order of eta.
    pi = np.array([0.5, 0.2, 0.3])
    gaps = [abs(math.log(pi @ np.exp(eta * ((script.GAME + 0.5) @ pi))) / eta - 0.5) for eta in (0.2, 0.1)]
    assert gaps[0] < 0.01 and 1.8 < gaps[0] / gaps[1] < 2.2


@checks('ex-dpo-loss')
def one_pair():
    policy, reference = tensor(-42, -55), tensor(-40, -50)
    reward = 0.1 * (policy - reference)
    logit = (reward[0] - reward[1]).requires_grad_()
    loss = F.binary_cross_entropy_with_logits(logit, torch.ones((), dtype=F64))
    (slope,) = torch.autograd.grad(loss, logit)
    assert abs(math.exp(-2) - 0.135) < 5e-4 and loss < math.log(2)
    return {'a': reward, 'b': loss.item(), 'c': -slope, 'd': F.binary_cross_entropy_with_logits(logit, torch.zeros((), dtype=F64)).item()}


@checks('ex-dpo-ipo')
def end_points():
    """Both population losses minimised over the logit of the first of two responses."""
    def policy(h):
        return 1 / (1 + math.exp(-h))

    a = optimize.minimize_scalar(lambda h: 0.8 * np.logaddexp(0, -0.5 * h) + 0.2 * np.logaddexp(0, 0.5 * h), (0, 1), tol=1e-12).x
    b = optimize.minimize_scalar(lambda h: 0.8 * (h - 1) ** 2 + 0.2 * (h + 1) ** 2, (0, 1)).x
    c = policy(optimize.minimize_scalar(lambda h: (h - 1) ** 2, (0, 1)).x)
    assert round(a, 2) == 2.77 and math.isclose(b, 0.6, rel_tol=1e-6)
    near = 1 - 1e-12
    return {'a': policy(a), 'b': policy(b), 'c': c, 'd': (kl([c, 1 - c], [0.5, 0.5]), 'nat'),
            'e': (kl([near, 1 - near], [0.5, 0.5]), 'nat')}


@checks('ex-dpo-minnorm')
def least_norm():
    """Descent from zero on a comparison graph in two pieces plus an isolated response; the least-norm solution by projection."""
    n, beta = 6, 0.5
    pairs = [(0, 1, 0.7), (1, 2, 0.4), (0, 2, 0.55), (3, 4, 0.8)]
    log_ref = torch.log_softmax(torch.randn(n, dtype=F64), 0)
    theta = torch.zeros(n, dtype=F64)
    for _ in range(1500):
        leaf = theta.clone().requires_grad_()
        log_pi = torch.log_softmax(log_ref + leaf, 0)
        loss = sum(p * dpo(log_pi, log_ref, i, j, beta) + (1 - p) * dpo(log_pi, log_ref, j, i, beta) for i, j, p in pairs)
        theta = theta - 4 * torch.autograd.grad(loss, leaf)[0]
    pieces = torch.zeros(3, n, dtype=F64)
    pieces[0, :3], pieces[1, 3:5], pieces[2, 5] = 1, 1, 1
    assert (pieces @ theta).abs().max() < 1e-9
    assert theta[5] == 0

    def loss_reward(r):
        return sum(p * np.logaddexp(0, r[j] - r[i]) + (1 - p) * np.logaddexp(0, r[i] - r[j]) for i, j, p in pairs)

    r = torch.tensor(minimise(loss_reward, np.random.default_rng(0).normal(size=n)))
    least = r - pieces.T @ torch.linalg.lstsq(pieces.T, r[:, None]).solution.squeeze(-1)
    torch.testing.assert_close(beta * theta, least, atol=1e-5, rtol=0)


@checks('ex-dpo-critique')
def price_without_limit():
    ref = np.array([0.01, 0.99])
    near = np.array([1 - 1e-12, 1e-12])
    assert abs(kl(near, ref) - 4.605) < 5e-4
    win = np.array([[0.5, 1], [0, 0.5]])
    rate = win @ ref
    assert math.isclose(rate[0] - rate[1], 0.5)
    pi = ref * np.exp(rate)
    pi /= pi.sum()
    assert math.isclose(math.log(pi[0] / ref[0]) - math.log(pi[1] / ref[1]), 0.5) and kl(pi, ref) < 0.01


@checks('tab-dpo-torch')
def pytorch():
    low = torch.tensor(-200.0, requires_grad=True)
    naive = torch.sigmoid(low).log()
    assert naive == -math.inf and torch.autograd.grad(naive, low)[0].isnan()
    assert F.logsigmoid(low) == -200
    high = torch.tensor(17.0, requires_grad=True)
    assert torch.autograd.grad(F.binary_cross_entropy_with_logits(high, torch.ones(())), high)[0] == 0
    assert torch.autograd.grad(-F.logsigmoid(high), high)[0] < 0
    u = torch.tensor([-3.0, 0.5, 19.0], dtype=F64)
    torch.testing.assert_close(F.softplus(u), -F.logsigmoid(-u))
    assert F.softplus(torch.tensor(20.5, dtype=F64)) == 20.5 and F.softplus(torch.tensor(19.5, dtype=F64)) > 19.5
    p = 0.8
    torch.testing.assert_close(F.binary_cross_entropy_with_logits(u, torch.full_like(u, p), reduction='none'),
                               -p * F.logsigmoid(u) - (1 - p) * F.logsigmoid(-u))
    logits, labels = torch.randn(5, 7, dtype=F64), torch.tensor([1, 2, 6, -100, -100])
    each = F.cross_entropy(logits, labels, reduction='none')
    torch.testing.assert_close(F.cross_entropy(logits, labels) * 3, each.sum())
    with pytest.raises((RuntimeError, IndexError)):
        torch.gather(torch.log_softmax(logits, -1), 1, labels[:, None])
    safe = torch.gather(torch.log_softmax(logits, -1), 1, labels.clamp(min=0)[:, None]).squeeze(-1) * (labels >= 0)
    torch.testing.assert_close(-safe, each)
    won, lost = torch.tensor([1.0]), torch.tensor([0.9])
    assert F.margin_ranking_loss(won, lost, torch.ones(1)) == 0 < F.margin_ranking_loss(won, lost, torch.ones(1), margin=1.0)
    zero = torch.zeros((), requires_grad=True)
    assert torch.autograd.grad(torch.clamp(zero, min=0), zero)[0] == 1 and torch.autograd.grad(F.relu(zero), zero)[0] == 0
    near = torch.tensor(-1e-9)
    assert 1 - near.exp() == 0 and -torch.special.expm1(near) > 0
    assert torch.tensor(-300.6).bfloat16() == -300
    assert torch.tensor([256.0, 258.0, 510.0]).bfloat16().tolist() == [256, 258, 510] and torch.tensor(257.1).bfloat16() == 258
