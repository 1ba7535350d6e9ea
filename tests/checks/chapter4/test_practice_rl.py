"""Section 4.5: mismatch, staleness, reward hacking, data, agents, extrapolation and pass@k, each number computed another way."""

import importlib
import itertools
import json
import math
from fractions import Fraction

import numpy as np
import torch
from scipy import integrate, optimize, stats
from torch.nn import functional as F

from checks import checks

F64 = torch.float64

# --- two engines over one set of weights ------------------------------------------------------------------------------

LAYERS, WIDTH, HEADS, VOCAB = 6, 256, 4, 1024


def weights(dtype):
    """Random weights, drawn in float32 and rounded once: both engines hold the same numbers."""
    g = torch.Generator().manual_seed(0)

    def draw(rows, columns, scale):
        return (torch.randn(rows, columns, generator=g) * scale).to(dtype)

    small = (2 * LAYERS) ** -0.5
    blocks = [
        (
            draw(WIDTH, 3 * WIDTH, WIDTH**-0.5),
            draw(WIDTH, WIDTH, small * WIDTH**-0.5),
            draw(WIDTH, 4 * WIDTH, WIDTH**-0.5),
            draw(4 * WIDTH, WIDTH, small * (4 * WIDTH) ** -0.5),
        )
        for _ in range(LAYERS)
    ]
    return draw(VOCAB, WIDTH, 1.0), blocks, draw(WIDTH, VOCAB, 3 * WIDTH**-0.5)


def norm(x):
    return F.rms_norm(x, (WIDTH,))


def whole(tokens, dtype):
    """The training engine: logits of all positions at once."""
    embedding, blocks, head = weights(dtype)
    x = embedding[tokens]
    b, n, _ = x.shape
    for a, o, up, down in blocks:
        q, k, v = (norm(x) @ a).view(b, n, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        x = x + F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(b, n, WIDTH) @ o
        x = x + F.gelu(norm(x) @ up) @ down
    return norm(x) @ head


def rollout(batch, length, dtype):
    """The inference engine: one position at a time, keys and values cached. Tokens and their log-probabilities."""
    embedding, blocks, head = weights(dtype)
    keys = [torch.empty(batch, HEADS, length, WIDTH // HEADS, dtype=dtype) for _ in blocks]
    values = [torch.empty_like(k) for k in keys]
    tokens = [torch.randint(VOCAB, (batch,))]
    logp = []
    for t in range(length):
        x = embedding[tokens[-1]]
        for i, (a, o, up, down) in enumerate(blocks):
            q, keys[i][:, :, t], values[i][:, :, t] = (norm(x) @ a).view(batch, 3, HEADS, -1).unbind(1)
            y = F.scaled_dot_product_attention(q[:, :, None], keys[i][:, :, : t + 1], values[i][:, :, : t + 1])
            x = x + y.reshape(batch, WIDTH) @ o
            x = x + F.gelu(norm(x) @ up) @ down
        row = torch.log_softmax((norm(x) @ head).double(), -1)
        tokens.append(torch.multinomial(row.exp(), 1)[:, 0])
        logp.append(row.gather(1, tokens[-1][:, None])[:, 0])
    return torch.stack(tokens, 1), torch.stack(logp, 1)


def log_ratio(batch, length, dtype):
    """ln pi - ln mu of every sampled token. The data of the figure: batch 48, length 512, seed 0, bfloat16 then float16."""
    with torch.no_grad():
        tokens, logp = rollout(batch, length, dtype)
        z = torch.log_softmax(whole(tokens[:, :-1], dtype).double(), -1)
        return z.gather(-1, tokens[:, 1:, None])[..., 0] - logp


@checks('fig-prac4-mismatch', 'eq-prac4-ratio')
def two_engines():
    """A smaller run of both engines: the same spread, no correlation between neighbours, and a mean ratio of one."""
    script = importlib.import_module('figures.chapter4.prac4_mismatch')
    data = json.loads(script.DATA.read_text())
    assert round(data['bf16']['sigma'], 3) == 0.020 and round(data['fp16']['sigma'], 4) == 0.0025
    assert 7.5 < data['bf16']['sigma'] / data['fp16']['sigma'] < 8.5
    assert torch.finfo(torch.bfloat16).eps / torch.finfo(torch.float16).eps == 8
    assert torch.finfo(torch.bfloat16).eps / 2 == 2**-8 and torch.finfo(torch.float16).eps / 2 == 2**-11
    assert all(round(run['kurtosis']) == 5 and run['lag'] < 0.005 for run in data.values()) and round(data['bf16']['lag'], 3) == 0.003
    for run in data.values():       # the square-root law, within the sampling error of 48 sequences
        ratio = np.array(run['rms']) / (run['sigma'] * np.sqrt(run['t']))
        assert (np.abs(ratio[2:] - 1) < 0.35).all() and abs(ratio[2:].mean() - 1) < 0.25
    above = {name: np.array(run['rms'])[2:] / (run['sigma'] * np.sqrt(run['t'][2:])) for name, run in data.items()}
    assert ((above['bf16'] > 1.1) & (above['bf16'] < 1.3)).all() and (np.abs(above['fp16'] - 1) < 0.11).all()
    for name, dtype in (('bf16', torch.bfloat16), ('fp16', torch.float16)):
        d = log_ratio(24, 48, dtype)
        assert abs(d[:, 1:].std().item() / data[name]['sigma'] - 1) < 0.3
        assert abs((d[:, 2:] * d[:, 1:-1]).mean().item() / d.var().item()) < 0.12
        assert abs(d.exp().mean().item() - 1) < 5 * d.std().item() / d.numel() ** 0.5
        assert (d**4).mean() / d.var() ** 2 > 3.2        # heavier tails than normal


@checks('tab-prac4-sigma', 'eq-prac4-lognormal', 'prop-prac4-accumulate')
def accumulation():
    """Moments and distances by numerical integration over the log-weight; the opening numbers are the row of 0.020."""
    table = {}
    for label, sigma in (('0.0025', 0.0025), ('0.020', 0.020), ('0.050', 0.050)):
        s = sigma * math.sqrt(8192)
        mu, pi = stats.norm(-s * s / 2, s), stats.norm(s * s / 2, s)
        second = integrate.quad(lambda z: math.exp(2 * z + mu.logpdf(z)), 1.5 * s * s - 12 * s, 1.5 * s * s + 12 * s, epsabs=0)[0]
        tv = 0.5 * integrate.quad(lambda z: abs(mu.pdf(z) - pi.pdf(z)), -10 * s - s * s, 10 * s + s * s, points=[0], limit=400)[0]
        kl = integrate.quad(lambda z: mu.pdf(z) * (mu.logpdf(z) - pi.logpdf(z)), -s * s / 2 - 10 * s, -s * s / 2 + 10 * s)[0]
        assert math.isclose(kl, s * s / 2, rel_tol=1e-6) and 2 * tv <= math.sqrt(2 * kl) + 1e-12
        half = optimize.brentq(lambda t: math.exp(-t * sigma**2) - 0.5, 1, 1e7)
        table[label] = {
            '减半长度': round(half), '$s=\\sigma\\sqrt T$': s,
            '有效样本': 1 / second if sigma > 0.03 else 100 / second, '$\\mathrm{TV}$': tv,
        }
    # A threshold of the section: T sigma^2 = 0.01 keeps the total variation under 4 %.
    assert 2 * stats.norm.cdf(0.05) - 1 < 0.04
    return {'tab-prac4-sigma': {
        row: {k: ((v, '%') if k == '有效样本' and row != '0.050' else v) for k, v in cells.items()} for row, cells in table.items()
    }}


@checks('prop-prac4-accumulate', 'eq-prac4-bias', 'eq-prac4-tis', 'prop-prac4-tis')
def by_enumeration():
    """All sequences of a three-letter Markov chain under two nearby policies."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 3))
    noise = 0.3 * rng.normal(size=(3, 3))

    def probability(z):
        p = np.exp(z - z.max(-1, keepdims=True))
        return p / p.sum(-1, keepdims=True)

    mu, pi = probability(logits), probability(logits + noise)
    chi = ((pi**2 / mu).sum(-1) - 1).max()
    paths = list(itertools.product(range(3), repeat=6))
    pm, pp = (np.array([math.prod(p[a][b] for a, b in itertools.pairwise((0, *y))) for y in paths]) for p in (mu, pi))
    w = pp / pm
    assert math.isclose(pm @ w, 1) and pm @ w**2 <= (1 + chi) ** 6
    tv = 0.5 * np.abs(pm - pp).sum()
    kl = pm @ np.log(pm / pp)
    h = rng.normal(size=(len(paths), 4))
    h /= np.linalg.norm(h, axis=1).max()
    gap = np.linalg.norm(pm @ h - pp @ h)
    assert gap <= 2 * tv <= math.sqrt(2 * kl)
    for c in (1.0, 1.3, 2.0):
        cut = np.minimum(w, c)
        excess = pm @ np.maximum(w - c, 0)
        assert np.linalg.norm((pm * cut) @ h - pp @ h) <= excess + 1e-12 <= pp @ (w > c) + 2e-12
        assert pm @ cut**2 <= c
    assert math.isclose(pm @ np.maximum(w - 1, 0), tv)
    # Constant chi: one law of ratios at every step, equality.
    ratio, q = np.array([0.8, 1.2]), np.array([0.5, 0.5])
    second = sum(math.prod(q[i] * ratio[i] ** 2 for i in y) for y in itertools.product(range(2), repeat=5))
    assert math.isclose(second, 1.04**5)


@checks('tab-prac4-tis', 'eq-prac4-tisclosed', 'ex-prac4-tis')
def truncation():
    """Truncated moments by quadrature on the log-weight, s = 0.02 sqrt(8192)."""
    s = 0.02 * math.sqrt(8192)
    z = np.linspace(-14 * s, 14 * s, 400_001)
    p = stats.norm.pdf(z, -s * s / 2, s) * (z[1] - z[0])
    w = np.exp(z)

    def bias(c):
        return (p * np.maximum(w - c, 0)).sum()

    def second(c):
        return (p * np.minimum(w, c) ** 2).sum()

    normal = stats.norm.cdf
    for c in (1.0, 2.0, 10.0):
        log = math.log(c)
        np.testing.assert_allclose(bias(c), normal((s * s / 2 - log) / s) - c * normal((-s * s / 2 - log) / s), rtol=1e-4)
        np.testing.assert_allclose(
            second(c), math.exp(s * s) * normal((log - 1.5 * s * s) / s) + c * c * normal((-s * s / 2 - log) / s), rtol=1e-4)
        np.testing.assert_allclose((bias(c + 1e-2) - bias(c - 1e-2)) / 2e-2, -p[w > c].sum(), rtol=1e-2)
    for n, best in ((64, 12), (4096, 96)):
        c = math.exp(optimize.minimize_scalar(
            lambda u, n=n: bias(math.exp(u)) ** 2 + second(math.exp(u)) / n, bounds=(0.1, 8), method='bounded').x)
        assert round(c) == best and abs(bias(c) - c / n) < 0.01 * c / n
    rows = {str(c): {'偏差的界': bias(c), '二阶矩': second(c)} for c in (1, 2, 10, 50)}
    rows['不截断'] = {'偏差的界': 0, '二阶矩': (p * w**2).sum()}
    return {'tab-prac4-tis': rows}


@checks('eq-prac4-flip')
def routing():
    """128 experts, 8 chosen: the gap density by Monte Carlo and by its exact integral, the flips by perturbing one gap."""
    n, k, tau = 128, 8, 0.01
    constant = math.lgamma(n + 1) - math.lgamma(k) - math.lgamma(n - k)
    density = integrate.quad(lambda x: math.exp(
        constant + (n - k - 1) * stats.norm.logcdf(x) + (k - 1) * stats.norm.logsf(x) + 2 * stats.norm.logpdf(x)), -5, 8)[0]
    assert round(density, 1) == 15.5
    top = torch.randn(400_000, n).topk(k + 1).values
    gap = (top[:, k - 1] - top[:, k]).double()
    flip = torch.special.ndtr(-gap / tau).mean().item()
    first = density * tau / math.sqrt(2 * math.pi)
    assert round(100 * first, 1) == 6.2 and round(100 * flip, 1) == 5.6 and round(100 * (1 - (1 - flip) ** 48)) == 94
    # The first-order law holds in the limit of small noise.
    small = torch.special.ndtr(-gap / 1e-3).mean().item()
    assert abs(small / (density * 1e-3 / math.sqrt(2 * math.pi)) - 1) < 0.05


@checks('tab-prac4-torch')
def documented_behaviour():
    """The pitfalls of the table, and the same row in batches of one and of sixty-four."""
    z = 3 * torch.randn(1000, 1024)
    low, high = torch.log_softmax(z.bfloat16(), -1), torch.log_softmax(z.bfloat16(), -1, dtype=torch.float32)
    error = low.float() - high
    drawn = torch.multinomial(high.exp(), 1)
    assert low.dtype == torch.bfloat16 and 0.018 < error.std() < 0.020 and 0.006 < error.gather(1, drawn).std() < 0.010
    target = torch.full((5,), -100)
    assert F.cross_entropy(torch.randn(5, 7), target).isnan()
    target[2] = 3
    x = torch.randn(5, 7)
    torch.testing.assert_close(F.cross_entropy(x, target), F.cross_entropy(x[2:3], target[2:3]))
    logp = torch.tensor([0.0, 2.0], dtype=F64, requires_grad=True)
    rho = logp.exp()
    torch.testing.assert_close(torch.autograd.grad(rho.clamp(max=2.0).sum(), logp, retain_graph=True)[0], torch.tensor([1.0, 0.0], dtype=F64))
    weighted = torch.autograd.grad((rho.clamp(max=2.0).detach() * logp).sum(), logp, retain_graph=True)[0]
    torch.testing.assert_close(weighted, torch.tensor([1.0, 2.0], dtype=F64))
    forgotten = torch.autograd.grad((rho.clamp(max=2.0) * (logp + 1)).sum(), logp)[0]
    torch.testing.assert_close(forgotten, torch.tensor([2.0, 2.0], dtype=F64))      # the untruncated one: an extra term rho (ln pi + 1)
    a = torch.tensor([1.0, 1.0 + 2**-9])
    assert a.topk(1).indices.item() == 1 and a.bfloat16()[0] == a.bfloat16()[1]
    w, x = torch.randn(1024, 1024), torch.randn(64, 1024)
    torch.use_deterministic_algorithms(True)
    try:
        alone, batch = x[:1] @ w, (x @ w)[:1]
    finally:
        torch.use_deterministic_algorithms(False)
    assert (alone != batch).double().mean() > 0.5 and (alone - batch).abs().max() / batch.abs().mean() < 1e-5
    assert torch.tensor(1e8) + torch.tensor(1.0) - torch.tensor(1e8) != torch.tensor(1e8) - torch.tensor(1e8) + torch.tensor(1.0)


# --- asynchrony -----------------------------------------------------------------------------------------------------------


@checks('fig-prac4-async', 'eq-prac4-util', 'eq-prac4-pareto')
def waiting():
    """The integrals of the figure against simulation and against sums of harmonic numbers."""
    script = importlib.import_module('figures.chapter4.prac4_async')
    harmonic = float(sum(Fraction(1, j) for j in range(1, 513)))
    np.testing.assert_allclose(script.utilization('指数', 512), 1 / harmonic, rtol=1e-4)
    assert round(100 / harmonic, 1) == 14.7
    # Pareto: the mean of U^(-1/2) for U the least of B uniforms, by quadrature over the beta density.
    top = integrate.quad(lambda u: u**-0.5 * 512 * (1 - u) ** 511, 0, 1, points=[0.001, 0.01])[0]
    formula = math.exp(math.lgamma(0.5) + math.lgamma(513) - math.lgamma(512.5))
    np.testing.assert_allclose(top, formula, rtol=1e-6)
    np.testing.assert_allclose(formula, math.gamma(0.5) * 512**0.5, rtol=1e-3)
    assert round(100 * 2 / top, 1) == 5.0
    np.testing.assert_allclose(script.utilization('帕累托（$\\alpha=2$）', 512), 2 / top, rtol=1e-3)
    rng = np.random.default_rng(1)
    for name, (law, cap) in script.LAWS.items():
        assert abs(law.mean() - 1) < 1e-9
        x = np.minimum(law.ppf(rng.random((6000, 64))), cap)
        assert abs(x.mean() / x.max(1).mean() / script.utilization(name, 64) - 1) < 0.06
    assert abs(script.utilization('对数正态，上限 8 倍', 4096) - 1 / 8) < 0.005
    assert script.utilization('对数正态，上限 8 倍', 4096) > script.utilization('指数', 4096)


@checks('eq-prac4-speedup', 'ex-prac4-async')
def speedup():
    """Times of one step with a given amount of work on N devices, split so that both groups are busy."""
    def ratio(r, u, devices=96):
        sync = r / (u * devices) + 1 / devices
        best = optimize.minimize_scalar(lambda f: max(r / (f * devices), 1 / ((1 - f) * devices)), bounds=(0.01, 0.99), method='bounded')
        assert abs(best.x - r / (r + 1)) < 1e-4
        return sync / best.fun

    assert abs(ratio(3, 0.3) - 2.75) < 1e-3
    longest = integrate.quad(lambda x: 1 - (1 - math.exp(-x / 4000)) ** 256, 0, 4000 * 60, limit=400)[0]
    # The delayed iteration: largest stable step for k = 4, from the spectral radius of the companion matrix.
    return {'a': longest, 'b': 4000 / longest, 'c': ratio(3, 4000 / longest), 'd': ratio(3, 0.25), 'k': 200 / 50, 'e': stable_step(4)}


def stable_step(k):
    def radius(a):
        m = np.zeros((k + 1, k + 1))
        m[0, 0] += 1
        m[0, k] -= a
        m[1:, :-1] += np.eye(k)
        return np.abs(np.linalg.eigvals(m)).max() - 1

    return optimize.brentq(radius, 1.2 / (2 * k + 1), 2.5)


@checks('eq-prac4-delay', 'ex-prac4-delay', 'tab-prac4-stale', 'eq-prac4-closed')
def staleness():
    """Spectral radii for the step; the pipeline simulated batch by batch for the throughput."""
    assert abs(stable_step(1) - 1) < 1e-9 and abs(stable_step(8) - 0.1845) < 1e-4
    assert round(stable_step(2), 3) == 0.618 and abs(stable_step(60) / (math.pi / 121) - 1) < 1e-3
    for k in (0, 1, 4):
        for factor, grows in ((0.97, False), (1.03, True)):
            x = [1.0] * (k + 1)
            for _ in range(4000):
                x.append(x[-1] - factor * stable_step(k) * x[-1 - k])
                if abs(x[-1]) > 1e6:
                    break
            assert (abs(x[-1]) > 1e6) == grows
    for k in range(1, 6):       # beyond the bound a root stays outside: no second window of stability
        edge = stable_step(k)
        for a in np.linspace(1.001 * edge, 5, 60):
            assert np.abs(np.roots([1, -1, *[0] * (k - 1), a])).max() > 1
        for a in np.linspace(0.001, 0.999 * edge, 60):
            assert np.abs(np.roots([1, -1, *[0] * (k - 1), a])).max() < 1
    # The speed at which the root crosses the unit circle, against a difference of roots.
    k, omega, alpha, h = 3, math.pi / 7, stable_step(3), 1e-6
    near = [max(np.roots([1, -1, 0, 0, alpha + d]), key=abs) for d in (-h, h)]
    outward = (abs(near[1]) - abs(near[0])) / (2 * h)
    assert abs(outward - 7 * (1 - math.cos(omega)) / (alpha * abs(4 * np.exp(1j * omega) - 3) ** 2)) < 1e-5
    rng = np.random.default_rng(0)

    def throughput(k, n, draw):
        made, trained = np.zeros(n), np.zeros(n)
        g, t = draw(n), draw(n)
        for i in range(n):
            ready = max(made[i - 1] if i else 0, trained[i - 1 - k] if i - 1 - k >= 0 else 0)
            made[i] = ready + g[i]
            trained[i] = max(made[i], trained[i - 1] if i else 0) + t[i]
        return n / trained[-1]

    rows = {}
    for k in (0, 1, 3, 8):
        n = k + 1       # a closed network of two exponential machines: the generator matrix of the number at the first
        q = np.zeros((n + 1, n + 1))
        for i in range(n):
            q[i, i + 1] = q[i + 1, i] = 1
        q -= np.diag(q.sum(1))
        law = np.linalg.lstsq(np.vstack([q.T, np.ones(n + 1)]), np.r_[np.zeros(n + 1), 1], rcond=None)[0]
        rate = 1 - law[-1]      # the training machine is idle when every job is on the generating side
        assert abs(throughput(k, 60_000, rng.standard_exponential) - rate) < 0.012
        fixed = throughput(k, 20_000, np.ones)
        rows[str(k)] = {'吞吐，指数时间': rate, '吞吐，时间固定': fixed, '最大 $\\eta h$': stable_step(k) if k else 2.0}
    assert abs(throughput(2, 60_000, rng.standard_exponential) - 0.75) < 0.012     # half of the gap between 0.5 and 1
    products = [row['吞吐，指数时间'] * row['最大 $\\eta h$'] for row in rows.values()]
    assert sorted(products, reverse=True) == products
    return {'tab-prac4-stale': rows}


@checks('prop-prac4-stale')
def stale_bias():
    """A bandit of eight answers moved by natural gradient steps."""
    rng = np.random.default_rng(0)
    f = rng.normal(size=8)
    p = [np.full(8, 1 / 8)]
    for _ in range(6):
        q = p[-1] * np.exp(0.15 * f)
        p.append(q / q.sum())
    kappa = max(a @ np.log(a / b) for a, b in itertools.pairwise(p))
    h = rng.normal(size=(8, 3))
    bound = np.linalg.norm(h, axis=1).max()
    for k in range(1, 7):
        assert np.linalg.norm(p[0] @ h - p[k] @ h) <= bound * k * math.sqrt(2 * kappa)


# --- reward hacking -------------------------------------------------------------------------------------------------------


def replicate(start, score, times):
    """Integrate the replicator equation with a general-purpose solver."""
    return integrate.solve_ivp(
        lambda _, x: x * (score - x @ score), (0, times[-1]), start, t_eval=times, rtol=1e-10, atol=1e-14, method='DOP853').y


def turning_point(start, score, top):
    """The maximum of the first share along the solution, found on the trajectory."""
    grid = np.linspace(0, top, 40_001)
    x = replicate(start, score, grid)
    i = x[0].argmax()
    return grid[i], x[:, i], grid, x


@checks('eg-prac4-hack', 'thm-prac4-peak', 'eq-prac4-peak', 'eq-prac4-replicator', 'fig-prac4-hack')
def hacking():
    script = importlib.import_module('figures.chapter4.prac4_hack')
    t, x, grid, path = turning_point(script.START, script.SCORE, 120)
    np.testing.assert_allclose(script.shares(grid[::4000]).T, path[:, ::4000], atol=1e-7)
    # The curve is flat at its top: the turning point is where the slope, taken from the equation, changes sign.
    slope = path[0] * (script.SCORE[0] - script.SCORE @ path)
    i = np.flatnonzero(slope < 0)[0]
    t = np.interp(0, [-slope[i - 1], -slope[i]], grid[i - 1 : i + 1])
    x = replicate(script.START, script.SCORE, [0, t])[:, -1]
    assert round(x[2], 4) == 0.0010 and abs(script.SCORE @ x - 0.9) < 1e-5
    half = grid[np.flatnonzero(path[2] > 0.5)[0]]
    assert abs(script.SCORE @ path[:, np.searchsorted(grid, half)] - 0.95) < 1e-3

    def audits(shares):
        q = shares[2] * script.SCORE[2] / (script.SCORE @ shares)
        n = 1
        while (1 - q) ** n > 0.05:
            n += 1
        return n

    assert round(x[2] / 0.9, 4) == 0.0011 and audits(path[:, np.searchsorted(grid, 40)]) == 150
    # Price's equation along the path, for an arbitrary true reward.
    r = np.array([1.0, -0.3, 0.2])
    mean = r @ path
    cov = (r * script.SCORE) @ path - mean * (script.SCORE @ path)
    np.testing.assert_allclose(np.gradient(mean, grid)[5:-5], cov[5:-5], atol=1e-4)
    # No false negatives: no decline.
    clean = replicate(script.START, np.array([1.0, 0.0, 1.0]), np.linspace(0, 120, 200))
    assert clean[0, -1] > 0.999
    # The natural gradient of a softmax policy moves the shares as the replicator equation says.
    theta = torch.tensor(np.log(script.START), requires_grad=True)
    share = torch.softmax(theta, 0)
    score = torch.tensor(script.SCORE)
    g = torch.autograd.grad(share @ score, theta, retain_graph=True)[0]
    p = share.detach()
    fisher = torch.diag(p) - torch.outer(p, p)
    step = torch.linalg.pinv(fisher, rtol=1e-12) @ g
    moved = torch.autograd.functional.jvp(lambda v: torch.softmax(v, 0), theta, step)[1]
    torch.testing.assert_close(moved, p * (score - p @ score), atol=1e-8, rtol=1e-5)
    return {'t': t, 'peak': x[0],
            'half': optimize.brentq(lambda u: script.shares(np.array([u]))[0][2] - 0.5, 50, 100), 'audit': audits(x)}


@checks('ex-prac4-hack')
def audit_design():
    score = np.array([0.95, 0.05, 1.0])
    t, x, *_ = turning_point(np.array([0.5, 0.49, 0.01]), score, 30)
    grid = np.linspace(6.5, 7.8, 2001)      # the slope changes sign
    path = replicate(np.array([0.5, 0.49, 0.01]), score, np.r_[0, grid])[:, 1:]
    t = np.interp(0, (score @ path) - score[0], grid)
    q = x[2] * score[2] / (score @ x)
    n = next(n for n in range(1, 1000) if (1 - q) ** n <= 0.05)
    return {'a': t, 'b': x[0], 'c': q, 'd': n, 'e': 1 / t}


@checks('eq-prac4-reset', 'eq-prac4-entropy', 'eq-prac4-bonus')
def knobs():
    """Regularised optima by constrained optimisation; the entropy's slope by differences along the path."""
    rng = np.random.default_rng(0)
    start, f, beta, tau = rng.dirichlet(np.ones(4)), rng.normal(size=4), 0.8, 0.3

    def best(reference, bonus=0.0):
        def loss(z):
            x = np.exp(z - z.max())
            x /= x.sum()
            return -(x @ f - beta * x @ np.log(x / reference) - bonus * x @ np.log(x))

        z = optimize.minimize(loss, np.zeros(4), method='BFGS', options={'gtol': 1e-10}).x
        x = np.exp(z - z.max())
        return x / x.sum()

    x = start
    for _ in range(3):
        x = best(x)
    tilt = start * np.exp(3 * f / beta)
    np.testing.assert_allclose(x, tilt / tilt.sum(), atol=1e-5)
    mix = start ** (beta / (beta + tau)) * np.exp(f / (beta + tau))
    np.testing.assert_allclose(best(start, tau), mix / mix.sum(), atol=1e-5)
    grid = np.linspace(0, 2, 2001)
    path = replicate(start, f, grid)
    entropy = -(path * np.log(path)).sum(0)
    cov = (path * f[:, None] * np.log(path)).sum(0) - (f @ path) * (path * np.log(path)).sum(0)
    np.testing.assert_allclose(np.gradient(entropy, grid)[5:-5], -cov[5:-5], atol=1e-5)


# --- data -----------------------------------------------------------------------------------------------------------------


@checks('tab-prac4-zero', 'eq-prac4-dynamic', 'eq-prac4-signal')
def groups():
    """Counts of correct answers enumerated exactly; mixtures by quadrature over the beta density; both normalisations by torch."""
    rows = {}
    for p in ('0.01', '0.05', '0.20', '0.50', '0.90'):
        law = {g: stats.binom(g, float(p)).pmf(np.arange(g + 1)) for g in (8, 16, 64)}
        signal = sum(w * (c / 8) * (1 - c / 8) for c, w in enumerate(law[8])) * 8 / 7       # (1 - 1/G) p (1 - p), undone
        rows[p] = {
            **{name: (100 * (law[g][0] + law[g][-1]), '%') for name, g in (('零优势组，$G=8$', 8), ('$G=16$', 16), ('$G=64$', 64))},
            '相对信号 $4p(1-p)$': 4 * signal,
        }
    for a, b, accept in ((1, 1, 7 / 9), (0.3, 0.3, None)):
        q = stats.beta(a, b)
        # Substitute p = F^-1(u): smooth enough for a fine midpoint rule even with the poles at both ends.
        u = (np.arange(400_000) + 0.5) / 400_000
        p = q.ppf(u)
        rate = 1 - np.mean(p**8 + (1 - p) ** 8)
        if accept:
            assert abs(rate - accept) < 1e-5 and round(100 * (1 / rate - 1)) == 29
        else:
            assert round(rate, 2) == 0.47 and round(1 / rate, 2) == 2.15
        product = math.prod((a + i) / (a + b + i) for i in range(8))
        assert abs(product - np.mean(p**8)) < 1e-5
    for c in range(1, 8):
        r = torch.tensor([1.0] * c + [0.0] * (8 - c), dtype=F64)
        assert math.isclose(((r - r.mean()) / r.std(correction=0)).square().mean(), 1)
        assert math.isclose((r - r.mean()).square().mean(), c / 8 * (1 - c / 8))
    # The window of pass rates.
    assert max(0.2**8 + 0.8**8, 0) < 0.17 and math.isclose(4 * 0.2 * 0.8, 0.64)
    rng = np.random.default_rng(0)
    assert abs((rng.negative_binomial(128, 7 / 9, 50_000) + 128).mean() - 128 * 9 / 7) < 0.2
    return {'tab-prac4-zero': rows}


@checks('eq-prac4-clip', 'prop-prac4-clip')
def clipping():
    """The clipped objective of PPO differentiated by autograd, both answers and both signs enumerated."""
    def force(p0, xi, low=0.2, high=0.2, clip=True):
        theta = torch.tensor(math.log(p0 / (1 - p0)) + xi, dtype=F64, requires_grad=True)
        now = torch.stack([torch.sigmoid(theta), torch.sigmoid(-theta)])
        total = 0
        for answer, old in enumerate((p0, 1 - p0)):
            rho = now[answer] / old
            for advantage in (1.0, -1.0):
                gain = rho * advantage
                if clip:
                    gain = torch.minimum(gain, rho.clamp(1 - low, 1 + high) * advantage)
                total = total + 0.5 * old * gain
        return torch.autograd.grad(total, theta)[0].item()

    def formula(p0, xi):
        p = 1 / (1 + math.exp(-math.log(p0 / (1 - p0)) - xi))
        k = [(r < 0.8) * 1 - (r > 1.2) * 1 for r in (p / p0, (1 - p) / (1 - p0))]
        return p * (1 - p) / 2 * (k[0] - k[1])

    rng = np.random.default_rng(0)
    for _ in range(300):
        p0, xi = rng.uniform(0.5, 0.98), rng.exponential(0.8)
        assert abs(force(p0, xi) - formula(p0, xi)) < 1e-12 and abs(force(p0, xi, clip=False)) < 1e-12
        total = force(p0, xi) + force(p0, -xi)
        assert total >= -1e-15
        if force(p0, xi) or force(p0, -xi):
            assert total > 0
    assert round((force(0.9, 0.4) + force(0.9, -0.4)) / 2, 4) == 0.0144
    assert round((force(0.1, 0.4) + force(0.1, -0.4)) / 2, 4) == -0.0144
    # The logit drifts; symmetric noise alone lowers the mean probability, the logistic function being concave above one half.
    noise = rng.normal(0, 0.4, 100_000)
    assert np.mean(1 / (1 + np.exp(-math.log(9) - noise))) < 0.9 - 1e-3
    # With a looser upper bound the sign may change.
    assert any(force(p0, xi, high=0.6) + force(p0, -xi, high=0.6) < -1e-6 for p0 in (0.55, 0.65, 0.8, 0.9) for xi in (0.25, 0.3, 0.4, 0.5))


@checks('eq-prac4-overlong')
def overlong():
    """The penalty as the integral of a price of 1 / L_c per token, and the length it selects."""
    top, buffer = 1000, 200
    length = np.arange(0, 1400)
    price = np.where((length >= top - buffer) & (length < top), 1 / buffer, 0.0)
    penalty = -np.r_[0, price.cumsum()[:-1]]
    written = np.where(length <= top - buffer, 0, np.where(length <= top, -(length - (top - buffer)) / buffer, -1))
    np.testing.assert_allclose(penalty, written, atol=1e-12)
    rate = 1 - np.exp(-length / 180)
    best = (2 * rate + written)[:top + 1].argmax()
    assert abs(2 * math.exp(-best / 180) / 180 - 1 / buffer) < 3e-5 or best == top - buffer


# --- agents ---------------------------------------------------------------------------------------------------------------


@checks('eq-prac4-mask', 'eq-prac4-maskcov', 'prop-prac4-mask')
def tool_tokens():
    """One action, one tool result: every trajectory enumerated, gradients by autograd."""
    torch.manual_seed(1)
    theta = torch.randn(2 + 6, dtype=F64, requires_grad=True)       # logits of 2 actions, and of 3 results after each
    tool = torch.softmax(torch.randn(2, 3, dtype=F64), -1)
    reward = torch.rand(2, 3, dtype=F64)
    act, say = torch.log_softmax(theta[:2], 0), torch.log_softmax(theta[2:].view(2, 3), -1)
    weight = act.exp().detach()[:, None] * tool
    advantage = reward - (weight * reward).sum()

    def gradient(value):
        return torch.autograd.grad(value, theta, retain_graph=True)[0]

    true = gradient((act.exp()[:, None] * tool * reward).sum())
    masked = gradient((weight * advantage * act[:, None]).sum())
    torch.testing.assert_close(masked, true)
    torch.testing.assert_close(gradient((act.exp().detach() * act).sum()), torch.zeros(8, dtype=F64), atol=1e-14, rtol=0)
    extra = gradient((weight * advantage * (act[:, None] + say)).sum()) - true
    assert extra.norm() > 0.02
    other = torch.zeros(8, dtype=F64)
    for a in range(2):
        rows = torch.stack([gradient(say[a, o]) for o in range(3)])
        mean = (tool[a] * advantage[a]).sum()
        cov = (tool[a] * (advantage[a] - mean)) @ rows
        kl = gradient((tool[a] * (tool[a].log() - say[a])).sum())
        torch.testing.assert_close(tool[a] @ rows, -kl)
        other = other + act.exp()[a].detach() * (cov - mean * kl)
    torch.testing.assert_close(extra, other)


@checks('eq-prac4-turns')
def turns():
    """Noise per turn independent of the scores, which are martingale differences whose size depends on the past."""
    trials, horizon = 200_000, 5
    noise = torch.randn(trials, horizon, dtype=F64)
    score = torch.empty(trials, horizon, dtype=F64)
    for k in range(horizon):        # each score has mean zero and mean square one, but its size follows the previous sign
        size = torch.where(score[:, k - 1] > 0, 1.2**0.5, 0.8**0.5) if k else 1.0
        score[:, k] = size * torch.sign(torch.randn(trials, dtype=F64))
    share = noise.sum(1, keepdim=True).expand_as(noise)
    later = noise.flip(1).cumsum(1).flip(1)
    for w, size in ((share, horizon**2), (later, horizon * (horizon + 1) / 2), (noise, horizon)):
        g = (w * score).sum(1)
        assert abs(g.square().mean().item() / size - 1) < 0.02
    assert (20**2, 20 * 21 // 2, 20) == (400, 210, 20)
    g = (noise[:, -1:] * score).sum(1)      # only the last reward is random: the variance is linear in the number of turns
    assert abs(g.square().mean().item() / horizon - 1) < 0.02
    p = 0.8**20
    assert round(100 * p, 1) == 1.2 and round(100 * stats.binom(8, p).pmf([0, 8]).sum()) == 91


@checks('ex-prac4-zero')
def long_tasks():
    p = math.prod([0.9] * 20)
    zero = {g: stats.binom(g, p).pmf([0, g]).sum() for g in (8, 64)}
    return {'a': p, 'b': zero[8], 'c': 128 + stats.nbinom(128, 1 - zero[8]).mean(), 'd': zero[64], 'e': 16 * (1 - zero[64])}


# --- extrapolation and pass@k ---------------------------------------------------------------------------------------------


@checks('tab-prac4-fit', 'eq-prac4-sigmoid')
def extrapolation():
    """Fisher information by autograd; repeated non-linear fits agree where the asymptote is identified."""
    def curve(v, c):
        return 0.3 + (v[0] - 0.3) / (1 + (torch.exp(v[2]) / c) ** v[1])

    truth = torch.tensor([0.7, 1.0, 0.0], dtype=F64)
    rows, errors = {}, {}
    for name in ('0.5', '1', '2', '4', '10'):
        c = torch.logspace(math.log10(0.03), math.log10(float(name)), 20, dtype=F64)
        j = torch.autograd.functional.jacobian(lambda v, c=c: curve(v, c), truth)
        errors[name] = torch.linalg.inv(j.T @ j).diagonal().sqrt() * 0.01
        rows[name] = {'$A$ 的标准误': errors[name][0], '$B$ 的标准误': errors[name][1]}
    assert round(1.96 * errors['1'][0].item(), 2) == 0.28
    for name, half in (('4', 0.077), ('10', 0.038)):        # the difference of two asymptotes fitted independently
        assert round(1.96 * math.hypot(*[errors[name][0].item()] * 2), 3) == half
    rng = np.random.default_rng(0)
    c = np.geomspace(0.03, 4, 20)

    def model(c, a, b, m):
        return 0.3 + (a - 0.3) / (1 + (np.exp(m) / c) ** b)

    fits = [optimize.curve_fit(model, c, model(c, 0.7, 1, 0) + 0.01 * rng.normal(size=20), p0=[0.6, 0.9, 0.1])[0] for _ in range(300)]
    assert abs(np.std([f[0] for f in fits]) / errors['4'][0].item() - 1) < 0.2
    early = curve(truth, torch.tensor([1e-3], dtype=F64)) - 0.3
    assert abs(early.item() / (0.4 * 1e-3) - 1) < 0.01
    return {'tab-prac4-fit': rows}


@checks('eq-prac4-passk', 'ex-prac4-passk')
def passk():
    """Exact expectations over the number of correct answers, in rational arithmetic; the subsets counted one by one."""
    p, n, k = Fraction(1, 10), 20, 10
    law = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    truth = 1 - (1 - p) ** k
    unbiased = sum(w * (1 - Fraction(math.comb(n - c, k), math.comb(n, k))) for c, w in enumerate(law))
    assert unbiased == truth
    answers = (0, 1, 0, 0, 1, 0)
    missed = sum(not any(subset) for subset in itertools.combinations(answers, 3))
    assert missed == math.comb(4, 3)
    plug = sum(w * (1 - (1 - Fraction(c, n)) ** k) for c, w in enumerate(law))
    return {'d': (float(truth), float(plug))}


@checks('prop-prac4-tail', 'fig-prac4-passk', 'ex-prac4-critique')
def tails():
    """Failures of k draws by quadrature in another variable; exponents from the slope; the crossing by root finding."""
    script = importlib.import_module('figures.chapter4.prac4_passk')
    u = (np.arange(2_000_000) + 0.5) / 2_000_000
    p = stats.beta(0.5, 1.5).ppf(u)
    logit = np.log(p) - np.log1p(-p)
    sharp = 1 / (1 + np.exp(-(1.5 * logit + 1.5)))
    tilt = 1 / (1 + np.exp(-(logit + script.TILT)))
    for k in (1, 16, 64):
        for q, arguments in ((p, (1, 0)), (sharp, (1.5, 1.5)), (tilt, (1, script.TILT))):
            np.testing.assert_allclose(np.mean((1 - q) ** k), script.failures(*arguments, k), rtol=2e-3)
    assert abs(sharp.mean() - tilt.mean()) < 1e-5 and round(sharp.mean(), 3) == 0.379 and round(p.mean(), 3) == 0.25
    assert round(script.TILT, 2) == 0.94
    worse = sharp < p
    assert round(100 * worse.mean(), 1) == 27.5 and round(p[worse].max(), 3) == 0.047 and (tilt > p).all()
    cross = optimize.brentq(lambda v: script.failures(1.5, 1.5, math.exp(v)) - script.failures(1, 0, math.exp(v)), 0.5, 8)
    assert round(math.exp(cross), 1) == 18.5
    for k in (1, 18, 1000, 100_000):
        assert script.failures(1, script.TILT, k) < script.failures(1, 0, k)
        exact = math.exp(math.lgamma(2) + math.lgamma(1.5 + k) - math.lgamma(1.5) - math.lgamma(2 + k))
        np.testing.assert_allclose(script.failures(1, 0, k), exact, rtol=1e-5)
    for gamma, delta, exponent in ((1, 0, 0.5), (1.5, 1.5, 1 / 3), (1.5, 4.0, 1 / 3)):
        slope = math.log(script.failures(gamma, delta, 1e7) / script.failures(gamma, delta, 1e8)) / math.log(10)
        assert abs(slope - exponent) < 0.003
    assert script.failures(1.5, 4.0, 1e8) > script.failures(1, 0, 1e8) and script.failures(1.5, 4.0, 10) < script.failures(1, 0, 10)
    assert round(1 / (1 + math.exp(1.5 / 0.5)), 3) == 0.047     # the fixed point of the sharpening
    rng = np.random.default_rng(0)
    powers = np.unique(np.geomspace(1, 2e5, 200).astype(int))[:, None]
    seen = set()
    for _ in range(400):        # finite banks: overtaken exactly when the hardest problem lies below the fixed point
        q, gamma, delta = rng.uniform(0.01, 0.9, rng.integers(2, 6)), rng.uniform(1.1, 2.5), 2 * rng.normal()
        new = 1 / (1 + np.exp(-gamma * np.log(q / (1 - q)) - delta))
        gap = q.min() - 1 / (1 + math.exp(delta / (gamma - 1)))
        old_tail, new_tail = (np.logaddexp.reduce(powers * np.log1p(-v), axis=1) for v in (q, new))
        if abs(gap) > 1e-3:
            assert (new_tail[-1] > old_tail[-1]) == (gap < 0)
            assert gap < 0 or (new_tail <= old_tail + 1e-12).all()
            seen.add(gap < 0)
    assert len(seen) == 2
    # The critique's counterexample, and guessing three-digit answers.
    base = np.array([0.09, 0.01, 0.90])
    new = base * np.array([9, 9, 1])
    np.testing.assert_allclose(new / new.sum(), [0.45, 0.05, 0.50])
    assert math.isclose(new.sum(), 1.8)
    assert round(100 * (1 - stats.binom(1024, 1e-3).pmf(0))) == 64


@checks('prop-prac4-tail')
def unsampled():
    """A group with advantages of mean zero leaves the logits of answers it did not contain exactly where they were."""
    theta = torch.randn(6, dtype=F64, requires_grad=True)
    drawn = torch.tensor([0, 0, 2, 3])
    advantage = torch.tensor([0.5, -0.5, 0.75, -0.75], dtype=F64)
    g = torch.autograd.grad((advantage * torch.log_softmax(theta, 0)[drawn]).mean(), theta)[0]
    torch.testing.assert_close(g[[1, 4, 5]], torch.zeros(3, dtype=F64), atol=1e-16, rtol=0)
    # One step on binary rewards minus the group mean, drawn at random: the pass rate of a tabular policy never falls.
    for _ in range(300):
        logits = torch.randn(6, dtype=F64, requires_grad=True)
        right = torch.rand(6) < 0.5
        group = torch.multinomial(torch.softmax(logits.detach(), 0), 8, replacement=True)
        centred = right[group].double() - right[group].double().mean()
        up = torch.autograd.grad((centred * torch.log_softmax(logits, 0)[group]).mean(), logits)[0]
        for eta in (0.1, 5.0):
            change = torch.softmax(logits.detach() + eta * up, 0)[right].sum() - torch.softmax(logits.detach(), 0)[right].sum()
            assert change > -1e-12
    raw = torch.autograd.grad((torch.log_softmax(theta, 0)[drawn]).mean(), theta)[0]
    torch.testing.assert_close(raw[1], -torch.softmax(theta, 0)[1])


@checks('ex-prac4-ess')
def effective_sample():
    s = 0.01 * math.sqrt(16384)
    mu, pi = stats.norm(-s * s / 2, s), stats.norm(s * s / 2, s)
    second = integrate.quad(lambda z: math.exp(2 * z) * mu.pdf(z), -20, 30)[0]
    tv = 0.5 * integrate.quad(lambda z: abs(mu.pdf(z) - pi.pdf(z)), -20, 20, points=[0])[0]
    return {
        'a': s, 'b': 1 / second, 'c': tv, 'd': optimize.brentq(lambda t: math.exp(-t * 1e-4) - 0.5, 1, 1e6),
        'e': optimize.brentq(lambda v: math.exp(-16384 * v * v) - 0.9, 1e-5, 0.1),
    }
