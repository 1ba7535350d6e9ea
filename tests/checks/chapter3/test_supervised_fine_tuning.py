"""Section 3.1: optima of weighted likelihoods, packing, denominators, policy gradients and their limits, each computed another way."""

import importlib
import math

import numpy as np
import pytest
import torch
from scipy import optimize
from scipy.integrate import solve_ivp
from scipy.linalg import eigh
from scipy.stats import spearmanr
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from checks import checks

F64 = torch.float64


def figure(name):
    return importlib.import_module(f'figures.chapter3.{name}')


def fit(loss, shape, steps=200):
    """Minimise a smooth function of a tensor of logits with L-BFGS; returns the logits."""
    s = torch.zeros(shape, dtype=F64, requires_grad=True)
    solver = torch.optim.LBFGS([s], max_iter=steps, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn='strong_wolfe')

    def closure():
        solver.zero_grad()
        value = loss(s)
        value.backward()
        return value

    solver.step(closure)
    return s.detach()


@checks('thm-sft-tilt', 'eq-sft-tilt')
def tilted_optimum():
    """A table model trained by gradient: sequence weights, and token weights that depend on the next token."""
    p, w = torch.rand(5, dtype=F64).softmax(0), torch.rand(5, dtype=F64) + 0.1
    learned = fit(lambda s: -(p * w * s.log_softmax(0)).sum(), 5).softmax(0)
    torch.testing.assert_close(learned, p * w / (p * w).sum(), atol=1e-6, rtol=0)
    # Strings of two tokens; the weight of the first token depends on the second: only its conditional mean matters.
    joint, weight = torch.rand(3, 3, dtype=F64), torch.rand(3, 3, dtype=F64) + 0.1
    joint /= joint.sum()
    learned = fit(lambda s: -(joint * weight * s.log_softmax(0)[:, None]).sum(), 3).softmax(0)
    mean = (joint * weight).sum(1) / joint.sum(1)
    expected = joint.sum(1) * mean
    torch.testing.assert_close(learned, expected / expected.sum(), atol=1e-6, rtol=0)


@checks('eg-sft-eos', 'eq-sft-eos', 'ex-sft-eos')
def masked_eos():
    """Class weights of cross_entropy on stop/continue data; the mean length is measured by walking."""
    out = {}
    for weight in (1.0, 0.1):
        data = torch.tensor([1, 0, 0, 0])          # stop once in four sentence ends
        s = fit(lambda s: F.cross_entropy(s.expand(4, 2), data, weight=torch.tensor([1.0, weight], dtype=F64)), 2)
        stop = s.softmax(0)[1].item()
        alive, mean = 1.0, 0.0
        for _ in range(3000):
            mean += alive
            alive *= 1 - stop
        out[weight] = stop, mean
    h, w = 0.25, 0.1
    assert abs(out[0.1][1] - (1 + (1 - h) / (w * h))) < 1e-3
    assert abs(math.log(out[0.1][0] / (1 - out[0.1][0])) - math.log(h / (1 - h)) - math.log(w)) < 1e-5
    # No weight at all on the end: the probability only falls.
    s = torch.zeros(2, dtype=F64, requires_grad=True)
    for _ in range(2000):
        g, = torch.autograd.grad(F.cross_entropy(s.expand(4, 2), data, weight=torch.tensor([1.0, 0.0], dtype=F64)), s)
        s = (s - g).detach().requires_grad_()
    assert s.softmax(0)[1] < 1e-3
    return {'eg-sft-eos': {'stop': out[0.1][0], 'clean': round(out[1.0][1], 5), 'wrong': round(out[0.1][1], 5)}}


@checks('ex-sft-eos', 'cor-sft-harmonic', 'eq-sft-harmonic')
def length_weights():
    """A stop/continue model per position, trained on per-sample means: its lengths are P(k)/k."""
    longest = 12
    k = torch.arange(1, longest + 1, dtype=F64)
    p = torch.rand(longest, dtype=F64).softmax(0)

    def logprobs(s):
        go = F.logsigmoid(s)
        stop = torch.cat([F.logsigmoid(-s), torch.zeros(1, dtype=F64)])       # the last position must stop
        return stop + torch.cat([torch.zeros(1, dtype=F64), go.cumsum(0)])

    learned = logprobs(fit(lambda s: -(p / k * logprobs(s)).sum(), longest - 1)).exp()
    expected = p / k / (p / k).sum()
    torch.testing.assert_close(learned, expected, atol=1e-5, rtol=0)
    assert abs((learned * k).sum() - 1 / (p / k).sum()) < 1e-4
    # The geometric distribution of the opening: 21.5.
    n, h = np.arange(1, 20_001), 0.01
    inverse = (h * (1 - h) ** (n - 1) / n).sum()
    assert abs(inverse - 0.0465) < 5e-5 and abs(1 / inverse - 21.5) < 0.05
    assert abs(inverse - h / (1 - h) * math.log(1 / h)) < 1e-12


@checks('prop-sft-batch', 'eq-sft-batch', 'fig-sft-length')
def batch_ratio():
    """Gradient-free: weights v(n) by simulation of whole batches, then the tilted mean; against the figure and mu (b-1)/b."""
    script = figure('sft_length')
    rng = np.random.default_rng(0)
    for b, printed in ((1, 21.5), (2, None), (8, 87.6), (64, 98.5)):
        n = rng.geometric(0.01, (400_000 // b, b)).astype(float)
        weight = 1 / n.sum(1)
        mean = (n * weight[:, None]).mean() / weight.mean()
        assert abs(mean / script.batch_mean(b) - 1) < 0.02
        if printed:
            assert abs(script.batch_mean(b) - printed) < 0.05
        if b >= 8:
            assert abs(script.batch_mean(b) - 100 * (b - 1) / b) < 0.3
    x = rng.exponential(100, (400_000, 3))
    assert abs(1 / (3 * (1 / x.sum(1)).mean()) - 100 * 2 / 3) < 0.5


@checks('eg-sft-template', 'prop-sft-template', 'eq-sft-transfer')
def template_transfer():
    """A log-linear model trained by SGD on one context; the shift it shows on another."""
    phi, other = torch.randn(2, 9, dtype=F64)
    base = torch.randn(4, 9, dtype=F64)
    theta = torch.zeros(4, 9, dtype=F64, requires_grad=True)
    solver = torch.optim.SGD([theta], lr=0.1)
    for _ in range(50):
        solver.zero_grad()
        F.cross_entropy(((base + theta) @ phi)[None], torch.tensor([2])).backward()
        solver.step()
    kappa = (phi @ other) / (phi @ phi)
    torch.testing.assert_close(theta.detach() @ other, kappa * (theta.detach() @ phi))
    # The numbers: features (1, 1) for the right template, (1, 0) for the wrong one, shared bias and private feature.
    answers = {}
    for name, feature in (('half', [1.0, 0.0]), ('most', [1.0, 0.6])):
        f = torch.tensor([1.0, 1.0], dtype=F64)
        g = torch.tensor(feature, dtype=F64)
        start = math.log(0.01 / 0.99)
        t = torch.zeros(2, dtype=F64)
        while (p := torch.sigmoid(start + t @ f)) < 0.9:
            t = t + 0.001 * (1 - p) * f
        answers[name] = torch.sigmoid(start + t @ g)
    shift = math.log(0.9 / 0.1) - math.log(0.01 / 0.99)
    assert abs(shift - 6.792) < 5e-4 and abs(math.log(9) - 2.197) < 5e-4 and abs(math.log(99) - 4.595) < 5e-4
    return {'eg-sft-template': answers | {'mean': 1 / answers['half']}}


def rope(x, position, base=10_000.0):
    half = x.shape[-1] // 2
    angle = position[:, None] * base ** (-torch.arange(half, dtype=F64) / half)
    a, b = x[..., :half], x[..., half:]
    return torch.cat([a * angle.cos() - b * angle.sin(), a * angle.sin() + b * angle.cos()], -1)


@checks('prop-sft-pack')
def packing():
    """Two layers with RoPE, three documents: packed with and without reset positions against one at a time; leak without the mask."""
    d, lengths = 16, (5, 9, 3)
    w = torch.randn(2, 4, d, d, dtype=F64) / d**0.5

    def run(x, keep, position):
        for q, k, v, o in w:
            y = F.scaled_dot_product_attention(rope(x @ q, position), rope(x @ k, position), x @ v, attn_mask=keep)
            x = x + F.gelu(y @ o)
        return x

    docs = [torch.randn(n, d, dtype=F64) for n in lengths]
    alone = torch.cat([run(x, torch.ones(len(x), len(x), dtype=torch.bool).tril(), torch.arange(len(x), dtype=F64)) for x in docs])
    packed = torch.cat(docs)
    owner = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))
    causal = torch.ones(17, 17, dtype=torch.bool).tril()
    block = causal & (owner[:, None] == owner)
    running = torch.arange(17, dtype=F64)
    reset = torch.cat([torch.arange(n, dtype=F64) for n in lengths])
    torch.testing.assert_close(run(packed, block, running), alone)
    torch.testing.assert_close(run(packed, block, reset), alone)
    assert (run(packed, causal, running)[5:] - alone[5:]).abs().max() > 0.1
    # A learned absolute position breaks it unless reset.
    table = torch.randn(17, d, dtype=F64)
    with_table = run(packed + table[running.long()], block, reset)
    alone = torch.cat([run(x + table[:len(x)], torch.ones(len(x), len(x), dtype=torch.bool).tril(), torch.arange(len(x), dtype=F64)) for x in docs])
    assert not torch.allclose(with_table, alone)
    torch.testing.assert_close(run(packed + table[reset.long()], block, reset), alone)


@checks('eg-sft-leak', 'prop-sft-leak', 'eq-sft-leak')
def leak():
    """Mean attention on other documents with random logits, against the counting argument; the limit by quadrature."""
    documents, length = 8, 256
    n = documents * length
    owner = torch.arange(n) // length
    shares = []
    for _ in range(3):
        s = torch.randn(n, n, dtype=F64).masked_fill(~torch.ones(n, n, dtype=torch.bool).tril(), -math.inf)
        shares.append((s.softmax(-1) * (owner[:, None] != owner)).sum(-1).mean())
    measured = torch.stack(shares).mean().item()
    counted = np.mean([j * length / (j * length + t) for j in range(documents) for t in range(1, length + 1)])
    assert abs(measured - counted) < 2e-3
    u = (np.arange(100_000) + 0.5) / 100_000
    limit = np.mean([(j / (j + u)).mean() if j else 0 for j in range(documents)])
    return {'limit': limit, 'finite': counted}


@checks('eg-sft-flip', 'prop-sft-cov', 'eq-sft-flip')
def flip():
    n = torch.tensor([10, 190])
    token_losses = {'A': [0.5, 1.2], 'B': [1.0, 1.1]}
    flat = {k: torch.repeat_interleave(torch.tensor(v, dtype=F64), n) for k, v in token_losses.items()}
    sample = [torch.tensor(v, dtype=F64).mean() for v in token_losses.values()]
    token = [v.mean() for v in flat.values()]
    assert sample[0] < sample[1] and token[0] > token[1]
    d = torch.tensor(token_losses['A'], dtype=F64) - torch.tensor(token_losses['B'], dtype=F64)
    cov = np.cov(n.numpy(), d.numpy(), bias=True)[0, 1] / n.double().mean()
    assert abs(d.mean() + 0.2) < 1e-12 and abs(d.mean() + cov - (token[0] - token[1])) < 1e-12
    return {'sample': sample, 'token': token, 'cov': cov}


@checks('prop-sft-pg', 'eq-sft-pg', 'eq-sft-bc')
def policy_gradient_identity():
    """Enumeration of the on-policy expectation and its second moment against autograd; the bound of imitation."""
    s = torch.randn(6, dtype=F64, requires_grad=True)
    p = s.softmax(0)
    scores = torch.stack([torch.autograd.grad(p[y].log(), s, retain_graph=True)[0] for y in range(6)])
    star = 2
    reward = torch.zeros(6, dtype=F64)
    reward[star] = 1 / p[star].item()
    torch.testing.assert_close((p.detach() * reward) @ scores, scores[star])
    second = (p.detach() * reward**2 * scores.square().sum(1)).sum()
    torch.testing.assert_close(second, scores[star].square().sum() / p[star].detach())
    assert scores.square().sum(1).max() <= 2
    assert abs(0.7**200 / 1.05e-31 - 1) < 5e-3
    assert abs(math.sqrt(200 * 1e-3 / 2) - 0.316) < 5e-4
    # Two Markov chains of length 6 over two symbols: total variation of strings against the bound.
    a, b = np.array([[0.6, 0.4], [0.3, 0.7]]), np.array([[0.5, 0.5], [0.35, 0.65]])
    strings = [[(i >> t) & 1 for t in range(7)] for i in range(128)]
    prob = [np.array([0.5 * math.prod(m[x[t], x[t + 1]] for t in range(6)) for x in strings]) for m in (a, b)]
    tv = np.abs(prob[0] - prob[1]).sum() / 2
    chain = sum(sum(prob[0][i] * math.log(a[x[t], x[t + 1]] / b[x[t], x[t + 1]]) for i, x in enumerate(strings)) for t in range(6))
    assert tv <= math.sqrt(chain / 2)


@checks('eq-sft-dft', 'prop-sft-lq', 'eq-sft-lq', 'eq-sft-temper', 'ex-sft-lq', 'ex-sft-critique')
def family():
    """Gradients by autograd, optima by constrained optimisation, the sharpening of exercise (c) by bisection."""
    s = torch.randn(5, dtype=F64, requires_grad=True)
    p = s.softmax(0)
    weighted, = torch.autograd.grad(p[1].detach() * p[1].log(), s, retain_graph=True)
    torch.testing.assert_close(weighted, torch.autograd.grad(p[1], s, retain_graph=True)[0])
    forgotten, = torch.autograd.grad(p[1] * p[1].log(), s, retain_graph=True)
    torch.testing.assert_close(forgotten, (1 + p[1].log()).detach() * weighted)
    for q in (0.3, 1.0, 2.0):
        g, = torch.autograd.grad((1 - p[1]**q) / q, s, retain_graph=True)
        torch.testing.assert_close(-g, (p[1]**q * (F.one_hot(torch.tensor(1), 5) - p)).detach())
    rho = np.array([0.5, 0.3, 0.2])
    for q in (0.25, 0.6):
        best = optimize.minimize(lambda z: -(rho * (np.exp(z) / np.exp(z).sum())**q).sum(), np.zeros(3), method='BFGS', options={'gtol': 1e-9})
        found = np.exp(best.x) / np.exp(best.x).sum()
        expected = rho ** (1 / (1 - q))
        assert np.allclose(found, expected / expected.sum(), atol=1e-4)
        assert abs(-best.fun - expected.sum() ** (1 - q)) < 1e-8
    # q = 1: the mode; also the counter-example of the critique.
    z = np.log([0.5, 0.5])
    for _ in range(20_000):
        pi = np.exp(z) / np.exp(z).sum()
        z = z + 0.1 * pi * (np.array([0.6, 0.4]) - pi @ [0.6, 0.4])
    assert pi[0] > 0.99
    assert abs(fit(lambda s: -(torch.tensor([0.6, 0.4], dtype=F64) * s.log_softmax(0)).sum(), 2).softmax(0)[0] - 0.6) < 1e-6
    q = optimize.brentq(lambda q: 0.8 ** (1 / (1 - q)) / (0.8 ** (1 / (1 - q)) + 0.2 ** (1 / (1 - q))) - 0.99, 0, 0.95)
    assert abs(q - 0.698) < 5e-4


@checks('tab-sft-dft', 'eq-sft-time', 'fig-sft-dft')
def three_cases():
    """Optima by numerical maximisation; the last row and the times to one half by integrating the flow of a two-way softmax."""
    def optimum(rho, q):
        if q == 1:
            return 1.0
        objective = (lambda p: rho * math.log(p) + (1 - rho) * math.log(1 - p)) if q == 0 else (lambda p: rho * p**q + (1 - rho) * (1 - p)**q)
        return optimize.minimize_scalar(lambda p: -objective(p), bounds=(1e-9, 1 - 1e-9), method='bounded', options={'xatol': 1e-12}).x

    def flow(q, until):
        start = math.log(1e-3 / 0.999)
        half = lambda t, y: y[0]
        half.terminal = False
        run = solve_ivp(lambda t, y: [(1 + math.exp(-y[0])) ** -q / (1 + math.exp(y[0]))], (0, until), [start], events=half, rtol=1e-9, atol=1e-11)
        return 1 / (1 + math.exp(-run.y[0, -1])), (run.t_events[0][0] if len(run.t_events[0]) else None)

    times = {q: flow(q, 1500)[1] for q in (0, 1)}
    assert abs(times[0] - 7.9) < 0.05 and abs(times[1] - 1012.8) < 0.05
    script = figure('sft_dft')
    for q in (0, 1):
        assert abs(script.time_to_half(1e-3, q) / times[q] - 1) < 1e-5
    assert times[1] / times[0] > 100
    columns = {'$q=0$': 0, '$q=0.5$': 0.5, '$q=1$': 1}
    pair = {name: optimum(0.55, q) for name, q in columns.items()}
    return {'tab-sft-dft': {
        '噪声：采样正确率': {name: optimum(0.8, q) for name, q in columns.items()},
        '两解：覆盖率': {name: 1 - p**4 - (1 - p)**4 for name, p in pair.items()},
        '新知识：概率': {name: flow(q, 20)[0] for name, q in columns.items()},
    }}


def flow_until(success, natural):
    """The policy gradient flow of three answers (0.30, 0.08 right, 0.62 wrong), natural or plain, up to a given success."""
    base, r = np.array([0.30, 0.08, 0.62]), np.array([1.0, 1.0, 0.0])

    def soft(z):
        e = np.exp(z - z.max())
        return e / e.sum()

    def speed(t, z):
        p = soft(z)
        if not natural:
            return p * (r - p @ r)
        fisher = np.diag(p) - np.outer(p, p)
        return np.linalg.pinv(fisher) @ (p * (r - p @ r))

    def reached(t, z):
        return soft(z) @ r - success

    reached.terminal = True
    run = solve_ivp(speed, (0, 1e5), np.log(base), events=reached, method='RK45' if natural else 'LSODA', rtol=1e-8, atol=1e-10)
    z = run.y[:, -1]
    p = soft(z)
    return z, p, (p * np.log(p / base)).sum()


@checks('tab-sft-pg', 'thm-sft-vanilla', 'eq-sft-excess', 'ex-sft-vanilla')
def plain_policy_gradient():
    rows = {}
    for success in (0.9, 0.99, 0.999):
        z, p, kl = flow_until(success, natural=False)
        _, natural, kl_natural = flow_until(success, natural=True)
        assert abs(np.exp(-z[1]) - np.exp(-z[0]) - (1 / 0.08 - 1 / 0.30)) < 1e-4      # the invariant
        assert abs(z.sum() - np.log([0.30, 0.08, 0.62]).sum()) < 1e-6
        assert abs(natural[0] / natural[1] - 3.75) < 1e-4
        rows[f'{success}'] = {'普通：甲乙之比': p[0] / p[1], '普通：KL': kl, '自然：KL': kl_natural}
    assert abs(-math.log(0.3) - 1.204) < 5e-4 and abs(-math.log(0.38) - 0.968) < 5e-4
    assert -math.log(0.3) <= -math.log(0.38) + math.log(2)
    # Ties share the limit; the unique best takes all.
    for base, last in (([0.2, 0.2, 0.1, 0.5], [0.5, 0.5, 0]), ([0.25, 0.15, 0.1, 0.5], [1, 0, 0])):
        r = np.array([1.0, 1.0, 1.0, 0.0])
        run = solve_ivp(lambda t, z, r=r: (p := np.exp(z - z.max()) / np.exp(z - z.max()).sum()) * (r - p @ r), (0, 1e7), np.log(base),
                        method='LSODA', rtol=1e-8, atol=1e-10)
        p = np.exp(run.y[:, -1] - run.y[:, -1].max())
        p /= p.sum()
        assert np.abs(p[:3] - last).max() < 0.02
    return {'tab-sft-pg': rows}


@checks('thm-sft-iproj', 'eq-sft-pyth')
def information_projection():
    """The exponential tilt against a constrained minimiser of KL, in either direction; Pythagoras for a random member."""
    rng = np.random.default_rng(1)
    base, r = rng.dirichlet(np.ones(5)), np.array([1.0, 1, 1, 0, 0])
    tilt = base * np.exp(1.7 * r)
    tilt /= tilt.sum()
    goal = tilt @ r

    def kl(p, q):
        return (p * np.log(p / q)).sum()

    for distance in (lambda q: kl(q, base), lambda q: kl(base, q)):
        found = optimize.minimize(distance, base, bounds=[(1e-9, 1)] * 5, method='SLSQP', options={'ftol': 1e-14, 'maxiter': 500},
                                  constraints=[{'type': 'eq', 'fun': lambda q: q.sum() - 1}, {'type': 'eq', 'fun': lambda q: q @ r - goal}]).x
        assert np.allclose(found, tilt, atol=1e-5)
    q = np.concatenate([rng.dirichlet(np.ones(3)) * goal, rng.dirichlet(np.ones(2)) * (1 - goal)])
    assert abs(kl(q, base) - kl(q, tilt) - kl(tilt, base)) < 1e-12
    mu, inside = rng.dirichlet(np.ones(3)), base[:3] / base[:3].sum()
    assert abs((mu * np.log(mu / base[:3])).sum() - kl(mu, inside) + math.log(base[:3].sum())) < 1e-12


@checks('fig-sft-razor', 'eq-sft-fisher', 'ex-sft-open')
def razor():
    """The figure's runs: ranks, means and the order of the methods; one run again with autograd; the eigenvalue band."""
    script = figure('sft_razor')
    rows = script.data()
    assert len({row[0] for row in rows}) == 20 and all(0.95 <= row[4] < 0.955 for row in rows)
    moved, forgot, size = (np.array([row[i] for row in rows]) for i in (2, 3, 5))
    kind = np.array([row[1] for row in rows])
    assert abs(spearmanr(moved, forgot)[0] - 0.67) < 0.005 and abs(spearmanr(size, forgot)[0] - 0.95) < 0.005
    means = {k: (moved[kind == k].mean(), forgot[kind == k].mean(), size[kind == k].mean()) for k in ('RL', 'own')}
    for k, printed in (('own', (0.70, 0.55, 3.0)), ('RL', (0.90, 0.31, 2.2))):
        assert all(abs(x - y) < t for x, y, t in zip(means[k], printed, (0.006, 0.006, 0.06), strict=True)), means
    for seed in range(20):
        here = {k: [(row[2], row[3]) for row in rows if row[0] == seed and row[1] == k] for k in ('RL', 'own', 'sft')}
        (rl,), (own,) = here['RL'], here['own']
        assert rl[1] < own[1] and own[0] < rl[0] and all(rl[1] < f for _, f in here['sft'])
    # The other direction of KL on the new task: a retrained copy of every RL and own-sample run, and of all targets for the rank.
    forward, turned = [], 0
    for seed in range(20):
        rng, theta0, _, new, correct = script.world(seed)
        base = (torch.tensor(new) @ torch.tensor(theta0)).softmax(-1)
        mask = torch.tensor(correct)
        targets = [None, base * mask / (base * mask).sum(-1, keepdim=True)]
        for _ in range(6):
            draw = torch.tensor(rng.dirichlet(np.full(6, 0.5), 6)) * mask
            targets.append(draw / draw.sum(-1, keepdim=True))
        here = []
        for target in targets:
            theta, _ = script.train(theta0, new, correct, None if target is None else target.numpy())
            here.append(F.kl_div((torch.tensor(new) @ torch.tensor(theta)).log_softmax(-1), base, reduction='batchmean').item())
        turned += here[1] < here[0]
        forward += here
    assert turned == 18 and abs(spearmanr(forward, forgot)[0] - 0.77) < 0.005
    # Seed 0 again: the gradient of expected reward by autograd instead of the formula.
    _, theta0, old, new, correct = script.world(0)
    theta, new, good = (torch.tensor(x) for x in (theta0, new, correct))
    p_new = (new @ theta).softmax(-1)
    while True:
        theta = theta.clone().requires_grad_()
        success = ((new @ theta).softmax(-1) * good).sum(-1).mean()
        if success >= 0.95:
            break
        theta = (theta + 0.5 * torch.autograd.grad(success, theta)[0]).detach()
    p = (new @ theta).softmax(-1).detach()
    again = (p * (p / p_new).log()).sum(-1).mean().item()
    assert abs(again - next(row[2] for row in rows if row[0] == 0 and row[1] == 'RL')) < 1e-6
    a, b = np.random.default_rng(2).standard_normal((2, 6, 6))
    f_old, f_new = a @ a.T, b @ b.T + np.eye(6)
    values = eigh(f_old, f_new, eigvals_only=True)
    for delta in np.random.default_rng(3).standard_normal((200, 6)):
        assert values[0] - 1e-9 <= (delta @ f_old @ delta) / (delta @ f_new @ delta) <= values[-1] + 1e-9


@checks('thm-sft-em', 'eq-sft-elbo', 'eq-sft-gain', 'eq-sft-bon')
def expectation_maximisation():
    """Monotone under partial M steps of a restricted family; the exact gain; best of K by enumeration."""
    phi, r = torch.randn(7, 3, dtype=F64), torch.rand(7, dtype=F64)
    theta = torch.zeros(3, dtype=F64)
    value = ((phi @ theta).softmax(0) * r).sum()
    for _ in range(30):
        p = (phi @ theta).softmax(0)
        q = p * r / (p * r).sum()
        theta = theta + 0.05 * phi.T @ (q - p)                 # one small gradient step of E_q ln pi
        new = ((phi @ theta).softmax(0) * r).sum()
        assert new >= value - 1e-12
        value = new
    p = torch.rand(7, dtype=F64).softmax(0)
    j = (p * r).sum()
    torch.testing.assert_close((p * r / j * r).sum(), j + ((p * r * r).sum() - j * j) / j)
    q = torch.rand(7, dtype=F64).softmax(0)
    assert (q * (p * r / q).log()).sum() <= j.log()
    # Best of K, continuous reward: histogram of the winner's quantile against K u^(K-1).
    u = torch.rand(200_000, 4, dtype=F64).amax(1)
    density = torch.histc(u, 10, 0, 1) / len(u) * 10
    middle = (torch.arange(10, dtype=F64) + 1) / 10
    torch.testing.assert_close(density, 10 * (middle**4 - (middle - 0.1)**4), atol=0.03, rtol=0)


@checks('ex-sft-mask', 'eq-sft-plw')
def ledger():
    """Render the messages as a list of tokens with roles and count."""
    messages = [('s', 60, 0), ('u', 40, 0), ('a', 100, 1), ('u', 40, 0), ('a', 30, 1), ('t', 200, 0), ('a', 100, 1), ('u', 40, 0), ('a', 100, 1)]
    weights, ends = [], []
    for role, content, eos in messages:
        own = role == 'a'
        weights += [0] * 4 + [int(own)] * (content + eos)
        if own:
            ends.append(len(weights))
    w = torch.tensor(weights)
    soft = torch.where(w == 1, 1.0, 0.1)
    assert round(sum(ends) / len(w), 1) == 2.5
    return {'a': len(w), 'b': w.sum(), 'c': sum(ends), 'd': soft[w == 0].sum() / soft.sum()}


@checks('ex-sft-two')
def two_lengths():
    """Minimise the expected batch loss over the probability of the short answer, all batches enumerated."""
    n = torch.tensor([50.0, 950.0], dtype=F64)

    def learned(batches):
        s = fit(lambda s: sum(-sum(s.log_softmax(0)[i] for i in batch) / (n[list(batch)].sum() if ratio else 1) for batch, ratio in batches), 2)
        p = s.softmax(0)
        return p[0], (p * n).sum()

    single = learned([((0,), True), ((1,), True)])
    pair = learned([((i, j), True) for i in (0, 1) for j in (0, 1)])
    whole = learned([((0,), False), ((1,), False)])
    return {'a': single, 'b': pair, 'c': whole[1].round(decimals=4)}


@checks('ex-sft-em')
def keep_all():
    """Counts by enumeration of the binomial; three rounds of exact EM; waiting time of the first success by its series."""
    from scipy.stats import binom, geom
    kept = [binom.expect(args=(40, j)) for j in (0.8, 0.1)]
    p, r = np.array([0.5, 0.3, 0.2]), np.array([0.2, 0.5, 1.0])
    values = []
    for _ in range(3):
        values.append(p @ r)
        p = p * r / (p @ r)
    # Both bounds of (b), at random policies.
    rng = np.random.default_rng(0)
    for _ in range(100):
        a, b = rng.dirichlet(np.ones(4), 2)
        reward = rng.random(4)
        assert b @ reward >= a @ reward + (a * reward * np.log(b / a)).sum() - 1e-12
    return {'a': [round(x, 9) for x in kept], 'c': values, 'd': round(geom.mean(0.1), 9)}


@checks('eq-sft-neftune')
def noisy_embeddings():
    """Monte Carlo of the noisy loss of a small softmax network against the Hessian trace; the size of the noise."""
    rows, width = 3, 4
    e = torch.randn(rows, width, dtype=F64)
    a, b = torch.randn(width, 8, dtype=F64) / 2, torch.randn(8, 5, dtype=F64) / 2

    def loss(x):
        return F.cross_entropy(torch.tanh(x.reshape(-1, rows, width) @ a).sum(1) @ b, torch.full((x.reshape(-1, rows, width).shape[0],), 1), reduction='none')

    hessian = torch.autograd.functional.hessian(lambda x: loss(x).sum(), e).reshape(12, 12)
    alpha = 0.4
    noise = (torch.rand(400_000, rows, width, dtype=F64) * 2 - 1) * alpha / math.sqrt(rows * width)
    both = (loss(e + noise) + loss(e - noise)) / 2 - loss(e)
    expected = alpha**2 / (6 * rows * width) * hessian.trace()
    assert abs(both.mean() - expected) < 5 * both.std() / 400_000**0.5 + 0.03 * abs(expected)
    sigma = ((torch.rand(1_000_000, dtype=F64) * 2 - 1) * 5 / math.sqrt(200 * 4096)).std().item()
    assert abs(sigma - 0.0032) < 5e-5
    assert abs((torch.rand(200, 4096, dtype=F64) * 2 - 1).norm().item() / math.sqrt(200 * 4096) - 1 / math.sqrt(3)) < 1e-3


@checks('tab-sft-torch')
def pytorch_traps():
    logits = torch.randn(4, 5, dtype=F64)
    assert F.cross_entropy(logits, torch.full((4,), -100)).isnan()
    target = torch.tensor([1, 2, -100, 1])
    weight = torch.tensor([1.0, 0.1, 1.0, 1.0, 1.0], dtype=F64)
    nll = -logits.log_softmax(-1)
    torch.testing.assert_close(F.cross_entropy(logits, target, weight=weight), (0.1 * nll[0, 1] + nll[1, 2] + 0.1 * nll[3, 1]) / 1.2)
    torch.testing.assert_close(F.cross_entropy(logits, target), (nll[0, 1] + nll[1, 2] + nll[3, 1]) / 3)
    x = torch.randn(1, 1, 3, 4, dtype=F64)
    seen = F.scaled_dot_product_attention(x, x, x, attn_mask=torch.eye(3, dtype=torch.bool))
    torch.testing.assert_close(seen, x)
    # Mask and is_causal together: the reference backend refuses, the fast CPU kernel takes both.
    mask = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 0, 1]], dtype=torch.bool)
    lower = torch.ones(3, 3, dtype=torch.bool).tril()
    both = F.scaled_dot_product_attention(x, x, x, attn_mask=mask, is_causal=True)
    torch.testing.assert_close(both, F.scaled_dot_product_attention(x, x, x, attn_mask=mask & lower))
    with sdpa_kernel(SDPBackend.MATH), pytest.raises(RuntimeError, match='is_causal'):
        F.scaled_dot_product_attention(x, x, x, attn_mask=mask, is_causal=True)
    table = torch.nn.Embedding(6, 3, padding_idx=2)
    table(torch.tensor([1, 2, 2])).sum().backward()
    assert table.weight.grad[2].abs().sum() == 0 and table.weight.grad[1].abs().sum() > 0
    padded = torch.nn.utils.rnn.pad_sequence([torch.tensor([3, 4]), torch.tensor([5])])
    assert padded[1, 1] == 0
