"""Section 1.4: numbers and derivations of the feed-forward network and the residual stream, each computed another way than in the text."""

import importlib
import itertools
import math

import numpy as np
import torch
from scipy import integrate, optimize, special
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from checks import checks

F64 = torch.float64
RESIDUAL, SINKHORN, ACTIVATION = (
    importlib.import_module(f'figures.chapter1.ffn_{name}') for name in ('jacobian', 'sinkhorn', 'activation')
)


def llama_layer(d, d_ff, d_kv, device='meta'):
    """The seven matrices of one layer as modules, without memory."""
    shapes = {'q': (d, d), 'k': (d, d_kv), 'v': (d, d_kv), 'o': (d, d), 'gate': (d, d_ff), 'up': (d, d_ff), 'down': (d_ff, d)}
    return nn.ModuleDict({name: nn.Linear(*shape, bias=False, device=device) for name, shape in shapes.items()})


def size(modules, names):
    return sum(modules[name].weight.numel() for name in names)


def flops(run):
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def layer_flops(d, d_ff, d_kv, n):
    """Feed-forward, projections and attention core, counted by PyTorch on tensors without memory."""
    layer = llama_layer(d, d_ff, d_kv)
    x = torch.empty(n, d, device='meta')
    hidden = torch.empty(n, d_ff, device='meta')
    weights = torch.empty(n, n, device='meta')
    feed = flops(lambda: (layer['gate'](x), layer['up'](x), layer['down'](hidden)))
    project = flops(lambda: [layer[name](x) for name in 'qkvo'])
    core = flops(lambda: (x @ x.T, weights @ x))
    return feed, project, core


@checks('tab-ffn-share', 'eq-ffn-share')
def flop_shares():
    rows = {}
    for n in (2048, 8192, 32768, 131072):
        parts = layer_flops(4096, 14336, 1024, n)
        names = ('前馈（%）', '注意力投影（%）', '注意力核心（%）')
        rows[f'{n:,}'] = {name: 100 * part / sum(parts) for name, part in zip(names, parts, strict=True)}
    layer = llama_layer(4096, 14336, 1024)
    feed, attention = size(layer, ('gate', 'up', 'down')), size(layer, 'qkvo')
    assert (feed, attention) == (176_160_768, 41_943_040)
    assert abs(feed / (feed + attention) - 0.808) < 5e-4
    return rows


@checks('eg-ffn-rounding', 'eq-ffn-rounding')
def rounding():
    """Search for the multiple instead of the ceiling formula."""

    def width(scale, multiple):
        hidden = 2 * 4 * 4096 // 3
        scaled = math.floor(scale * hidden)
        return hidden, scaled, next(m for m in range(0, 10**6, multiple) if m >= scaled)

    first, scaled, final = width(1.3, 1024)
    return {'first': first, 'scaled': scaled, 'final': final, 'old': width(1.0, 256)[2], 'ratio': final / 4096}


def mean(function):
    """Expectation under the standard normal law by adaptive quadrature, split at the kink."""
    weighted = lambda z: function(z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi)  # noqa: E731
    return sum(integrate.quad(weighted, *limits, limit=400)[0] for limits in ((-30, 0), (0, 30)))


def torch_activation(name):
    return {'ReLU': F.relu, 'GELU': F.gelu, 'SiLU': F.silu, 'ReLU²': lambda x: F.relu(x).square()}[name]


def value_and_slope(name):
    function = torch_activation(name)

    def evaluate(z):
        x = torch.tensor(z, dtype=F64, requires_grad=True)
        y = function(x)
        y.backward()
        return y.item(), x.grad.item()

    return evaluate


@checks('tab-ffn-activation', 'eq-ffn-moment', 'eq-ffn-rho')
def activation_table():
    """PyTorch's functions and their autograd, on a fine grid of the normal law; the slope by differences of ln M in ln q."""
    z = torch.linspace(-12, 12, 480_001, dtype=F64)
    weight = torch.exp(-z.square() / 2) * (z[1] - z[0]) / math.sqrt(2 * math.pi)
    rows = {}
    for name in ('ReLU', 'GELU', 'SiLU', 'ReLU²'):
        function = torch_activation(name)
        moment = lambda q, f=function: (f(math.sqrt(q) * z).square() * weight).sum().item()  # noqa: E731
        x = z.clone().requires_grad_()
        slope, = torch.autograd.grad(function(x).sum(), x)
        backward = (slope.square() * weight).sum().item()
        degree = (math.log(moment(1.001)) - math.log(moment(0.999))) / (math.log(1.001) - math.log(0.999))
        rows[name] = {'$\\E[\\phi^2]$': moment(1), '$c$': 1 / moment(1), "$\\E[\\phi'^2]$": backward, '$\\rho$': backward / moment(1), '$\\kappa$': degree}
    return rows


@checks('eq-ffn-derivatives')
def derivatives():
    """Extrema by optimisation over autograd; the errors of both approximations."""
    for name, top, at, low, low_at in (('GELU', 1.129, math.sqrt(2), -0.170, -0.752), ('SiLU', 1.100, 2.399, -0.278, -1.278)):
        evaluate = value_and_slope(name)
        best = optimize.minimize_scalar(lambda x, e=evaluate: -e(x)[1], bounds=(0, 5), method='bounded', options={'xatol': 1e-9})
        least = optimize.minimize_scalar(lambda x, e=evaluate: e(x)[0], bounds=(-3, 0), method='bounded', options={'xatol': 1e-9})
        assert abs(-best.fun - top) < 5e-4 and abs(best.x - at) < 1e-3
        assert abs(least.fun - low) < 5e-4 and abs(least.x - low_at) < 1e-3
    x = torch.linspace(-8, 8, 1_600_001, dtype=F64)
    exact = F.gelu(x)
    for other, worst, where in ((F.gelu(x, approximate='tanh'), 4.7e-4, 2.70), (x * torch.sigmoid(1.702 * x), 2.0e-2, 2.27)):
        error = (other - exact).abs()
        assert abs(error.max().item() / worst - 1) < 0.02 and abs(abs(x[error.argmax()].item()) - where) < 5e-3
    point = torch.tensor(-4.0, dtype=F64)
    assert abs((F.gelu(point, approximate='tanh') / F.gelu(point) - 1).abs().item() - 0.45) < 0.01
    for name in ('GELU', 'SiLU', 'ReLU', 'ReLU²'):
        for z in (-2.3, -0.4, 0.7, 1.9):
            assert abs(ACTIVATION.ACTIVATIONS[name][1](np.array(z)) - value_and_slope(name)(z)[1]) < 1e-9


@checks('eq-ffn-glu-moment', 'fig-ffn-activation')
def gated_moment():
    """Simulated second moment of a SwiGLU hidden layer, and its growth with the scale of the input."""
    d, hidden = 256, 200_000
    x = torch.randn(d, dtype=F64)
    x *= math.sqrt(d) / x.norm()
    up = torch.randn(hidden, dtype=F64)
    gate = torch.stack([torch.randn(2000, d, dtype=F64) @ x / math.sqrt(d) for _ in range(100)]).flatten()
    sample = (F.silu(gate) * up).square()
    assert abs(sample.mean().item() - mean(lambda z: (z * special.expit(z)) ** 2)) < 5 * sample.std().item() / math.sqrt(hidden)
    moment = lambda q: q * mean(lambda z: (math.sqrt(q) * z * special.expit(math.sqrt(q) * z)) ** 2)  # noqa: E731
    growth = (math.log(moment(1.01)) - math.log(moment(0.99))) / math.log(1.01 / 0.99)
    assert abs(growth - 2.17) < 5e-3 and abs(growth - ACTIVATION.degree('SwiGLU', 1.0)) < 1e-3


@checks('eq-ffn-clamp')
def clamped():
    g, u = (torch.linspace(-40, 40, 1601, dtype=F64)[:, None], torch.linspace(-40, 40, 1601, dtype=F64)[None])
    gate = g.clamp(max=7)
    out = gate * torch.sigmoid(1.702 * gate) * (u.clamp(-7, 7) + 1)
    assert 55.99 < out.abs().max().item() < 56
    x = torch.tensor([6.0, 7.0, 8.0], requires_grad=True)
    x.clamp(max=7).sum().backward()
    assert x.grad.tolist() == [1, 1, 0]


@checks('thm-ffn-memory', 'eq-ffn-keyvalue')
def exact_memory():
    """Random keys with nn.Linear layers: exact recall, and the bound on the error of each coefficient."""
    d, m = 64, 300
    x = torch.randint(0, 2, (m, d), dtype=F64).mul(2).sub(1) / math.sqrt(d)
    coherence = (x @ x.T - 2 * torch.eye(m, dtype=F64)).max().item()
    first, second = nn.Linear(d, m, dtype=F64), nn.Linear(m, 10, bias=False, dtype=F64)
    values = torch.randn(m, 10, dtype=F64)
    with torch.no_grad():
        first.weight.copy_(x / (1 - coherence))
        first.bias.fill_(-coherence / (1 - coherence))
        second.weight.copy_(values.T)
        torch.testing.assert_close(second(F.relu(first(x))), values)
        noise = 0.05 * F.normalize(torch.randn(m, d, dtype=F64))
        error = (F.relu(first(x + noise)) - torch.eye(m, dtype=F64)).abs().max().item()
    assert error <= 0.05 / (1 - coherence)


@checks('eg-ffn-memory')
def three_in_the_plane():
    angle = torch.deg2rad(torch.tensor([0.0, 120.0, 240.0], dtype=F64))
    keys = torch.stack([angle.cos(), angle.sin()], 1)
    coherence = (keys @ keys.T)[0, 1]
    scale, bias = 1 / (1 - coherence), -coherence / (1 - coherence)
    turn = math.radians(20)
    query = torch.tensor([math.cos(turn), math.sin(turn)], dtype=F64)
    a = F.relu(F.linear(query, keys * scale, bias.expand(3)))
    return {'scale': scale, 'bias': bias, 'a': a, 'y': a @ torch.tensor([[1.0, 0], [0, 1], [1, 1]], dtype=F64)}


@checks('thm-ffn-growth', 'eq-ffn-linear', 'eq-ffn-jacgrowth', 'eq-ffn-product', 'cor-ffn-gpt2')
def growth():
    """Means over random networks against the law, for GELU with autograd's Jacobian-vector product, with and without the scaling."""
    d, hidden, depth, draws = 32, 64, 12, 1500
    second = mean(lambda z: F.gelu(torch.tensor(z, dtype=F64)).item() ** 2)
    for gain in (2.0, 2.0 / depth):
        x = torch.randn(draws, d, dtype=F64)
        x *= math.sqrt(d) / x.norm(dim=1, keepdim=True)
        u = torch.randn(draws, d, dtype=F64)
        predicted = []
        for layer in range(depth):
            inner = torch.randn(draws, d, hidden, dtype=F64) / math.sqrt(d)
            outer = torch.randn(draws, hidden, d, dtype=F64) * math.sqrt(gain / hidden)

            def branch(s, inner=inner, outer=outer):
                return torch.einsum('bi,bij->bj', F.gelu(torch.einsum('bi,bij->bj', F.rms_norm(s, (d,), eps=0.0), inner)), outer)

            before = u.square().sum(1)
            radial = (u * x).sum(1) / x.norm(dim=1)
            rho_b = gain * mean_slope()
            predicted.append((before + rho_b * d / x.square().sum(1) * (before - radial.square())).mean())
            step, moved = torch.func.jvp(branch, (x,), (u,))
            x, u = x + step, u + moved
            measured = u.square().sum(1)
            assert abs(measured.mean() / predicted[-1] - 1) < 0.05
            energy = x.square().sum(1)
            expected = d + (layer + 1) * gain * second * d
            assert abs(energy.mean().item() - expected) < 5 * energy.std().item() / math.sqrt(draws)
    for rho, net in ((1.072, 1.31), (4 / 3, 3.39)):
        assert abs(math.prod(1 + rho / (1 + layer) for layer in range(64)) / 65 - net) < 5e-3


def mean_slope():
    z = torch.linspace(-12, 12, 20_001, dtype=F64, requires_grad=True)
    slope, = torch.autograd.grad(F.gelu(z).sum(), z)
    weight = torch.exp(-z.detach().square() / 2) / math.sqrt(2 * math.pi)
    return torch.trapezoid(slope.square() * weight, z.detach()).item()


@checks('prop-ffn-pathlength', 'eq-ffn-meanlength', 'fig-ffn-jacobian')
def path_lengths():
    """The law by enumeration of all subsets for eight layers, the moments quoted, and the simulation of the figure."""
    g = [1 / (layer + 1) for layer in range(8)]
    energy = np.zeros(9)
    for chosen in itertools.product((0, 1), repeat=8):
        energy[sum(chosen)] += math.prod(x for x, taken in zip(g, chosen, strict=True) if taken)
    law = np.ones(1)
    for x in g:
        law = np.convolve(law, [1 / (1 + x), x / (1 + x)])
    np.testing.assert_allclose(energy / energy.sum(), law)
    full, scaled = RESIDUAL.law(1.0, 64), RESIDUAL.law(1 / 64, 64)
    assert abs(full @ np.arange(65) - 3.76) < 5e-3 and full[9:].sum() < 0.01
    assert abs(scaled @ np.arange(65) - 0.69) < 5e-3 and abs(scaled[0] - 0.5) < 1e-9
    spectra, lengths = RESIDUAL.data()
    for measured, theory in lengths.values():
        assert np.abs(measured - theory).max() < 0.03
    share = {name: (values < 1e-2).mean() for name, values in spectra.items()}
    assert 0.65 < share['无残差，16 层'] < 0.8 and 9 <= (spectra['无残差，64 层'] > 1e-2).sum() <= 15
    assert share['残差，64 子层'] < 0.05
    assert 8 < spectra['残差，缩放'][0] / spectra['残差，缩放'][-1] < 16


@checks('eq-ffn-polarized')
def branch_inner_products():
    """Mean of the branch Jacobian and of its inner products for two fixed directions, over fresh weights; autograd does the derivative."""
    d, hidden, gain, draws = 12, 40, 2.0, 6000
    x, a, b = 1.7 * torch.randn(d, dtype=F64), torch.randn(d, dtype=F64), torch.randn(d, dtype=F64)
    inner = torch.randn(draws, d, hidden, dtype=F64) / math.sqrt(d)
    outer = torch.randn(draws, hidden, d, dtype=F64) * math.sqrt(gain / hidden)
    branch = lambda s: torch.einsum('nh,nhj->nj', F.relu(torch.einsum('i,nih->nh', F.rms_norm(s, (d,), eps=0.0), inner)), outer)  # noqa: E731
    moved_a, moved_b = (torch.func.jvp(branch, (x,), (u,))[1] for u in (a, b))
    assert (moved_a.mean(0).abs() < 5 * moved_a.std(0) / math.sqrt(draws)).all()
    products = (moved_a * moved_b).sum(1)
    along = lambda u: u - x * (u @ x) / (x @ x)  # noqa: E731
    expected = gain / 2 * d / (x @ x) * (along(a) @ along(b))      # rho b = s^2 / 2 for ReLU
    assert abs(products.mean() - expected) < 5 * products.std() / math.sqrt(draws)


@checks('eq-ffn-product')
def direction_matters():
    """The gain of a random direction follows the product; that of the stream's own direction is far below it."""
    rng = np.random.default_rng(3)
    gains = {}
    for parallel in (False, True):
        total = 0.0
        for _ in range(16):
            x = RESIDUAL.start(rng)
            u = x.copy() if parallel else rng.standard_normal(RESIDUAL.WIDTH)
            u = u[:, None] / np.linalg.norm(u)
            for branch in RESIDUAL.layers(1.0, rng, x, depth=16):
                u = u + branch(u)
            total += (u**2).sum() / 16
        gains[parallel] = total
    assert abs(gains[False] / 17 - 1) < 0.25 and gains[True] < 0.6 * 17


@checks('eq-ffn-lyapunov')
def lyapunov():
    """Exponents of a product of Gaussian matrices by repeated QR, against the digamma formula."""
    d, depth = 16, 4000
    rng = np.random.default_rng(0)
    basis, total = np.eye(d), np.zeros(d)
    for _ in range(depth):
        basis, upper = np.linalg.qr(rng.standard_normal((d, d)) / math.sqrt(d) @ basis)
        total += np.log(np.abs(np.diag(upper)))
    k = np.arange(1, d + 1)
    np.testing.assert_allclose(total / depth, (special.digamma((d - k + 1) / 2) - math.log(d / 2)) / 2, atol=0.05)
    assert abs((special.digamma((128 - 64 + 1) / 2) - math.log(64)) / 2 + 0.35) < 5e-3
    assert abs((special.digamma(64) - math.log(64)) / 2 * 2 * 128 + 1) < 0.02


def rotation_step(alpha, beta, depth, rate=1e-9, signed=False):
    """One step on the rotation model with autograd; the turn of the output divided by the rate."""
    v, w = (torch.full((depth,), beta, dtype=F64, requires_grad=True) for _ in range(2))

    def angle(v, w):
        x = torch.complex(torch.ones((), dtype=F64), torch.zeros((), dtype=F64))
        for a, b in zip(v, w, strict=True):
            x = x * torch.complex(torch.full((), alpha, dtype=F64), a * b)
            x = x / x.abs()
        return x

    output = angle(v, w)
    turned = (output / output.detach()).angle()      # zero, with the derivative of the angle
    gradients = torch.autograd.grad(turned, (v, w))
    steps = [torch.sign(gradient) if signed else gradient for gradient in gradients]
    return sum((gradient * step).sum() for gradient, step in zip(gradients, steps, strict=True)).item()


@checks('ex-ffn-deepnorm', 'prop-ffn-rotation', 'eq-ffn-rotation', 'eq-ffn-alphabeta')
def deepnorm():
    """Solve the two conditions numerically; differentiate the model itself."""
    layers = 100
    solution = optimize.root(lambda p: (4 * layers * p[1] ** 2 / p[0] ** 2 - 1, 2 * p[0] ** 2 * p[1] ** 2 - 1), (3.0, 0.3)).x
    alpha, beta = np.abs(solution)
    ends = []
    for n in (10**4, 10**6):        # sign descent: 4 N beta / alpha = constant, with 2 alpha^2 beta^2 = 1
        ends.append(optimize.brentq(lambda a, n=n: 4 * n / (math.sqrt(2) * a * a) - 1, 1, 1e5))
    exponent = math.log(ends[1] / ends[0]) / math.log(100)
    return {
        'a': alpha, 'b': beta, 'c': rotation_step(1.0, 1.0, 200), 'd': rotation_step(alpha, beta, 200),
        'e': rotation_step(alpha, beta, 200, signed=True), 'exponent': exponent,
    }


@checks('prop-ffn-tent')
def sawtooth():
    """Count the linear pieces of the composition exactly on a dyadic grid."""
    x = torch.arange(0, 2**16 + 1, dtype=F64) / 2**16
    y = x
    for k in range(1, 11):
        y = y + F.relu(y) - 4 * F.relu(y - 0.5)
        slope = y.diff() * 2**16
        assert 1 + (slope.diff().abs() > 0.5).sum().item() == 2**k


@checks('prop-ffn-parallel', 'eq-ffn-dropped', 'eq-ffn-difference')
def parallel_block():
    """Count paths by enumeration, check the bound, and the first order of the difference with autograd."""
    for blocks, c in ((2, 1.0), (3, 2.0)):
        g = c / (2 * blocks)
        serial = sum(g ** sum(path) for path in itertools.product((0, 1), repeat=2 * blocks))
        kept = sum(g ** sum(path) for path in itertools.product((0, 1), repeat=2 * blocks)
                   if all(path[2 * i] + path[2 * i + 1] < 2 for i in range(blocks)))
        assert 0 < serial - kept <= blocks * g**2 * (1 + g) ** (2 * blocks - 2) <= c * c * math.exp(c) / (4 * blocks)
    for c, ratio in ((1.0, 1.0), (2.0, 4 / 3)):        # the scaled initialisation, layer by layer, stays below the bound
        g = [c / (6 + layer * c / ratio) for layer in range(6)]
        lost = math.fsum(math.prod(x for x, taken in zip(g, path, strict=True) if taken)
                         for path in itertools.product((0, 1), repeat=6) if any(path[2 * i] + path[2 * i + 1] == 2 for i in range(3)))
        assert 0 < lost <= (1 + c / 6) ** 6 - (1 + c / 3) ** 3
    for blocks in (32, 4000):        # unscaled: the loss does not vanish
        kept = np.array([(1 + 1 / (2 * i + 1) + 1 / (2 * i + 2)) / ((1 + 1 / (2 * i + 1)) * (1 + 1 / (2 * i + 2))) for i in range(blocks)])
        assert abs(1 - kept.prod() - 0.27) < 0.01
        assert np.log(kept[:2]).sum() / np.log(kept).sum() > 0.5
    d = 8
    weight = torch.randn(2, d, d, dtype=F64)
    x, a = torch.randn(2, d, dtype=F64)
    f = lambda s: torch.tanh(s @ weight[0]) @ weight[1]  # noqa: E731
    errors = [(f(x + h * a) - f(x) - torch.func.jvp(f, (x,), (h * a,))[1]).norm().item() for h in (1e-3, 1e-4)]
    assert 80 < errors[0] / errors[1] < 120


@checks('eg-ffn-comm')
def communication():
    """Ring all-reduce simulated chunk by chunk."""
    ranks, mib = 8, 2**20
    message = torch.empty(8192, 4096, dtype=torch.bfloat16, device='meta')
    total = message.numel() * message.element_size()
    data = torch.randn(ranks, ranks, dtype=F64)
    wanted, sent = data.sum(0), 0
    for phase in ('reduce', 'gather'):
        for step in range(ranks - 1):
            moved = data.clone()
            for rank in range(ranks):
                chunk = (rank - step + (phase == 'gather')) % ranks
                target = (rank + 1) % ranks
                moved[target, chunk] = data[rank, chunk] + (data[target, chunk] if phase == 'reduce' else 0)
            data, sent = moved, sent + total // ranks
    torch.testing.assert_close(data, wanted.expand(ranks, ranks))
    return {'message': (total / mib, 'MiB'), 'once': (sent / mib, 'MiB'), 'serial': (32 * 4 * sent / 2**30, 'GiB'), 'parallel': (32 * 2 * sent / 2**30, 'GiB')}


def random_mixing(scale=2.0):
    return torch.from_numpy(SINKHORN.sinkhorn(scale * np.random.standard_normal((4, 4)), 4000)[0])


@checks('prop-ffn-doubly', 'prop-ffn-sinkhorn', 'eq-ffn-pythagoras')
def doubly_stochastic():
    """Norms, closure, contraction of the differences, and the identity of relative entropies."""
    one = torch.ones(4, dtype=F64)
    for _ in range(20):
        h, other = random_mixing(), random_mixing()
        assert abs(torch.linalg.matrix_norm(h @ other, 2).item() - 1) < 1e-6
        torch.testing.assert_close((h @ other).sum(0), one)
        x = torch.randn(4, 6, dtype=F64)
        spread = lambda s: (s - s.mean(0)).norm().item()  # noqa: E731
        assert spread(h @ x) <= torch.linalg.svdvals(h)[1].item() * spread(x) + 1e-9
        logits = np.random.standard_normal((4, 4))
        m, p = torch.from_numpy(np.exp(logits)), torch.from_numpy(SINKHORN.sinkhorn(logits, 3000)[0])
        kl = lambda a, b: (a * (a / b).log()).sum()  # noqa: E731
        torch.testing.assert_close(kl(h, m), kl(h, p) + kl(p, m))


@checks('tab-ffn-sinkhorn', 'fig-ffn-sinkhorn')
def sinkhorn_table():
    """All matrices at once, in the log domain."""
    rows = {}
    for scale in (1, 2, 4):
        logits = scale * torch.from_numpy(np.stack([np.random.default_rng(seed).standard_normal((4, 4)) for seed in range(2000)]))
        errors = {}
        log = logits
        for turn in range(1, 1501):
            log = log - log.logsumexp(2, keepdim=True)
            log = log - log.logsumexp(1, keepdim=True)
            if turn in (5, 20):
                errors[turn] = (log.exp().sum(2) - 1).abs().amax(1)
        rows[str(scale)] = {
            '5 轮，中位数': errors[5].quantile(0.5), '20 轮，中位数': errors[20].quantile(0.5), '20 轮，99 分位': errors[20].quantile(0.99),
            '$\\sigma_2(P)$ 中位数': torch.linalg.svdvals(log.exp())[:, 1].quantile(0.5),
        }
    curves, norms = SINKHORN.data()
    for errors, second in curves.values():      # the linear rate, well before rounding
        assert abs((errors[14] / errors[9]) ** 0.2 / second**2 - 1) < 0.15
    assert norms[-1, 0] > 100 and abs(norms[-1, 1] - 1) < 1e-9 and norms[-1, 2] < 1e-2
    return rows


@checks('prop-ffn-attnres', 'eq-ffn-attnres')
def attention_residuals():
    """A six-layer network with zero pseudo-queries equals the plain pre-norm one; the norm bound for random ones."""
    d, depth = 16, 6
    weights = [(torch.randn(d, 4 * d, dtype=F64), torch.randn(4 * d, d, dtype=F64)) for _ in range(depth)]
    norm = lambda s: F.rms_norm(s, (d,), eps=0.0)  # noqa: E731
    f = lambda s, pair: F.gelu(norm(s) @ pair[0]) @ pair[1]  # noqa: E731
    start = torch.randn(d, dtype=F64)

    def attended(queries):
        values = [start]
        for query, pair in zip(queries, [*weights, None], strict=True):
            stack = torch.stack(values)
            h = torch.softmax(norm(stack) @ query, 0) @ stack
            assert h.norm() <= stack.norm(dim=1).max() + 1e-9
            if pair is None:
                return norm(h)
            values.append(f(h, pair))

    x = start
    for pair in weights:
        x = x + f(x, pair)
    torch.testing.assert_close(attended(torch.zeros(depth + 1, d, dtype=F64)), norm(x))
    attended(torch.randn(depth + 1, d, dtype=F64))


@checks('ex-ffn-share')
def seventy_billion():
    layer = llama_layer(8192, 28672, 1024)
    feed = size(layer, ('gate', 'up', 'down'))
    linear = feed + size(layer, 'qkvo')
    parts = layer_flops(8192, 28672, 1024, 8192)
    crossing = optimize.brentq(lambda n: 4 * n * 8192 - parts[0] / 8192, 1, 1e6)
    total = 80 * (linear + 2 * 8192) + 8192 + 2 * nn.Embedding(128256, 8192, device='meta').weight.numel()
    return {'a': feed, 'b': (100 * feed / linear, '%'), 'c': total, 'd': (100 * parts[0] / sum(parts), '%'), 'e': round(crossing)}


@checks('ex-ffn-capacity', 'eq-ffn-naive')
def capacity():
    layer = llama_layer(4096, 14336, 1024)
    parameters = 32 * size(layer, ('gate', 'up', 'down'))
    neurons = 32 * layer['up'].out_features
    one_each = neurons * math.log(128256) / math.log(2)
    return {'a': parameters, 'b': (one_each, 'bit'), 'c': (2 * parameters, 'bit'), 'd': 2 * parameters / one_each}


@checks('ex-ffn-power')
def powers():
    for p in (1, 2, 3, 4):
        second = mean(lambda z, p=p: max(z, 0) ** (2 * p))
        slope = mean(lambda z, p=p: (p * max(z, 0) ** (p - 1) * (z > 0)) ** 2)
        assert abs(second - special.factorial2(2 * p - 1) / 2) < 1e-6
        assert abs(slope / second - p * p / (2 * p - 1)) < 1e-6


@checks('ex-ffn-path')
def path_moments():
    """Cycles of random permutations, by enumeration; the Poisson limit for many layers."""
    counts = np.zeros(7)
    for order in itertools.permutations(range(6)):
        seen, cycles = set(), 0
        for first in range(6):
            if first not in seen:
                cycles += 1
                while first not in seen:
                    seen.add(first)
                    first = order[first]
        counts[cycles] += 1
    law = np.ones(1)
    for layer in range(5):
        law = np.convolve(law, [1 - 1 / (layer + 2), 1 / (layer + 2)])
    np.testing.assert_allclose(counts[1:] / counts.sum(), law)
    for c in (1.0, 2.5):
        depth = 20_000
        success = [c / depth / (1 + (layer + 1) * c / depth) for layer in range(depth)]
        assert abs(sum(success) - math.log1p(c)) < 1e-3
        assert abs(math.prod(1 - s for s in success) - 1 / (1 + c)) < 1e-3


@checks('ex-ffn-hash', 'eq-ffn-hash')
def hashing():
    slots, heads, grams = 646_400, 8, 2_000_000
    clean = []
    for _ in range(3):
        cells = np.bincount(np.random.randint(0, slots, grams), minlength=slots)
        clean.append((cells == 1).sum() / grams)
    exact = math.exp((grams - 1) * math.log1p(-1 / slots))
    assert abs(np.mean(clean) - exact) < 5e-4
    any_clean = 1 - (1 - exact) ** heads
    needed = next(k for k in range(1, 1000) if 1 - (1 - exact) ** k >= 0.99)
    return {'a': exact, 'b': any_clean, 'c': -heads * math.log10(slots), 'd': needed}


@checks('ex-ffn-mhc')
def mixing_rate():
    """Solve for the mixing strength with the product of the matrices themselves."""

    def left(strength):
        h = (1 - strength) * torch.eye(4, dtype=F64) + strength / 4
        return torch.linalg.svdvals(torch.linalg.matrix_power(h, 60))[1].item() - 0.01

    return {'c': optimize.brentq(left, 1e-4, 0.5)}


@checks('ex-ffn-cover')
def dichotomies():
    """Count the linearly separable labellings of random points with linear programmes."""
    rng = np.random.default_rng(0)
    for points, weights in ((4, 2), (5, 3), (6, 3)):
        x = rng.standard_normal((points, weights))
        separable = 0
        for signs in itertools.product((-1, 1), repeat=points):
            found = optimize.linprog(np.zeros(weights), A_ub=-np.array(signs)[:, None] * x, b_ub=-np.ones(points), bounds=(None, None))
            separable += found.status == 0
        assert separable == 2 * sum(math.comb(points - 1, k) for k in range(weights))
    for weights in (1, 5, 20):
        assert 2 * sum(math.comb(2 * weights - 1, k) for k in range(weights)) == 2 ** (2 * weights - 1)


@checks('tab-ffn-torch')
def documented_behaviour():
    """The traps of the table: which half is the gate, the variance of a linear layer, the absolute bounds of the truncation."""
    a, b = torch.randn(2, 5, dtype=F64)
    torch.testing.assert_close(F.glu(torch.cat([a, b])), a * torch.sigmoid(b))
    assert abs(nn.Linear(2048, 512).weight.var().item() * 2048 * 3 - 1) < 0.02
    assert abs(nn.init.kaiming_normal_(torch.empty(512, 2048)).var().item() * 2048 / 2 - 1) < 0.02
    small = nn.init.trunc_normal_(torch.empty(200_000), std=0.02)
    assert small.abs().max().item() > 0.07      # far beyond two standard deviations
    x = torch.zeros(1, requires_grad=True)
    F.relu(x).backward()
    assert x.grad.item() == 0
