"""Section 1.1: numbers, derivations and documented behaviour of self-attention, each computed another way than in the text."""

import contextlib
import importlib
import math

import numpy as np
import torch
from scipy import optimize
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.bias import causal_lower_right
from torch.nn.attention.flex_attention import AuxRequest, flex_attention
from torch.utils.flop_counter import FlopCounterMode

from checks import checks

F64 = torch.float64


def logits(width, keys, scale, rows):
    """Rows of logits of one standard normal query against independent standard normal keys, the keys drawn in full."""
    q = torch.randn(rows, width, 1, dtype=F64)
    return torch.cat([torch.randn(1, keys, width, dtype=F64) @ row for row in q]).squeeze(-1) * scale


@checks('tab-attn-scale', 'prop-attn-variance')
def scaling_table():
    """20,000 queries; given q, the logits of normal keys are normal with variance |q|^2. Keys drawn in full on a smaller sample agree."""
    keys, width = 1024, 128
    rows = {}
    for name, scale in (('未缩放', 1.0), ('除以 $\\sqrt{128}$', width**-0.5)):
        peak, trace, square = [], [], []
        for _ in range(20):
            norm = torch.randn(1000, width, dtype=F64).norm(dim=-1, keepdim=True)
            s = torch.randn(1000, keys, dtype=F64) * norm * scale
            p = torch.softmax(s, -1)
            peak.append(p.amax(-1).mean())
            trace.append((1 - p.square().sum(-1)).mean())
            square.append(s.square().mean())
        rows[name] = [torch.stack(x).mean() for x in (square, peak, trace)]
        p = torch.softmax(logits(width, keys, scale, 80), -1)
        torch.testing.assert_close(p.amax(-1).mean(), rows[name][1], atol=0.1, rtol=0)
    return {
        row: {name: values[i].sqrt() if i == 0 else values[i] for name, values in rows.items()}
        for i, row in enumerate(('logit 标准差', '最大权重', '$\\tr J$'))
    }


@checks('prop-attn-jacobian', 'tab-attn-scale')
def where_the_gradient_goes():
    """Norm of J g for a random g per query, by autograd through softmax; the share of saturated queries."""
    size = {}
    for name, scale in (('raw', 1.0), ('scaled', 128**-0.5)):
        squares, saturated = [], []
        for _ in range(20):
            s = (torch.randn(1000, 1024, dtype=F64) * torch.randn(1000, 128, dtype=F64).norm(dim=-1, keepdim=True) * scale).requires_grad_()
            p = torch.softmax(s, -1)
            squares.append(torch.autograd.grad(p, s, torch.randn_like(p))[0].square().sum(-1))
            saturated.append(1 - p.detach().square().sum(-1) < 0.1)
        size[name] = torch.cat(squares).mean().sqrt().item()
        size[name, 'share'] = torch.cat(saturated).double().mean().item()
    assert abs(size['raw'] - 0.27) < 0.015 and abs(size['scaled'] - 0.05) < 0.005
    assert 4.7 < size['raw'] / size['scaled'] < 5.6
    assert 1 / 3 < size['raw', 'share'] < 0.4 and size['scaled', 'share'] == 0


@checks('eq-attn-frozen')
def frozen_phase():
    """Weights of a Poisson process with the tail c x^-m: points G_k^(-1/m), G_k the arrival times of a unit-rate process."""
    for m in (0.3, 0.5, 0.7):
        arrivals = torch.empty(4000, 2000, dtype=F64).exponential_().cumsum(-1)
        points = arrivals ** (-1 / m)
        # What the points beyond the last one add to the sum, in the mean: the integral of x^(-1/m) from there on.
        rest = arrivals[:, -1] ** (1 - 1 / m) / (1 / m - 1)
        share = (points / (points.sum(-1) + rest)[:, None]).square().sum(-1)
        assert abs(share.mean().item() - (1 - m)) < 5 * share.std().item() / len(share) ** 0.5


@checks('eq-attn-laplace', 'fig-attn-scale')
def participation_integral():
    """The one-dimensional integral of the figure against simulation, three standard deviations of the logits."""
    script = importlib.import_module('figures.chapter1.attn_scale')
    for sigma in (1.0, 3.0, 11.3):
        p = torch.softmax(sigma * torch.randn(8000, script.KEYS, dtype=F64), -1)
        sample = 1 - p.square().sum(-1)
        error = sample.std().item() / len(sample) ** 0.5
        assert abs(script.trace(sigma) - sample.mean().item()) < 5 * error + 1e-4
    # The asymptote is too high by about 15 % at d_k = 128, as the caption says.
    assert 0.10 < math.sqrt(2 * math.log(1024) / 128) / script.trace(math.sqrt(128)) - 1 < 0.20


@checks('eg-attn-hand', 'eq-attn-definition')
def by_hand():
    root = math.sqrt(2)
    q = torch.tensor([[1.0, 0.0]], dtype=F64)
    k = torch.tensor([[root, 0.0], [0.0, root], [root / 2, root / 2]], dtype=F64)
    v = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], dtype=F64)
    weights = F.scaled_dot_product_attention(q, k, torch.eye(3, dtype=F64))
    return {'p': weights[0], 'o': F.scaled_dot_product_attention(q, k, v)[0]}


@checks('prop-attn-equivariance', 'eq-attn-equivariance')
def equivariance():
    n, d = 7, 5
    x, w = torch.randn(n, d, dtype=F64), torch.randn(3, d, d, dtype=F64)
    order = torch.randperm(n)
    p = torch.eye(n, dtype=F64)[order]
    causal = torch.ones(n, n, dtype=torch.bool).tril()
    moved = causal[order][:, order]

    def attend(x, keep):
        return F.scaled_dot_product_attention(x @ w[0], x @ w[1], x @ w[2], attn_mask=keep)

    torch.testing.assert_close(attend(p @ x, moved), p @ attend(x, causal))
    torch.testing.assert_close(attend(p @ x, None), p @ attend(x, None))
    assert not torch.allclose(attend(p @ x, causal), p @ attend(x, causal))


@checks('eq-attn-jacobian', 'prop-attn-jacobian', 'thm-attn-spectrum', 'eq-attn-spectrum')
def jacobian():
    """Automatic differentiation and a dense eigensolver, over sharp and flat distributions."""
    for n in (2, 3, 17):
        for scale in (0.1, 1.0, 5.0):
            s = scale * torch.randn(n, dtype=F64)
            p = torch.softmax(s, 0)
            j = torch.autograd.functional.jacobian(lambda t: torch.softmax(t, 0), s)
            torch.testing.assert_close(torch.diag(p) - torch.outer(p, p), j)
            torch.testing.assert_close(j.trace(), 1 - p.square().sum())
            values = torch.linalg.eigvalsh(j).flip(0)
            down = p.sort(descending=True).values
            assert (values[:-1] <= down[:-1] + 1e-12).all() and (values[:-1] >= down[1:] - 1e-12).all()
            for m in range(1, n):       # m weights outside the tail of mass epsilon: at most m - 1 eigenvalues above 2 epsilon
                assert values[m - 1] <= 2 * down[m:].sum() + 1e-12
            peak = (p * (1 - p)).max()
            assert peak - 1e-12 <= values[0] <= min(0.5, 2 * peak) + 1e-12
    half = torch.tensor([0.5, 0.5], dtype=F64)
    assert math.isclose(torch.linalg.eigvalsh(torch.diag(half) - torch.outer(half, half))[-1].item(), 0.5)
    near = torch.softmax(torch.tensor([20.0, 20.0, 0.0], dtype=F64), 0)
    assert 0.5 - 1e-6 < torch.linalg.eigvalsh(torch.diag(near) - torch.outer(near, near))[-1] < 0.5


@checks('eq-attn-mup', 'ex-attn-scale')
def correlated_dot_product():
    """Moments of one product q_i k_i by Gauss–Hermite quadrature; sums of independent terms add."""
    nodes, weight = np.polynomial.hermite_e.hermegauss(40)
    weight = weight / weight.sum()
    rho = 0.3
    q, z = np.meshgrid(nodes, nodes)
    product = q * (rho * q + math.sqrt(1 - rho**2) * z)
    mean = (np.outer(weight, weight) * product).sum()
    variance = (np.outer(weight, weight) * product**2).sum() - mean**2
    return {'a': 128 * mean, 'b': 128 * variance, 'c': 128 * mean / 128**0.5, 'd': 512 * mean / 512**0.5, 'e': 512 * mean / 512}


@checks('thm-attn-backward', 'eq-attn-backward', 'cor-attn-keybias', 'ex-attn-invariance')
def backward():
    """Formulas against autograd through PyTorch's own operator, causal mask included."""
    n, d = 9, 6
    x = torch.randn(n, 11, dtype=F64)
    wq, wk = (torch.randn(11, d, dtype=F64, requires_grad=True) for _ in range(2))
    bias = torch.zeros(d, dtype=F64, requires_grad=True)
    q, k = x @ wq, x @ wk + bias
    v = torch.randn(n, 4, dtype=F64, requires_grad=True)
    for tensor in (q, k):
        tensor.retain_grad()
    keep = torch.ones(n, n, dtype=torch.bool).tril()
    o = F.scaled_dot_product_attention(q, k, v, attn_mask=keep)
    do = torch.randn_like(o)
    o.backward(do)
    with torch.no_grad():
        a = torch.softmax((q @ k.T / d**0.5).masked_fill(~keep, -math.inf), -1)
        ds = a * (do @ v.T - (do * o).sum(-1, keepdim=True))
        torch.testing.assert_close(v.grad, a.T @ do)
        torch.testing.assert_close(q.grad, ds @ k / d**0.5)
        torch.testing.assert_close(k.grad, ds.T @ q / d**0.5)
        assert (ds[~keep] == 0).all()
        torch.testing.assert_close(bias.grad, torch.zeros(d, dtype=F64), atol=1e-13, rtol=0)
        torch.testing.assert_close(q.T @ q.grad, (k.T @ k.grad).T)
        # Conservation along the gradient flow: the time derivatives of both Gram matrices agree.
        flow_q = wq.T @ wq.grad + wq.grad.T @ wq
        torch.testing.assert_close(flow_q, wk.T @ wk.grad + wk.grad.T @ wk)
        assert flow_q.norm() > 1e-3


@checks('thm-attn-variational', 'eq-attn-gibbs')
def variational():
    """The identity at random points of the simplex, the maximum by constrained optimisation, the conjugate by optimisation over s."""
    s, tau = np.random.randn(5), 0.7

    def value(p):
        return p @ s - tau * (p * np.log(np.maximum(p, 1e-300))).sum()

    best = np.exp(s / tau) / np.exp(s / tau).sum()
    top = tau * np.log(np.exp(s / tau).sum())
    for p in np.random.dirichlet(np.ones(5), 20):
        np.testing.assert_allclose(value(p), top - tau * (p * np.log(p / best)).sum(), rtol=1e-12)
    found = optimize.minimize(
        lambda p: -value(p), np.full(5, 0.2), bounds=[(1e-9, 1)] * 5, constraints={'type': 'eq', 'fun': lambda p: p.sum() - 1},
        options={'ftol': 1e-14, 'maxiter': 500},
    )
    np.testing.assert_allclose(found.x, best, atol=1e-5)
    p = np.random.dirichlet(np.ones(5))
    dual = optimize.minimize(lambda t: tau * np.log(np.exp(t / tau).sum()) - p @ t, np.zeros(5), options={'gtol': 1e-10})
    np.testing.assert_allclose(-dual.fun, tau * (p * np.log(p)).sum(), atol=1e-8)
    point = torch.tensor(s, requires_grad=True)
    hessian = torch.autograd.functional.hessian(lambda t: tau * torch.logsumexp(t / tau, 0), point)
    np.testing.assert_allclose(hessian.numpy(), (np.diag(best) - np.outer(best, best)) / tau, atol=1e-12)


@checks('prop-attn-temperature', 'eq-attn-entropy', 'eq-attn-cold', 'eq-attn-dilution')
def temperature():
    s = torch.tensor([2.0, 2.0, 1.5, 0.0, -1.0], dtype=F64)
    for value in (0.05, 0.3, 1.0, 7.0):
        tau = torch.tensor(value, dtype=F64, requires_grad=True)
        p = torch.softmax(s / tau, 0)
        entropy = -(p * p.log()).sum()
        slope = torch.autograd.grad(entropy, tau)[0]
        p = p.detach()
        torch.testing.assert_close(slope, ((p * s.square()).sum() - (p * s).sum() ** 2) / value**3)
        free = value * torch.logsumexp(s / value, 0)
        assert 2 + value * math.log(2) - 1e-12 <= free <= 2 + value * math.log(5)
        assert p[2:].sum() <= 3 / 2 * math.exp(-0.5 / value) + 1e-15
    assert math.isclose(entropy.item(), math.log(5), abs_tol=0.05)
    bound = 1.3
    for n in (2, 50, 2000):
        s = torch.full((n,), -bound, dtype=F64)
        s[0] = bound
        peak = torch.softmax(s, 0)[0].item()
        assert math.isclose(peak, 1 / (1 + (n - 1) * math.exp(-2 * bound))) and peak <= math.exp(2 * bound) / n


@checks('fig-attn-entropy', 'eq-attn-remcurve')
def entropy_limit():
    """The finite curves approach the limit: the gap at twice the critical temperature shrinks with n."""
    script = importlib.import_module('figures.chapter1.attn_entropy')
    rng = np.random.default_rng(1)
    gaps = [abs(script.entropy(n, 2.0, rng) - 0.75) for n in (64, 1024, 65_536)]
    assert gaps[0] > gaps[2] and gaps[2] < 0.01
    frozen = [script.entropy(n, 0.5, rng) for n in (64, 1024, 65_536)]
    assert frozen[0] > frozen[1] > frozen[2]


@checks('eq-attn-nw', 'eq-attn-gauss', 'eq-attn-linear')
def kernel_views():
    """Weighted least squares by a solver, the Gaussian form, and the reassociated linear form, against PyTorch's attention."""
    n, d = 12, 4
    q, k, v = torch.randn(d, dtype=F64), torch.randn(n, d, dtype=F64), torch.randn(n, 3, dtype=F64)
    tau = d**0.5
    o = F.scaled_dot_product_attention(q[None], k, v)[0]
    root = torch.exp(k @ q / tau).sqrt()[:, None]
    torch.testing.assert_close(torch.linalg.lstsq(root, root * v).solution[0], o)
    gauss = torch.exp(k.square().sum(-1) / (2 * tau)) * torch.exp(-(q - k).square().sum(-1) / (2 * tau))
    torch.testing.assert_close(gauss / gauss.sum() @ v, o)
    phi_q, phi_k = q.exp(), k.exp()
    weight = phi_k @ phi_q
    torch.testing.assert_close((v.T @ phi_k) @ phi_q / (phi_k.sum(0) @ phi_q), weight / weight.sum() @ v)


@checks('prop-attn-hopfield', 'eq-attn-hopfield', 'eq-attn-retrieval')
def hopfield():
    n, d, beta = 30, 64, 0.4
    x = torch.randint(0, 2, (n, d)).to(F64) * 2 - 1

    def energy(state):
        return -torch.logsumexp(beta * x @ state, 0) / beta + state @ state / 2

    useful = 0
    for _ in range(80):
        noise = torch.randn(d, dtype=F64)
        state = (x[0] + torch.rand(()) * 3 * noise / noise.norm()).requires_grad_()
        gradient = torch.autograd.grad(energy(state), state)[0]
        state = state.detach()
        new = x.T @ torch.softmax(beta * x @ state, 0)
        torch.testing.assert_close(new, state - gradient)
        assert energy(new) <= energy(state) - (new - state).square().sum() / 2 + 1e-9
        gap = d - (x[1:] @ x[0]).max()
        radius = d**0.5
        bound = 2 * radius * (n - 1) * torch.exp(-beta * (gap - 2 * radius * (state - x[0]).norm()))
        assert (new - x[0]).norm() <= bound + 1e-12
        useful += bool(bound < radius)
    assert useful > 4
    # (c): e^{d t^2 / 8} sign patterns, largest off-diagonal inner product at most t d, as often as promised.
    d, t = 256, 0.45
    n = int(math.exp(d * t**2 / 8))
    held = 0
    for _ in range(20):
        signs = torch.randint(0, 2, (n, d)).to(F64) * 2 - 1
        held += bool((signs @ signs.T - 2 * d * torch.eye(n)).max() <= t * d)
    assert n > 500 and held / 20 >= 1 - math.exp(-d * t**2 / 4) / 2


@checks('eg-attn-capacity', 'eq-attn-capacity')
def capacity():
    """The number of distractors at half weight, found by simulating the distractors' sum rather than from its mean."""
    found = {}
    for name, width in (('n64', 64), ('n128', 128)):
        mean = torch.randn(4_000_000, dtype=F64).exp().mean().item()
        found[name] = math.exp(math.sqrt(width)) / mean
    assert abs(found['n64'] / 1808 - 1) < 0.01
    n = round(found['n128'])
    shares = [1 / (1 + torch.randn(n, dtype=F64).exp().sum().item() / math.exp(math.sqrt(128))) for _ in range(50)]
    assert abs(np.mean(shares) - 0.5) < 0.005
    nodes, weight = np.polynomial.hermite_e.hermegauss(60)      # E e^z without the closed form, for the exact digits
    found['n64'] = round(math.exp(8) / (weight @ np.exp(nodes) / weight.sum()))
    return found


@checks('ex-attn-capacity')
def capacity_exercise():
    n = 131_072
    match = math.exp(8)
    share = np.mean([match / (match + torch.randn(n, dtype=F64).exp().sum().item()) for _ in range(50)])
    nodes, weight = np.polynomial.hermite_e.hermegauss(60)
    weight = weight / weight.sum()

    def excess(gamma):
        return gamma * math.sqrt(128) - math.log(n * (weight @ np.exp(gamma * nodes)))

    gamma = optimize.brentq(excess, 1, 2)
    # The freezing point: where the annealed entropy ln n - sigma^2 / 2 of the random energy model vanishes.
    return {'b': share, 'c': gamma, 'd': optimize.brentq(lambda sigma: math.log(n) - sigma**2 / 2, 1, 10)}


@checks('ex-attn-features')
def random_features():
    """Both moments by Gauss–Hermite quadrature over w in two dimensions."""
    nodes, weight = np.polynomial.hermite_e.hermegauss(80)
    weight = weight / weight.sum()
    q, k = np.array([0.3, -0.8]), np.array([0.5, 0.4])
    w = np.stack(np.meshgrid(nodes, nodes, indexing='ij'), -1)
    product = np.exp(w @ q - q @ q / 2) * np.exp(w @ k - k @ k / 2)
    mass = np.outer(weight, weight)
    np.testing.assert_allclose((mass * product).sum(), math.exp(q @ k), rtol=1e-10)
    np.testing.assert_allclose((mass * product**2).sum() / math.exp(2 * q @ k), math.exp((q + k) @ (q + k)), rtol=1e-10)
    sample = 128**-0.25 * torch.randn(2, 20_000, 128, dtype=F64)
    length = (sample[0] + sample[1]).square().sum(-1).mean().item()
    assert abs(length - 22.6) < 0.1 and 6e9 < math.exp(2 * math.sqrt(128)) < 7.5e9


@checks('lem-attn-dobrushin')
def contraction_lemma():
    """Random distributions, and the pair for which (b) is an equality."""
    for _ in range(200):
        s, u, z = torch.randn(8, dtype=F64), 3 * torch.randn(8, dtype=F64), torch.randn(8, 3, dtype=F64)
        a, b = torch.softmax(s, 0), torch.softmax(s + u, 0)
        variation = (a - b).abs().sum() / 2
        assert variation <= torch.tanh((u.max() - u.min()) / 4) + 1e-14
        assert ((a - b) @ z).norm() <= variation * torch.cdist(z, z).max() + 1e-14
    a, b = torch.softmax(torch.tensor([-0.9, 0.9], dtype=F64), 0), torch.softmax(torch.tensor([0.9, -0.9], dtype=F64), 0)
    assert math.isclose((a - b).abs().sum().item() / 2, math.tanh(3.6 / 4))


@checks('thm-attn-collapse', 'eq-attn-cubic', 'eq-attn-range', 'prop-attn-residual', 'eq-attn-double', 'fig-attn-collapse')
def collapse():
    """One-layer bounds at many scales, in PyTorch; the cubic rate; the figure's curves below its bounds."""
    n, d = 20, 12
    for scale in (0.01, 0.1, 0.5, 1.0, 3.0):
        for _ in range(20):
            x = torch.randn(d, dtype=F64) + scale * torch.randn(n, d, dtype=F64)
            wq, wk, wv = torch.randn(3, d, d, dtype=F64) / d**0.5
            y = F.scaled_dot_product_attention(x @ wq, x @ wk, x @ wv)
            m = wq @ wk.T / d**0.5
            delta, after = (torch.cdist(t, t, compute_mode='donot_use_mm_for_euclid_dist').max() for t in (x, y))
            eta = torch.linalg.matrix_norm(wv, 2) * torch.tanh(torch.linalg.matrix_norm(m, 2) * delta**2 / 4)
            assert after <= eta * delta + 1e-13
            with_residual = torch.cdist(x + y, x + y, compute_mode='donot_use_mm_for_euclid_dist').max()
            assert (1 - eta) * delta - 1e-12 <= with_residual <= (1 + eta) * delta + 1e-12
    # Local exponent: shrinking the spread tenfold shrinks the output's spread about a thousandfold.
    centre, noise = torch.randn(d, dtype=F64), torch.randn(n, d, dtype=F64)
    spread = []
    for scale in (1e-2, 1e-3):
        x = centre + scale * noise
        y = F.scaled_dot_product_attention(x @ wq, x @ wk, x @ wv)
        spread.append(torch.cdist(y, y, compute_mode='donot_use_mm_for_euclid_dist').max())
    assert abs(torch.log10(spread[0] / spread[1]).item() - 3) < 0.1
    script = importlib.import_module('figures.chapter1.attn_collapse')
    for norm in (2, 8, 32):
        path = script.trajectory(norm, residual=False)
        assert (path[1:] <= script.bound(path[:-1], norm) + 1e-14).all() and path[-1] < 1e-14
    assert script.trajectory(8, residual=True)[-1] > 1
    before, after = script.one_layer(8, residual=False)
    assert (after <= script.bound(before, 8)).all()
    assert round((script.bound(before, 8) / after)[0]) == 47
    slopes = np.diff(np.log(after)) / np.diff(np.log(before))
    assert abs(slopes[0] - 3) < 0.01
    before, after = script.one_layer(8, residual=True)
    assert abs(np.diff(np.log(after))[0] / np.diff(np.log(before))[0] - 1) < 1e-4


@checks('ex-attn-causal', 'eq-attn-algebraic')
def causal_collapse_and_residual_rate():
    n, d = 16, 8
    x = torch.randn(n, d, dtype=F64)
    for _ in range(5):
        q, k = torch.randn(2, n, 4, dtype=F64)
        a = F.scaled_dot_product_attention(q, k, torch.eye(n, dtype=F64), is_causal=True)
        y = a @ x
        before, after = ((t - t[0]).norm(dim=-1).max() for t in (x, y))
        assert after <= (1 - a[:, 0].min()) * before + 1e-12
        x = y
    grid = torch.linspace(0, 0.5, 501, dtype=F64)
    assert ((1 - grid) ** -2 <= 1 + 6 * grid + 1e-12).all()
    # Worst case of the recursion: every layer shrinks as much as the proposition allows.
    for omega, norm, start in ((0.5, 3.0, 2.0), (0.9, 20.0, 0.1), (0.2, 1.0, 10.0)):
        kappa, delta = omega * norm / 4, start
        for layer in range(1, 2001):
            delta *= 1 - omega * math.tanh(norm * delta**2 / 4)
            assert delta**-2 <= max(start**-2, 2 * kappa / (1 - omega) ** 2) + 6 * kappa * layer + 1e-9


@checks('prop-attn-sensitivity', 'eq-attn-sensitivity')
def sensitivity():
    bound, radius = 0.8, 2.0
    for n in (10, 100, 1000):
        for _ in range(50):
            s = bound * (2 * torch.rand(n, dtype=F64) - 1)
            v = F.normalize(torch.randn(n, 3, dtype=F64), dim=-1) * radius
            before = torch.softmax(s, 0) @ v
            s[0], v[0] = bound, -v[0]
            assert (torch.softmax(s, 0) @ v - before).norm() <= 4 * radius * math.exp(2 * bound) / n


@checks('prop-attn-sink', 'eq-attn-sink')
def sink_is_a_gate():
    """A sink as one more key with value zero, against the gate, with the log-sum-exp that flex_attention returns."""
    n, d, b = 32, 16, 0.7
    q, k, v = (torch.randn(1, 1, n, d, dtype=torch.float32) for _ in range(3))
    scores = q @ k.mT / d**0.5
    with_sink = torch.softmax(torch.cat([scores, torch.full((1, 1, n, 1), b)], -1), -1)[..., :-1] @ v
    out, aux = flex_attention(q, k, v, return_aux=AuxRequest(lse=True))
    torch.testing.assert_close(aux.lse, torch.logsumexp(scores, -1))
    torch.testing.assert_close(out * torch.sigmoid(aux.lse - b)[..., None], with_sink)


@checks('ex-attn-sink')
def sink_drift():
    """Mean log-sum-exp by simulation, not from ln n + 1/2."""
    short = torch.logsumexp(torch.randn(40_000, 128, dtype=F64), -1).mean()
    long = torch.stack([torch.logsumexp(torch.randn(131_072, dtype=F64), 0) for _ in range(40)]).mean()
    assert abs(math.log(128) + 0.5 - short - 0.0067) < 0.004
    return {'a': short, 'b': torch.sigmoid(long - short), 'c': long}


@checks('ex-attn-order')
def order_needs_two_layers():
    """Uniform causal attention with residual on (a, b, e) and (b, a, e); one layer with random weights cannot tell them apart."""
    a, b, e = torch.randn(3, 6, dtype=F64)
    w = torch.randn(3, 6, 6, dtype=F64)
    one = [F.scaled_dot_product_attention(x @ w[0], x @ w[1], x @ w[2], is_causal=True)[-1] for x in (torch.stack([a, b, e]), torch.stack([b, a, e]))]
    torch.testing.assert_close(one[0], one[1])

    def block(x):
        return x + F.scaled_dot_product_attention(0 * x, x, x, is_causal=True)

    ab, ba = (block(block(torch.stack(t)))[-1] for t in ((a, b, e), (b, a, e)))
    torch.testing.assert_close(ab - ba, (a - b) / 3)
    x = torch.randn(9, 6, dtype=F64)
    for i in range(1, 8):       # exchanging tokens i and i + 1 of n moves the last output by 1 / (n i) of their difference
        order = list(range(9))
        order[i - 1], order[i] = i, i - 1
        torch.testing.assert_close(block(block(x))[-1] - block(block(x[order]))[-1], (x[i - 1] - x[i]) / (9 * i))


def matmul_flops(function, *shapes):
    """FLOPs as PyTorch's own counter sees them, on tensors without storage."""
    tensors = [torch.empty(shape, device='meta') for shape in shapes]
    with FlopCounterMode(display=False) as counter:
        function(*tensors)
    return counter.get_total_flops()


def linear_flops(n, *widths):
    return sum(matmul_flops(lambda x, w: x @ w, (n, i), (i, o)) for i, o in widths)


def core_flops(n, heads, width):
    scores = matmul_flops(torch.matmul, (heads, n, width), (heads, width, n))
    mixed = matmul_flops(torch.matmul, (heads, n, n), (heads, n, width))
    return scores, mixed


@checks('tab-attn-cost', 'eq-attn-flops', 'eq-attn-intensity', 'fig-attn-flops')
def cost_table():
    """Llama 3 8B at 8,192 tokens: FLOPs from PyTorch's counter, sizes from the tensors' shapes."""
    n, d, heads, groups, head, ffn = 8192, 4096, 32, 8, 128, 14336

    def mebibytes(*shapes):
        return sum(math.prod(shape) for shape in shapes) * torch.bfloat16.itemsize / 2**20

    scores, mixed = core_flops(n, heads, head)
    queries = linear_flops(n, (d, heads * head), (heads * head, d))
    keys = linear_flops(n, (d, groups * head), (d, groups * head))
    feed_forward = linear_flops(n, (d, ffn), (d, ffn), (ffn, d))
    linear = (queries + keys + feed_forward) / n
    assert linear == 436_207_616 and scores + mixed == 4 * n * n * d
    crossing = linear / ((scores + mixed) / n**2)
    assert crossing == 26_624
    skipping = optimize.brentq(lambda t: 2 * (t + 1) * d - linear, 1, 1e6)
    assert round(skipping) == 53_247
    # Plain multi-head attention: 8 n d^2 + 4 n^2 d, equal at n = 2 d, and at 6 d with a 4 d feed-forward layer.
    for width in (256, 512):
        assert linear_flops(2 * width, *[(width, width)] * 4) == sum(core_flops(2 * width, 4, width // 4))
        assert linear_flops(6 * width, *[(width, width)] * 4, (width, 4 * width), (4 * width, width)) == sum(core_flops(6 * width, 4, width // 4))
    assert abs((scores + mixed) / (4 * heads * n * n * 2) - 64) < 1e-9
    assert round(989.4e12 / 3.35e12) == 295
    share = [4 * t * d / (4 * t * d + linear) for t in (8192, 131_072)]
    assert 0.22 < share[0] < 0.25 and 0.8 < share[1] < 0.85
    tera = 1e12
    return {
        '$Q$、$O$ 投影': {'运算': (queries / tera, 'TFLOP'), '产出的张量': (mebibytes((n, d), (n, d)), 'MiB')},
        '$K$、$V$ 投影': {'运算': (keys / tera, 'TFLOP'), '产出的张量': (mebibytes((n, groups * head), (n, groups * head)), 'MiB')},
        '$QK^\\top$': {'运算': (scores / tera, 'TFLOP'), '产出的张量': (mebibytes((heads, n, n)), 'MiB')},
        '$AV$（$A$ 计入张量）': {'运算': (mixed / tera, 'TFLOP'), '产出的张量': (mebibytes((heads, n, n), (n, d)), 'MiB')},
        'SwiGLU 前馈': {'运算': (feed_forward / tera, 'TFLOP'), '产出的张量': (mebibytes(*[(n, ffn)] * 3, (n, d)), 'MiB')},
    }


@checks('ex-attn-flops')
def gpt3_layer():
    n, d, heads = 2048, 12288, 96
    projections = linear_flops(n, *[(d, d)] * 4)
    core = sum(core_flops(n, heads, 128))
    linear = (projections + linear_flops(n, (d, 4 * d), (4 * d, d))) / n
    return {
        'a': (projections, 'FLOP'),
        'b': (core, 'FLOP'),
        'c': core / projections,
        'd': (torch.empty(heads, n, n, dtype=torch.float16, device='meta').nbytes, 'byte'),
        'e': linear / (core / n**2),
    }


def fails(call, backend=None):
    try:
        with sdpa_kernel(backend) if backend else contextlib.nullcontext():
            call()
    except RuntimeError:
        return
    raise AssertionError('PyTorch accepted what the table says it refuses')


@checks('tab-attn-torch')
def documented_behaviour():
    """What the table of PyTorch functions says, tried out."""
    q, k, v = (torch.randn(1, 4, length, 8, dtype=F64) for length in (2, 5, 5))
    attend = F.scaled_dot_product_attention
    keep = torch.rand(2, 5) > 0.4
    keep[:, 0] = True
    added = torch.zeros(2, 5, dtype=F64).masked_fill(~keep, -math.inf)
    torch.testing.assert_close(attend(q, k, v, attn_mask=keep), attend(q, k, v, attn_mask=added))
    torch.testing.assert_close(attend(q, k, v, scale=8**-0.5), attend(q, k, v))
    torch.testing.assert_close(attend(q, k, v, is_causal=True), attend(q, k, v, attn_mask=torch.ones(2, 5).tril().bool()))
    torch.testing.assert_close(attend(q[..., :1, :], k, v, is_causal=True), v[..., :1, :])
    torch.testing.assert_close(attend(q, k, v, attn_mask=causal_lower_right(2, 5)), attend(q, k, v, attn_mask=torch.ones(2, 5).tril(3).bool()))
    both = keep & torch.ones(2, 5, dtype=torch.bool).tril()
    torch.testing.assert_close(attend(q, k, v, attn_mask=keep, is_causal=True), attend(q, k, v, attn_mask=both))
    fails(lambda: attend(q, k, v, attn_mask=keep, is_causal=True), backend=SDPBackend.MATH)
    grouped = attend(q, k[:, :2], v[:, :2], enable_gqa=True)
    torch.testing.assert_close(grouped, attend(q, k[:, :2].repeat_interleave(2, 1), v[:, :2].repeat_interleave(2, 1)))
    fails(lambda: attend(q, k[:, :2], v[:, :2]))
    assert not torch.allclose(attend(q, k, v, dropout_p=0.5), attend(q, k, v))

    keep[0] = False
    assert (attend(q, k, v, attn_mask=keep)[..., 0, :] == 0).all()
    assert torch.softmax(torch.full((3,), -math.inf), 0).isnan().all()
    assert torch.logsumexp(torch.full((3,), -math.inf), 0) == -math.inf
    finite = torch.zeros(2, 5, dtype=F64).masked_fill(~keep, torch.finfo(F64).min)
    torch.testing.assert_close(attend(q, k, v, attn_mask=finite)[..., 0, :], v.mean(-2))
    poisoned = v.clone()
    poisoned[..., 4, :] = math.nan
    hide = torch.ones(2, 5, dtype=torch.bool)
    hide[:, 4] = False
    assert attend(q, k, poisoned, attn_mask=hide).isnan().all()

    layer = torch.nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(1, 3, 8)
    hidden = torch.zeros(3, 3, dtype=torch.bool)
    hidden[0] = True
    assert layer(x, x, x, attn_mask=hidden)[0][0, 0].isnan().all()
    assert not layer(x, x, x, attn_mask=hidden, need_weights=False)[0].isnan().any()
    only_first = torch.tensor([[False, True, True]] * 3)
    weights = layer(x, x, x, attn_mask=only_first)[1]
    assert (weights[..., 0] == 1).all()
