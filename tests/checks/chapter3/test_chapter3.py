"""综合练习 of chapter 3: FLOPs of an instruction tuning, rank against divergence, and three ways to stay near the base model."""

from __future__ import annotations

import numpy as np
import torch
from checks import checks
from scipy import integrate, linalg, optimize
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

F64 = torch.float64


def flops(tokens: int, frozen: bool, graded: slice = slice(None)) -> int:
    """Counted by PyTorch on a stack of linear layers; ``graded`` are the positions that take part in the backward pass."""
    model = nn.Sequential(*(nn.Linear(64, 64, bias=False) for _ in range(200))).requires_grad_(not frozen)
    x = torch.randn(tokens, 64, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        out = model(x[graded])
        out.sum().backward()
        with torch.no_grad():
            model(torch.randn(tokens - len(x[graded]), 64))
    return counter.get_total_flops()


@checks('ex-chap3-flops')
def tuning():
    weights = 200 * 64 * 64
    per_token = {frozen: flops(80, frozen) / 80 / weights for frozen in (False, True)}
    size = 32 * (2 * 4096**2 + 2 * 4096 * 1024 + 3 * 4096 * 14336) + 128256 * 4096
    assert size == 7504658432
    total = {frozen: factor * size * 1e5 * 800 * 2 for frozen, factor in per_token.items()}
    saved = 1 - flops(80, False, slice(50, 80)) / flops(80, False)
    assert abs((1 - 300 / 800) - 0.625) < 1e-12 and saved < 0.625
    return {'a': (total[False], 'FLOP'), 'b': (total[True], 'FLOP'), 'c': saved, 'd': (total[True] / (1e5 * 300 * 2), 'FLOP')}


@checks('ex-chap3-lowrank')
def rank_and_divergence():
    base = torch.distributions.Categorical(logits=torch.zeros(2, dtype=F64))

    def mean(update) -> torch.Tensor:
        rows = torch.distributions.Categorical(logits=torch.as_tensor(update, dtype=F64))
        return torch.distributions.kl_divergence(rows, base).mean()

    low, full = [[4.0, 0.0], [0.0, 0.0]], [[0.1, -0.1], [-0.05, 0.15]]
    assert np.linalg.matrix_rank(low) == 1 and np.linalg.matrix_rank(full) == 2
    assert 60 < mean(low) / mean(full) < 61
    return {'a': (mean(low), 'nat'), 'b': (mean(full), 'nat')}


@checks('ex-chap3-anchor')
def anchors():
    """Each solution found by an optimiser or an integrator of its own, on random problems."""
    rng = np.random.default_rng(0)
    n = 4

    def positive():
        a = rng.standard_normal((n, n))
        return a @ a.T + 0.1 * np.eye(n)

    for _ in range(3):
        new, old, start, goal = positive(), positive(), rng.standard_normal(n), rng.standard_normal(n)
        loss = lambda w, h=new, at=goal: 0.5 * (w - at) @ h @ (w - at)
        for weight, metric in ((0.7, old), (0.7, 2.0 * new)):
            found = optimize.minimize(lambda w: loss(w) + weight / 2 * (w - start) @ metric @ (w - start), start, tol=1e-12).x
            formula = start + np.linalg.solve(new + weight * metric, new @ (goal - start))
            np.testing.assert_allclose(found, formula, atol=1e-5)
            along = np.linalg.lstsq((goal - start)[:, None], formula - start, rcond=None)[0][0]
            straight = np.abs(start + along * (goal - start) - formula).max()
            assert (straight < 1e-9) == (metric is not old)
            if metric is not old:
                assert abs(along - 1 / (1 + weight * 2.0)) < 1e-9
        flow = integrate.solve_ivp(lambda _, w: -new @ (w - goal), (0, 0.8), start, rtol=1e-10, atol=1e-12).y[:, -1]
        np.testing.assert_allclose(flow, start + (np.eye(n) - linalg.expm(-new * 0.8)) @ (goal - start), atol=1e-7)
        # Of the three, anchoring with the old Hessian loses least on the old task at the same loss on the new one.
        anchored = start + np.linalg.solve(new + 0.7 * old, new @ (goal - start))
        level = loss(anchored)
        between = start + optimize.brentq(lambda a: loss(start + a * (goal - start)) - level, 0, 1) * (goal - start)
        stopped = lambda t: goal + linalg.expm(-new * t) @ (start - goal)
        early = stopped(optimize.brentq(lambda t: loss(stopped(t)) - level, 0, 1e3))
        harm = [0.5 * (w - start) @ old @ (w - start) for w in (anchored, between, early)]
        assert harm[0] < min(harm[1:])
    x = np.linspace(1e-3, 30, 300_001)
    gap = (1 - np.exp(-x)) - x / (1 + x)
    assert gap.min() > 0 and abs(x[gap.argmax()] - 2.513) < 1e-3
    return {'c': gap.max()}
