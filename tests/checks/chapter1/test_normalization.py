"""Section 1.5: formulas, scalings and numbers of normalization, each computed another way than in the text."""

import importlib
import json
import math
from pathlib import Path

import numpy as np
import torch
from scipy import integrate
from torch.nn import functional as F

from checks import checks

F64 = torch.float64
DATA = Path(__file__).parents[3] / 'figures/chapter1/norm_init.json'
WIDTH, HEADS, TOKENS, SEEDS = 64, 4, 32, 4
PLACES = {
    'Post-LN': ('post', False), 'Pre-LN': ('pre', False), 'Peri-LN': ('peri', False), '输出归一化加 QK-Norm': ('out', True), '输出归一化': ('out', False),
}


# Formulas of the norms


def rms(x):
    return F.rms_norm(x, x.shape[-1:], eps=0.0)


@checks('prop-norm-jacobian', 'eq-norm-jacobian', 'eq-norm-definition')
def jacobian():
    """Autograd through PyTorch's operators against the formulas, eps kept; eigenvalues with their multiplicities."""
    d = 7
    x, gamma, beta = torch.randn(3, d, dtype=F64)
    for eps in (0.0, 1e-5, 0.3):
        for norm, centred in ((lambda v, e=eps: F.layer_norm(v, (d,), gamma, beta, e), True), (lambda v, e=eps: F.rms_norm(v, (d,), gamma, e), False)):
            centre = torch.eye(d, dtype=F64) - (torch.ones(d, d, dtype=F64) / d if centred else 0)
            s = ((centre @ x).square().mean() + eps).sqrt()
            hat = centre @ x / s
            core = (centre - torch.outer(hat, hat) / d) / s
            torch.testing.assert_close(torch.autograd.functional.jacobian(norm, x), torch.diag(gamma) @ core)
            expected = torch.full((d,), 1 / s.item(), dtype=F64)
            expected[0] = 0 if centred else eps / s**3
            if centred:
                expected[1] = eps / s**3
            torch.testing.assert_close(torch.linalg.eigvalsh(core), expected.sort().values, atol=1e-12, rtol=1e-9)


@checks('cor-norm-backward', 'eq-norm-backward')
def backward():
    d, eps = 9, 0.2
    gamma = torch.randn(d, dtype=F64, requires_grad=True)
    beta = torch.randn(d, dtype=F64, requires_grad=True)
    for centred in (True, False):
        x = torch.randn(5, d, dtype=F64, requires_grad=True)
        y = F.layer_norm(x, (d,), gamma, beta, eps) if centred else F.rms_norm(x, (d,), gamma, eps)
        g = torch.randn_like(y)
        grads = torch.autograd.grad(y, (x, gamma, beta) if centred else (x, gamma), g)
        z = (x - x.mean(-1, keepdim=True) if centred else x).detach()
        s = (z.square().mean(-1, keepdim=True) + eps).sqrt()
        hat, t = z / s, g * gamma.detach()
        formula = (t - (t.mean(-1, keepdim=True) if centred else 0) - (t * hat).mean(-1, keepdim=True) * hat) / s
        torch.testing.assert_close(grads[0], formula)
        torch.testing.assert_close(grads[1], (g * hat).sum(0))
        if centred:
            torch.testing.assert_close(grads[2], g.sum(0))
            torch.testing.assert_close(grads[0].sum(-1), torch.zeros(5, dtype=F64), atol=1e-12, rtol=0)
        torch.testing.assert_close((x.detach() * grads[0]).sum(-1), (eps / s**2)[:, 0] * (t * hat).sum(-1))


@checks('eg-norm-hand')
def by_hand():
    x = torch.tensor([1, 2, 3, 6], dtype=F64)
    ln = torch.autograd.functional.jacobian(lambda v: F.layer_norm(v, (4,), eps=0.0), x)
    root = torch.autograd.functional.jacobian(rms, x)
    return {
        'ln': F.layer_norm(x, (4,), eps=0.0), 'rms': rms(x),
        'gain': torch.linalg.matrix_norm(ln, 2), 'gainrms': torch.linalg.matrix_norm(root, 2),
    }


@checks('eg-norm-eps', 'ex-norm-eps')
def epsilon():
    def measure(size, eps):
        x = size * torch.where(torch.rand(512, dtype=F64) < 0.5, 1.0, -1.0)
        jac = torch.linalg.eigvalsh(torch.autograd.functional.jacobian(lambda v: F.rms_norm(v, (512,), eps=eps), x))
        return F.rms_norm(x, (512,), eps=eps).square().mean().sqrt(), jac[0] / jac[-1], jac[-1]

    exercise = measure(0.002, 1e-6)
    zero = torch.autograd.functional.jacobian(lambda v: F.rms_norm(v, (4,), eps=1e-6), torch.zeros(4, dtype=F64))
    small = measure(0.002, 1e-5)
    return {
        'eg-norm-eps': {'a': measure(0.02, 1e-5)[0], 'b': small[0], 'c': (100 * small[1], '%')},
        'ex-norm-eps': {'a': exercise[0], 'b': exercise[1], 'c': exercise[2], 'd': zero[0, 0]},
    }


@checks('prop-norm-homogeneous', 'eq-norm-homogeneous', 'ex-norm-flow')
def homogeneous():
    """A matrix followed by RMSNorm, PyTorch's gradients and Hessian; with eps the defect of orthogonality."""
    a, target = torch.randn(5, dtype=F64), torch.randn(3, dtype=F64)

    def loss(w, eps=0.0):
        return (F.rms_norm(a @ w.view(5, 3), (3,), eps=eps) * target).sum().tanh()

    w = torch.randn(15, dtype=F64)
    grad = torch.func.grad(loss)
    assert abs(w @ grad(w)) < 1e-12
    torch.testing.assert_close(grad(3 * w), grad(w) / 3)
    torch.testing.assert_close(torch.func.hessian(loss)(w) @ w, -grad(w))
    eps = 0.4
    z = a @ w.view(5, 3)
    y = F.rms_norm(z, (3,), eps=eps).requires_grad_()
    dy, = torch.autograd.grad((y * target).sum().tanh(), y)
    torch.testing.assert_close(w @ torch.func.grad(lambda v: loss(v, eps))(w), eps / (z.square().mean() + eps) * (y * dy).sum())
    norms = [w.norm() ** 4]
    bound = norms[0].clone()
    for _ in range(20):
        size = grad(w / w.norm()).norm()
        bound += 2 * 0.09 * size**2 + 0.0081 * size**4 / norms[0]
        w = w - 0.3 * grad(w)
        assert norms[-1] <= w.norm() ** 4 <= bound + 1e-9
        norms.append(w.norm() ** 4)


@checks('cor-norm-backward')
def folding():
    """Centring folded into the writers turns LayerNorm into RMSNorm; permissible and forbidden rotations."""
    d = 6
    write, x = torch.randn(4, d, dtype=F64), torch.randn(4, dtype=F64)
    centre = torch.eye(d, dtype=F64) - 1 / d
    torch.testing.assert_close(F.layer_norm(x @ write, (d,), eps=1e-3), F.rms_norm(x @ write @ centre, (d,), eps=1e-3))
    turn = torch.linalg.qr(torch.randn(d, d, dtype=F64)).Q
    y = torch.randn(d, dtype=F64)
    torch.testing.assert_close(rms(turn @ y), turn @ rms(y))
    assert (F.layer_norm(turn @ y, (d,), eps=0.0) - turn @ F.layer_norm(y, (d,), eps=0.0)).abs().max() > 0.1


# Scale-invariant weights


def orthogonal_noise(w, size):
    z = torch.randn(w.shape, dtype=F64)
    z -= w * (w @ z) / w.square().sum()
    return size * z / z.norm() / w.norm()


@checks('thm-norm-equilibrium', 'eq-norm-recursion', 'eq-norm-angle')
def sgd_equilibrium():
    """torch.optim.SGD on gradients orthogonal to w of size G/|w|: norm, angle and rate of approach."""
    rate, decay, size = 0.1, 0.05, 1.3
    a = 1 - rate * decay
    fixed = rate * size / math.sqrt(1 - a * a)
    w = torch.nn.Parameter(torch.randn(64, dtype=F64))
    with torch.no_grad():
        w *= 1.01**0.5 * fixed**0.5 / w.norm()
    optimizer = torch.optim.SGD([w], lr=rate, weight_decay=decay)
    gaps = []
    for _ in range(400):
        before = w.detach().clone()
        w.grad = orthogonal_noise(before, size)
        optimizer.step()
        gaps.append(w.detach().square().sum().item() - fixed)
    angle = torch.acos(before @ w.detach() / before.norm() / w.detach().norm())
    assert abs(gaps[-1]) < 1e-3 * fixed
    assert abs(gaps[5] / gaps[4] - (2 * a * a - 1)) < 1e-3
    assert abs(angle.item() - math.acos(a)) < 1e-4
    assert abs(angle.item() - math.sqrt(2 * rate * decay)) < 1e-3


@checks('ex-norm-equilibrium')
def equilibrium_exercise():
    rate, decay, size = 0.1, 0.005, 2.0
    a, r = 1 - rate * decay, 1.0
    path = [r]
    for _ in range(40_000):
        r = a * a * r + rate**2 * size**2 / r
        path.append(r)
    q = 1.0001 * r
    start = q - r
    steps = 0
    while q - r > start / math.e:
        last, q, steps = q - r, a * a * q + rate**2 * size**2 / q, steps + 1
    steps = steps - 1 + math.log(last / (start / math.e)) / math.log(last / (q - r))
    # AdamW: the stationary variance from the impulse response of the two recursions.
    rate2, decay2, beta = 3e-4, 0.1, 0.9
    b = 1 - rate2 * decay2
    k = np.arange(600_000)
    response = rate2 * (1 - beta) * (b ** (k + 1) - beta ** (k + 1)) / (b - beta)
    update = (1 - beta) * beta ** np.arange(400)
    size2 = math.sqrt((response**2).sum())
    return {
        'a': math.sqrt(r), 'b': math.atan2(rate * size / math.sqrt(r), a * math.sqrt(r)), 'c': rate / r, 'd': steps,
        'e': size2, 'f': rate2 * math.sqrt((update**2).sum()) / size2, 'g': 1 / (2 * rate2 * decay2),
    }


@checks('prop-norm-adamw', 'eq-norm-adamw', 'eq-norm-adamangle')
def adamw_variance():
    for rate, decay, beta in ((0.05, 2.0, 0.9), (0.01, 0.1, 0.5)):
        a = 1 - rate * decay
        k = np.arange(60_000)
        exact = rate**2 * (1 - beta) * (1 + a * beta) / ((1 - a * a) * (1 + beta) * (1 - a * beta))
        response = np.zeros(len(k))
        w = m = 0.0
        for i in range(len(k)):
            m = beta * m + (1 - beta) * (i == 0)
            w = a * w - rate * m
            response[i] = w
        assert abs((response**2).sum() / exact - 1) < 1e-9
    assert abs(exact / (rate / (2 * decay)) - 1) < 0.01


@checks('fig-norm-equilibrium')
def equilibrium_figure():
    """The simulations of the figure end where the formulas say, from every start."""
    script = importlib.import_module('figures.chapter1.norm_equilibrium')
    data = script.paths()
    for path in data['sgd']:
        assert abs(path[-100:].mean() / script.sgd_norm() - 1) < 0.01
    means = [path[-1500:].mean() / script.adamw_norm() for path in data['adamw']]
    assert abs(np.mean(means) - 1) < 0.06


# Placements


def attention(x, weights, qk):
    q, k, v = (torch.einsum('bnd,de->bne', x, w).view(*x.shape[:2], HEADS, -1).transpose(1, 2) for w in weights[:3])
    if qk:
        q, k = rms(q), rms(k)
    return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(x.shape) @ weights[3]


def feed_forward(x, weights, _):
    return torch.relu(x @ weights[0]) @ weights[1]


def initial(place, qk, layers, seed):
    """One forward and backward pass at initialisation: mean squares and gradients of the stream, gradients of the last matrices."""
    generator = torch.Generator().manual_seed(seed)

    def draw(rows, columns, gain=1.0):
        return (torch.randn(rows, columns, generator=generator, dtype=F64) * gain / math.sqrt(rows)).requires_grad_()

    sublayers = []
    for _ in range(layers):
        sublayers.append((attention, [draw(WIDTH, WIDTH) for _ in range(4)]))
        sublayers.append((feed_forward, [draw(WIDTH, 4 * WIDTH, math.sqrt(2)), draw(4 * WIDTH, WIDTH)]))
    x = rms(torch.randn(4, TOKENS, WIDTH, generator=generator, dtype=F64)).requires_grad_()
    stream = [x]
    for f, weights in sublayers:
        h = stream[-1]
        if place == 'post':
            h = rms(h + f(h, weights, qk))
        elif place == 'pre':
            h = h + f(rms(h), weights, qk)
        else:
            h = h + rms(f(rms(h) if place == 'peri' else h, weights, qk))
        h.retain_grad()
        stream.append(h)
    out = stream[-1] if place == 'post' else rms(stream[-1])
    (out * torch.randn(out.shape, generator=generator, dtype=F64)).sum().backward()
    square = [h.detach().square().mean().item() for h in stream]
    grads = [h.grad.square().mean().item() for h in stream]
    weights = [w[-1].grad.norm().item() for f, w in sublayers if f is feed_forward]
    return np.array(square), np.array(grads), np.array(weights)


def average(name, layers):
    runs = [initial(*PLACES[name], layers, seed) for seed in range(SEEDS)]
    return [np.mean([run[i] for run in runs], axis=0) for i in range(3)]


def init_data():
    """What norm_init.json holds."""
    depths = [2, 4, 8, 16, 32]
    data = {'layers': depths, 'last': {}, 'square': {}, 'stream': {}}
    for name in PLACES:
        data['last'][name] = [float(round(average(name, n)[2][-1], 2)) for n in depths]
        square, grads, _ = average(name, 48)
        data['square'][name] = [round(q, 4) for q in square.tolist()]
        data['stream'][name] = [float(f'{g:.4g}') for g in grads]
    return data


@checks('tab-norm-init', 'fig-norm-init', 'thm-norm-placement', 'cor-norm-last')
def initialisation():
    rows, kept = {}, {}
    columns = ('$q_T$（$L=48$）', '末层梯度，$L=4$', '末层梯度，$L=48$', '首层梯度，$L=48$')
    stored = json.loads(DATA.read_text())
    for name in PLACES:
        square, grads, weights = kept[name] = average(name, 48)
        shallow = average(name, 4)[2][-1]
        rows[name] = dict(zip(columns, (square[-1], shallow, weights[-1], weights[0]), strict=True))
        np.testing.assert_allclose(stored['last'][name][:2], [average(name, 2)[2][-1], shallow], rtol=1e-3)
        np.testing.assert_allclose(stored['square'][name], square, rtol=1e-3)
        np.testing.assert_allclose(stored['stream'][name], grads, rtol=1e-3)
    # The ratio of the last gradients, and c/q_l along the stream, within the accuracy of the mean-field model.
    q = kept['Pre-LN'][0]
    ratio = kept['Post-LN'][2][-1] / kept['Pre-LN'][2][-1]
    assert abs(ratio / math.sqrt(q[-1] / 2) - 1) < 0.1
    for name in ('Pre-LN', 'Peri-LN', '输出归一化加 QK-Norm'):
        square, grads, _ = kept[name]
        assert np.abs(np.log((grads * square)[5:])).max() < 0.75
    # Mean rho of the attention sublayers in the middle of Pre-LN is well below 1, as the caption says.
    square, grads, _ = kept['Pre-LN']
    rho = (grads[:-1] / grads[1:] - 1) * square[:-1] / np.diff(square)
    assert abs(rho[16:80:2].mean() - 0.4) < 0.05
    assert rho[17:80:2].mean() > 1
    assert abs(1 + math.log(grads[5] * square[5] / (grads[-1] * square[-1])) / math.log(square[-1] / square[5]) - 0.78) < 0.01
    # Without QK-Norm every attention sublayer multiplies the gradient by about the same factor, shallow or deep.
    grads = kept['输出归一化'][1]
    factor = (grads[:-1] / grads[1:])[0::2]
    for part in (factor[2:16], factor[16:32], factor[32:47]):
        assert 1.2 < np.exp(np.log(part).mean()) < 1.45
    assert kept['输出归一化'][2][0] > 100 * kept['输出归一化加 QK-Norm'][2][0]
    return rows


@checks('thm-norm-placement')
def spread():
    """Seed by seed, G_0/c after 96 sublayers: exponential fluctuations of Post-LN, none of Pre-LN."""
    found = {place: [] for place in ('post', 'pre')}
    for place, values in found.items():
        for seed in range(8):
            square, grads, _ = initial(place, False, 48, seed)
            values.append(grads[0] / (grads[-1] * square[-1]))
    assert abs(min(found['post']) - 0.02) < 0.005
    assert abs(max(found['post']) - 3.1) < 0.05
    assert abs(min(found['pre']) - 0.5) < 0.05
    assert abs(max(found['pre']) - 1.2) < 0.05


@checks('thm-norm-placement', 'eq-norm-gradients')
def mismatch():
    """Real networks with phi(z) = 1 + z, whose backward gain is half the forward one (rho = 1/2, b = 1), for the three placements."""
    d, depth, rho, gain = 256, 10, 0.5, 1.3
    found = {'post': 0.0, 'pre': 0.0, 'peri': 0.0}
    for _ in range(12):
        for place in found:
            x = rms(torch.randn(d, dtype=F64)).requires_grad_()
            h = x
            for _ in range(depth):
                first = torch.randn(d, 2 * d, dtype=F64) / math.sqrt(d)
                second = torch.randn(2 * d, d, dtype=F64) / math.sqrt(4 * d)
                branch = (1 + rms(h) @ first) @ second
                h = rms(h + branch) if place == 'post' else h + (branch if place == 'pre' else gain * rms(branch))
            out = rms(h)
            c = torch.randn(d, dtype=F64)
            g, = torch.autograd.grad(out @ c, x)
            found[place] += (g.square().sum() / c.square().sum()).item() / 12

    def law(step):
        q = [1 + i * step for i in range(depth + 1)]
        return math.prod(1 + rho * step / v for v in q[:-1]) / q[-1]

    for place, value in (('post', 0.75**depth), ('pre', law(1.0)), ('peri', law(gain**2))):
        assert abs(found[place] / value - 1) < 0.12, (place, found[place], value)


@checks('thm-norm-placement', 'ex-norm-mismatch')
def exponent():
    """The recursion itself: the powers of the text, and the product's exponent against rho - 1."""
    def pre(pairs, layers):
        q = [1.0]
        for _ in range(layers):
            for b, _rho in pairs:
                q.append(q[-1] + b)
        return q[-1], np.prod([1 + rho * b / q[i] for i, (b, rho) in enumerate(pairs * layers)]) / q[-1]

    assert abs(((1 + 0.5) / 2) ** 64 / 1.0e-8 - 1) < 0.02
    assert abs(((1 + 1.5) / 2) ** 64 / 1.6e6 - 1) < 0.01
    assert abs(pre([(1, 0.5)], 64)[1] - 0.14) < 0.001
    assert abs(pre([(1, 1.5)], 64)[1] - 6.1) < 0.01
    assert abs(pre([(1, 1.0)], 64)[1] - 1) < 1e-12
    pairs = [(0.4, 0.3), (1.0, 1.2)]
    mean = (0.4 * 0.3 + 1.2) / 1.4
    (q1, g1), (q2, g2) = pre(pairs, 1000), pre(pairs, 16000)
    assert abs(math.log(g2 / g1) / math.log(q2 / q1) - (mean - 1)) < 1e-3
    for layers in (100, 10_000):
        assert 0.3 < ((layers + 0.5) / (layers + 1)) ** (2 * layers) < 0.5
    # The shares and the total update of the text.
    assert abs(2.0**-64 / 5.4e-20 - 1) < 0.01
    assert abs(sum(1 / (1 + i) for i in range(1, 65)) - 3.76) < 0.005
    torch.testing.assert_close(64 / 2, 32.0)


@checks('eq-norm-amplify')
def amplification():
    """Output change under independent relative perturbations of the last matrices, real networks of width 256."""
    d, depth, delta = 256, 16, 1e-4
    ratio = {}
    for place in ('post', 'pre'):
        total = 0.0
        for _ in range(6):
            first = [torch.randn(d, 2 * d, dtype=F64) * math.sqrt(2 / d) for _ in range(depth)]
            second = [torch.randn(2 * d, d, dtype=F64) / math.sqrt(2 * d) for _ in range(depth)]
            shift = [delta * torch.randn(2 * d, d, dtype=F64) / math.sqrt(2 * d) for _ in range(depth)]
            start = rms(torch.randn(d, dtype=F64))

            def out(matrices, place=place, first=first, start=start):
                x = start
                for u, v in zip(first, matrices, strict=True):
                    x = rms(x + torch.relu(x @ u) @ v) if place == 'post' else x + torch.relu(rms(x) @ u) @ v
                return rms(x)

            total += (out([v + s for v, s in zip(second, shift, strict=True)]) - out(second)).square().mean().item() / 6
        ratio[place] = total / delta**2
    assert abs(ratio['post'] / (depth / 2) - 1) < 0.15
    assert abs(ratio['pre'] / sum(1 / (1 + i) for i in range(1, depth + 1)) - 1) < 0.15


@checks('prop-norm-degree')
def degree():
    x = torch.randn(2, TOKENS, WIDTH, dtype=F64)
    weights = [torch.randn(WIDTH, WIDTH, dtype=F64) / 8 for _ in range(4)]
    torch.testing.assert_close(rms(attention(5 * x, weights, True)), rms(attention(x, weights, True)))
    assert (rms(attention(5 * x, weights, False)) - rms(attention(x, weights, False))).abs().max() > 0.5
    for phi in (torch.relu, lambda v: torch.relu(v) ** 2):
        torch.testing.assert_close(rms(phi(x @ weights[0]) @ weights[1]), rms(phi(rms(x) @ weights[0]) @ weights[1]))


@checks('ex-norm-exponential')
def scaled_growth():
    """Monte Carlo of the stream with writes of variance 1/l against the plain one."""
    d, depth = 4096, 64
    x, y = (rms(torch.randn(32, d, dtype=F64)) for _ in range(2))
    for i in range(1, depth + 1):
        w, v = torch.randn(2, 32, d, dtype=F64)
        x, y = x + w / i**0.5, y + v
    q = x.square().mean()
    assert abs(q - 5.744) < 0.06
    exact = 1 + sum(1 / i for i in range(1, 65))
    assert abs(q - exact) < 0.06
    assert abs(v.square().mean() / y.square().mean() - 1 / 65) < 5e-4
    return {'q': exact, 'share': 1 / depth / exact, 'pre': 1 / 65}


# Logits


@checks('prop-norm-qkbound', 'eq-norm-qkbound')
def logit_bound():
    d = 8
    gq, gk = torch.randn(2, d, dtype=F64)
    best = math.sqrt(d) * (gq * gk).abs().max()
    c = (gq * gk).abs().argmax()
    q = torch.nn.functional.one_hot(c, d).to(F64)
    torch.testing.assert_close(((gq * rms(q)) @ (gk * rms(q)) / math.sqrt(d)).abs(), best)
    many = ((gq * rms(torch.randn(20000, d, dtype=F64))) * (gk * rms(torch.randn(20000, d, dtype=F64)))).sum(-1) / math.sqrt(d)
    assert many.abs().max() <= best
    angle = torch.rand(20000, d // 2, dtype=F64) * 7
    a, b = gq * rms(torch.randn(20000, d, dtype=F64)), gk * rms(torch.randn(20000, d, dtype=F64))
    a, b = (torch.view_as_complex(v.view(-1, d // 2, 2).contiguous()) for v in (a, b))
    turned = (a * b.conj() * torch.polar(torch.ones_like(angle), angle)).real.sum(-1) / math.sqrt(d)
    assert turned.abs().max() <= math.sqrt(d) * gq.abs().max() * gk.abs().max()


def ceiling(bound, keys):
    s = torch.full((keys,), -float(bound), dtype=F64)
    s[0] = bound
    return torch.softmax(s, -1)[0].item()


@checks('ex-norm-logits', 'eq-norm-softcap')
def logits():
    n, d = 131072, 128
    bound = math.sqrt(d) * 0.36
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if ceiling(math.sqrt(d) * middle, n) > 0.5 else (middle, high)
    s = torch.tensor(100.0, dtype=F64, requires_grad=True)
    capped = 50 * torch.tanh(s / 50)
    slope, = torch.autograd.grad(capped, s)
    at = torch.tensor(50.0, dtype=F64, requires_grad=True)
    assert abs(torch.autograd.grad(50 * torch.tanh(at / 50), at)[0] - 0.420) < 5e-4
    assert abs(slope - (1 - (capped / 50) ** 2)) < 1e-12
    # Numbers of the text: gains 1 and gains 1/2.
    assert abs(ceiling(math.sqrt(128), n) - 0.99998) < 5e-6
    assert abs(ceiling(math.sqrt(128) / 4, n) - 0.0022) < 5e-5
    assert abs(math.exp(2 * math.sqrt(128)) / 6.7e9 - 1) < 0.01
    x = torch.randn(6, 16, dtype=F64)
    wq, wk = torch.randn(2, 16, 4, dtype=F64)
    peak = ((x @ wq) @ (x @ wk).T).max()
    factor = torch.sqrt(100 / peak) if peak > 100 else torch.sqrt(peak / peak / 1.6)
    torch.testing.assert_close(((x @ wq * factor) @ (x @ wk * factor).T).max(), factor**2 * peak)
    return {'a': bound, 'b': ceiling(bound, n), 'c': high, 'd': capped, 'e': slope, 'f': math.sqrt(100 / 160)}


@checks('prop-norm-mla', 'eq-norm-mla', 'eq-norm-qkclip')
def latent():
    heads, dh, dr, dc = 3, 4, 2, 5
    c, kr = torch.randn(6, dc, dtype=F64), torch.randn(6, dr, dtype=F64)
    up, qc, qr = torch.randn(heads, dc, dh, dtype=F64), torch.randn(heads, dh, dtype=F64), torch.randn(heads, dr, dtype=F64)

    def logit(qc, up, qr):
        return torch.einsum('hd,jc,hcd->hj', qc, c, up) + torch.einsum('hr,jr->hj', qr, kr)

    factor = torch.tensor([0.3, 1.0, 1.0], dtype=F64)
    clipped = logit(qc * factor[:, None].sqrt(), up * factor[:, None, None].sqrt(), qr * factor[:, None])
    torch.testing.assert_close(clipped, factor[:, None] * logit(qc, up, qr))
    gain, eps = torch.randn(dh, dtype=F64), 0.1
    keys = F.rms_norm(torch.einsum('jc,hcd->hjd', c, up), (dh,), gain, eps)
    reference = torch.einsum('hd,hjd->hj', qc, keys)
    root = (torch.einsum('jc,hcd,hed,je->hj', c, up, up, c) / dh + eps).sqrt()
    torch.testing.assert_close(torch.einsum('hcd,hd,jc->hj', up, gain * qc, c) / root, reference)
    assert round(64 / 576 * 100, 1) == 11.1
    assert round(128 / 576 * 100, 1) == 22.2


# Without normalization; batch normalization


@checks('eq-norm-isru', 'eq-norm-dyt')
def dynamic_tanh():
    """Vary one coordinate of RMSNorm; slope, limits and tails of the two curves; the equation solved numerically."""
    d, eps = 16, 0.05
    rest = torch.randn(d - 1, dtype=F64)
    total = rest.square().sum() + d * eps
    for x in torch.linspace(-30, 30, 41, dtype=F64):
        y = F.rms_norm(torch.cat((x[None], rest)), (d,), eps=eps)[0]
        torch.testing.assert_close(y, math.sqrt(d) * x / (x * x + total).sqrt())
    s0 = (total / d).sqrt().item()
    solution = integrate.solve_ivp(lambda _, y: (1 - y**2 / d) / s0, (0, 9), [0.0], rtol=1e-10, atol=1e-12, t_eval=[1, 4, 9])
    np.testing.assert_allclose(solution.y[0], math.sqrt(d) * np.tanh(solution.t / (s0 * math.sqrt(d))), rtol=1e-7)
    far = 1e3
    assert abs((math.sqrt(d) - math.sqrt(d) * far / math.sqrt(far**2 + total)) / (math.sqrt(d) * total.item() / 2 / far**2) - 1) < 1e-3


@checks('eq-norm-batch', 'eg-norm-leak')
def leak():
    """PyTorch's batch norm: the derivative across tokens; the leaked bit by enumeration."""
    x = torch.randn(7, dtype=F64)

    def norm(v):
        return F.batch_norm(v[:, None], None, None, training=True, eps=1e-300)[:, 0]

    hat, s = norm(x), x.std(correction=0)
    formula = (torch.eye(7, dtype=F64) - (1 + torch.outer(hat, hat)) / 7) / s
    torch.testing.assert_close(torch.autograd.functional.jacobian(norm, x), formula)
    # The example's Jacobian across tokens vanishes although the output tells the future token.
    pair = torch.autograd.functional.jacobian(norm, torch.tensor([2.0, 3.0], dtype=F64))
    assert pair.abs().max() < 1e-12
    seen = {following: round(norm(torch.tensor([2.0, following], dtype=F64))[0].item(), 9) for following in (1.0, 3.0)}
    groups = {}
    for following, value in seen.items():
        groups.setdefault(value, []).append(following)
    train = sum(len(g) / 2 * math.log(len(g)) for g in groups.values())
    # Effective sample size of the text, the variance of the mean computed from the covariance matrix.
    n, r, count = 2048, 0.1, 8
    covariance = np.full((n, n), r) + (1 - r) * np.eye(n)
    variance = covariance.mean() / count
    assert abs(1 / variance - 79.6) < 0.06
    return {'train': (train, 'nat'), 'test': (math.log(2), 'nat')}


# Numbers and systems


@checks('tab-norm-numeric')
def failures():
    def naive(x, eps):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + torch.tensor(eps, dtype=x.dtype))

    big = torch.ones(4096, dtype=torch.float16)
    big[0] = 300
    assert (naive(big, 1e-5) == 0).all()
    small = torch.full((4096,), 1e-4, dtype=torch.float16)
    assert naive(small, 1e-8).isinf().all()
    total = torch.zeros((), dtype=torch.bfloat16)
    for _ in range(4096):
        total = total + 1
    assert total == 256
    assert 1 / (total.double() / 4096).sqrt() == 4
    wave = 1e4 + torch.tensor([1.0, -1.0]).repeat(2048)
    single = (wave * wave).mean() - wave.mean() ** 2
    assert single == 0
    assert abs((1 / (single + 1e-5).sqrt()).item() - 316) < 0.5
    column = [
        F.rms_norm(big, (4096,), eps=1e-5)[0], F.rms_norm(small, (4096,), eps=1e-8)[0],
        F.rms_norm(torch.ones(4096, dtype=torch.bfloat16), (4096,), eps=1e-5)[0], F.layer_norm(wave, (4096,), eps=1e-5)[0],
    ]
    exact = [F.rms_norm(v.double(), (4096,), eps=e)[0] for v, e in ((big, 1e-5), (small, 1e-8), (torch.ones(4096), 1e-5))]
    for value, reference in zip(column, exact, strict=False):
        assert abs(value.double() / reference - 1) < 0.005
    names = (
        'fp16，一个 300，其余为 1：首个坐标', 'fp16，全为 $10^{-4}$，$\\varepsilon=10^{-8}$',
        'bf16 逐个累加，全为 1', 'fp32 单遍方差，$10^4\\pm1$ 各半，$\\varepsilon=10^{-5}$',
    )
    return {name: {'正确的输出': value} for name, value in zip(names, column, strict=True)}


@checks('tab-norm-torch', 'tab-norm-numeric')
def rounding():
    """The two orders of rounding and gain; PyTorch's defaults; where eps stands."""
    torch.manual_seed(0)
    x, gain = torch.randn(2000, 4096).bfloat16(), (1 + 0.1 * torch.randn(4096)).bfloat16()
    reference = F.rms_norm(x.double(), (4096,), gain.double(), 1e-6)
    hat = F.rms_norm(x.float(), (4096,), eps=1e-6)
    for value, mean, peak in ((gain * hat.bfloat16(), 0.0023, 0.0077), ((gain.float() * hat).bfloat16(), 0.0017, 0.0039)):
        error = value.double() / reference - 1
        assert abs(error.square().mean().sqrt() - mean) < 5e-5
        assert abs(error.abs().max() - peak) < 5e-5
    assert torch.equal(F.rms_norm(x, (4096,), gain, 1e-6), (gain.float() * hat).bfloat16())
    for kind, eps in ((torch.float32, 1.19e-7), (torch.bfloat16, 1.19e-7), (torch.float16, 1.19e-7), (torch.float64, 2.2e-16)):
        tiny = torch.full((8,), 1e-3, dtype=kind)
        if kind == torch.float64:
            tiny *= 1e-4
        implied = (tiny.double()[0] / torch.nn.RMSNorm(8, dtype=kind)(tiny).double()[0]) ** 2 - tiny.double()[0] ** 2
        assert abs(implied / eps - 1) < 0.1
    row = torch.ones(4, dtype=F64, requires_grad=True)
    centred = row - row.mean()
    outside, = torch.autograd.grad((centred / (centred.square().mean().sqrt() + 1e-5))[0], row)
    assert outside.isnan().all()
    grouped = torch.nn.GroupNorm(1, 2, dtype=F64)
    v = torch.randn(1, 2, 5, dtype=F64, requires_grad=True)
    leak, = torch.autograd.grad(grouped(v)[0, 0, 0], v)
    assert leak[0, :, 4].abs().max() > 1e-3
    torch.testing.assert_close(F.normalize(torch.full((4,), 1e-13, dtype=F64), dim=0), torch.full((4,), 0.1, dtype=F64))


@checks('eq-norm-shard', 'ex-norm-shard')
def sharded():
    x = 50 + torch.randn(8192, dtype=F64)
    shards = x.chunk(8)
    means = torch.stack([s.mean() for s in shards])
    squares = torch.stack([s.var(correction=0) * len(s) for s in shards])
    mean = means.mean()
    torch.testing.assert_close(squares.sum() + 1024 * (means - mean).square().sum(), x.var(correction=0) * 8192)


@checks('eg-norm-outlier')
def outlier():
    x = torch.where(torch.rand(4096, dtype=F64) < 0.5, 1.0, -1.0)
    x[0] = 1000
    y = rms(x)
    wide = y.abs().max() / 127
    assert ((y / wide).round()[1:] == 0).all()
    gain = torch.ones(4096, dtype=F64)
    gain[0] = 0.01
    z = gain * y
    step = z.abs().max() / 127
    assert abs(step - 0.00503) < 5e-6
    return {'peak': y[0], 'rest': y[1].abs(), 'step': wide, 'kept': z[1:].abs().max() / step}
