"""Section 2.2: gradients, minimizers, denominators, numerics of training losses, each computed another way than in the text."""

import importlib
import itertools
import math
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
from scipy import integrate, optimize, stats
from torch.nn import functional as F

from checks import checks

F64 = torch.float64
VOCAB = 128_256


def distribution(*shape, scale=1.5):
    return torch.softmax(scale * torch.randn(*shape, dtype=F64), -1)


@checks('prop-obj-grad', 'eq-obj-ce', 'eq-obj-grad', 'eq-obj-negative')
def gradients():
    """Autograd through PyTorch's cross-entropy, the Hessian by double differentiation, the noise by enumeration of the label."""
    d, size = 5, 9
    h, w = torch.randn(1, d, dtype=F64, requires_grad=True), torch.randn(d, size, dtype=F64, requires_grad=True)
    q = distribution(1, size)
    F.cross_entropy(h @ w, q).backward()
    p = torch.softmax(h @ w, -1).detach()
    torch.testing.assert_close(h.grad, (p - q) @ w.T)
    torch.testing.assert_close(w.grad, h.T @ (p - q))
    torch.testing.assert_close(w.grad.sum(1), torch.zeros(d, dtype=F64), atol=1e-14, rtol=0)
    for target in (q, distribution(1, size)):
        hessian = torch.autograd.functional.hessian(lambda z, t=target: F.cross_entropy(z, t), (h @ w).detach())
        torch.testing.assert_close(hessian.view(size, size), torch.diag(p[0]) - p.T @ p)
    for y in range(size):
        h.grad = None
        F.cross_entropy(h @ w, torch.tensor([y])).backward()
        others = [v for v in range(size) if v != y]
        mean = sum(p[0, v] * w[:, v] for v in others) / sum(p[0, v] for v in others)
        torch.testing.assert_close(h.grad[0], ((1 - p[0, y]) * (mean - w[:, y])).detach())
        square, miss = (p[0] - F.one_hot(torch.tensor(y), size)).square().sum(), (1 - p[0, y]) ** 2
        assert size / (size - 1) * miss - 1e-12 <= square <= 2 * miss + 1e-12
    errors = p - torch.eye(size, dtype=F64)
    torch.testing.assert_close((p.T * errors).sum(0), torch.zeros(size, dtype=F64), atol=1e-14, rtol=0)
    torch.testing.assert_close(errors.T @ (p.T * errors), torch.diag(p[0]) - p.T @ p)
    torch.testing.assert_close((p[0] * errors.square().sum(-1)).sum(), 1 - p.square().sum())


@checks('prop-obj-grad')
def output_embeddings():
    """Zipf's tail, the share of a random direction that survives W_U, and the mean embedding under SGD and under Adam."""
    weights = 1 / np.arange(1, VOCAB + 1)
    assert abs((weights / weights.sum() < 1 / VOCAB).mean() - 0.919) < 0.0005
    assert abs(4096 / VOCAB - 0.032) < 0.0005 and abs((4096 / VOCAB) ** 0.5 - 0.18) < 0.005
    w = torch.randn(8, 200, dtype=F64)
    kept = torch.linalg.lstsq(w.T, g := torch.randn(200, 4000, dtype=F64)).solution
    share = ((w.T @ kept).square().sum(0) / g.square().sum(0)).mean()
    assert abs(share.item() / (8 / 200) - 1) < 0.05
    pi = torch.tensor(1 / np.arange(1, 51) / (1 / np.arange(1, 51)).sum())
    h = torch.randn(4000, 6, dtype=F64) + 1
    y = torch.multinomial(pi, 4000, replacement=True)
    for rule, moves in ((torch.optim.SGD, False), (torch.optim.Adam, True)):
        head = torch.zeros(6, 50, dtype=F64, requires_grad=True)
        step = rule([head], lr=0.1)
        F.cross_entropy(h @ head, y).backward()
        step.step()
        assert (head.mean(1).norm().item() > 1e-2) is moves
        if not moves:       # frequent tokens towards the mean hidden state, rare ones away
            along = head.detach().T @ h.mean(0)
            assert along[0] > 0 and along[-1] < 0


@checks('thm-obj-local', 'def-obj-proper', 'eq-obj-local', 'ex-obj-brier')
def scoring_rules():
    """Minimizers of expected scores by constrained optimisation: only the logarithm among local scores returns q."""
    q = np.array([0.5, 0.25, 0.25])

    def best(expected):
        result = optimize.minimize(expected, np.full(3, 1 / 3), bounds=[(1e-6, 1)] * 3, options={'ftol': 1e-15, 'maxiter': 500},
                                   constraints={'type': 'eq', 'fun': lambda p: p.sum() - 1})
        return result.x

    np.testing.assert_allclose(best(lambda p: -q @ np.log(p)), q, atol=1e-4)
    np.testing.assert_allclose(best(lambda p: sum(q[v] * ((p - np.eye(3)[v]) ** 2).sum() for v in range(3))), q, atol=1e-4)
    np.testing.assert_allclose(best(lambda p: q @ (1 - p) ** 2), (0.6, 0.2, 0.2), atol=1e-4)
    for power in (0.5, 2, 3):
        assert abs(best(lambda p, k=power: -q @ p**k) - q).max() > 0.02
    # Two outcomes: the same score is proper.
    grid = np.linspace(0.01, 0.99, 981)
    assert abs(grid[np.argmin(0.3 * (1 - grid) ** 2 + 0.7 * grid**2)] - 0.3) < 1e-3
    # Gradient of the Brier score, and its size at a uniform prediction and where the model is confidently wrong.
    z = torch.randn(7, dtype=F64)
    for logits, ratio in ((z, None), (torch.zeros(7, dtype=F64), 2 / 7)):
        y = F.one_hot(torch.tensor(2), 7)
        brier = torch.autograd.functional.jacobian(lambda s, t=y: (torch.softmax(s, 0) - t).square().sum(), logits)
        p = torch.softmax(logits, 0)
        torch.testing.assert_close(brier, 2 * (torch.diag(p) - torch.outer(p, p)) @ (p - y))
        if ratio:
            torch.testing.assert_close(brier.norm(), ratio * (p - y).norm())
    assert abs(2 / VOCAB - 1.6e-5) < 5e-7
    wrong = torch.softmax(torch.tensor([40.0, 0, 0], dtype=F64), 0) - torch.tensor([0, 1.0, 0])
    assert abs(wrong.norm() - 2**0.5) < 1e-9


@checks('prop-obj-smooth', 'eq-obj-gap')
def label_smoothing():
    """PyTorch's own smoothing against the identity; its minimum by optimisation; the cost in cross-entropy."""
    size, eps = 6, 0.2
    z = torch.randn(1, size, dtype=F64)
    y = torch.tensor([3])
    uniform = torch.full((1, size), 1 / size, dtype=F64)
    kl = F.kl_div(torch.log_softmax(z, -1), uniform, reduction='batchmean')
    torch.testing.assert_close(F.cross_entropy(z, y, label_smoothing=eps), (1 - eps) * F.cross_entropy(z, y) + eps * (kl + math.log(size)))
    # As a prior: with the likelihood and the Dirichlet density of scipy, the sum is constant in p.
    labels = torch.tensor([0, 3, 3, 5, 1, 3, 0])
    n, counts, constants = len(labels), torch.bincount(labels, minlength=size).numpy(), []
    for p in distribution(5, size):
        smoothed = F.cross_entropy(p.log().expand(n, size), labels, label_smoothing=eps, reduction='sum').item() / (1 - eps)
        prior = stats.dirichlet(np.full(size, 1 + n * eps / ((1 - eps) * size))).logpdf(p.numpy() / p.sum().item())
        constants.append(smoothed + stats.multinomial(n, p.numpy()).logpmf(counts) + prior)
    assert np.ptp(constants) < 1e-9
    free = torch.zeros(1, size, dtype=F64, requires_grad=True)
    fit = torch.optim.LBFGS([free], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15)

    def closure():
        fit.zero_grad()
        loss = F.cross_entropy(free, y, label_smoothing=eps)
        loss.backward()
        return loss

    fit.step(closure)
    gap = (free[0, 3] - free[0, 0]).item()
    assert abs(gap - math.log(1 + size * (1 - eps) / eps)) < 1e-5
    assert abs(torch.softmax(free, -1)[0, 3].item() - (1 - eps + eps / size)) < 1e-6
    assert abs(math.log((0.9 + 0.1 / VOCAB) / (0.1 / VOCAB)) - 13.96) < 0.005
    assert abs(-math.log(0.9 + 0.1 / VOCAB) - 0.105) < 0.0005 and abs(1 / 0.9 - 1.11) < 0.005
    for q in distribution(200, size, scale=4):
        cost = stats.entropy(q, (1 - eps) * q + eps / size)
        assert 0 <= cost <= -math.log(1 - eps)


@checks('prop-obj-zloss', 'eq-obj-zloss', 'eq-obj-flow', 'eq-obj-plateau', 'fig-obj-zloss')
def z_loss():
    """Gradient by autograd, stationary points by a root finder, the flow's first integral, a curve of the figure by torch's Adam."""
    zeta, q = 1e-4, distribution(8)
    z = torch.randn(8, dtype=F64, requires_grad=True)
    lse = torch.logsumexp(z, 0)
    gradient = torch.autograd.grad(F.cross_entropy(z[None], q[None]) + zeta * lse**2, z)[0]
    torch.testing.assert_close(gradient, ((1 + 2 * zeta * lse) * torch.softmax(z, 0) - q).detach())
    for push in (np.zeros(8), np.full(8, 1e-3 / 8), np.array([1e-3] + [0] * 7)):
        def residual(z, f=push):
            top = np.logaddexp.reduce(z)
            return (1 + 2 * zeta * top) * np.exp(z - top) - q.numpy() - f

        found = optimize.root(residual, np.log(q.numpy()) + push.sum() / 2e-4, tol=1e-13).x
        assert abs(np.logaddexp.reduce(found) - push.sum() / (2 * zeta)) < 1e-5
        if not push.any():
            np.testing.assert_allclose(found, np.log(q.numpy()), atol=1e-6)
    script = importlib.import_module('figures.chapter2.obj_zloss')
    size, t = script.GAP_VOCAB, script.TIMES
    plain, z_gap, smooth = script.gaps(0.0, 0.0), script.gaps(1e-2, 0.0), script.gaps(0.0, 0.1)
    np.testing.assert_allclose(np.exp(plain) + (size - 1) * plain, size * t + 1, rtol=1e-4)
    assert abs(z_gap[-1] - math.log(t[-1])) < 0.05 and z_gap[-1] - z_gap[-10] > 1 and abs(plain[-1] - math.log(size * t[-1])) < 0.01
    assert np.ptp(z_gap[(t > 1e2) & (t < 1e4)]) < 0.3            # the plateau
    assert abs(smooth[-1] - 9.1) < 0.05
    # The plateau: integrate the two-variable flow at other settings, compare the time at which each gap is reached.
    for many, small in ((1000, 1e-2), (1000, 1e-4), (30_000, 1e-3)):
        beta = (many - 1) / (2 * small)
        first = optimize.brentq(lambda g, b=beta: g * math.exp(g) - b, 0, 30)

        def pair(_, state, n=many, w=small):
            top = np.logaddexp(state[0], state[1] + math.log(n - 1))
            return 1 - (1 + 2 * w * top) * np.exp(state[0] - top), -(1 + 2 * w * top) * np.exp(state[1] - top)

        times = beta * np.array([0.01, 0.1, 1, 10, 100])
        gap = np.subtract(*integrate.solve_ivp(pair, (0, times[-1]), (0.0, 0.0), method='BDF', t_eval=times, rtol=1e-7, atol=1e-9).y)
        clock = np.exp(gap) + beta * gap - math.exp(first) - beta * first
        assert np.all(abs(clock - times) < 0.02 * (times + beta))
        if (many, small) == (1000, 1e-2):
            assert abs(first - 8.66) < 0.005 and abs(gap[2] - 9.51) < 0.01
    # The full flow of all the logits agrees with the two of the figure.
    n, weight = 12, 0.05

    def velocity(_, z):
        top = np.logaddexp.reduce(z)
        return np.eye(n)[0] - (1 + 2 * weight * top) * np.exp(z - top)

    full = integrate.solve_ivp(velocity, (0, 2000), np.zeros(n), method='LSODA', rtol=1e-9, atol=1e-11).y[:, -1]
    assert full[0] - full[1] > 6 and np.ptp(full[1:]) < 1e-6
    # Adam, 300 steps, with autograd.
    target, *parameters = (torch.tensor(a) for a in script.start())
    parameters = [a.requires_grad_() for a in parameters]
    adam = torch.optim.Adam(parameters, lr=script.RATE)
    for _ in range(300):
        adam.zero_grad()
        logits = parameters[0] @ parameters[1]
        top = torch.logsumexp(logits, -1)
        (F.cross_entropy(logits, target) + 1e-2 * top.square().mean()).backward()
        adam.step()
    curves = {w: script.normalizers(w) for w in script.WEIGHTS}
    assert abs(top.detach().square().mean().sqrt().item() - curves[1e-2][299]) < 1e-6
    assert abs(curves[1e-2][299] - 0.13) < 0.005 and abs(curves[1e-4][-1] - 5.9) < 0.05 and abs(curves[0.0][-1] - 7.7) < 0.06
    assert abs(1e-3 / 2e-4 - 5) < 1e-12


@checks('prop-obj-tilt', 'eq-obj-tilt')
def tilt():
    """All sequences of a small language, arbitrary weights; a tabular model fitted to the weighted loss with autograd."""
    symbols, n = 3, 3
    sequences = torch.tensor(list(itertools.product(range(symbols), repeat=n)))
    q = distribution(len(sequences), scale=1.0)
    w = torch.rand(len(sequences), n, dtype=F64)
    rows = torch.stack([torch.zeros(len(sequences)), 1 + sequences[:, 0], 4 + 3 * sequences[:, 0] + sequences[:, 1]], 1).long()
    table = torch.zeros(13, symbols, dtype=F64, requires_grad=True)
    fit = torch.optim.LBFGS([table], max_iter=500, tolerance_grad=1e-13, tolerance_change=1e-16, line_search_fn='strong_wolfe')

    def closure():
        fit.zero_grad()
        loss = (q[:, None] * w * F.cross_entropy(table[rows].flatten(0, 1), sequences.flatten(), reduction='none').view(-1, n)).sum()
        loss.backward()
        return loss

    fit.step(closure)
    found = torch.softmax(table, -1).detach()
    for first, second in itertools.product(range(symbols), repeat=2):
        seen = (sequences[:, 0] == first) & (sequences[:, 1] == second)
        value = (q * w[:, 2])[seen]
        torch.testing.assert_close(found[4 + 3 * first + second], value / value.sum(), atol=1e-5, rtol=0)
    opening = torch.stack([sum(q[sequences[:, 0] == v] * w[sequences[:, 0] == v, 0]) for v in range(symbols)])
    torch.testing.assert_close(found[0], opening / opening.sum(), atol=1e-5, rtol=0)


@checks('fig-obj-norm', 'prop-obj-tilt')
def microbatch_mean():
    """Real padded micro-batches through cross_entropy(reduction='mean'), trained; the enumeration by simulation at other sizes."""
    script = importlib.import_module('figures.chapter2.obj_norm')
    short = torch.tensor([0, 2] + [-100] * 6)
    long = torch.tensor([1] + [3] * 6 + [2])
    context = torch.tensor([0, 1, 2, 2, 2, 2, 2, 2])       # row of the table each position reads: the first token has its own
    for size in (1, 2):
        table = torch.zeros(3, 4, dtype=F64, requires_grad=True)
        step = torch.optim.Adam([table], lr=0.05)
        batches = list(itertools.product((short, long), repeat=size))
        for _ in range(400):                               # expectation over micro-batches by enumerating them
            step.zero_grad()
            loss = sum(F.cross_entropy(table[context].repeat(size, 1), torch.cat(b), reduction='mean') for b in batches) / len(batches)
            loss.backward()
            step.step()
        p = torch.softmax(table[0], -1).detach()
        assert abs((p[0] / (p[0] + p[1])).item() - script.minimizer(size)) < 2e-3
    assert abs(script.minimizer(1) - 0.8) < 1e-12 and abs(script.minimizer(8) - 0.54) < 0.005 and abs(script.minimizer(1, 2, 32) - 0.94) < 0.005
    np.testing.assert_allclose(script.simulated(), [script.minimizer(s) for s in script.SIZES], atol=0.008)


@checks('eg-obj-two')
def two_models():
    lengths = torch.tensor([2, 8])
    losses = {'A': torch.tensor([1.0, 2.0], dtype=F64), 'B': torch.tensor([2.0, 1.5], dtype=F64)}
    return {name: (x.repeat_interleave(lengths).mean().item(), x.mean().item()) for name, x in losses.items()}


RANK = """
def run(rank, meet):
    import torch
    from torch import distributed
    from torch.nn import functional as F

    distributed.init_process_group('gloo', init_method='file://' + meet, rank=rank, world_size=2)
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(n, 5, dtype=torch.float64, generator=generator) for n in (44, 7))
    y = torch.randint(0, 7, (44,), generator=generator)
    model = torch.nn.Linear(5, 7, bias=False, dtype=torch.float64)
    model.weight.data.copy_(w)
    wrapped = torch.nn.parallel.DistributedDataParallel(model)
    mine, found = slice(0, 4) if rank == 0 else slice(4, 44), []
    for reduction, scale in (('sum', 2 / 44), ('sum', 1 / 44), ('mean', 1)):
        model.zero_grad()
        (scale * F.cross_entropy(wrapped(x[mine]), y[mine], reduction=reduction)).backward()
        found.append(model.weight.grad.clone())
    distributed.destroy_process_group()
    w.requires_grad_()
    F.cross_entropy(x @ w.T, y).backward()
    return w.grad, found
"""


@checks('thm-obj-denominator', 'tab-obj-torch')
def distributed_mean():
    """DistributedDataParallel on two ranks, this process and one more: it averages, so the summed loss wants the factor R/T."""
    names = {}
    exec(RANK, names)
    with tempfile.TemporaryDirectory() as folder:
        other = subprocess.Popen([sys.executable, '-c', f'{RANK}\nrun(1, {folder + "/meet"!r})'])
        try:
            whole, (right, small, wrong) = names['run'](0, folder + '/meet')
        finally:
            other.wait(120)
    torch.testing.assert_close(right, whole)
    torch.testing.assert_close(small, whole / 2)
    assert not torch.allclose(wrong, whole, rtol=1e-2)


@checks('thm-obj-denominator', 'eq-obj-bias', 'ex-obj-denominator')
def denominators():
    """A model's own gradients on micro-batches of unequal size; then the exercise by expanding every token."""
    model = torch.nn.Linear(6, 11, bias=False, dtype=F64)
    sizes = [3, 17, 8, 40, 1, 12]
    x, y = torch.randn(sum(sizes), 6, dtype=F64), torch.randint(0, 11, (sum(sizes),))

    def gradient(loss):
        return torch.autograd.grad(loss, model.weight)[0]

    parts = list(zip(x.split(sizes), y.split(sizes), strict=True))
    means = torch.stack([gradient(F.cross_entropy(model(a), b)) for a, b in parts])
    right = gradient(F.cross_entropy(model(x), y))
    torch.testing.assert_close(sum(gradient(F.cross_entropy(model(a), b, reduction='sum')) for a, b in parts) / sum(sizes), right)
    t = torch.tensor(sizes, dtype=F64)
    both = torch.cat([t[:, None], means.flatten(1)], 1)
    covariance = torch.cov(both.T, correction=0)[0, 1:].view_as(right)
    torch.testing.assert_close(means.mean(0) - right, -covariance / t.mean())
    assert (means.mean(0) - right).norm() > 1e-3
    losses = torch.cat([torch.full((10,), 2.0), torch.full((100,), 3.0)]).double()
    naive = torch.cat([losses[:10].mean()[None], losses[10:].mean()[None]]).mean()
    weights = torch.autograd.functional.jacobian(lambda v: (v[:10].mean() + v[10:].mean()) / 2, losses)
    scale = torch.autograd.functional.jacobian(torch.mean, losses)[0] * 2         # two cards: the average halves it again
    return {'a': (losses.mean(), 'nat'), 'b': (naive, 'nat'), 'c': (naive - losses.mean(), 'nat'), 'd': weights[0] / weights[-1], 'e': scale}


@checks('eq-obj-unlike', 'ex-obj-unlike', 'eq-obj-rho')
def unlikelihood():
    q, alpha, k = distribution(6), 0.7, 2
    z = torch.randn(6, dtype=F64, requires_grad=True)
    p = torch.softmax(z, 0)
    gradient = torch.autograd.grad(-alpha * torch.log1p(-p[k]), z)[0]
    torch.testing.assert_close(gradient, (alpha * p[k] / (1 - p[k]) * (F.one_hot(torch.tensor(k), 6) - p)).detach())

    def loss(s):
        p = np.exp(s - np.logaddexp.reduce(s))
        return -q.numpy() @ np.log(p) - alpha * np.log1p(-p[k])

    s = optimize.minimize(loss, np.zeros(6), options={'gtol': 1e-9}).x
    best = np.exp(s - np.logaddexp.reduce(s))
    assert abs(best[k] - q[k].item() / (1 + alpha)) < 1e-6
    rest = np.arange(6) != k
    np.testing.assert_allclose(best[rest] / best[rest].sum(), q.numpy()[rest] / q.numpy()[rest].sum(), atol=1e-5)
    shift = np.log(q.numpy())
    shift[k] += math.log((1 - q[k]) / (1 + alpha - q[k]))
    np.testing.assert_allclose(np.exp(shift - np.logaddexp.reduce(shift)), best, atol=1e-6)
    # Excess loss above kappa is the same event as the ratio of probabilities.
    mine, reference, kappa = distribution(50), distribution(50), 0.3
    every = torch.arange(50)
    excess = F.nll_loss(mine.log().expand(50, 50), every, reduction='none') - F.nll_loss(reference.log().expand(50, 50), every, reduction='none')
    assert ((excess > kappa) == (mine < math.exp(-kappa) * reference)).all()


@checks('prop-obj-topk', 'eq-obj-sampling', 'ex-obj-storage')
def truncated_teacher():
    """Minimizers by optimisation, gradients by autograd, the estimator's moments by enumerating all draws."""
    q = torch.tensor([0.5, 0.2, 0.1, 0.1, 0.05, 0.05], dtype=F64)
    top = q.topk(3).indices.sort().values
    kept = torch.zeros(6, dtype=F64)
    kept[:3] = q[:3]
    assert top.tolist()[:2] == [0, 1]
    renormalized = kept / kept.sum()
    z = torch.randn(6, dtype=F64)

    def gradient(loss):
        return torch.autograd.functional.jacobian(loss, z)

    p = torch.softmax(z, 0)
    torch.testing.assert_close(gradient(lambda s: -(renormalized * torch.log_softmax(s, 0)).sum()), p - renormalized)
    torch.testing.assert_close(gradient(lambda s: -(kept * torch.log_softmax(s, 0)).sum()), 0.8 * (p - renormalized))
    bucket = gradient(lambda s: -(kept * torch.log_softmax(s, 0)).sum() - 0.2 * torch.log(torch.softmax(s, 0)[3:].sum()))
    torch.testing.assert_close(bucket[:3], (p - q)[:3])
    torch.testing.assert_close(bucket[3:], (p - 0.2 * p / p[3:].sum())[3:])
    for rho, m in ((q, 2), (q, 3), (distribution(6), 2)):
        mean, second = torch.zeros(6, dtype=F64), 0.0
        for draw in itertools.product(range(6), repeat=m):
            chance = math.prod(rho[v].item() for v in draw)
            estimate = sum(q[v] / rho[v] * F.one_hot(torch.tensor(v), 6).double() for v in draw) / m
            mean, second = mean + chance * estimate, second + chance * (estimate - q).square().sum()
        torch.testing.assert_close(mean, q)
        torch.testing.assert_close(second, ((q**2 / rho).sum() - (q**2).sum()) / m)
        assert second >= (1 - (q**2).sum()) / m - 1e-12
        if rho is q and m == 2:
            single = 2 * second         # variances of independent draws add: one draw has twice that of the mean of two
    bytes_full = torch.empty(VOCAB, dtype=torch.float16, device='meta').nbytes
    bytes_drawn = torch.empty(50, dtype=torch.int32, device='meta').nbytes
    assert abs(bytes_full / 1e3 - 257) < 0.5 and abs(bytes_full * 1e12 / 1e15 - 257) < 0.6
    bias = (renormalized - q).square().sum()
    assert single / 4 > bias and 6 * bias > single / 4 > 5 * bias
    return {'a': bytes_full * 1e12 / 1e15, 'b': bytes_drawn * 1e12 / 1e12, 'c': (renormalized - q).abs().sum() / 2, 'd': renormalized[0],
            'e': single / 4, 'f': bias}


@checks('fig-obj-kd')
def kd_figure():
    script = importlib.import_module('figures.chapter2.obj_kd')
    q = torch.tensor(script.teacher())
    for k, written in zip(script.KEPT, (0.49, 0.31), strict=True):
        kept = torch.zeros_like(q)
        top = q.topk(k)
        kept[top.indices] = top.values / top.values.sum()
        assert abs((q - kept).abs().sum().item() / 2 - script.truncated(k)) < 1e-12 and abs(script.truncated(k) - written) < 0.005
    curves, counts = script.sampled(), script.COUNTS
    near = int(np.argmin(abs(counts - 100)))
    assert curves[16][near] < script.truncated(64)
    crossing = counts[np.argmax(np.array(curves[1]) < script.truncated(16))]
    assert 106 < crossing <= 208
    assert 3.3 < curves[1][-1] / curves[16][-1] < 4.5
    for m in script.DRAWS:          # the same with torch's sampler
        mine = [(torch.bincount(torch.multinomial(q, int(counts[near]) * m, replacement=True), minlength=len(q)) / (counts[near] * m) - q).abs().sum() / 2
                for _ in range(20)]
        assert abs(torch.stack(mine).mean().item() / curves[m][near] - 1) < 0.03


@checks('ex-obj-mix')
def mixture():
    """Mean square error of the mixed target by simulation over a grid of weights."""
    q, teacher = np.array([0.5, 0.2, 0.1, 0.1, 0.1]), np.array([0.42, 0.3, 0.08, 0.1, 0.1])
    b2, s2 = ((teacher - q) ** 2).sum(), 1 - (q**2).sum()
    grid = np.linspace(0, 1, 201)
    for n in (1, 20):
        means = np.random.multinomial(n, q, 40_000) / n
        errors = [(((lam * means + (1 - lam) * teacher) - q) ** 2).sum(1).mean() for lam in grid]
        best = b2 / (b2 + s2 / n)
        assert abs(grid[np.argmin(errors)] - best) < 0.02
        assert abs(min(errors) / (s2 / n * b2 / (s2 / n + b2)) - 1) < 0.03
    assert abs(0.04 / 0.74 - 0.054) < 5e-4 and abs(0.04 / 0.047 - 0.851) < 5e-4


@checks('eq-obj-heads', 'eq-obj-mtp')
def what_the_heads_see():
    """Two toy architectures: shapes, and which tokens each prediction depends on, by changing one token at a time."""
    n, d, size, depth = 9, 8, 11, 2
    layers = [torch.nn.TransformerEncoderLayer(d, 2, 16, dropout=0.0, batch_first=True, dtype=F64) for _ in range(2 + 2 * depth)]
    embed, head = torch.randn(size, d, dtype=F64), torch.randn(d, size, dtype=F64)
    joins, norm = torch.randn(depth, 2 * d, d, dtype=F64), torch.nn.RMSNorm(d, dtype=F64)

    def run(layer, h):
        length = h.shape[1]
        return layer(h, src_mask=torch.full((length, length), -math.inf, dtype=F64).triu(1))

    def predictions(x):
        trunk = run(layers[0], embed[x][None])
        independent = [run(layers[1 + k], trunk) @ head for k in range(depth)]
        serial, h = [], trunk
        for k in range(1, depth + 1):
            h = run(layers[1 + depth + k - 1], torch.cat([norm(h[:, : n - k]), norm(embed[x[k:]])[None]], -1) @ joins[k - 1])
            serial.append(h @ head)
        return independent, serial

    x = torch.randint(0, size, (n,))
    with torch.no_grad():
        before = predictions(x)
        assert [p.shape[1] for p in before[1]] == [n - 1, n - 2]
        for j in range(n):
            other = x.clone()
            other[j] = (x[j] + 1) % size
            after = predictions(other)
            for kind in range(2):
                for k in range(depth):
                    moved = (before[kind][k] - after[kind][k]).abs().amax(-1)[0] > 1e-12
                    reach = k + 1 if kind else 0                # position t reads x_j for j ≤ t + reach
                    assert moved.tolist() == [j <= t + reach for t in range(len(moved))]


@checks('prop-obj-mtp', 'eq-obj-mutual', 'eg-obj-copy')
def independent_heads():
    """Entropies of an enumerated joint distribution, by scipy; the example's losses by fitting two heads."""
    joint = distribution(27, scale=2.0).numpy().reshape(3, 3, 3)
    marginals = [joint.sum(tuple(a for a in range(3) if a != k)) for k in range(3)]
    excess = sum(stats.entropy(m) for m in marginals) - stats.entropy(joint.ravel())
    pair = joint.sum(2)
    information = stats.entropy(pair.ravel(), np.outer(*marginals[:2]).ravel())
    information += stats.entropy(joint.reshape(9, 3).ravel(), np.outer(pair.ravel(), marginals[2]).ravel())
    assert abs(excess - information) < 1e-12
    copy = torch.tensor([[0.45, 0.05], [0.05, 0.45]], dtype=F64)
    heads = torch.zeros(2, 2, dtype=F64, requires_grad=True)
    step = torch.optim.SGD([heads], lr=1.0)
    for _ in range(50):
        step.zero_grad()
        loss = F.cross_entropy(heads[:1], copy.sum(1)[None]) + F.cross_entropy(heads[1:], copy.sum(0)[None])
        loss.backward()
        step.step()
    together = stats.entropy(copy.numpy().ravel())
    overlap = torch.minimum(copy[0] / copy[0].sum(), torch.softmax(heads[1], 0)).sum()
    assert abs(together - math.log(2) - 0.3251) < 5e-5
    # H(X) + H(Y) = H(X|Y) + 2 I + H(Y|X)
    h1, h2 = stats.entropy(marginals[0]), stats.entropy(marginals[1])
    both = stats.entropy(pair.ravel())
    assert abs(h1 + h2 - ((both - h2) + 2 * (h1 + h2 - both) + (both - h1))) < 1e-12
    return {'marginal': (loss.detach(), 'nat'), 'joint': (together, 'nat'), 'lost': (loss.item() - together, 'nat'), 'accept': overlap.detach()}


def speculate(conditional, draft, start, drafts, rng, runs):
    """Simulate speculative sampling of a Markov chain: the numbers of tokens per pass, and the first tokens that come out."""
    lengths, firsts = [], []
    for _ in range(runs):
        state, count = start, 1
        for k in range(drafts):
            proposal = rng.choice(len(draft[k]), p=draft[k])
            target = conditional[state]
            if rng.random() < min(1, target[proposal] / draft[k][proposal]):
                count, state = count + 1, proposal
                if k == 0:
                    firsts.append(proposal)
            else:
                if k == 0:
                    rest = np.maximum(target - draft[k], 0)
                    firsts.append(rng.choice(len(rest), p=rest / rest.sum()))
                break
        lengths.append(count)
    return np.mean(lengths), np.bincount(firsts, minlength=len(conditional)) / len(firsts)


@checks('prop-obj-accept', 'eq-obj-accept', 'fig-obj-mtp', 'ex-obj-draft')
def acceptance():
    """Speculative sampling simulated on the noisy copy; the output keeps the target distribution."""
    script = importlib.import_module('figures.chapter2.obj_mtp')
    rng = np.random.default_rng(0)
    for symbols, noise in ((2, 0.1), (8, 0.3)):
        chain = np.full((symbols, symbols), noise / (symbols - 1))
        np.fill_diagonal(chain, 1 - noise)
        uniform = [np.full(symbols, 1 / symbols)] * script.DRAFTS
        length, firsts = speculate(chain, uniform, 0, script.DRAFTS, rng, 20_000)
        assert abs(length - sum(script.accepted(noise, symbols) ** k for k in range(script.DRAFTS + 1))) < 0.03
        np.testing.assert_allclose(firsts, chain[0], atol=0.012)
        joint = chain / symbols
        assert abs(script.lost(noise, symbols) - stats.entropy(joint.ravel(), np.full(symbols**2, 1 / symbols**2))) < 1e-12
    assert abs(script.lost(0.1, 2) - 0.3681) < 5e-5 and abs(script.accepted(0.1, 2) - 0.6) < 1e-12
    ends = {m: [sum(script.accepted(e, m) ** k for k in range(4)) for e in (0.0, 0.5)] for m in script.SYMBOLS}
    assert abs(ends[2][0] - 1.9) < 0.05 and abs(ends[2][1] - 4) < 1e-9 and 2.2 < ends[8][1] < 2.3 and 1 < ends[64][0] < 1.1
    assert abs(script.lost(0.0, 64) - 4.2) < 0.05 and abs(script.lost(0.5, 64) - 1.4) < 0.05

    def expected(rates):
        """Expectation over the number accepted, enumerated outcome by outcome."""
        total, alive = 0.0, 1.0
        for k, rate in enumerate(rates):
            total, alive = total + alive * (1 - rate) * (k + 1), alive * rate
        return total + alive * (len(rates) + 1)

    rates = (0.9, 0.75, 0.6, 0.5)
    speeds = [expected(rates[:k]) / (1 + 0.04 * k) for k in range(5)]
    np.testing.assert_allclose(speeds, (1, 1.827, 2.384, 2.661, 2.744), atol=5e-4)
    fifth = optimize.brentq(lambda a: expected((*rates, a)) / 1.2 - speeds[4], 0, 1)
    assert abs(fifth - 0.54) < 0.005
    chain = torch.tensor([[0.9, 0.1], [0.1, 0.9]], dtype=F64)
    two = (chain @ chain)[0]
    overlap = sum(chain[0, s] * torch.minimum(chain[s], two).sum() for s in range(2))
    assert abs(1.9 / 1.8 - 1 - 0.056) < 5e-4
    return {'a': expected([0.8] * 4), 'b': expected(rates), 'c1': int(np.argmax(speeds)), 'c2': max(speeds), 'd': overlap, 'e': 1.85 / 1.8 - 1}


@checks('prop-obj-fim', 'eq-obj-fim')
def fill_in_the_middle():
    """Every document of a Markov chain and every pair of cuts: the entropy of the rearranged streams, and of the segments."""
    m, rng = 4, np.random.default_rng(0)
    step = rng.dirichlet(np.ones(2), 2)
    streams, documents, segments = {}, [], {}
    cuts = [(i, j) for i in range(m + 1) for j in range(i, m + 1)]
    assert len(cuts) == math.comb(m + 2, 2)
    for x in itertools.product(range(2), repeat=m):
        chance = 0.5 * math.prod(step[a][b] for a, b in itertools.pairwise(x))
        documents.append(chance)
        for i, j in cuts:
            stream = ('P', *x[:i], 'S', *x[j:], 'M', *x[i:j], 'E')
            streams[stream] = streams.get(stream, 0) + chance / len(cuts)
        segments[x] = chance
    assert abs(stats.entropy(list(streams.values())) - stats.entropy(documents) - math.log(len(cuts))) < 1e-12

    def entropy(*parts):
        table = {}
        for x, chance in segments.items():
            key = tuple(x[s] for s in parts)
            table[key] = table.get(key, 0) + chance
        return stats.entropy(list(table.values()))

    pre, mid, suf = slice(0, 1), slice(1, 3), slice(3, 4)
    more = (entropy(pre, suf) - entropy(pre)) - (entropy(pre, mid, suf) - entropy(pre, mid))
    less = (entropy(pre, mid) - entropy(pre)) - (entropy(pre, mid, suf) - entropy(pre, suf))
    assert more > 0.01 and abs(more - less) < 1e-12
    for length, nats, each in ((8192, 17.3, 0.002), (128, 9.03, 0.071), (512, 11.79, 0.023)):
        number = sum(length + 1 - i for i in range(length + 1))
        assert abs(math.log(number) - nats) < 0.05 and abs(math.log(number) / length - each) < 6e-4
    a, b = np.sort(rng.random((2, 400_000)), axis=0)
    assert abs(a.mean() - 1 / 3) < 2e-3 and abs((b - a).mean() - 1 / 3) < 2e-3
    assert abs(2 * 30e9 * 1e12 / (6 * 3e9 * 1e12) - 3.3) < 0.04 and 16 * 4 * 1e12 == 64e12        # the design exercise
    # Conditioning sets, counted: a token is left-to-right when it is predicted from everything before it and nothing else.
    def faithful(order, i, j, length):
        parts = {'P': range(i), 'M': range(i, j), 'S': range(j, length)}
        stream = [t for name in order for t in parts[name]]
        return sum(set(stream[:k]) == set(range(t)) for k, t in enumerate(stream))

    length, rates = 30, {}
    for order in ('PSM', 'SPM'):
        pairs = [(i, j) for i in range(1, length) for j in range(i + 1, length)]       # three parts that are not empty
        rates[order] = np.mean([faithful(order, i, j, length) / length for i, j in pairs])
    assert abs(rates['PSM'] - 1 / 3) < 1e-9 and rates['SPM'] == 0
    assert abs(0.5 + 0.5 * rates['PSM'] - 0.667) < 5e-4 and abs(0.1 + 0.9 * rates['PSM'] - 0.4) < 1e-9
    assert abs(0.5 + 0.25 * rates['PSM'] + 0.25 * rates['SPM'] - 0.583) < 5e-4


@checks('tab-obj-budget', 'eq-obj-budget')
def denoising_budget():
    """Build the inputs and targets of one long document and count."""
    def spans(rate, mean, length=960_000):
        number = round(rate * length / mean)
        source, target = length - number * mean + number, number * mean + number
        return target / (source + target)

    document = np.arange(1000)
    prefix = 750
    return {
        '从左到右、FIM': {'$\\phi$': 1},
        '前缀语言模型，前缀占 3/4': {'$\\phi$': len(document[prefix:]) / len(document)},
        '片段去噪，常规': {'$\\phi$': spans(0.15, 3)},
        '片段去噪，高比例': {'$\\phi$': spans(0.5, 3)},
        '片段去噪，长片段': {'$\\phi$': spans(0.15, 64)},
    }


@checks('prop-obj-online', 'eq-obj-online', 'ex-obj-stream')
def streaming():
    """Random partitions merged in random order against torch.logsumexp; the distillation loss in one pass against kl_div."""
    a, z = 30 * torch.randn(500, dtype=F64), 30 * torch.randn(500, dtype=F64)
    for _ in range(20):
        cut = sorted(np.random.choice(np.arange(1, 500), 7, replace=False).tolist())
        blocks = [torch.tensor(part) for part in np.split(np.random.permutation(500), cut)]
        states = []
        for block in blocks:
            ma, mz = a[block].max(), z[block].max()
            weight = (a[block] - ma).exp()
            states.append((ma, weight.sum(), (weight * (a[block] - z[block])).sum(), mz, (z[block] - mz).exp().sum(), len(block)))
        while len(states) > 1:
            i, j = np.random.choice(len(states), 2, replace=False)
            x, y = states[i], states[j]
            ma, mz = max(x[0], y[0]), max(x[3], y[3])
            fx, fy = (x[0] - ma).exp(), (y[0] - ma).exp()
            gx, gy = (x[3] - mz).exp(), (y[3] - mz).exp()
            merged = (ma, x[1] * fx + y[1] * fy, x[2] * fx + y[2] * fy, mz, x[4] * gx + y[4] * gy, x[5] + y[5])
            assert 1 <= merged[1] <= merged[5] and 1 <= merged[4] <= merged[5]
            states = [s for k, s in enumerate(states) if k not in (i, j)] + [merged]
        ma, sa, r, mz, sz, _ = states[0]
        torch.testing.assert_close(mz + sz.log(), torch.logsumexp(z, 0))
        loss = r / sa - (ma + sa.log()) + mz + sz.log()
        torch.testing.assert_close(loss, F.kl_div(torch.log_softmax(z, 0), torch.softmax(a, 0), reduction='sum'))
    assert torch.tensor(88.7).exp().isfinite() and torch.tensor(88.8).exp().isinf()
    assert torch.tensor(11.05, dtype=torch.float16).exp().isfinite() and torch.tensor(11.1, dtype=torch.float16).exp().isinf()


@checks('tab-obj-memory')
def memory():
    def size(*shape, dtype=torch.float32):
        return torch.empty(*shape, dtype=dtype, device='meta').nbytes, 'byte'

    whole = size(8192, VOCAB)[0]
    assert abs((2 * whole + whole / 2) / 2**30 - 9.8) < 0.05
    return {
        '全部，fp32': {'大小': size(8192, VOCAB)},
        '全部，bf16': {'大小': size(8192, VOCAB, dtype=torch.bfloat16)},
        '按行，每块 1,024，fp32': {'大小': size(1024, VOCAB)},
        '按列，每块 8,192，fp32': {'大小': size(8192, 8192)},
        '行列都分，fp32': {'大小': size(1024, 8192)},
        '词表并行每卡交换，fp32': {'大小': size(8192, 3)},
    }


@checks('tab-obj-bf16', 'eq-obj-bf16')
def low_precision():
    """Round to bfloat16 in five gauges; the bound; a bfloat16 accumulator."""
    z = 3 * torch.randn(150, 32_768, dtype=F64)
    z -= torch.logsumexp(z, -1, keepdim=True)
    y = torch.multinomial(z.exp(), 20, replacement=True)
    rows = {}
    for gauge in (0, 8, 32, 128, 512):
        exact, rounded = z + gauge, (z + gauge).bfloat16().double()
        error = (torch.logsumexp(rounded, -1, keepdim=True) - rounded.gather(1, y)) - (torch.logsumexp(exact, -1, keepdim=True) - exact.gather(1, y))
        bound = 2**-8 * (exact.abs().amax(-1, keepdim=True) + exact.gather(1, y).abs())
        assert (error.abs() <= bound).all()
        total = (torch.softmax(rounded, -1) - z.exp()).abs().sum(-1).mean() / 2
        rows[str(gauge)] = {'单 token 损失误差的均方根（nat）': error.square().mean().sqrt(), '平均 $\\mathrm{TV}(\\hat{\\bm p},\\bm p)$': total}
    total, one = torch.zeros((), dtype=torch.bfloat16), torch.ones((), dtype=torch.bfloat16)
    for _ in range(600):
        total = total + one
    assert total == 256 and abs(math.log(256) - 5.55) < 0.006 and abs(math.log(VOCAB) - 11.76) < 0.005
    return rows


@checks('tab-obj-torch')
def documented_behaviour():
    """What the table of PyTorch functions says, tried out."""
    z, y = torch.randn(4, 6, dtype=F64), torch.tensor([1, 5, -100, 0])
    each = F.cross_entropy(z, y, reduction='none')
    torch.testing.assert_close(F.cross_entropy(z, y), each.sum() / 3)
    weight = torch.rand(6, dtype=F64) + 0.1
    weighted = F.cross_entropy(z, y, weight=weight, reduction='none')
    torch.testing.assert_close(F.cross_entropy(z, y, weight=weight), weighted.sum() / weight[y[y >= 0]].sum())
    soft = distribution(4, 6)
    soft[2] = 0
    torch.testing.assert_close(F.cross_entropy(z, soft), F.cross_entropy(z, soft, reduction='none').sum() / 4)
    p, q = distribution(4, 6), distribution(4, 6)
    kl = torch.tensor([stats.entropy(a, b) for a, b in zip(q, p, strict=True)])
    torch.testing.assert_close(F.kl_div(p.log(), q, reduction='batchmean'), kl.mean())
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.testing.assert_close(torch.nn.KLDivLoss()(p.log(), q), kl.mean() / 6)        # warns; in this module the warning would leave a registry
    torch.testing.assert_close(F.kl_div(p.log(), q.log(), reduction='batchmean', log_target=True), kl.mean())
    far = torch.tensor([[0.0, 800.0]], dtype=F64)
    assert F.softmax(far, -1).log()[0, 0] == -math.inf and F.log_softmax(far, -1)[0, 0] == -800
    torch.testing.assert_close(F.nll_loss(z[:2], y[:2]), -z[[0, 1], y[:2]].mean())
    torch.testing.assert_close(torch.logaddexp(torch.logsumexp(z[:, :2], -1), torch.logsumexp(z[:, 2:], -1)), torch.logsumexp(z, -1))
    nothing = torch.tensor(-math.inf)
    assert torch.logaddexp(nothing, nothing) == -math.inf and torch.logaddexp(nothing, torch.tensor(2.0)) == 2
    h, w = torch.randn(4, 3, dtype=F64), torch.randn(6, 3, dtype=F64)
    fused = F.linear_cross_entropy(h, w, y)
    assert isinstance(fused, torch.Tensor) and fused.shape == ()
    torch.testing.assert_close(fused, F.cross_entropy(h @ w.T, y))
