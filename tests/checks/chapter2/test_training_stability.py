"""Section 2.5: optimisers, schedules, spikes and numerics, each number computed another way than in the text."""

import copy
import importlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from scipy import integrate, optimize
from torch.nn import functional as F

from checks import checks

F64 = torch.float64
SPIKES = Path(__file__).parents[3] / 'figures' / 'chapter2' / 'stab_spikes.json'


def figure(name):
    return importlib.import_module(f'figures.chapter2.{name}')


def retrieval(mode, steps, change=1000, keys=32, width=16, batch=32, rate=0.01):
    """One attention head learns to fetch the value of the best-matching key; at ``change`` the matching rule is rotated.

    Records the largest logit, the entropy over ln n, the loss and the gradient norm of every step.
    """
    torch.manual_seed(0)
    wq, wk = ((torch.randn(width, width) / width**0.5).requires_grad_() for _ in range(2))
    turn = torch.linalg.qr(torch.randn(width, width))[0]
    adam = torch.optim.Adam([wq, wk], lr=rate, betas=(0.9, 0.95))
    record = []
    for step in range(steps):
        x, y, v = torch.randn(batch, width), torch.randn(batch, keys, width), torch.randn(batch, keys, 8)
        wanted = torch.einsum('bd,bnd->bn', x if step < change else x @ turn, y).argmax(-1)
        q, k = x @ wq, y @ wk
        if mode == 'norm':
            q, k = (1.7 * F.rms_norm(z, (width,)) for z in (q, k))
        s = torch.einsum('bd,bnd->bn', q, k) / width**0.5
        p = torch.softmax(s, -1)
        loss = F.mse_loss(torch.einsum('bn,bnv->bv', p, v), v[torch.arange(batch), wanted])
        adam.zero_grad()
        loss.backward()
        adam.step()
        top = s.abs().max().item()
        if mode == 'clip' and top > 20:
            with torch.no_grad():
                wq.mul_((20 / top) ** 0.5), wk.mul_((20 / top) ** 0.5)
        entropy = -(p * (p + 1e-30).log()).sum(-1).mean().item() / math.log(keys)
        record.append((top, entropy, loss.item()))
    return np.array(record)


def averaged(record, width=20):
    return record.reshape(-1, width, 3).mean(1)


def adam_updates(gradients, betas, correct=True):
    """Updates of torch.optim.Adam at rate 1 on a given sequence of gradients (first axis: time)."""
    p = torch.zeros(gradients.shape[1:], dtype=F64, requires_grad=True)
    adam = torch.optim.Adam([p], lr=1.0, betas=betas, eps=0.0)
    updates = []
    for t, g in enumerate(gradients, 1):
        before = p.detach().clone()
        p.grad = g.clone()
        adam.step()
        u = before - p.detach()
        if not correct:
            u = u * (1 - betas[0] ** t) / math.sqrt(1 - betas[1] ** t)
        updates.append(u)
    return torch.stack(updates)


def close(value, printed, digits):
    """``value`` rounds to the number printed."""
    assert round(float(value), digits) == printed, (float(value), printed)


@checks('eq-stab-adamw')
def adamw_step_by_step():
    """torch.optim.AdamW against the four formulas, epsilon large enough to matter; the mean of a constant gradient is recovered."""
    g = torch.randn(9, 5, dtype=F64)
    rate, decay, b1, b2, eps = 0.1, 0.3, 0.8, 0.9, 0.5
    p = torch.ones(5, dtype=F64, requires_grad=True)
    adam = torch.optim.AdamW([p], lr=rate, betas=(b1, b2), eps=eps, weight_decay=decay)
    w, m, v = torch.ones(5, dtype=F64), 0, 0
    for t, grad in enumerate(g, 1):
        p.grad = grad.clone()
        adam.step()
        m, v = b1 * m + (1 - b1) * grad, b2 * v + (1 - b2) * grad**2
        w = (1 - rate * decay) * w - rate * (m / (1 - b1**t)) / ((v / (1 - b2**t)).sqrt() + eps)
        torch.testing.assert_close(p.detach(), w)
    one = torch.full((1, 1), -3.0, dtype=F64)
    close(-adam_updates(one, (0.9, 0.999), correct=False), 3.16, 2)
    assert math.isclose(-adam_updates(one, (0.9, 0.999)).item(), 1.0)


@checks('prop-stab-rms', 'eq-stab-rms', 'fig-stab-lag')
def update_size():
    """Noise, signal and both through torch.optim.Adam with a slow second moment; the simulation of the figure."""
    for mu, sigma in ((0.0, 1.0), (1.0, 0.0), (0.7, 1.0)):
        g = mu + sigma * torch.randn(1500, 3000, dtype=F64)
        u = adam_updates(g, (0.9, 0.9995))
        late = u[1000:].square().mean().sqrt().item()
        expected = math.sqrt((mu**2 + sigma**2 * 0.1 / 1.9) / (mu**2 + sigma**2))
        assert abs(late / expected - 1) < 0.01
    close(math.sqrt(0.1 / 1.9), 0.2294, 4)
    close(1 / math.sqrt(0.1 / 1.9), 4.36, 2)
    fast = adam_updates(torch.randn(3000, 1500, dtype=F64), (0.9, 0.95))
    early = fast[:40].square().mean(-1).sqrt().numpy()
    close(fast[500:].square().mean().sqrt(), 0.226, 3)
    script = figure('stab_lag')
    np.testing.assert_allclose(script.noise_rms(40), early, rtol=0.05)
    t = np.arange(1, 41)
    np.testing.assert_allclose(early, np.sqrt(0.1 / 1.9 * (1 + 0.9**t) / (1 - 0.9**t)), rtol=0.06)
    close(math.sqrt(0.1 / 1.9 * (1 + 0.9**20) / (1 - 0.9**20)), 0.259, 3)
    assert abs(early[19] / 0.259 - 1) < 0.03 and early[0] > 0.999


@checks('thm-stab-worst', 'eq-stab-worst', 'eq-stab-jump', 'fig-stab-lag')
def worst_update():
    """The supremum as a generalised eigenvalue problem over gradient sequences; jumps through torch.optim.Adam."""
    script = figure('stab_lag')
    for beta2, bound, digits, peak in ((0.999, 7.27, 2, 6.54), (0.99, 2.35, 2, 2.13), (0.95, 1.165, 3, 1.10)):
        lags = np.arange(400)
        first, second = 0.1 * 0.9**lags, (1 - beta2) * beta2**lags
        best = math.sqrt((first**2 / second).sum())       # max of (a.g)^2 / sum b g^2 is sum a^2 / b
        close(best, bound, digits)
        assert abs(script.bound(beta2) - best) < 1e-6
        g = first / second
        assert math.isclose(first @ g / math.sqrt(second @ g**2), best)
        assert np.allclose(g[1:] / g[:-1], 0.9 / beta2)
        random = np.random.standard_normal((2000, 400)) * np.exp(np.random.standard_normal((2000, 1)) * lags / 50)
        assert (abs(random @ first) <= best * np.sqrt(random**2 @ second) + 1e-9).all()
        jump = script.after_jump(beta2, 300)
        close(jump.max(), peak, 2)
        # Through PyTorch: a long past of alternating unit gradients, then the jump.
        past = torch.tensor([1.0, -1.0], dtype=F64).repeat(5000)
        u = adam_updates(torch.cat([past, torch.full((60,), 100.0, dtype=F64)])[:, None], (0.9, beta2))[-60:, 0]
        np.testing.assert_allclose(u.numpy(), jump[:60], rtol=2e-2, atol=2e-3)
        assert u.max() < best
    assert script.after_jump(0.999, 100).argmax() + 1 == 12
    close(0.95**-50, 13.0, 1), close(0.999**-500, 1.65, 2)
    # The design exercise: a jump limited to 1 / 0.3.
    limited = script.after_jump(0.999, 200, 1 / 0.3)
    close(limited.max(), 2.80, 2)
    assert limited.argmax() + 1 == 32
    close(1 / 0.3, 3.3, 1)
    # StableAdamW: the whole tensor jumps, or one coordinate in 10,000.
    v, m = 1.0, 0.0
    for k in range(1, 30):
        m, v = 0.9 * m + 0.1 * 100, 0.999 * v + 0.001 * 1e4
        rho = math.sqrt(1e4 / v)
        assert math.isclose(m / math.sqrt(v) / rho, 1 - 0.9**k)
        if k == 12:
            close(math.sqrt(1 - 1e-4 + 1e-4 * 1e8 / (0.999**12 + 1e8 * (1 - 0.999**12))), 1.004, 3)
    close(1 / math.sqrt(1 - 0.95), 4.5, 1)                      # the bound of rho: all of v from the last gradient
    # Epsilon equal to the size of the gradient halves the update.
    p = torch.zeros(1, dtype=F64, requires_grad=True)
    adam = torch.optim.Adam([p], lr=1.0, eps=1e-8)
    p.grad = torch.full_like(p, 1e-8)
    adam.step()
    assert math.isclose(p.item(), -0.5)


@checks('ex-stab-step')
def four_readings():
    noise = torch.randn(1200, 4000, dtype=F64)
    lags = np.arange(600)
    weights = 0.05 * 0.95**lags
    a = math.sqrt((weights**2).sum())
    assert abs(adam_updates(noise, (0.95, 0.9995))[800:].square().mean().sqrt().item() - a) < 0.004
    b = adam_updates(torch.ones(1, 1, dtype=F64), (0.9, 0.95), correct=False).item()
    ten = 0.9 ** np.arange(10)
    c = math.sqrt((ten**2).sum()) / ten.sum()
    radius = lambda h: max(abs(np.roots([1, -(1.95 - 0.05 * h), 0.95])))
    d = optimize.brentq(lambda h: radius(h) - 1 - 1e-12, 60, 100)
    second = 0.05 * 0.95**lags
    e = math.sqrt((weights**2 / second).sum())
    return {'a': a, 'b': b, 'c': c, 'd': d, 'e': e}


@checks('ex-stab-jump')
def jump_peak():
    x = optimize.brentq(lambda x: math.exp(x) - 1 - 2 * x, 0.5, 3)
    top = (1 - math.exp(-x)) / math.sqrt(x)
    close(x, 1.2564, 4), close(x, 1.256, 3), close(top, 0.6382, 4), close(top, 0.638, 3)
    b = -math.log(0.9)
    close(b, 0.10536, 5), close(x / b, 11.9, 1), close(top * math.sqrt(b / 0.001), 6.55, 2)
    close(top * math.sqrt(b * 19), 0.903, 3), close(top * math.sqrt(2), 0.9025, 4)
    b2 = 1 - 1e-7
    k = np.arange(1, 60)
    exact = ((1 - 0.9**k) / np.sqrt(1 - b2**k)).max()
    assert abs(exact / math.sqrt((0.1**2 / ((1 - b2) * (1 - 0.81 / b2)))) - 0.903) < 2e-3
    close(adam_updates(torch.ones(1, 1, dtype=F64), (0.9, 0.999), correct=False), 3.16, 2)


@checks('prop-stab-eos', 'eq-stab-threshold')
def edge_of_stability():
    """SGD and Adam of PyTorch just inside and just outside the threshold, the second moment frozen by beta2 = 1."""
    rng = np.random.default_rng(0)
    for factor, grows in ((0.995, False), (1.005, True)):
        p = torch.ones(1, dtype=F64, requires_grad=True)
        sgd = torch.optim.SGD([p], lr=0.1, momentum=0.9, dampening=0.9)
        x = []
        for _ in range(4000):
            p.grad = p.detach() * factor * 380
            sgd.step()
            x.append(abs(p.item()))
        assert (max(x[-50:]) > 1e3) == grows and (max(x[-50:]) < 1e-3) != grows
    a = rng.standard_normal((4, 4))
    h, inverse = a @ a.T + np.eye(4), np.diag(1 / rng.uniform(0.5, 2, 4))
    top = np.linalg.eigvals(inverse @ h).real.max()
    for factor, grows in ((0.995, False), (1.005, True)):
        rate = factor * 38 / top
        x, m = np.ones(4), np.zeros(4)
        for _ in range(6000):
            m = 0.9 * m + 0.1 * h @ x
            x = x - rate * inverse @ m
        assert (abs(x).max() > 1e3) == grows
    assert math.isclose(2 * 1.9 / 0.1, 38)
    gain, x = 0.0, 1.0
    for _ in range(500):                                    # what an exponential average leaves of +1, -1, +1, …
        gain, x = 0.9 * gain + 0.1 * x, -x
    assert math.isclose(abs(gain), 1 / 19)


@checks('eq-stab-catapult')
def catapult():
    """Autograd steps on (u v)^2 / 2 against the two identities; what warm-up buys."""
    u, v = (torch.randn((), dtype=F64, requires_grad=True) for _ in range(2))
    rate = 0.37
    f, lam = (u * v).item(), (u * u + v * v).item()
    gu, gv = torch.autograd.grad((u * v) ** 2 / 2, (u, v))
    new = (u - rate * gu).item(), (v - rate * gv).item()
    assert math.isclose(new[0] * new[1], f * (1 - rate * lam + rate**2 * f**2))
    assert math.isclose(new[0] ** 2 + new[1] ** 2, lam + rate * f**2 * (rate * lam - 4))
    point = torch.tensor([math.sqrt(10), 0.0], dtype=F64)
    eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(lambda z: (z[0] * z[1]) ** 2 / 2, point))
    torch.testing.assert_close(eigenvalues, torch.tensor([0.0, 10.0], dtype=F64))

    def diverged(top, warm, runs=400, steps=600):
        """Share of runs that blow up, and the largest final curvature of the rest."""
        z = np.random.default_rng(7).standard_normal((steps, runs))
        u, v = np.full(runs, math.sqrt(10) * math.cos(0.1)), np.full(runs, math.sqrt(10) * math.sin(0.1))
        close(u[0] * v[0], 0.99, 2)
        dead = np.zeros(runs, bool)
        for t in range(steps):
            e = top * min(1, (t + 1) / warm)
            f = u * v - 0.01 * z[t]
            u, v = np.where(dead, u, u - e * f * v), np.where(dead, v, v - e * f * u)
            dead |= u * u + v * v > 1e6
        return dead.mean(), (u * u + v * v)[~dead].max(initial=0)

    assert diverged(0.39, 1)[0] == 0 and diverged(0.41, 1)[0] == 1
    for top, half, whole in ((1.0, 50, 100), (2.0, 100, 200)):
        assert 0.15 < diverged(top, half)[0] < 0.25
        share, curvature = diverged(top, whole)
        assert share == 0 and curvature < 2 / top


@checks('thm-stab-equilibrium', 'eq-stab-norm', 'eq-stab-angle', 'eg-stab-equilibrium', 'ex-stab-equilibrium')
def equilibrium():
    """A dense solve of the stationary covariance for an arbitrary moving average; torch.optim.AdamW on noise."""
    rate, decay = 0.01, 0.1
    a = 1 - rate * decay
    filter_ = np.array([0.5, 0.9, -0.3, 0.2])
    r = np.array([(filter_[: 4 - k] * filter_[k:]).sum() for k in range(4)])
    # State (w, z_t-1, z_t-2, z_t-3): w' = a w - rate (filter . z).
    f = np.zeros((4, 4))
    f[0] = [a, *(-rate * filter_[1:])]
    f[2, 1] = f[3, 2] = 1
    q = np.zeros(4)
    q[0], q[1] = -rate * filter_[0], 1
    from scipy.linalg import solve_discrete_lyapunov
    stationary = solve_discrete_lyapunov(f, np.outer(q, q))
    predicted = rate**2 / (1 - a * a) * (r[0] + 2 * sum(a**k * r[k] for k in range(1, 4)))
    assert math.isclose(stationary[0, 0], predicted, rel_tol=1e-9)
    kappa = 1 + 2 * r[1:].sum() / r[0]
    assert abs(predicted / (rate / (2 * decay) * kappa * r[0]) - 1) < 0.01
    one = (f @ stationary)[0, 0] / stationary[0, 0]             # cosine of the angle of a single step
    assert abs((1 - one) / (rate * decay / kappa) - 1) < 0.02
    lagged = (np.linalg.matrix_power(f, 200) @ stationary)[0, 0] / stationary[0, 0]
    assert abs(lagged - a**200) < 3 * rate * decay

    def angle(x, y):
        return math.acos(float((x * y).sum() / x.norm() / y.norm()))

    rate = decay = 0.05
    p = torch.zeros(20_000, requires_grad=True)
    adam = torch.optim.AdamW([p], lr=rate, weight_decay=decay, betas=(0.9, 0.99))
    norms, angles, kept = [], [], []
    for t in range(1500):
        p.grad = torch.randn(20_000)
        before = p.detach().clone()
        adam.step()
        if t >= 1000:
            norms.append(p.detach().square().mean().item()), angles.append(angle(before, p.detach()))
            kept.append(p.detach().clone())
    assert abs(np.mean(norms) / (rate / (2 * decay)) - 1) < 0.06
    assert abs(np.mean(angles) / math.sqrt(2 * rate * decay / 19) - 1) < 0.04
    apart = np.mean([angle(kept[i], kept[i + 60]) for i in range(0, 400, 40)])
    assert abs(math.cos(apart) - (1 - rate * decay) ** 60) < 12 * rate * decay

    degrees = lambda rate, share: math.degrees(math.sqrt(2 * rate * 0.1 * share))
    lags = 0.9 ** np.arange(1, 2000)
    kappa = 1 + 2 * lags.sum()
    assert math.isclose(kappa, 19)
    return {
        'eg-stab-equilibrium': {
            'a': 1 / (3e-4 * 0.1), 'b': math.sqrt(3e-4 / 0.2), 'c': degrees(3e-4, 1 / kappa),
            'd': math.degrees(math.acos(math.exp(-1000 * 3e-4 * 0.1))),
        },
        'ex-stab-equilibrium': {
            'a': math.sqrt(1e-3 / 0.2), 'b': degrees(1e-3, 1 / kappa), 'c': degrees(1e-3, 1 / kappa) / 10,
            'd': degrees(1e-4, 1 / kappa), 'e': 1 / (2 * 1e-4 * 0.1),
        },
    }


@checks('thm-stab-polar', 'eq-stab-polar', 'eq-stab-muonrms')
def polar():
    """Random feasible matrices never do better; projected gradient ascent finds the polar factor; RMS of the factor."""
    for shape in ((3, 5), (5, 3), (4, 4)):
        g = torch.randn(shape, dtype=F64)
        u, s, vh = torch.linalg.svd(g, full_matrices=False)
        best = -0.7 * u @ vh
        assert math.isclose((g * best).sum().item(), -0.7 * s.sum().item())
        for _ in range(300):
            d = torch.randn(shape, dtype=F64)
            d = 0.7 * d / torch.linalg.matrix_norm(d, 2)
            assert (g * d).sum() > (g * best).sum()
        d = torch.zeros(shape, dtype=F64)
        for _ in range(3000):
            x, y, z = torch.linalg.svd(d - 0.01 * g, full_matrices=False)
            d = x @ torch.diag(y.clamp(max=0.7)) @ z
        torch.testing.assert_close(d, best, atol=1e-6, rtol=0)
        assert math.isclose((u @ vh).square().mean().sqrt().item(), 1 / math.sqrt(max(shape)))
    close(1 / math.sqrt(14336), 0.00835, 5)
    assert 1 / math.sqrt(4096) == 1 / 64
    g = torch.randn(6, 4, dtype=F64)                           # largest entry: the sign matrix; Frobenius: the gradient itself
    assert math.isclose((g * g.sign()).sum().item(), g.abs().sum().item())


@checks('prop-stab-newton', 'eq-stab-newton', 'fig-stab-newton')
def newton_schulz():
    """Grid search over the interval; PyTorch's own default coefficients; its update on a matrix of known singular values."""
    script = figure('stab_newton')
    group = torch.optim.Muon([torch.zeros(2, 2, requires_grad=True)]).param_groups[0]
    assert tuple(group['ns_coefficients']) == script.COEFFICIENTS and group['ns_steps'] == 5
    f = lambda x, n=1: script.iterate(x, n)
    close(f(1.0), 0.701, 3)
    x = np.linspace(0, 1.26, 2_000_001)
    y = f(x)
    crossings = x[1:-1][np.diff(np.sign(y[1:] - x[1:])) != 0]
    assert len(crossings) == 1
    close(crossings[0], 0.868, 3), close((f(0.868 + 1e-6) - f(0.868 - 1e-6)) / 2e-6, -1.58, 2)
    turning = x[1:-1][np.diff(np.sign(np.diff(y))) != 0]
    close(turning[0], 0.5545, 4), close(turning[1], 1.0501, 4)
    close(f(turning[0]), 1.2024, 4), close(f(turning[1]), 0.6818, 4)
    inside = f(np.linspace(f(turning[1]), f(turning[0]), 1_000_001))
    close(inside.min(), 0.6818, 4), close(inside.max(), 1.1344, 4), close(f(1.2024), 0.947, 3)
    s = np.geomspace(0.00151, 1, 2_000_001)
    assert f(s, 5).min() > 0.6818 - 1e-4 and f(s, 5).max() < 1.2024 + 1e-4 and f(0.0014, 5) < 0.65
    close(optimize.brentq(lambda t: f(t, 5) - 0.6818, 1e-4, 3e-3), 0.0015, 4)
    assert script.iterate(0.1, 5, script.CLASSICAL) < 0.7 < script.iterate(0.2, 5, script.CLASSICAL)

    def steps(g):
        t, n = 0.01, 0
        while t < 0.7:
            t, n = g(t), n + 1
        return n

    assert steps(lambda t: 1.5 * t - 0.5 * t**3) == 11
    assert steps(lambda t: (15 * t - 10 * t**3 + 3 * t**5) / 8) == 8
    assert steps(f) == 4
    # Quintics with f(1) = 1 and f'(1) = 0 that send all of (0, 1] to 1: by iterating a grid, the largest slope at zero.
    def converges(a):
        t = np.linspace(1e-3, 1, 20_001)
        for _ in range(400):
            t = a * t + (2.5 - 2 * a) * t**3 + (a - 1.5) * t**5
            t = np.clip(t, -10, 10)
        return abs(t - 1).max() < 1e-6

    assert converges(1.5) and converges(1.875) and converges(2.96) and not converges(2.98) and not converges(3.4)
    # PyTorch's update has the singular values the scalar polynomial predicts, up to bf16.
    u, v = (torch.linalg.qr(torch.randn(6, 6))[0] for _ in range(2))
    sigma = torch.tensor([1.0, 0.5, 0.3, 0.1, 0.03, 0.01])
    p = torch.zeros(6, 6, requires_grad=True)
    muon = torch.optim.Muon([p], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False)
    p.grad = u @ torch.diag(sigma) @ v.T
    muon.step()
    got = -torch.diag(u.T @ p.detach() @ v)
    np.testing.assert_allclose(got.numpy(), f((sigma / sigma.norm()).double().numpy(), 5), atol=0.06)


@checks('eq-stab-muonrms', 'thm-stab-equilibrium')
def muon_equilibrium():
    """torch.optim.Muon on pure noise: size of a step, equilibrium norm and angle, and the effective correlation."""
    rate, decay = 0.03, 0.1
    p = torch.zeros(48, 64, requires_grad=True)
    muon = torch.optim.Muon([p], lr=rate, weight_decay=decay, adjust_lr_fn='match_rms_adamw')
    squares, sizes, angles = [], [], []
    for t in range(3600):
        p.grad = torch.randn(48, 64)
        before = p.detach().clone()
        muon.step()
        after = p.detach()
        if t >= 1000:
            squares.append(after.square().mean().item())
            sizes.append(((after - (1 - rate * decay) * before) / rate).square().mean().item())
            angles.append(math.acos(float((before * after).sum() / before.norm() / after.norm())))
    step, square = np.mean(sizes), np.mean(squares) / (rate / (2 * decay))
    assert abs(math.sqrt(step) - 0.173) < 0.002
    assert abs(math.sqrt(square) - 0.86) < 0.04 and abs(np.mean(angles) / math.sqrt(2 * rate * decay) - 0.20) < 0.01
    assert abs(square / step - 24.6) < 2.2
    mu = 0.95                                                   # Nesterov without orthogonalising: response to one unit gradient
    response = (1 - mu) * mu ** np.arange(1, 3000)
    response[0] += 1 - mu
    close(response.sum() ** 2 / (response**2).sum(), 32.9, 1)


@checks('ex-stab-muon')
def muon_rates():
    """One step of torch.optim.Muon's two conventions on a thin matrix of the same aspect ratio, then the numbers."""
    sizes = {}
    for name in (None, 'match_rms_adamw'):
        p = torch.zeros(112, 32, requires_grad=True)            # 14336 x 4096 divided by 128
        p.grad = torch.linalg.qr(torch.randn(112, 32))[0]
        torch.optim.Muon([p], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False, adjust_lr_fn=name).step()
        sizes[name] = p.detach().square().mean().sqrt().item()
    assert abs(sizes['match_rms_adamw'] / sizes[None] / (0.2 * math.sqrt(32)) - 1) < 5e-3
    from torch.optim._muon import _adjust_lr
    shape = torch.Size((14336, 4096))
    matched, original = _adjust_lr(1.0, 'match_rms_adamw', shape), _adjust_lr(1.0, None, shape)
    rms = math.sqrt(4096 / (14336 * 4096))
    assert math.isclose(original * rms, 1 / 64)
    return {'a': rms, 'b': matched, 'c': original, 'd': matched / original, 'e': matched, 'f': 0.2 * 3e-4 / (original * rms)}


def schedule_loss(rates, decay, weights=None):
    """Expected loss of a weighted average of the iterates by the adjoint: the influence of every start and every noise."""
    script = figure('stab_schedules')
    curvature, square = script.problem(decay)
    steps = len(rates)
    weights = np.eye(1, steps, steps - 1)[0] if weights is None else weights
    influence, variance = np.zeros_like(curvature), np.zeros_like(curvature)
    for t in range(steps - 1, -1, -1):
        influence = influence + weights[t]
        rate = np.asarray(rates[t])[..., None]
        variance = variance + (rate * influence) ** 2 * script.NOISE * curvature
        influence = influence * (1 - rate * curvature)
    return 0.5 * (influence**2 * square + variance) @ curvature


@checks('tab-stab-schedule', 'eq-stab-quadratic', 'fig-stab-schedules')
def schedule_table():
    """The sum of the formula, run backwards, at the peaks and their neighbours on the grid; one schedule simulated."""
    script = figure('stab_schedules')
    table, losses = {}, {}
    for name, shape in script.shapes().items():
        row = {}
        for decay, loss_column, peak_column in ((script.EASY, '易题', '峰值（易）'), (script.HARD, '难题', '峰值（难）')):
            value, peak = script.best(shape, decay)
            every = schedule_loss(np.outer(shape, script.PEAKS), decay)
            assert math.isclose(every.min(), value, rel_tol=1e-9) and script.PEAKS[every.argmin()] == peak
            row[loss_column], row[peak_column] = 1e3 * every.min(), peak
            losses[name, decay] = every.min()
        table[name] = row
    rest = losses['线性到 0', script.EASY]
    assert all(v >= rest for (n, d), v in losses.items() if d == script.EASY)
    for other in ('余弦到 0', '$(1-t/T)^2$'):
        assert 1 < losses[other, script.EASY] / rest < 1.015
    close(100 * (losses['$(1-t/T)^2$', script.EASY] / rest - 1), 0.7, 1)
    assert abs(1 - losses['WSD，降 20%', script.HARD] / losses['余弦到 0', script.HARD] - 0.4) < 0.02
    # Monte Carlo of the linear schedule on the easy problem.
    curvature, square = script.problem(script.EASY)
    rates = script.best(script.shapes()['线性到 0'], script.EASY)[1] * script.shapes()['线性到 0']
    x = np.tile(np.sqrt(square), (60, 1))
    for rate in rates:
        x -= rate * (curvature * x + np.sqrt(script.NOISE * curvature) * np.random.standard_normal(x.shape))
    sample = 0.5 * (curvature * x**2).sum(1)
    assert abs(sample.mean() - rest) < 4 * sample.std() / math.sqrt(60)
    # Averages of a constant schedule.
    for decay, expected, digits in ((script.HARD, 8.41, 2), (script.EASY, 0.798, 3)):
        weights = np.where(np.arange(2000) >= 1600, 1 / 400, 0)
        close(1e3 * schedule_loss(np.outer(np.ones(2000), script.PEAKS), decay, weights).min(), expected, digits)
    return table


@checks('thm-stab-linear', 'eq-stab-last')
def last_iterate():
    """Random polyhedral functions and stochastic subgradients, random weights; the bound holds, and the constant schedule breaks it."""
    rng = np.random.default_rng(0)
    for trial in range(30):
        d, pieces, steps = 4, 6, 40
        a = rng.standard_normal((pieces, d))
        a -= a.mean(0)
        a /= np.linalg.norm(a, axis=1).max()
        f = lambda x: (a @ x).max()                             # minimum 0 at the origin
        start = rng.standard_normal(d)
        noise = 0.5
        g2 = 1 + noise**2
        w = np.full(steps, np.linalg.norm(start) / math.sqrt(g2 * steps)) if trial < 10 else rng.uniform(0.05, 0.5, steps)
        tail = np.append(np.cumsum(w[::-1])[::-1], 0)
        eta = w * tail[1:] / tail[0]
        if trial < 10:
            np.testing.assert_allclose(eta, w[0] * (1 - np.arange(1, steps + 1) / steps), atol=1e-12)
        ends = []
        for _ in range(60):
            x = start.copy()
            for t in range(steps - 1):
                direction = rng.standard_normal(d)
                x = x - eta[t] * (a[(a @ x).argmax()] + noise * direction / np.linalg.norm(direction))
            ends.append(f(x))
        bound = (start @ start + g2 * (w @ w)) / (2 * tail[0])
        assert np.mean(ends) <= bound
    # The resisting maximum of coordinates: no sequence of positive steps beats D G / sqrt(T).
    radius, slope, steps = 1.3, 0.7, 12
    f = lambda x: slope * max(x.max(), -radius / math.sqrt(steps))
    for _ in range(20):
        x = np.zeros(steps)
        for t in range(steps - 1):
            assert x[t] == x.max()                              # the untouched coordinate is active: e_t is a subgradient
            x[t] -= rng.exponential() * slope
        assert f(x) == 0
    lowest = np.full(steps, -radius / math.sqrt(steps))
    assert math.isclose(np.linalg.norm(lowest), radius) and math.isclose(f(lowest), -radius * slope / math.sqrt(steps))
    # |x| with a step that overshoots: with noise-free gradients the linear schedule lands within D G / sqrt(T).
    for steps in (10, 50, 200):
        for start in (0.3, 1.0):
            x = start
            for t in range(1, steps):
                x -= start / math.sqrt(steps) * (1 - t / steps) * np.sign(x)
            assert abs(x) <= start / math.sqrt(steps) + 1e-12


@checks('eq-stab-valley', 'eq-stab-anneal', 'eq-stab-mstar', 'ex-stab-river')
def river():
    """Exact recursion of the valley variance and enumeration of the annealing length, against the asymptotic formulas."""
    h, rate, sigma, slope = 1.0, 0.1, 1.0, 0.02

    def annealed(m, power=1.0, rate=rate, h=h):
        v = rate * sigma**2 / (h * (2 - rate * h))
        for left in range(m - 1, -1, -1):
            e = rate * (left / m) ** power
            v = (1 - e * h) ** 2 * v + e * e * sigma**2
        return v

    def total(m):
        lost = slope**2 * rate * sum(1 - left / m for left in range(m))
        return 0.5 * h * annealed(m) + lost

    lengths = range(20, 400)
    best = min(lengths, key=total)
    formula = (math.sqrt(math.pi) / 8 * sigma**2 / (slope**2 * math.sqrt(rate * h))) ** (2 / 3)
    assert best == 147
    close(formula, 145, 0)
    close(rate / (2 * (2 - rate * h)), 0.0263, 4), close(total(best), 0.0088, 4)
    # Powers of the decay, at small rate * h and long windows; the integral by quadrature.
    for power in (1.0, 2.0, 3.0):
        q = (2 * power + 1) / (power + 1)
        constant = math.gamma(q) * ((power + 1) / 2) ** q / (power + 1)
        e, m = 0.01, 40_000
        exact = annealed(m, power, rate=e)
        assert abs(exact / (sigma**2 * e ** (1 / (power + 1)) * m ** (-power / (power + 1)) * constant) - 1) < 0.02
        integral = integrate.quad(lambda r: r ** (2 * power) * math.exp(-2 * r ** (power + 1) / (power + 1)), 0, 20)[0]
        assert math.isclose(integral, constant, rel_tol=1e-8)
        lost = sum(1 - (left / m) ** power for left in range(m)) / m
        assert abs(lost - power / (power + 1)) < 1e-3
        wrong = [m**(-2 * power) * integrate.quad(lambda r: r ** (2 * power) * math.exp(-0.2 * r), 0, 400)[0] for m in (100, 200)]
        assert math.isclose(wrong[0] / wrong[1], 2 ** (2 * power))
        if power == 1:
            assert math.isclose(constant, math.sqrt(math.pi) / 4)
    # Exponents of the optimal length in the slope.
    for power, exponent in ((1, -4 / 3), (2, -6 / 5)):
        s = power / (power + 1)
        found = [optimize.minimize_scalar(lambda y: math.exp(-s * y) + c * c * math.exp(y) * s, bounds=(-30, 40), method='bounded',
                                          options={'xatol': 1e-9}).x for c in (1e-3, 1e-2)]
        assert abs((found[1] - found[0]) / math.log(10) - exponent) < 1e-4


@checks('prop-stab-average', 'eq-stab-average', 'eq-stab-ratio', 'ex-stab-average', 'fig-stab-schedules')
def averaging():
    """The identity on a non-quadratic loss; the variance of the average by a dense covariance; the moving valley."""
    x, rates, history = np.array([1.0, -2.0]), np.random.uniform(0.01, 0.1, 50), []
    points, gradients = [], []
    start = x.copy()
    for rate in rates:
        g = np.sinh(x) + 0.3 * np.random.standard_normal(2)
        gradients.append(g)
        x = x - rate * g
        points.append(x)
    for weights in (np.where(np.arange(50) >= 30, 1 / 20, 0), np.random.dirichlet(np.ones(50))):
        tails = np.array([weights[t:].sum() for t in range(50)])   # weight of iterates after gradient t (iterate t + 1 has index t)
        average = weights @ np.array(points)
        np.testing.assert_allclose(average, start - (rates * tails) @ np.array(gradients))
    uniform = np.where(np.arange(50) >= 30, 1 / 20, 0)
    np.testing.assert_allclose([uniform[t:].sum() for t in range(50)], np.minimum(1, (50 - np.arange(50)) / 20))
    decay = 0.2 * 0.8 ** np.arange(199, -1, -1)
    np.testing.assert_allclose([decay[t:].sum() for t in range(200)], 1 - 0.8 ** (200 - np.arange(200)), atol=1e-12)

    script = figure('stab_schedules')
    for h in (0.5, 1.0, 3.0):
        rate, window = 0.1, 400
        a = 1 - rate * h
        lag = abs(np.subtract.outer(np.arange(window), np.arange(window)))
        share = (a**lag).mean()
        annealed, average = script.leftover(h, rate, window)
        assert math.isclose(share, average, rel_tol=1e-9)
        stationary = rate / (h * (2 - rate * h))
        assert abs(average * stationary * h * h * window - 1) < 0.06
    # The ratio where 1/K << rate h << 1.
    annealed, average = script.leftover(0.5, 0.1, 4000)
    assert abs(average / annealed / (4 / math.sqrt(math.pi * 0.05 * 4000)) - 1) < 0.03
    annealed, average = script.leftover(16 / math.pi / 40, 0.1, 400)
    close(average / annealed, 0.81, 2)                          # where the asymptotic ratio would be 1
    for value in np.geomspace(0.02, 399, 40):                   # never worse over the whole of the figure
        annealed, average = script.leftover(value / 40, 0.1, 400)
        assert average <= annealed * (1 + 1e-9)
    assert abs(np.subtract(*script.leftover(0.02 / 40, 0.1, 400))) < 0.01
    # (d) the target moves by v a step.
    v, rate, h, x = 0.01, 0.1, 0.7, 0.0
    track = []
    for t in range(3000):
        track.append(x)
        x -= rate * h * (x - v * t)
    last = v * 2999 - track[-1]
    assert math.isclose(last, v / (rate * h), rel_tol=1e-6)
    assert math.isclose(v * 2999 - np.mean(track[-500:]), last + v * 499 / 2, rel_tol=1e-6)
    # A bent valley: the mean of points on the floor lies kappa s^2 / 24 above it.
    s, kappa = 0.8, 1.7
    t = np.linspace(-s / 2, s / 2, 200_001) + 0.3
    assert abs((kappa * t**2 / 2).mean() - kappa * t.mean() ** 2 / 2 - kappa * s * s / 24) < 1e-5


@checks('fig-stab-spikes')
def collapse():
    """The stored curves of the retrieval task: the first 200 steps again, and the numbers read from the rest."""
    stored = json.loads(SPIKES.read_text())
    again = averaged(retrieval('plain', 200))
    for i, name in enumerate(('logit', 'entropy', 'loss')):
        np.testing.assert_allclose(again[:, i], stored['plain'][name][:10], rtol=0.03)
    again = averaged(retrieval('norm', 100))
    np.testing.assert_allclose(again[:, 2], stored['norm']['loss'][:5], rtol=0.03)
    plain, clip, norm = (stored[name] for name in ('plain', 'clip', 'norm'))
    close(plain['logit'][29], 23.7, 1), close(plain['logit'][49], 30.0, 1)
    close(plain['loss'][29], 0.169, 3), close(plain['loss'][49], 0.163, 3)
    close(plain['loss'][50], 1.67, 2), close(plain['loss'][0], 1.01, 2), close(norm['loss'][49], 0.55, 2)
    close(clip['loss'][49], 0.28, 2)

    def recovery(loss):
        return next(20 * i for i in range(50, 100) if loss[i] < 0.5) - 1000

    assert recovery(plain['loss']) == 560 and recovery(clip['loss']) == 340
    assert max(clip['logit'][20:]) < 20 < max(plain['logit'])
    # A fresh check that the clipped run is the same code: it differs from the plain one only after the logits pass 20.
    np.testing.assert_allclose(clip['loss'][:10], plain['loss'][:10], rtol=1e-4)


@checks('fig-stab-spikes', 'tab-stab-signature')
def drift():
    """The drift of the log partition function, its speed with the batch, and z-loss; the script's loop against torch.optim.Adam."""
    script = figure('stab_spikes')
    free = script.drift(0.0, 8000)
    close(free[0, 0], 6.91, 2), close(free[-1, 0], -2.88, 2)
    speed = (free[1000, 0] - free[-1, 0]) / 7000
    close(speed, 0.0012, 4), close(free[4000:, 1].mean(), 0.13, 2)
    weak, strong = script.drift(1e-4, 8000), script.drift(0.1, 8000)
    assert abs(weak[-1, 0] - free[-1, 0]) < 0.03
    close(strong[-1, 0], -1.1, 1), close(strong[-1, 1], 0.32, 2)
    assert strong[-1, 0] - strong[-2000, 0] > -0.1
    batch, script.BATCH = script.BATCH, 4096
    large = script.drift(0.0, 4000)
    script.BATCH = batch
    assert 12.5 < speed / ((large[1000, 0] - large[-1, 0]) / 2999) < 15.5
    # The same trajectory by PyTorch.
    rng = np.random.default_rng(0)
    p = 1 / np.arange(1, 1001)
    p /= p.sum()
    logits = torch.zeros(1000, dtype=F64, requires_grad=True)
    adam = torch.optim.Adam([logits], lr=0.01, betas=(0.9, 0.95))
    for t in range(100):
        counts = torch.tensor(rng.multinomial(64, p) / 64)
        lse = torch.logsumexp(logits, 0)
        assert abs(lse.item() - strong[t, 0]) < 1e-8
        adam.zero_grad()
        (lse - counts @ logits + 0.1 * lse**2).backward()
        assert t or abs(logits.grad.sum() - 2 * 0.1 * lse.detach()) < 1e-9   # without z-loss the gradient sums to zero
        adam.step()
    # Rounding of logits in [256, 512) to bf16.
    assert torch.tensor(300.0).bfloat16() + 1 == torch.tensor(300.0).bfloat16() and torch.finfo(torch.bfloat16).eps * 256 == 2
    for scale in (0.3, 3.0):
        z = scale * torch.randn(200, 500, dtype=F64)
        noise = 2 * torch.rand(200, 500, dtype=F64) - 1
        extra = (torch.logsumexp(z + noise, -1) - torch.logsumexp(z, -1)).mean().item()
        assert extra < math.log(math.sinh(1)) and (scale > 1 or extra > 0.155)
    close(math.log(math.sinh(1)), 0.16, 2)


@checks('fig-stab-spikes', 'prop-stab-eos')
def lag_spike():
    """The parabola of the opening, by torch.optim.Adam: crossing, base and peak."""
    x = torch.ones((), dtype=F64, requires_grad=True)
    adam = torch.optim.Adam([x], lr=0.01, betas=(0.9, 0.95), eps=0.0)
    z = 1e-6 * np.random.default_rng(0).standard_normal(420)
    loss, curvature = [], []
    for t in range(420):
        x.grad = x.detach() + z[t]
        loss.append(0.5 * x.item() ** 2)
        adam.step()
        curvature.append(1 / math.sqrt(adam.state[x]['exp_avg_sq'].item() / (1 - 0.95 ** (t + 1))))
    loss, curvature = np.array(loss), np.array(curvature)
    script = figure('stab_spikes').quadratic(0.95, 420)
    np.testing.assert_allclose(curvature, script[:, 1], rtol=1e-3)
    cross = int(np.argmax(curvature > 3800)) + 1
    peak = int(loss[300:].argmax()) + 301
    assert (cross, peak) == (378, 387)
    assert float(f'{loss[peak - 1]:.1e}') == 5.0e-7
    assert 1e-11 < loss[cross - 31:cross - 1].mean() < 1e-10 and loss[peak - 1] > 1e3 * loss[cross - 1]
    assert curvature[-1] < 3800


@checks('fig-stab-spikes', 'tab-stab-signature', 'tab-stab-choices')
def second_moment_too_high():
    """The parabola again, by torch.optim.Adam: what rho and the update show, and what clipping, beta2 and epsilon do."""
    def run(steps, beta2=0.95, eps=0.0, clip=False, draws=None):
        x = torch.ones((), dtype=F64, requires_grad=True)
        adam = torch.optim.Adam([x], lr=0.01, betas=(0.9, beta2), eps=eps)
        z = 1e-6 * np.random.default_rng(0).standard_normal(draws or steps)
        record = []
        for t in range(steps):
            x.grad = x.detach() + z[t]
            before = x.item()
            adam.step()
            root = math.sqrt(adam.state[x]['exp_avg_sq'].item() / (1 - beta2 ** (t + 1)))
            rho, move = abs(x.grad.item()) / root, x.item() - before
            if clip:
                with torch.no_grad():
                    x.fill_(before + move / max(1, rho))
            record.append((0.5 * before**2, rho, abs(move) / 0.01, 1 / (root + eps)))
        return np.array(record)

    plain = run(460)
    close(np.median(plain[347:377, 1]), 0.016, 3)               # the thirty steps before 378
    assert plain[300:385, 1].max() < 2 < plain[385, 1] and plain[300:, 0].argmax() + 301 == 387
    assert plain[300:, 2].max() < 0.18
    clipped = run(460, clip=True)[300:, 0].max()
    close(1e6 * clipped, 6.9, 1)
    assert clipped > 10 * plain[300:, 0].max()
    floor = run(1200, eps=3e-4)
    assert floor[350:, 0].max() < 6e-10 and floor[:, 3].max() < 3800 and 3e-4 > 0.01 / 38
    # A slow second moment, in plain floats: it takes 13,000 steps to cross, and the peak is no lower.
    z = 1e-6 * np.random.default_rng(0).standard_normal(40_400)
    x, m, v, peak = 1.0, 0.0, 0.0, 0.0
    for t in range(1, 20_001):
        g = x + z[t - 1]
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        if t > 13_000:
            peak = max(peak, 0.5 * x * x)
        x -= 0.01 * m / (1 - 0.9**t) / math.sqrt(v / (1 - 0.999**t))
    assert 5e-7 < peak < 2e-6


@checks('prop-stab-clip', 'eq-stab-clip', 'ex-stab-clip')
def clipping():
    """Heavy tails by quadrature; directions; the sign of the bias; what the threshold does in front of Adam."""
    for alpha, tail in ((1.2, 1.5), (1.6, 1.9), (2.0, 2.5)):
        density = lambda g: tail * g ** (-tail - 1)             # Pareto on [1, oo), one sign: the worst case for bias
        moment = integrate.quad(lambda g: g**alpha * density(g), 1, np.inf)[0]
        mean = integrate.quad(lambda g: g * density(g), 1, np.inf)[0]
        for c in (2.0, 10.0, 50.0):
            first = integrate.quad(lambda g: g * density(g), 1, c)[0] + c * c**-tail
            second = integrate.quad(lambda g: g * g * density(g), 1, c)[0] + c * c * c**-tail
            assert abs(first - mean) <= moment * c ** (1 - alpha) and second <= moment * c ** (2 - alpha)
    for steps in (1e3, 1e5):
        best = [optimize.minimize_scalar(lambda y: math.exp(0.5 * y) * m / steps + m * m * math.exp(-y), bounds=(-5, 40), method='bounded',
                                         options={'xatol': 1e-9}).x for m in (1.0, 10.0)]
        assert abs((best[1] - best[0]) / math.log(10) - 1 / 1.5) < 1e-4      # alpha = 1.5
    p = torch.nn.Parameter(torch.zeros(2))
    degrees = lambda g: math.degrees(math.atan2(g[1], g[0]))
    p.grad = torch.tensor([3.0, 0.5])
    close(degrees(p.grad), 9.5, 1)
    torch.nn.utils.clip_grad_norm_([p], 1.0)
    close(degrees(p.grad), 9.5, 1)
    p.grad = torch.tensor([3.0, 0.5])
    torch.nn.utils.clip_grad_value_([p], 1.0)
    close(degrees(p.grad), 26.6, 1)
    g, weight = np.array([10.0, -1.0]), np.array([0.1, 0.9])
    assert math.isclose(weight @ g, 0.1) and math.isclose(weight @ np.clip(g, -1, 1), -0.8)
    raw = torch.randn(50, 7, dtype=F64)
    unit = raw / raw.norm(dim=1, keepdim=True)
    torch.testing.assert_close(adam_updates(unit, (0.9, 0.95)), adam_updates(0.1 * unit, (0.9, 0.95)))
    assert math.isclose(adam_updates(torch.full((5, 1), 0.1, dtype=F64), (0.9, 0.95))[-1].item(), 1.0)
    # Lowering the threshold in mid-run shrinks the update for a while only.
    u = adam_updates(torch.cat([unit, unit[:1].repeat(2000, 1) * 0.1]), (0.9, 0.99))
    assert u[55].abs().max() < 0.5 and math.isclose(u[-1].abs().min().item(), 1.0, rel_tol=1e-3)


@checks('eq-stab-rounding')
def stochastic_rounding():
    """A population of quadratic SGD runs on a grid of spacing 2^-7, rounding up with probability equal to the remainder."""
    spacing, rate, n = 2.0**-7, 0.001, 6000
    x, y, spread = np.zeros(n), np.zeros(n), [[], []]
    start = math.sqrt(spacing / math.sqrt(2 * math.pi))
    y += spacing * np.round(start * np.random.standard_normal(n) / spacing)     # near the answer, so that it settles soon
    x += math.sqrt(rate / 2) * np.random.standard_normal(n)
    for t in range(3000):
        noise = np.random.standard_normal(n)
        x = x - rate * (x + noise)
        wanted = (y - rate * (y + noise)) / spacing
        low = np.floor(wanted)
        y = spacing * (low + (np.random.random(n) < wanted - low))
        if t >= 2000 and t % 20 == 0:
            spread[0].append((x**2).mean()), spread[1].append((y**2).mean())
    plain, rounded = np.mean(spread[0]), np.mean(spread[1])
    close(spacing / math.sqrt(2 * math.pi), 0.00312, 5), close(plain, 0.0005, 4)
    assert abs(rounded / 0.00312 - 1) < 0.04 and abs(rounded / 0.00316 - 1) < 0.05


@checks('tab-stab-monitor')
def ratchet_and_resume():
    """bf16 second moments in torch.optim.AdamW only go up; a run resumed from all its state is the same run, bit by bit."""
    p = torch.ones(4, dtype=torch.bfloat16, requires_grad=True)
    for beta2, stuck in ((0.999, True), (0.95, False)):
        adam = torch.optim.AdamW([p], betas=(0.9, beta2))
        for g in [1.0] * 20 + [0.01] * 2000:
            p.grad = torch.full_like(p, g)
            adam.step()
            if g == 1.0:
                high = adam.state[p]['exp_avg_sq'][0].item()
        low = adam.state[p]['exp_avg_sq'][0].item()
        assert (low == high) == stuck
        p.grad = torch.full_like(p, 30.0)
        adam.step()
        assert adam.state[p]['exp_avg_sq'][0].item() > low
    assert 2.0**-9 > 0.00195 > 0.001

    def make():
        torch.manual_seed(3)
        model = torch.nn.Sequential(torch.nn.Linear(6, 16), torch.nn.Dropout(0.2), torch.nn.Linear(16, 1))
        adam = torch.optim.AdamW(model.parameters(), lr=1e-2)
        return model, adam, torch.optim.lr_scheduler.CosineAnnealingLR(adam, 60)

    def run(model, adam, schedule, steps):
        for _ in range(steps):
            adam.zero_grad()
            model(torch.randn(8, 6)).square().mean().backward()
            adam.step(), schedule.step()

    def resume(state, skip):
        parts = make()
        for part, saved, name in zip(parts, state, ('model', 'optimizer', 'schedule')):
            if name != skip:
                part.load_state_dict(copy.deepcopy(saved))
        if skip != 'rng':
            torch.set_rng_state(state[3])
        run(*parts, 15)
        return torch.cat([q.detach().flatten() for q in parts[0].parameters()])

    whole = make()
    run(*whole, 20)
    state = [copy.deepcopy(part.state_dict()) for part in whole] + [torch.get_rng_state()]
    run(*whole, 15)
    target = torch.cat([q.detach().flatten() for q in whole[0].parameters()])
    assert torch.equal(resume(state, None), target)
    for skip in ('optimizer', 'schedule', 'rng'):
        assert not torch.equal(resume(state, skip), target)
    # Without the optimiser's state the first update is one again.
    u = adam_updates(torch.randn(1, 1000, dtype=F64), (0.9, 0.95))
    assert math.isclose(u.square().mean().sqrt().item(), 1.0)


@checks('tab-stab-torch')
def documented_behaviour():
    def one(cls, grad, **options):
        p = torch.ones(3, dtype=F64, requires_grad=True)
        p.grad = grad
        cls([p], lr=0.1, **options).step()
        return p.detach()

    zero = torch.zeros(3, dtype=F64)
    torch.testing.assert_close(one(torch.optim.AdamW, zero, weight_decay=0.5), torch.full((3,), 0.95, dtype=F64))
    assert (one(torch.optim.AdamW, None, weight_decay=0.5) == 1).all()
    torch.testing.assert_close(one(torch.optim.Adam, zero.clone(), weight_decay=0.5), torch.full((3,), 0.9, dtype=F64), atol=1e-6, rtol=0)
    for shape in ((3,), (2, 2, 2)):
        try:
            torch.optim.Muon([torch.zeros(shape, requires_grad=True)])
        except ValueError:
            continue
        raise AssertionError('Muon took a parameter that is not a matrix')
    # The default convention: RMS 1 / sqrt(n) whatever m; decay uses the rate as given.
    for shape in ((64, 16), (16, 64), (32, 32)):
        p = torch.zeros(shape, requires_grad=True)
        g = torch.linalg.qr(torch.randn(max(shape), min(shape)))[0]
        p.grad = g if shape[0] >= shape[1] else g.T.contiguous()
        torch.optim.Muon([p], lr=1.0, weight_decay=0.0, momentum=0.0, nesterov=False).step()
        assert 0.65 < p.detach().square().mean().sqrt().item() * math.sqrt(shape[1]) < 1.2
    p = torch.ones(64, 16, requires_grad=True)
    p.grad = torch.zeros(64, 16)
    torch.optim.Muon([p], lr=0.1, weight_decay=0.5, adjust_lr_fn='match_rms_adamw').step()
    torch.testing.assert_close(p.detach(), torch.full((64, 16), 0.95))
    close(0.2 * math.sqrt(4096), 12.8, 1)
    # Three products a step, five steps.
    from torch.utils.flop_counter import FlopCounterMode
    p = torch.zeros(8, 8, requires_grad=True)
    p.grad = torch.randn(8, 8)
    with FlopCounterMode(display=False) as counter:
        torch.optim.Muon([p]).step()
    assert counter.get_total_flops() == 15 * 2 * 8**3
    p = torch.nn.Parameter(torch.zeros(2))
    p.grad = torch.tensor([3.0, 4.0])
    assert torch.nn.utils.clip_grad_norm_([p], 1.0) == 5
    torch.testing.assert_close(p.grad, torch.tensor([3.0, 4.0]) / (5 + 1e-6))
    q = torch.nn.Parameter(torch.zeros(2))
    p.grad, q.grad = torch.ones(2), torch.tensor([math.nan, 1.0])
    torch.nn.utils.clip_grad_norm_([p, q], 1.0)
    assert p.grad.isnan().all()
    sgd = torch.optim.SGD([p], lr=1.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(sgd, 10)
    rates = []
    for _ in range(20):
        sgd.step(), cosine.step()
        rates.append(sgd.param_groups[0]['lr'])
    assert abs(rates[9]) < 1e-12 and math.isclose(rates[19], 1.0)
    sgd = torch.optim.SGD([p], lr=1.0)
    torch.optim.lr_scheduler.LinearLR(sgd)
    assert math.isclose(sgd.param_groups[0]['lr'], 1 / 3)
    model = torch.nn.Linear(1, 1, bias=False)
    average = torch.optim.swa_utils.AveragedModel(model)
    for value in (1.0, 2.0, 6.0):
        model.weight.data.fill_(value)
        average.update_parameters(model)
    assert math.isclose(average.module.weight.item(), 3.0)
