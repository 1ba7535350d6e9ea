"""综合练习 of chapter 4: a world of three responses, groups of two samples, and the plan of a run without a critic."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from checks import checks
from scipy import integrate, optimize, stats
from torch.nn import functional as F

F64 = torch.float64
REF = torch.tensor([0.1, 0.7, 0.2], dtype=F64)
REWARD = torch.tensor([0.0, 1.0, 2.0], dtype=F64)


def divergence(policy: torch.Tensor) -> torch.Tensor:
    return F.kl_div(REF.log(), policy.log(), log_target=True, reduction='sum')


def climbed(score: torch.Tensor, eta: float) -> torch.Tensor:
    return torch.softmax(REF.log() + eta * score, 0)


def descend(objective, start: torch.Tensor) -> torch.Tensor:
    """Softmax policy at the minimum of ``objective(logits)``, found by L-BFGS from ``start``."""
    logits = start.clone().requires_grad_()
    solver = torch.optim.LBFGS([logits], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-15, line_search_fn='strong_wolfe')

    def closure():
        solver.zero_grad()
        value = objective(logits)
        value.backward()
        return value

    solver.step(closure)
    return torch.softmax(logits.detach(), 0)


def dpo(pairs):
    """Population loss over ``pairs`` with labels from the true rewards, beta 1."""
    def loss(logits):
        implicit = torch.log_softmax(logits, 0) - REF.log()
        return sum(F.binary_cross_entropy_with_logits(implicit[b] - implicit[a], torch.sigmoid(REWARD[b] - REWARD[a])) for a, b in pairs)
    return loss


@checks('ex-chap4-world')
def world():
    best = descend(lambda z: -(torch.softmax(z, 0) @ REWARD - divergence(torch.softmax(z, 0))), REF.log())
    value = best @ REWARD - divergence(best)
    two = torch.zeros(3, dtype=F64)
    for pair in itertools.product(range(3), repeat=2):
        two[max(pair, key=lambda one: REWARD[one])] += REF[list(pair)].prod()
    np.testing.assert_allclose(torch.stack([best, two]), [(0.0287, 0.5467, 0.4246), (0.01, 0.63, 0.36)], atol=5e-5)
    assert abs(value.exp() - 3.4806) < 5e-5
    assert abs(np.log(2) - 0.5 - 0.1931) < 5e-5 and divergence(two) < np.log(2) - 0.5
    eta = optimize.brentq(lambda e: divergence(climbed(REWARD, e)) - divergence(two), 0, 3)
    assert abs(eta - 0.9067) < 5e-5
    narrow, full = descend(dpo([(0, 1)]), REF.log()), descend(dpo([(0, 1), (0, 2), (1, 2)]), REF.log())
    torch.testing.assert_close(full, best, atol=1e-6, rtol=0)
    assert narrow @ REWARD < REF @ REWARD
    score = torch.tensor([0.9, 0.2, 0.8], dtype=F64)
    at = torch.zeros((), dtype=F64, requires_grad=True)
    slope, = torch.autograd.grad(torch.softmax(REF.log() + at * score, 0) @ REWARD, at)
    found = optimize.minimize_scalar(lambda e: -(climbed(score, e) @ REWARD).item(), bounds=(0, 40), method='bounded', options={'xatol': 1e-9})
    np.testing.assert_allclose(climbed(score, found.x), (0.259, 0.335, 0.407), atol=5e-4)
    assert climbed(score, 200.0) @ REWARD < 1e-6
    for one in np.linspace(0, 30, 301):      # the covariance over its common factor, whose sign falls through zero once
        policy = climbed(score, one)
        common = policy[1] * policy[2] / 0.14
        torch.testing.assert_close((policy @ (REWARD * score) - policy @ REWARD * (policy @ score)) / common,
                                   torch.tensor(0.084 - 0.049 * np.exp(0.1 * one) - 0.004 * np.exp(0.7 * one), dtype=F64))
    assert abs(narrow[:2].sum() / narrow[2] * 0.2 - 1.2148) < 5e-5
    np.testing.assert_allclose((two / REF).log().diff(), (2.20, 0.69), atol=5e-3)
    assert abs(-found.fun - REF @ REWARD - 0.048) < 5e-4
    return {'a': (best @ REWARD, value), 'b': (two @ REWARD, divergence(two), climbed(REWARD, eta) @ REWARD),
            'c': (narrow[2], narrow @ REWARD), 'd': (slope, -found.fun, found.x)}


def expected_update(size: int, advantages, only_mixed: bool = False, *, p: float | None = None) -> tuple[torch.Tensor, torch.Tensor, float]:
    """Exact mean direction over all groups of ``size`` responses, the gradient of the pass rate, and the pass rate.

    Six responses, three of them right; ``p`` sets their total probability."""
    torch.manual_seed(0)
    theta, right = torch.randn(6, dtype=F64), torch.tensor([1.0, 1, 1, 0, 0, 0], dtype=F64)
    if p is not None:
        now = torch.softmax(theta, 0) @ right
        theta = theta + right * torch.log(p / (1 - p) * (1 - now) / now)
    theta.requires_grad_()
    policy = torch.softmax(theta, 0)
    rate = policy @ right
    slope, = torch.autograd.grad(rate, theta, retain_graph=True)
    scores = torch.autograd.functional.jacobian(lambda t: torch.log_softmax(t, 0), theta)
    total, weight = torch.zeros(6, dtype=F64), 0.0
    for group in itertools.product(range(6), repeat=size):
        rewards, chance = right[list(group)], policy[list(group)].prod().item()
        mixed = 0 < rewards.sum() < size
        if only_mixed and not mixed:
            continue
        weight += chance
        if mixed:
            total += chance * advantages(rewards) @ scores[list(group)] / size
    return total / weight, slope, rate.item()


def weight(size: int, p: float) -> float:
    k = np.arange(size + 1)
    return stats.binom.pmf(k, size, p) @ np.sqrt(k * (size - k)) / (size * p * (1 - p))


@checks('ex-chap4-group')
def groups():
    loo = lambda r: r - (r.sum() - r) / (len(r) - 1)
    mean = lambda r: r - r.mean()
    standard = lambda r: (r - r.mean()) / r.std(correction=0)
    for advantages, factor in ((loo, 1.0), (mean, 0.5), (standard, 1.0)):
        found, slope, _ = expected_update(2, advantages)
        torch.testing.assert_close(found, factor * slope)
    # Online DPO at the reference policy: autograd of its loss over all pairs, beta 0.3.
    torch.manual_seed(0)
    theta, right = torch.randn(6, dtype=F64, requires_grad=True), [1, 1, 1, 0, 0, 0]
    reference = torch.log_softmax(theta.detach(), 0)
    implicit = 0.3 * (torch.log_softmax(theta, 0) - reference)
    loss = sum(reference[[a, b]].sum().exp() * -F.logsigmoid(implicit[a] - implicit[b] if right[a] else implicit[b] - implicit[a])
               for a, b in itertools.product(range(6), repeat=2) if right[a] != right[b])
    _, slope, rate = expected_update(2, mean)
    torch.testing.assert_close(-torch.autograd.grad(loss, theta)[0], 0.3 * slope)
    # Drawn again until mixed: the slope of the logit of the pass rate, times c.
    found, slope, rate = expected_update(2, standard, only_mixed=True)
    torch.testing.assert_close(found, 0.5 * slope / (rate * (1 - rate)))
    # A factor (G-1)/G from the mean alone, whatever the prompt.
    for p in (0.1, 0.5):
        found, slope, _ = expected_update(4, mean, p=p)
        torch.testing.assert_close(found, 0.75 * slope)
    weights = {}
    for size, p in ((2, 0.2), (2, 0.6), (3, 0.2), (3, 0.6), (4, 0.5), (4, 0.1)):
        found, slope, _ = expected_update(size, standard, p=p)
        torch.testing.assert_close(found, (found @ slope / (slope @ slope)) * slope)
        weights[size, p] = found @ slope / (slope @ slope)
    for (size, p), one in weights.items():
        assert abs(weight(size, p) - one) < 1e-9
    assert all(abs(weight(size, 1e-7) - (size - 1) ** 0.5) < 1e-4 for size in (2, 3, 8, 21))
    assert abs(weights[2, 0.2] - weights[2, 0.6]) < 1e-9 and abs(weights[3, 0.2] - weights[3, 0.6]) < 1e-9
    assert abs(weight(4, 1e-9) / weight(4, 0.5) - 1.07) < 5e-3
    assert all(weight(size, 1e-7) > weight(size, 0.5) + 0.1 for size in range(4, 65))      # a bias from four responses on
    return {'c': (weights[2, 0.2], weights[3, 0.2], weights[4, 0.5], weights[4, 0.1])}


@checks('ex-chap4-plan')
def plan():
    gib, size = 2**30, 8030261248
    shard, copy = torch.empty(size, dtype=torch.bfloat16, device='meta').nbytes * 8 / 8 / gib, 2 * size / gib
    free = 0.9 * 80e9 / gib - shard - copy / 8 - copy
    cache = 2 * 32 * torch.empty(8, 512 + 16384, 128, dtype=torch.bfloat16, device='meta').nbytes / gib      # keys and values, 32 layers, 8 heads
    np.testing.assert_allclose([0.9 * 80e9 / gib, shard, copy / 8, copy, free, cache], [67.06, 14.96, 1.87, 14.96, 35.27, 2.0625], atol=5e-3)
    truth = np.array([0.9, 0.1])
    accepted = truth * [0.02, 0.9]
    theta = torch.zeros(2, dtype=F64, requires_grad=True)      # logits of wrong and right
    slopes = [torch.autograd.grad(torch.softmax(theta, 0) @ torch.tensor(r, dtype=F64), theta)[0] for r in ([0.02, 0.9], [0.0, 1.0])]
    ratio = (slopes[0] / slopes[1]).unique()
    assert len(ratio) == 1
    mixed = lambda rate, size: 1 - stats.binom.pmf([0, size], size, rate).sum()
    smallest = lambda rate: next(size for size in itertools.count(2) if mixed(rate, size) >= 0.9)
    np.testing.assert_allclose([mixed(accepted.sum(), 20), mixed(accepted.sum(), 21)], [0.898, 0.909], atol=5e-4)
    assert smallest(0.1) == 22
    variance = 1e-4 * 16384
    assert abs(variance - 1.638) < 5e-4
    whole = stats.lognorm(s=variance**0.5, scale=np.exp(-variance / 2))
    assert abs(whole.mean() - 1) < 1e-12
    drawn = stats.norm(-variance / 2, variance**0.5)      # log of the weight where the responses are drawn
    distance = integrate.quad(lambda z: abs(np.exp(z) - 1) * drawn.pdf(z) / 2, -15, 15, points=[0])[0]
    assert abs(1 / stats.lognorm(s=variance**0.5 / 8, scale=np.exp(-variance / 128)).moment(2) - 0.975) < 5e-4 and abs(variance / 64 - 0.026) < 5e-4
    assert int((free + 0.9 * (80 - 80e9 / gib)) / cache) == 19      # a card of 80 GiB instead of 80 GB
    np.testing.assert_allclose([weight(21, accepted.sum()) / weight(21, 0.5), weight(21, 1e-9) / weight(21, 0.5), weight(21, 0.5)], [1.50, 2.29, 1.95], atol=5e-3)
    return {'a': int(free / cache), 'b': (accepted.sum(), accepted[0] / accepted.sum(), ratio.item()), 'c': smallest(accepted.sum()),
            'd': (1 / whole.moment(2), distance)}
