"""Section 4.2: policy gradients, clipping, GAE, KL placement and the ledger of one step, each computed another way than in the text."""

import importlib
import itertools
import math
import warnings

import numpy as np
import torch
from scipy import stats
from torch.nn import functional as F

from checks import checks

F64 = torch.float64


def figure(name):
    return importlib.import_module(f'figures.chapter4.{name}')


class Tree:
    """All sequences of T tokens of a small vocabulary, one row of logits per prefix: exact expectations, differentiable."""

    def __init__(self, vocabulary, length):
        self.v, self.length = vocabulary, length
        self.sequences = list(itertools.product(range(vocabulary), repeat=length))
        self.row = {prefix: i for i, prefix in enumerate(p for t in range(length) for p in itertools.product(range(vocabulary), repeat=t))}
        self.states = torch.tensor([[self.row[y[:t]] for t in range(length)] for y in self.sequences])
        self.actions = torch.tensor(self.sequences)

    def logits(self, scale=1.0):
        return scale * torch.randn(len(self.row), self.v, dtype=F64)

    def logp(self, logits):
        """Log-probability of each token of each sequence."""
        return logits.log_softmax(-1)[self.states, self.actions]

    def scores(self, logits):
        """Gradient of each token's log-probability, by autograd: (sequence, token, parameter)."""
        jac = torch.autograd.functional.jacobian(lambda s: self.logp(s).reshape(-1), logits)
        return jac.reshape(len(self.sequences), self.length, -1)

    def values(self, logits, rewards):
        """V of each prefix along each sequence by averaging the remaining reward; zero at the end."""
        p = self.logp(logits).sum(1).exp()
        togo = rewards.flip(1).cumsum(1).flip(1)
        value = torch.zeros(len(self.sequences), self.length + 1, dtype=F64)
        for t in range(self.length):
            for prefix in set(y[:t] for y in self.sequences):
                same = torch.tensor([y[:t] == prefix for y in self.sequences])
                value[same, t] = (p[same] * togo[same, t]).sum() / p[same].sum()
        return value


def autograd(function, logits):
    point = logits.clone().requires_grad_()
    return torch.autograd.grad(function(point), point)[0].reshape(-1)


@checks('thm-ppo-pg', 'eq-ppo-pg', 'prop-ppo-bandit')
def policy_gradient():
    """Both forms, any baseline, against automatic differentiation of the expected return; the equivalences sample by sample."""
    tree = Tree(3, 3)
    logits = tree.logits()
    logp, score = tree.logp(logits), tree.scores(logits)
    p = logp.sum(1).exp()
    # A reward at (s_t, a_t) must be a function of the prefix.
    table = torch.randn(len(tree.row), 3, dtype=F64)
    r = table[tree.states, tree.actions]
    true = autograd(lambda s: (tree.logp(s).sum(1).exp() * r.sum(1)).sum(), logits)
    togo = r.flip(1).cumsum(1).flip(1)
    baseline = torch.randn(len(tree.row), dtype=F64)[tree.states]
    first = torch.einsum('y,yt,ytk->k', p, togo - baseline, score)
    value = tree.values(logits, r)
    advantage = r + value[:, 1:] - value[:, :-1]
    torch.testing.assert_close(first, true)
    torch.testing.assert_close(torch.einsum('y,yt,ytk->k', p, advantage, score), true)
    # Bandit: terminal reward, sample by sample; with rewards on the way only in expectation.
    terminal = torch.zeros_like(r)
    terminal[:, -1] = torch.randn(len(p), dtype=F64)
    whole = score.sum(1) * (terminal[:, -1] - 0.3)[:, None]
    token = ((terminal.flip(1).cumsum(1).flip(1) - 0.3)[..., None] * score).sum(1)
    torch.testing.assert_close(whole, token)
    whole = score.sum(1) * r.sum(1, keepdim=True)
    token = (togo[..., None] * score).sum(1)
    assert (whole - token).abs().max() > 0.1
    torch.testing.assert_close(p @ whole, p @ token)
    # (c): two tokens, discount: the two directions are scaled differently.
    tree = Tree(2, 2)
    logits, gamma = tree.logits(), 0.7
    logits[2] = logits[1]           # the second token does not look at the first
    p, score = tree.logp(logits).sum(1).exp(), tree.scores(logits)
    for decides, factor in ((0, gamma), (1, 1.0)):
        reward = tree.actions[:, decides].double()
        true = autograd(lambda s: (tree.logp(s).sum(1).exp() * reward).sum(), logits)
        weight = torch.tensor([gamma, 1.0], dtype=F64) * reward[:, None]
        torch.testing.assert_close(torch.einsum('y,yt,ytk->k', p, weight, score), factor * true)


@checks('eg-ppo-baseline', 'ex-ppo-baseline', 'prop-ppo-baseline')
def baselines():
    """Variances from the two outcomes by autograd scores; the threshold by a scan; the quadratic in b on a larger problem."""

    def variance(p, b, shift=0.0):
        theta = torch.tensor(math.log(p / (1 - p)), dtype=F64)
        g = torch.autograd.functional.jacobian(lambda t: torch.stack([F.logsigmoid(t), F.logsigmoid(-t)]), theta)
        chance, reward = torch.tensor([p, 1 - p], dtype=F64), torch.tensor([1.0, 0.0], dtype=F64) + shift
        if b == 'mean':
            b = chance @ reward
        elif b == 'best':
            b = chance @ (g.square() * reward) / (chance @ g.square())
        value = g * (reward - b)
        return (chance @ value.square() - (chance @ value) ** 2).item()

    for p in (0.05, 0.3, 0.6, 0.66, 0.67, 0.8, 0.97):
        assert (variance(p, 'mean') > variance(p, 0.0)) == (p > 2 / 3)
        assert (variance(p, 'mean', -1.0) > variance(p, 0.0, -1.0)) == (p < 1 / 3)
    assert abs(variance(0.9, 'mean') / variance(0.9, 0.0) - 64) < 1e-9
    p = torch.rand(6, dtype=F64).softmax(0)
    g, reward = torch.eye(6, dtype=F64) - p, torch.randn(6, dtype=F64)
    spread = lambda b: (p * (g * (reward - b)[:, None] - p @ (g * reward[:, None])).square().sum(1)).sum()
    size = (p * g.square().sum(1)).sum()
    best = (p * g.square().sum(1) * reward).sum() / size
    assert spread(best) > 0.01      # (d): more than two answers, the variance does not vanish
    for b in (-1.0, 0.2, 2.0):
        torch.testing.assert_close(spread(b) - spread(best), (b - best) ** 2 * size)
    return {'eg-ppo-baseline': {key: [variance(p, b) for p in (0.1, 0.9)] for key, b in (('none', 0.0), ('mean', 'mean'), ('best', 'best'))}}


@checks('lem-ppo-difference', 'eq-ppo-surrogate', 'thm-ppo-improvement', 'eq-ppo-improvement')
def improvement_bound():
    """The identity and all three bounds on random pairs of policies, rewards on the way; the gradient of the surrogate."""
    tree = Tree(2, 5)
    useful = 0
    for step in (0.02, 0.1, 0.4, 1.0) * 5:
        old, move = tree.logits(), step * tree.logits()
        new = old + move
        r = torch.rand(len(tree.row), 2, dtype=F64)[tree.states, tree.actions]
        value = tree.values(old, r)
        advantage = r + value[:, 1:] - value[:, :-1]
        p, q = (tree.logp(s).sum(1).exp() for s in (old, new))
        gain = (q - p) @ r.sum(1)
        torch.testing.assert_close(q @ advantage.sum(1), gain)
        surrogate = lambda s: (p[:, None] * (tree.logp(s) - tree.logp(old)).exp() * advantage).sum()
        error = (gain - surrogate(new)).abs()
        tv = ((old.softmax(-1) - new.softmax(-1)).abs().sum(-1) / 2).max()
        kl = (old.softmax(-1) * (old.log_softmax(-1) - new.log_softmax(-1))).sum(-1).max()
        largest, T = advantage.abs().max(), tree.length
        bounds = [4 * tv * largest * sum(1 - (1 - tv) ** (t - 1) for t in range(1, T + 1)), 2 * T * (T - 1) * tv**2 * largest,
                  T * (T - 1) * largest * kl]
        assert error <= bounds[0] <= bounds[1] + 1e-15 and bounds[1] <= bounds[2]
        useful += bool(bounds[2] < 1)
        torch.testing.assert_close(autograd(surrogate, old), autograd(lambda s: (tree.logp(s).sum(1).exp() * r.sum(1)).sum(), old))
    assert useful > 3
    # The alpha quoted for T = 1,024, found by bisection on the sum.
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if 4 * middle**2 * sum(range(1024)) < 0.01 else (low, middle)
    assert round(low * 1e5, 1) == 6.9
    assert math.isclose(sum(0.97**t * t for t in range(5000)), 0.97 / 0.03**2, rel_tol=1e-9)


@checks('ex-ppo-tv')
def ratio_interval():
    """Random ratios within the interval never exceed TV = eps / 2; two equal actions attain it."""
    eps = 0.2
    for _ in range(200):
        p = torch.rand(6, dtype=F64).softmax(0)
        tilt = torch.rand(6, dtype=F64) * 2 - 1
        tilt = tilt - p @ tilt
        q = p * (1 + eps * tilt / tilt.abs().max())
        assert (q / p - 1).abs().max() <= eps + 1e-12 and (p - q).abs().sum() / 2 <= eps / 2 + 1e-12
    assert math.isclose(abs(0.5 * 1.2 - 0.5) / 2 + abs(0.5 * 0.8 - 0.5) / 2, eps / 2)
    T, alpha = 1000, eps / 2
    assert round(4 * alpha**2 * sum(t - 1 for t in range(1, T + 1))) == 19_980
    assert math.isclose(4 * alpha * T, 400) and math.isclose(2 * alpha * T + 1, 201)


def term(rho, advantage, eps=0.2):
    return torch.minimum(rho * advantage, rho.clamp(1 - eps, 1 + eps) * advantage)


@checks('ex-ppo-clip', 'prop-ppo-clip', 'eq-ppo-clip', 'tab-ppo-clip')
def clipped_terms():
    """PyTorch's clamp and minimum, differentiated automatically, over both signs and all positions of the ratio."""
    for advantage in (1.7, -1.7):
        for log in torch.linspace(-0.8, 0.8, 41, dtype=F64):
            x = log.clone().requires_grad_()
            value = term(x.exp(), advantage)
            rho = math.exp(log)
            formula = advantage * (min(rho, 1.2) if advantage > 0 else max(rho, 0.8))
            assert math.isclose(value.item(), formula) and value.item() <= rho * advantage + 1e-12
            slope = torch.autograd.grad(value, x)[0].item()
            silent = rho > 1.2 if advantage > 0 else rho < 0.8
            assert slope == 0 if silent else math.isclose(slope, rho * advantage)
    logs = torch.tensor([1.5, 0.7, 1.5, 0.7], dtype=F64).log().requires_grad_()
    terms = term(logs.exp(), torch.tensor([2.0, 2.0, -1.0, -1.0], dtype=F64))
    loss = -terms.mean()
    return {'ex-ppo-clip': {'a': terms.detach(), 'b': loss.detach(), 'c': torch.autograd.grad(loss, logs)[0]}}


@checks('eq-ppo-decoupled')
def decoupled_start():
    """At the centre of the clip nothing is silent; the same stale samples in the coupled objective lose part of their gradient."""
    tree = Tree(3, 3)
    behaviour = tree.logits()
    centre = behaviour + 0.5 * tree.logits()
    p = tree.logp(behaviour).sum(1).exp()
    advantage = torch.randn(len(p), 3, dtype=F64)
    weight = (tree.logp(centre) - tree.logp(behaviour)).exp()
    decoupled = autograd(lambda s: (p[:, None] * weight * term((tree.logp(s) - tree.logp(centre)).exp(), advantage)).sum(), centre)
    plain = torch.einsum('y,yt,ytk->k', p, weight * advantage, tree.scores(centre))
    torch.testing.assert_close(decoupled, plain)
    coupled = autograd(lambda s: (p[:, None] * term((tree.logp(s) - tree.logp(behaviour)).exp(), advantage)).sum(), centre)
    silent = torch.where(advantage > 0, weight > 1.2, weight < 0.8)
    torch.testing.assert_close(coupled, torch.einsum('y,yt,ytk->k', p, torch.where(silent, 0.0, weight * advantage), tree.scores(centre)))
    assert 0.1 < silent.double().mean() < 0.6


@checks('eg-ppo-escape', 'fig-ppo-clip')
def escape():
    """Autograd on the exact clipped objective of the two states; the figure's slope and path against it."""
    shift = torch.tensor([0.1, 0.9], dtype=F64).logit()

    def policy(theta):
        p = torch.sigmoid(theta + shift)
        return torch.stack([1 - p, p], -1)

    old = policy(torch.zeros((), dtype=F64))
    advantage = torch.tensor([0.0, 1.0], dtype=F64) - old[:, 1:]
    objective = lambda theta: (old * term(policy(theta) / old, advantage)).sum() / 2
    script = figure('ppo_clip')
    values = []
    for theta in torch.linspace(-2, 8, 60, dtype=F64):
        x = theta.clone().requires_grad_()
        value = objective(x)
        slope = torch.autograd.grad(value, x)[0].item()
        values.append(value.item())
        assert slope > 0 and math.isclose(slope, script.slope(theta.item())[0], rel_tol=1e-9)
    assert np.all(np.diff(values) > 0)
    path = script.ascent()
    assert path[-1, 0] > 9 and path[:, 1].max() < 1.12
    kink = (policy(torch.tensor(1.0, dtype=F64)) / old)[0]
    low, high = 0.0, 5.0
    for _ in range(60):             # where the bad action's ratio reaches 0.8
        middle = (low + high) / 2
        ratio = (policy(torch.tensor(middle, dtype=F64)) / old)[0]
        low, high = (middle, high) if ratio[0] > 0.8 else (low, middle)
    assert abs(ratio[1] - 2.8) < 1e-6 and kink[1] > 1.2
    far = policy(torch.tensor(40.0, dtype=F64)) / old
    assert round(far[1, 1].item(), 2) == 1.11
    at = policy(torch.tensor(math.log(3), dtype=F64))
    assert abs(at[0, 1] - 0.25) < 1e-12
    kl = [torch.distributions.kl_divergence(*(torch.distributions.Categorical(probs=d[i]) for d in (old, at))) for i in range(2)]
    moved = [(torch.tensor([p * 1.2, 1 - p * 1.2]) - torch.tensor([p, 1 - p])).abs().sum() / 2 for p in (0.1, 0.8)]
    return {'supremum': far[0, 1], 'ratio': (at / old)[0, 1], 'kl': torch.stack(kl), 'tv': torch.stack(moved)}


def backward_gae(r, value, lam):
    out, running = torch.zeros_like(r), torch.zeros(r.shape[:-1], dtype=F64)
    for t in reversed(range(r.shape[-1])):
        running = r[..., t] + value[..., t + 1] - value[..., t] + lam * running
        out[..., t] = running
    return out


@checks('ex-ppo-gae', 'eq-ppo-gae', 'eq-ppo-kstep', 'eq-ppo-gae-kl')
def gae_by_hand():
    """The exponential average of k-step estimates, summed explicitly, against the recursion; the exercise from it."""
    u, value = torch.tensor([0.5, -0.2, 0.4], dtype=F64), torch.tensor([0.3, 0.5, 0.8, 0.0], dtype=F64)
    r = -0.1 * u + torch.tensor([0.0, 0.0, 1.0], dtype=F64)

    def averaged(lam, far=4000):
        out = []
        for t in range(3):
            total = 0.0
            for k in range(1, far):
                end = min(t + k, 3)
                total += (1 - lam) * lam ** (k - 1) * (r[t:end].sum() + value[end] - value[t]).item()
            out.append(total)
        return torch.tensor(out, dtype=F64)

    torch.testing.assert_close(averaged(0.9), backward_gae(r, value, 0.9))
    direct = [sum(0.9**l * (value[t + l + 1] - value[t + l] - 0.1 * u[t + l]) for l in range(3 - t)) + 0.9 ** (2 - t) for t in range(3)]
    torch.testing.assert_close(torch.stack(direct), averaged(0.9))
    assert round(0.99**1000 * 1e5) == 4
    return {'ex-ppo-gae': {'a': r, 'b': r + value[1:] - value[:-1], 'c': averaged(0.9), 'd': r.flip(0).cumsum(0).flip(0) - value[:-1],
                           'e': averaged(0.9) + value[:-1]}}


@checks('prop-ppo-gae-bias', 'eq-ppo-gae-bias')
def gae_bias():
    """Conditional means by enumeration; no bias of the gradient at lambda = 1, however wrong the values."""
    tree = Tree(2, 4)
    logits = tree.logits()
    p, score = tree.logp(logits).sum(1).exp(), tree.scores(logits)
    r = torch.randn(len(tree.row), 2, dtype=F64)[tree.states, tree.actions]
    exact = tree.values(logits, r)
    wrong = torch.cat([torch.randn(len(tree.row), dtype=F64)[tree.states], torch.zeros(len(p), 1, dtype=F64)], 1)
    advantage = r + exact[:, 1:] - exact[:, :-1]
    true = torch.einsum('y,yt,ytk->k', p, advantage, score)
    for lam in (0.0, 0.6, 1.0):
        estimate = backward_gae(r, exact + wrong, lam)
        for t in range(4):
            for prefix in itertools.product(range(2), repeat=t + 1):
                same = torch.tensor([y[:t + 1] == prefix for y in tree.sequences])
                mean = lambda x: (p[same] * x[same]).sum() / p[same].sum()
                right = -mean(wrong[:, t]) + (1 - lam) * sum(lam ** (l - 1) * mean(wrong[:, t + l]) for l in range(1, 4 - t))
                torch.testing.assert_close(mean(estimate[:, t]) - mean(advantage[:, t]), right)
        bias = torch.einsum('y,yt,ytk->k', p, estimate, score) - true
        assert (bias.norm() < 1e-12) == (lam == 1)


@checks('fig-ppo-gae')
def gae_figure():
    """The figure's process rebuilt with autograd: true gradient, bias, spread at a few lambdas; the numbers quoted in the text."""
    script = figure('ppo_gae')
    chance, score, reward, value = parts = script.process()
    y = torch.tensor([[(i >> (9 - t)) & 1 for t in range(10)] for i in range(1024)], dtype=F64)
    before = torch.cat([torch.zeros(1024, 1, dtype=F64), y[:, :-1]], 1)
    t = torch.arange(10, dtype=F64)
    x = torch.stack([torch.ones_like(y), before, before.cumsum(1) - t / 2, (t / 10).expand_as(y)], -1)
    theta = torch.tensor(script.THETA, requires_grad=True)
    log = -F.binary_cross_entropy_with_logits(x @ theta, y, reduction='none').sum(1)
    won = (y.sum(1) >= 7).double()
    true = torch.autograd.grad((log.exp() * won).sum(), theta)[0].numpy()
    np.testing.assert_allclose(np.einsum('y,y,ytk->k', chance, reward, score), true, atol=1e-12)
    # Values by backward induction on the number of ones instead of by averaging over sequences.
    size = np.linalg.norm(true)
    for scale, lam in ((0.5, 0.0), (0.5, 0.95), (1.0, 0.5)):
        estimate = backward_gae(torch.tensor(np.where(np.arange(10) == 9, reward[:, None], 0.0)), torch.tensor(scale * value), lam).numpy()
        g = np.einsum('yt,ytk->yk', estimate, score)
        draws = np.random.choice(1024, 200_000, p=chance)
        bias, spread = script.moments(scale, lam, parts)
        assert abs(np.linalg.norm(chance @ g - true) / size - bias) < 1e-12
        assert abs(math.sqrt(g[draws].var(0).sum()) / size / spread - 1) < 0.01
    half, exact = script.data()[0.5], script.data()[1.0]
    at = {round(float(lam), 3): i for i, lam in enumerate(script.LAMBDAS)}
    assert [round(half[at[lam], 0], 2) for lam in (0.0, 0.95, 1.0)] == [0.45, 0.09, 0.0]
    assert [round(half[at[lam], 1], 2) for lam in (0.0, 1.0)] == [0.67, 1.29]
    assert [round(exact[at[lam], 1], 3) for lam in (0.0, 1.0)] == [0.749, 0.780]
    assert abs(exact[:, 1].min() - 0.69) < 0.005 and 0.6 < script.LAMBDAS[exact[:, 1].argmin()] < 0.75 and exact[:, 0].max() < 1e-12
    best = [script.LAMBDAS[(half[:, 0] ** 2 + half[:, 1] ** 2 / n).argmin()] for n in (4, 32, 1024)]
    assert best[0] < best[1] < best[2] == 1
    # The conditional variance of a single advantage does grow with lambda when the values are exact.
    first = []
    for lam in (0.0, 0.3, 0.6, 1.0):
        a = script.advantages(reward, value, lam)[:, 0]
        inside = np.arange(1024) < 512
        first.append(np.average(a[inside] ** 2, weights=chance[inside]) - np.average(a[inside], weights=chance[inside]) ** 2)
    assert np.all(np.diff(first) > 0)


@checks('eq-ppo-martingale')
def what_a_critic_saves():
    """Variances by enumeration on a random tree; a constant baseline against exact and halved values on the figure's process."""
    tree = Tree(2, 5)
    logits = tree.logits()
    p = tree.logp(logits).sum(1).exp()
    r = torch.zeros(len(p), 5, dtype=F64)
    r[:, -1] = torch.randn(len(p), dtype=F64)
    value = tree.values(logits, r)
    squares = p @ (r + value[:, 1:] - value[:, :-1]) ** 2
    estimate = backward_gae(r, value, 1.0)
    variance = p @ estimate**2 - (p @ estimate) ** 2
    total = p @ r[:, -1] ** 2 - (p @ r[:, -1]) ** 2
    torch.testing.assert_close(squares.sum(), total)
    torch.testing.assert_close(variance, total - torch.cat([torch.zeros(1, dtype=F64), squares.cumsum(0)[:-1]]))
    script = figure('ppo_gae')
    parts = script.process()
    chance, score, reward, _ = parts
    true = np.einsum('y,y,ytk->k', chance, reward, score)
    g = score.sum(1) * (reward - chance @ reward)[:, None]
    flat = math.sqrt(chance @ ((g - true) ** 2).sum(1)) / np.linalg.norm(true)
    exact, half = (script.moments(scale, 1.0, parts)[1] for scale in (1.0, 0.5))
    assert round(flat, 2) == 1.51 and round(exact, 2) == 0.78
    assert round((flat / exact) ** 2, 1) == 3.7 and round((flat / half) ** 2, 1) == 1.4


@checks('thm-ppo-kl', 'eq-ppo-kl', 'ex-ppo-partial')
def kl_placement():
    """Every expected gradient by enumeration with autograd on each sample, against autograd of the exact divergences."""
    tree = Tree(3, 2)
    logits, reference = tree.logits(), tree.logits()
    ref = tree.logp(reference)
    p = tree.logp(logits).sum(1).exp()
    score = tree.scores(logits)
    u = tree.logp(logits) - ref
    reverse = autograd(lambda s: (tree.logp(s).sum(1).exp() * (tree.logp(s) - ref).sum(1)).sum(), logits)
    forward = autograd(lambda s: (ref.sum(1).exp() * (ref - tree.logp(s)).sum(1)).sum(), logits)
    for k, expected in ((lambda x: x, 0 * reverse), (lambda x: x**2 / 2, reverse), (lambda x: (-x).exp() - 1 + x, forward)):
        torch.testing.assert_close(autograd(lambda s: (p * k((tree.logp(s) - ref).sum(1))).sum(), logits), expected)
    togo = u.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(torch.einsum('y,yt,ytk->k', p, togo, score), reverse)
    # (c): token-wise k2, states held fixed.
    token = autograd(lambda s: (p * ((tree.logp(s) - ref) ** 2 / 2).sum(1)).sum(), logits)
    visits = torch.zeros(len(tree.row), dtype=F64).index_add_(0, tree.states.reshape(-1), p.repeat_interleave(2))
    visits = torch.where(torch.arange(len(visits)) == 0, 1.0, visits / 1.0)
    local = autograd(lambda s: (visits * (s.softmax(-1) * (s.log_softmax(-1) - reference.log_softmax(-1))).sum(-1)).sum(), logits)
    torch.testing.assert_close(token, local)
    # Token-wise k3: forward divergences at the visited states, neither sequence divergence.
    third = autograd(lambda s: (p * ((ref - tree.logp(s)).exp() - 1 + tree.logp(s) - ref).sum(1)).sum(), logits)
    local = autograd(lambda s: (visits * (reference.softmax(-1) * (reference.log_softmax(-1) - s.log_softmax(-1))).sum(-1)).sum(), logits)
    torch.testing.assert_close(third, local)
    assert (third - forward).norm() > 0.01 and (third - reverse).norm() > 0.01
    assert (token - reverse).norm() > 0.01
    # The exercise: the first step equals the reference; only what follows token 1 differs.
    tree = Tree(2, 2)
    logits = tree.logits()
    reference = logits.clone()
    reference[tree.row[(1,)]] += torch.tensor([0.7, -0.2], dtype=F64)
    ref, p, score = tree.logp(reference), tree.logp(logits).sum(1).exp(), tree.scores(logits)
    u = tree.logp(logits) - ref
    exact = autograd(lambda s: (tree.logp(s).sum(1).exp() * (tree.logp(s) - ref).sum(1)).sum(), logits)
    row = logits[tree.row[(1,)]]
    d = (row.softmax(-1) * (row.log_softmax(-1) - reference[tree.row[(1,)]].log_softmax(-1))).sum()
    first = logits[0].softmax(-1)[1]
    torch.testing.assert_close(exact[1], first * (1 - first) * d)
    partial = autograd(lambda s: (p * ((tree.logp(s) - ref) ** 2 / 2).sum(1)).sum(), logits)
    assert partial[:2].abs().max() < 1e-12 < exact[1]
    for lam in (0.0, 1.0):
        estimate = backward_gae(u, tree.values(logits, u), lam)
        torch.testing.assert_close(torch.einsum('y,yt,ytk->k', p, estimate, score), exact)


@checks('tab-ppo-kl', 'fig-ppo-kl')
def kl_table():
    """Autograd through each loss at the two actions, weighted by the policy; torch's own KL for the first column."""
    rows = {}
    for p in (0.6, 0.9, 0.999):
        theta = torch.tensor(math.log(p / (1 - p)), dtype=F64, requires_grad=True)
        log = torch.stack([F.logsigmoid(theta), F.logsigmoid(-theta)])
        u = log - math.log(0.5)
        weight = log.detach().exp()
        uniform = torch.full((2,), 0.5, dtype=F64)
        kl = torch.distributions.kl_divergence(torch.distributions.Categorical(logits=log), torch.distributions.Categorical(probs=uniform))
        grads = [torch.autograd.grad(x, theta, retain_graph=True)[0].item()
                 for x in (kl, (weight * u).sum(), (weight * u**2 / 2).sum(), (weight * ((-u).exp() - 1 + u)).sum())]
        rows[str(p)] = dict(zip(('$\\nabla\\KL$，奖励内', '$k_1$ 损失', '$k_2$ 损失', '$k_3$ 损失'), (round(g, 12) + 0.0 for g in grads), strict=True))
    assert round(grads[3] / grads[0]) == 72
    sample = figure('ppo_kl').sampled(0.9, np.random.default_rng(3), 400_000)
    np.testing.assert_allclose(sample, [0, 0.19775, 0.4], atol=0.004)
    return {'tab-ppo-kl': rows}


@checks('prop-ppo-critic', 'eq-ppo-critic', 'eg-ppo-eos')
def critic_errors():
    """Fitted lambda-returns iterated on a chain, and the probability of a sum of geometric variables; the quoted iteration counts."""
    lam, longest = 0.95, 1200
    error = torch.cat([torch.zeros(1, dtype=F64), -torch.ones(longest, dtype=F64)])
    half, mixed = {}, error * torch.where(torch.arange(longest + 1) % 2 == 0, 1.0, -1.0)
    for n in range(1, 70):
        new = torch.zeros_like(error)
        for j in range(1, longest + 1):
            new[j] = lam * new[j - 1] + (1 - lam) * error[j - 1]     # the same sum, one step at a time
        error = new
        for j in range(longest, 0, -1):              # any initial error within the bound: directly from the definition
            mixed[j] = (1 - lam) * (lam ** torch.arange(j - 1, dtype=F64) * mixed[:j].flip(0)[:j - 1]).sum() if n <= 3 else mixed[j]
        assert n > 3 or bool((mixed.abs() <= error.abs() + 1e-12).all())
        for j in (200, 1000):
            # Negative binomial counts failures before the n-th success.
            assert abs(-error[j].item() - stats.nbinom.cdf(j - 1 - n, n, 1 - lam)) < 1e-9
            if -error[j] <= 0.5:
                half.setdefault(j, n)
    assert half[1000] == 51
    n = 1
    while stats.nbinom.cdf(9999 - n, n, 1 - lam) > 0.5:
        n += 1
    assert n == 501
    assert abs(lam**1000 / 5.3e-23 - 1) < 0.01 and lam**90 < 0.01 < lam**89
    assert abs((1 - 1 / (0.05 * 20_000)) ** 20_000 / 2e-9 - 1) < 0.05
    # Stop or go on: a chain of m unfinished states, all rewards zero, values 0.1 too low.
    m = 100
    value = torch.cat([torch.full((m + 1,), -0.1, dtype=F64), torch.zeros(1, dtype=F64)])
    out = {}
    for name, lam in (('bias', 0.95), ('none', 1.0)):
        going = backward_gae(torch.zeros(m + 1, dtype=F64), value, lam)[0]
        stopping = torch.tensor(0.1, dtype=F64)                       # 0 + 0 - V(s)
        out[name] = going - stopping
    out['none'] = abs(out['none'].round(decimals=12))
    return {'eg-ppo-eos': out}


@checks('eq-ppo-stale')
def staleness():
    """Equal moves of the logit in one direction: exact second moments of the sequence ratio, and the largest number of steps that keeps a tenth."""
    size = math.sqrt(8e-5)
    prob = lambda steps: 1 / (1 + math.exp(-size * steps))
    kl = lambda steps: stats.entropy([prob(steps), 1 - prob(steps)], [0.5, 0.5])
    assert abs(kl(1) / 1e-5 - 1) < 1e-3 and abs(kl(10) / kl(1) / 100 - 1) < 0.01
    for length, largest in ((1000, 10), (10_000, 3)):
        share = lambda steps: (2 * (prob(steps) ** 2 + (1 - prob(steps)) ** 2)) ** -length
        assert share(largest) > 0.1 > share(largest + 1)
    # Independent directions: the mean squared displacement, hence the mean divergence, grows linearly.
    walks = np.random.choice([-1, 1], (20_000, 10)).cumsum(1)[:, -1]
    assert abs(np.mean([kl(w) for w in walks]) / kl(1) / 10 - 1) < 0.05


@checks('prop-ppo-vclip')
def value_clipping():
    """Autograd on the clipped value loss: silent once past the edge on the way to the target, active beyond the other edge; passes needed."""
    old, target, edge = 0.0, 10.0, 0.2

    def slope(v, old=old):
        x = torch.tensor(v, dtype=F64, requires_grad=True)
        kept = x.clamp(old - edge, old + edge)
        return torch.autograd.grad(torch.maximum((x - target) ** 2, (kept - target) ** 2) / 2, x)[0].item()

    for x in (-30.0, -0.5, -0.1, 0.1, 0.25, 5.0, 12.0, 19.7, 19.9, 40.0):
        silent = edge < x < 2 * target - edge
        assert slope(x) == 0 if silent else math.isclose(slope(x), x - target)
    passes = 0
    while target - old > 1e-9:
        v = old
        while slope(v, old) != 0 and v < target:
            v += 1e-3
        old, passes = min(v, target, old + edge), passes + 1
    assert passes == 50


@checks('thm-ppo-rloo', 'eq-ppo-rloo', 'tab-ppo-rloo')
def leave_one_out():
    """All k-tuples of answers enumerated; binomial weights for the two-answer table."""
    p, reward = torch.rand(4, dtype=F64).softmax(0), torch.randn(4, dtype=F64)
    g = torch.eye(4, dtype=F64) - p
    true = p @ (g * reward[:, None])
    mu = p @ reward
    spread = p @ (reward - mu) ** 2
    v_mu = p @ (g.square().sum(1) * (reward - mu) ** 2) - true.square().sum()
    for k in (2, 3, 4):
        index = torch.tensor(list(itertools.product(range(4), repeat=k)))
        weight = p[index].prod(1)
        r = reward[index]
        others = (r.sum(1, keepdim=True) - r) / (k - 1)
        estimate = (g[index] * (r - others)[..., None]).mean(1)
        torch.testing.assert_close(weight @ estimate, true)
        variance = weight @ (estimate - true).square().sum(1)
        torch.testing.assert_close(variance, (v_mu + (spread * (p @ g.square().sum(1)) + true.square().sum()) / (k - 1)) / k)
        torch.testing.assert_close((g[index] * (r - r.mean(1, keepdim=True))[..., None]).mean(1), (1 - 1 / k) * estimate)
    rows, p = {}, 0.2
    for k in (2, 4, 8, 16):
        right = np.arange(k + 1)
        weight = stats.binom.pmf(right, k, p)
        known = (right * (1 - p) ** 2 + (k - right) * p**2) / k
        none = right * (1 - p) / k
        loo = (right * (1 - p) * (1 - (right - 1) / (k - 1)) + (k - right) * (-p) * (0 - right / (k - 1))) / k
        var = lambda x: 1e3 * (weight @ x**2 - (weight @ x) ** 2)
        rows[str(k)] = {'无基线': var(none), '精确均值': var(known), '留一': var(loo)}
    return {'tab-ppo-rloo': rows}


def llama(device='meta'):
    """Shapes of Llama 3 8B as tensors without storage: matrices, gains, input embedding."""
    d, ff, layers, kv, vocabulary = 4096, 14336, 32, 1024, 128256
    block = [(d, d), (d, d), (d, kv), (d, kv), (d, ff), (d, ff), (ff, d)]
    matrices = [torch.empty(s, device=device) for _ in range(layers) for s in block]
    gains = [torch.empty(d, device=device) for _ in range(2 * layers + 1)]
    return matrices, gains, torch.empty(vocabulary, d, device=device), torch.empty(d, vocabulary, device=device), torch.empty(d, 1, device=device)


def counts():
    matrices, gains, embedding, head, scalar = llama()
    inner = sum(m.numel() for m in matrices)
    body = inner + sum(g.numel() for g in gains) + embedding.numel()
    return body + head.numel(), body + scalar.numel(), inner + head.numel(), inner + scalar.numel()


@checks('tab-ppo-memory', 'tab-ppo-flops', 'tab-ppo-throughput', 'eg-ppo-step', 'eq-ppo-gentime', 'ex-ppo-design')
def ledger():
    """Counts from tensor shapes; FLOPs by adding up the matrix products; decoding time step by step instead of at the average length."""
    actor, critic, mm, mm_critic = counts()
    assert (actor, critic) == (8_030_261_248, 7_504_928_768)
    assert round(mm / 1e9, 3) == 7.505 and round(mm_critic / 1e9, 3) == 6.979
    gib = lambda n, each: n * each / 2**30
    four = [gib(actor, 2 + 2 + 4 + 4 + 4), gib(critic, 16), gib(actor, 2), gib(critic, 2)]
    group = [four[0], 0, four[2], four[3]]
    rule = [four[0], 0, four[2], 0]
    names = ('策略', '价值', '参考', '奖励')
    memory = {n: {'每参数': b, '四模型': x, '无价值': y, '规则判分': z}
              for n, b, x, y, z in zip(names, (16, 16, 2, 2), four, group, rule, strict=True)}
    memory['合计'] = {'四模型': sum(four), '无价值': sum(group), '规则判分': sum(rule)}
    assert round(1 - sum(group) / sum(four), 2) == 0.43
    tokens = 1024 * (512 + 1024)
    assert tokens == 1_572_864
    peta = lambda per, n: per * n * tokens / 1e15
    flops = {'生成': (peta(2, mm), 0), '旧策略重算': (peta(2, mm), 0), '参考打分': (peta(2, mm), 0), '价值与奖励': (0, peta(4, mm_critic)),
             '训练': (peta(6, mm), peta(6, mm_critic))}
    total = sum(a + b for a, b in flops.values())
    assert round(total, 1) == 251.4 and round(total + 3 * sum(flops['训练']), 1) == 661.5 and 0.09 < flops['生成'][0] / total < 0.1
    lean = total - flops['训练'][1] - peta(2, mm_critic)
    assert round(lean, 1) == 163.6 and round(1 - lean / total, 2) == 0.35
    out, rate = {}, {}
    for name, label, b, answer in (('short', '短', 128, 1024), ('long', '长', 28, 16_384)):
        read = sum(2 * mm + b * (512 + step + 0.5) * 131_072 for step in range(answer)) / 3.35e12
        # Attention core forward: scores and mixing over the positions up to each token, every layer.
        core = b * sum(2 * 2 * seen * 4096 for seen in range(1, 512 + answer + 1)) * 32
        tokens = b * (512 + answer)
        seconds = lambda work: work / (0.4 * 989.4e12)
        actor_forward, critic_forward = seconds(2 * mm * tokens + core), seconds(2 * mm_critic * tokens + core)
        score = {'四模型': 2 * actor_forward + 2 * critic_forward, '无价值': 2 * actor_forward + critic_forward}
        train = {'四模型': 3 * (actor_forward + critic_forward), '无价值': 3 * actor_forward}
        for kind in score:
            rate[f'{label}，{kind}'] = {'生成': read, '打分': score[kind], '训练': train[kind], '千 token/s': b * answer / 1e3 / (read + score[kind] + train[kind])}
        out[name] = (read, train['四模型'])
        assert round(1e3 * read / answer, 1) == {'short': 9.6, 'long': 14.0}[name]
        assert round(100 * core / (2 * mm * tokens), 1) == {'short': 2.7, 'long': 29.5}[name]
        assert round(rate[f'{label}，无价值']['千 token/s'] / rate[f'{label}，四模型']['千 token/s'], 2) == {'short': 1.52, 'long': 1.24}[name]
    assert round(seconds(6 * (mm + mm_critic) * tokens), 1) == 103.9
    assert round(8 * 1536 * 128_256 * 4 / 2**30, 2) == 5.87
    assert round(2 * mm / 1e9, 1) == 15.0 and round(128 * 1024 * 131_072 / 1e9, 1) == 17.2 and round(28 * 16_896 * 131_072 / 1e9, 1) == 62.0
    assert 28 * 16_896 * 131_072 + 2 * actor < 80e9 and 128 * 1536 == 196_608
    assert 0.2 < out['short'][0] / out['short'][1] < 0.25 and round(out['long'][0] / out['long'][1], 1) == 1.7
    room = (80 - 8 - gib(actor, 2)) * 2**30 / (128 * 1024)
    pair = int((160 - 16 - gib(actor, 2)) * 8192 / 16_896)
    assert pair == 62 and 2 * int(room / 16_896) == 54
    with_critic = (2 + 2 + 2 + 6 + 8 * mm_critic / mm) / 12
    assert 1.5 < with_critic < 2
    return {'tab-ppo-throughput': rate, 'tab-ppo-memory': memory, 'tab-ppo-flops': {n: {'策略 / 参考': a, '价值 / 奖励': b} for n, (a, b) in flops.items()}, 'eg-ppo-step': out,
            'ex-ppo-design': {'a': (sum(four) / 8, 'GiB'), 'b': room, 'c': int(room / (16_384 + 512))}}


@checks('prop-ppo-ess', 'eq-ppo-ess', 'ex-ppo-ess', 'fig-ppo-ess')
def effective_samples():
    """Second moments over all sequences of a tree, the Jensen bound, and a simulation of the figure; binomial sums for the exercise."""
    tree = Tree(2, 6)
    old = tree.logits()
    new = old + 0.3 * tree.logits()
    p, q = (tree.logp(s).sum(1).exp() for s in (old, new))
    second = (q**2 / p).sum()
    step = (new.softmax(-1) ** 2 / old.softmax(-1)).sum(-1)
    assert step.min() ** 6 <= second <= step.max() ** 6 and step.min() > 1
    kl = (q * (q / p).log()).sum()
    assert 0 < kl < second.log()
    draws = torch.multinomial(p, 1_000_000, replacement=True)
    w = (q / p)[draws]
    assert abs(w.sum() ** 2 / w.square().sum() / len(w) * second - 1) < 0.01

    def exact(prob, length):
        ones = np.arange(length + 1)
        log = stats.binom.logpmf(ones, length, 0.5) + 2 * (stats.binom.logpmf(ones, length, prob) - stats.binom.logpmf(ones, length, 0.5))
        return np.logaddexp.reduce(log)

    bernoulli = lambda prob: stats.entropy([prob, 1 - prob], [0.5, 0.5])
    assert [round(bernoulli(x), 4) for x in (0.51, 0.52)] == [0.0002, 0.0008] and round(bernoulli(0.55), 3) == 0.005
    assert abs(math.exp(exact(0.55, 1)) - 1.01) < 1e-12
    assert math.exp(-exact(0.55, 231)) > 0.1 > math.exp(-exact(0.55, 232)) and round(math.exp(exact(0.55, 1000)) / 1e4, 1) == 2.1
    script = figure('ppo_ess')
    assert abs(script.share(0.51, 500, np.random.default_rng(5)) * math.exp(exact(0.51, 500)) - 1) < 0.05
    assert script.share(0.55, 1000, np.random.default_rng(5)) > 10 * math.exp(-exact(0.55, 1000))
    length = 1000
    while math.exp(-exact(0.52, length + 1)) >= 0.1:
        length += 1
    return {'ex-ppo-ess': {'a': bernoulli(0.52), 'b': math.exp(exact(0.52, 1)) - 1, 'c': exact(0.52, 2000), 'd': math.exp(-exact(0.52, 2000)), 'e': length}}


@checks('ex-ppo-whiten')
def shifted_rewards():
    """Best action of the two-action example before and after subtracting m from every reward; the token mean of the uniform policy."""
    stop, go = [0.6], [0.0, 1.0]
    mean = (0.5 * sum(stop) + 0.5 * sum(go)) / (0.5 * len(stop) + 0.5 * len(go))
    assert round(mean, 3) == 0.533 and sum(go) > sum(stop)
    # Whitening that puts the mean back is not a plain division: every token gains m (1 - 1 / sigma).
    r = np.random.randn(50) + 2
    back = (r - r.mean()) / r.std() + r.mean()
    np.testing.assert_allclose(back - r / r.std(), r.mean() * (1 - 1 / r.std()))
    for m in (0.5, mean):
        assert sum(r - m for r in stop) > sum(r - m for r in go)
    assert math.isclose(sum(r - 0.5 for r in stop), 0.1) and sum(r - 0.5 for r in go) == 0


@checks('prop-ppo-controller', 'eq-ppo-controller')
def controller():
    """Eigenvalues over a grid; the nonlinear loop on an exact Gibbs policy; the small-KL law."""
    for a in (1.0, 2.0):
        for lag in (0.05, 0.3, 1.0):
            for eta in np.geomspace(1e-3, 3, 60) / a:
                roots = np.linalg.eigvals([[1, eta], [-lag * a, 1 - lag]])
                assert (abs(roots).max() < 1) == (eta * a < 1)
                assert (abs(roots.imag).max() > 1e-9) == (eta * a > lag / 4)
    reward = np.random.randn(50)

    def kl(beta):
        p = np.exp(reward / beta - (reward / beta).max())
        p /= p.sum()
        return (p * np.log(50 * p)).sum()

    assert abs(kl(20.0) / (reward.var() / (2 * 20.0**2)) - 1) < 0.1
    for eta, settles in ((0.3, True), (0.9, True), (1.1, False)):        # immediate response: eta a < 2
        beta = best = 20.0
        target = kl(best)
        beta *= 1.02
        for _ in range(400):
            beta *= 1 + eta * np.clip(kl(beta) / target - 1, -0.2, 0.2)
        assert (abs(beta / best - 1) < 1e-3) == settles
    assert math.isclose(64 / 10_000 * 2, 0.0128) and math.isclose(4 * 0.0128, 0.0512)


@checks('tab-ppo-torch')
def documented_behaviour():
    """What the table of PyTorch functions says, tried out."""
    x = torch.tensor([0.5, 0.8, 1.0, 1.2, 1.5], dtype=F64, requires_grad=True)
    assert torch.autograd.grad(x.clamp(0.8, 1.2).sum(), x)[0].tolist() == [0, 1, 1, 1, 0]
    a, b = (torch.ones((), dtype=F64, requires_grad=True) for _ in range(2))
    assert [g.item() for g in torch.autograd.grad(torch.minimum(a, b), (a, b))] == [0.5, 0.5]
    one = torch.zeros((), dtype=F64, requires_grad=True)
    assert torch.autograd.grad(term(one.exp(), torch.tensor(3.0, dtype=F64)), one)[0] == 3
    logits, target = torch.randn(5, 7, dtype=F64), torch.randint(7, (5,))
    picked = logits.log_softmax(-1).gather(-1, target[:, None])[:, 0]
    torch.testing.assert_close(F.cross_entropy(logits, target, reduction='none'), -picked)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        assert torch.std(torch.tensor([1.0])).isnan()
    torch.testing.assert_close(torch.std(torch.tensor([1.0, 3.0])), torch.tensor(2.0).sqrt())
    p, q = torch.randn(2, 4, 6, dtype=F64).softmax(-1)
    first = (p * (p / q).log()).sum()
    torch.testing.assert_close(F.kl_div(q.log(), p, reduction='sum'), first)
    torch.testing.assert_close(F.kl_div(q.log(), p, reduction='none').mean(), first / 24)
    weight = torch.tensor([3.0, 4.0], requires_grad=True)
    weight.grad = torch.tensor([3.0, 4.0])
    assert torch.nn.utils.clip_grad_norm_([weight], 1.0) == 5 and abs(weight.grad.norm() - 1) < 1e-4
    eight = torch.tensor(-8.0, dtype=torch.bfloat16)
    gaps = [(eight.double() - x.double()).abs().item() for x in (torch.nextafter(eight, torch.zeros_like(eight)), torch.nextafter(eight, -99 * torch.ones_like(eight)))]
    assert gaps == [2.0**-5, 2.0**-4]
