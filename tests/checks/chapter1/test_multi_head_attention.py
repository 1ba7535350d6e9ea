"""Numbers and derivations of 多头注意力与信息聚合."""

import json
import math
from fractions import Fraction
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.nn.attention.bias import causal_lower_right
from torch.utils.flop_counter import FlopCounterMode

from checks import checks

DATA = Path(__file__).parents[3] / 'figures/chapter1/mha_rank.json'
F64 = torch.float64
same = torch.testing.assert_close


def weight(*shape):
    return torch.randn(*shape, dtype=F64) / math.sqrt(shape[-2])


def heads(tensor, count):
    """[n, count * d] -> [count, n, d]."""
    return tensor.unflatten(-1, (count, -1)).transpose(0, 1)


def meta(*shape, dtype=torch.bfloat16):
    return torch.empty(*shape, dtype=dtype, device='meta')


def flops(function):
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def rank(matrix, tolerance=1e-9):
    values = torch.linalg.svdvals(matrix)
    return int((values > tolerance * values[0]).sum())


def rotation(angles):
    """Block-diagonal rotation by the given angles."""
    return torch.block_diag(*[torch.tensor([[math.cos(a), -math.sin(a)], [math.sin(a), math.cos(a)]], dtype=F64) for a in angles])


# ---------------------------------------------------------------- sum over heads

@checks('def-mha', 'prop-mha-sum')
def sum_over_heads():
    """The sum over heads of A X W_OV against torch.nn.MultiheadAttention."""
    n, d, count, size = 7, 24, 4, 6
    module = torch.nn.MultiheadAttention(d, count, bias=False, batch_first=True, dtype=F64)
    x = torch.randn(1, n, d, dtype=F64)
    hidden = torch.ones(n, n, dtype=torch.bool).triu(1)
    reference, weights = module(x, x, x, attn_mask=hidden, average_attn_weights=False)
    wq, wk, wv = (w.T.unflatten(1, (count, size)).transpose(0, 1) for w in module.in_proj_weight.chunk(3))
    wo = module.out_proj.weight.T.unflatten(0, (count, size))
    total = torch.zeros(n, d, dtype=F64)
    for h in range(count):
        circuit_qk, circuit_ov = wq[h] @ wk[h].T, wv[h] @ wo[h]
        assert rank(circuit_qk) == rank(circuit_ov) == size
        a = (x[0] @ circuit_qk @ x[0].T / math.sqrt(size)).masked_fill(hidden, -math.inf).softmax(-1)
        same(a, weights[0, h])
        total = total + a @ x[0] @ circuit_ov
    same(total, reference[0])


@checks('prop-mha-gauge')
def gauge():
    """Invariance, and the rank of the Jacobian of (W_Q, W_K) -> W_Q W_K^T by autograd."""
    d, r = 7, 3
    wq, wk = torch.randn(2, d, r, dtype=F64)
    g = torch.randn(r, r, dtype=F64)
    same((wq @ g) @ (wk @ torch.linalg.inv(g).T).T, wq @ wk.T)
    by_q, by_k = torch.autograd.functional.jacobian(lambda q, k: q @ k.T, (wq, wk))
    jacobian = torch.cat([by_q.reshape(d * d, -1), by_k.reshape(d * d, -1)], 1)
    assert rank(jacobian) == 2 * d * r - r * r
    # With rotary positions only the commutant of the rotations is left: one complex number a plane.
    size = 6
    rotations = [rotation([m * t for t in (1.0, 0.3, 0.07)]) for m in (1, 2, 5)]
    eye = torch.eye(size, dtype=F64)
    conditions = torch.cat([torch.kron(r_m, eye) - torch.kron(eye, r_m.T.contiguous()) for r_m in rotations])
    assert size * size - rank(conditions) == size


@checks('eq-mha-cost')
def cost_of_splitting():
    """Parameters and FLOPs of a layer, counted on meta tensors, do not depend on the number of heads."""
    n, d = 512, 256
    for count in (1, 2, 4, 8):
        x, wq, wk, wv, wo = meta(n, d), meta(d, d), meta(d, d), meta(d, d), meta(d, d)

        def layer(x=x, wq=wq, wk=wk, wv=wv, wo=wo, count=count):
            q, k, v = (heads(x @ w, count) for w in (wq, wk, wv))
            return (q @ k.transpose(1, 2) @ v).transpose(0, 1).flatten(1) @ wo

        assert flops(layer) == 8 * n * d * d + 4 * n * n * d
        assert sum(w.numel() for w in (wq, wk, wv, wo)) == 4 * d * d


@checks('eg-mha-exp')
def exponentials():
    """Time of the exponentials of one head over time of its two matrix products, counted on meta tensors."""
    n, found = 256, {}
    for part, size in (('a', 128), ('b', 64)):
        q, k, v = meta(n, size), meta(n, size), meta(n, size)
        product_time = Fraction(flops(lambda q=q, k=k, v=v: q @ k.T @ v)) / Fraction('989e12')
        found[part] = float(Fraction(n * n) / Fraction('3.9e12') / product_time)
    return found


@checks('eq-mha-kron')
def kronecker():
    n, d, count = 4, 3, 2
    x, a, w = torch.randn(n, d, dtype=F64), torch.rand(count, n, n, dtype=F64), torch.randn(count, d, d, dtype=F64)
    operator = sum(torch.kron(a[h], w[h].T.contiguous()) for h in range(count))
    same((operator @ x.flatten()).view(n, d), sum(a[h] @ x @ w[h] for h in range(count)))


@checks('prop-mha-two')
def two_heads():
    """(P1, P2) = (a W, b W) has a residual bounded away from zero; two shifts solve the task."""
    d, n = 4, 6
    p1 = torch.diag(torch.tensor([1.0, 1, 0, 0], dtype=F64))
    p2 = torch.eye(d, dtype=F64) - p1
    best = torch.linalg.svdvals(torch.stack([p1.flatten(), p2.flatten()]))
    assert best[1] > 1          # distance from the closest pair of proportional maps
    ones, twos = torch.randn(500, d, dtype=F64) @ p1, torch.randn(500, d, dtype=F64) @ p2
    v = torch.randn(500, d, dtype=F64)
    a, b = ((u * v).sum(1, keepdim=True) / (v * v).sum(1, keepdim=True) for u in (ones, twos))       # the best weights, of any sign
    missed = (a * v - ones).norm(dim=1) ** 2 + (b * v - twos).norm(dim=1) ** 2
    assert (missed >= torch.minimum(ones.norm(dim=1), twos.norm(dim=1)) ** 2 - 1e-12).all()
    x = torch.randn(n, d, dtype=F64)
    shift = torch.diag(torch.ones(n - 1, dtype=F64), -1)
    y = shift @ x @ p1 + shift @ shift @ x @ p2
    for i in range(2, n):
        same(y[i], torch.cat([x[i - 1, :2], x[i - 2, 2:]]))


# ---------------------------------------------------------------- low rank

def log_centred(p):
    return p.log() - p.log().mean(1, keepdim=True)


@checks('thm-mha-bottleneck')
def bottleneck():
    """The construction reproduces P; rank conditions by singular values, with X of full row rank."""
    n, d = 6, 9
    x = torch.randn(n, d, dtype=F64)
    for size in range(1, n):
        wq, wk = weight(d, size), weight(d, size)
        p = (x @ wq @ wk.T @ x.T / math.sqrt(size)).softmax(-1)
        assert rank(log_centred(p)) == size                 # part 1: at most, and here exactly, d_h
    size = n - 1                                            # part 3: any positive P, with d_h = n - 1
    p = torch.rand(n, n, dtype=F64) + 0.01
    p /= p.sum(1, keepdim=True)
    u, s, vt = torch.linalg.svd(log_centred(p))
    right_inverse = x.T @ torch.linalg.inv(x @ x.T)
    wq = math.sqrt(size) * right_inverse @ (u[:, :size] * s[:size])
    wk = right_inverse @ vt[:size].T
    same(functional.scaled_dot_product_attention((x @ wq)[None], (x @ wk)[None], torch.eye(n, dtype=F64)[None])[0], p)
    peaked = (1.7 * torch.eye(n, dtype=F64)).softmax(-1)
    assert rank(log_centred(peaked)) == n - 1
    # Rotating queries and keys leaves the bound as it is.
    q, k = torch.randn(2, 12, 4, dtype=F64)
    turned = [torch.stack([rotation([i, 0.1 * i]) @ row for i, row in enumerate(t)]) for t in (q, k)]
    assert rank(turned[0] @ turned[1].T) == 4


@checks('cor-mha-causal')
def causal_mask():
    """Whatever stands above the diagonal and whatever the row constants, the rank is at least n - 1."""
    n, alpha = 7, 1.3
    for fill in (torch.randn(200, n, n, dtype=F64), torch.zeros(200, n, n, dtype=F64)):
        lower = alpha * torch.eye(n, dtype=F64) + torch.randn(200, n, 1, dtype=F64)
        logits = torch.where(torch.ones(n, n, dtype=torch.bool).tril(), lower, fill)
        assert min(rank(s, 1e-12) for s in logits) >= n - 1
    column = torch.ones(n, n, dtype=F64) * torch.randn(n, 1, dtype=F64)
    assert rank(torch.where(torch.ones(n, n, dtype=torch.bool).tril(), alpha * torch.eye(n, dtype=F64) + column, column)) >= n - 1


@checks('prop-mha-circle')
def hard_attention_in_two_dimensions():
    for n, leak in ((2, 0.1), (5, 0.01), (64, 0.001)):
        angle = 2 * math.pi * torch.arange(n, dtype=F64) / n
        keys = torch.stack([angle.cos(), angle.sin()], 1)
        target = torch.randint(n, (n,))
        beta = math.log((n - 1) / leak) / (1 - math.cos(2 * math.pi / n))
        a = functional.scaled_dot_product_attention(beta * keys[target][None], keys[None], torch.eye(n, dtype=F64)[None], scale=1.0)[0]
        assert a[torch.arange(n), target].min() >= 1 - leak
        logits = beta * keys @ keys.T
        assert rank(logits) == min(n - 1, 2)
        assert rank(logits.softmax(-1)) == n        # the weights themselves have full rank


@checks('eg-mha-circle', 'fig-mha-rank')
def norm_for_dimension():
    """(a) by bisection on the weight itself, (b) by simulation."""
    n, leak = 1024, 0.01
    gaps = 1 - torch.cos(2 * math.pi * torch.arange(n, dtype=F64) / n)
    nearest = torch.full((n,), float(gaps[1]), dtype=F64)
    nearest[0] = 0
    low, high = 1e3, 1e8
    for _ in range(80):         # every wrong key as close as the closest one: the bound of the proposition
        middle = (low + high) / 2
        low, high = (middle, high) if torch.exp(-middle * nearest).sum() > 1 + leak else (low, middle)
    gaps = []
    for _ in range(20):
        keys = functional.normalize(torch.randn(n, 128, dtype=F64), dim=1)
        gaps.append(1 - (keys @ keys.T).fill_diagonal_(-1).max())
    gaps = torch.stack(gaps)
    assert abs(float(gaps.mean()) - 0.60) < 0.008
    assert f'{float(nearest[1]):.2e}' == '1.88e-05'
    # Rounded to bf16, few keys of the circle are still the nearest to their own query; random keys all are.
    angle = 2 * math.pi * torch.arange(n, dtype=F64) / n
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    selected = [((t @ t.T).argmax(1) == torch.arange(n)).double().mean() for t in (circle.bfloat16().double(), keys.bfloat16().double())]
    assert round(float(selected[0]), 2) == 0.13
    assert selected[1] == 1
    return {'a': high, 'b': (math.log((n - 1) / leak) / gaps).mean()}


SOFT_TOKENS = 64


def trained_error(size, causal, steps=800):
    """Smallest mean total variation that Adam finds over logits U V^T of the given rank, from one random projector."""
    torch.manual_seed(0)
    n, alpha = SOFT_TOKENS, math.log(SOFT_TOKENS - 1)
    mask = torch.full((n, n), -math.inf, dtype=F64).triu(1) if causal else torch.zeros(n, n, dtype=F64)
    target = (alpha * torch.eye(n, dtype=F64) + mask).softmax(-1)
    start = torch.randn(n, size, dtype=F64)
    start = torch.linalg.qr(start - start.mean(0)).Q * math.sqrt(0.6 * alpha * n / size)
    u, v = start.clone().requires_grad_(), start.clone().requires_grad_()
    adam = torch.optim.Adam([u, v], lr=0.05)
    schedule = torch.optim.lr_scheduler.LinearLR(adam, 1, 0.002, steps)
    best = math.inf
    for _ in range(steps):
        loss = 0.5 * ((u @ v.T + mask).softmax(-1) - target).abs().sum(-1).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
        schedule.step()
        best = min(best, loss.item())
    return best


def rank_data():
    """What mha_rank.json holds."""
    ranks = [2, 4, 8, 12, 16, 24, 32, 48]
    return {'ranks': ranks} | {name: [round(trained_error(r, causal), 5) for r in ranks] for name, causal in (('free', False), ('causal', True))}


@checks('eg-mha-soft', 'fig-mha-rank')
def soft_pattern():
    """Random projectors at their best scale, then logits of the same rank found by gradient descent."""
    n = SOFT_TOKENS
    target = (math.log(n - 1) * torch.eye(n, dtype=F64)).softmax(-1)
    same(target.diagonal(), torch.full((n,), 0.5, dtype=F64))
    found = {'a': [], 'b': [], 'c': []}
    for _ in range(8):
        start = torch.randn(n, n - 1, dtype=F64)
        basis = torch.linalg.qr(start - start.mean(0)).Q
        for part, size in (('a', 16), ('b', 32), ('c', 63)):
            projector = basis[:, :size] @ basis[:, :size].T
            scales = torch.linspace(0.3, 1.5, 61, dtype=F64) * math.log(n - 1) * n / size
            if part == 'c':
                scales = torch.tensor([math.log(n - 1)], dtype=F64)
            a = (scales[:, None, None] * projector).softmax(-1)
            found[part].append(0.5 * (a - target).abs().sum(-1).mean(-1).min())
    answer = {part: torch.stack(values).mean() for part, values in found.items()}
    stored = json.loads(DATA.read_text())
    trained = {(size, causal): trained_error(size, causal) for size, causal in ((16, False), (32, False), (4, True), (16, True))}
    for (size, causal), error in trained.items():
        assert math.isclose(stored['causal' if causal else 'free'][stored['ranks'].index(size)], error, rel_tol=0.1)
    # What the text says about them.
    assert round(trained[4, True], 3) == 0.087
    assert round(trained[32, False], 3) == 0.010
    return answer | {'d': trained[16, False], 'e': trained[16, True]}


# ---------------------------------------------------------------- composition

@checks('eq-mha-composition')
def composition():
    n, d = 5, 6
    x, a = torch.randn(n, d, dtype=F64), torch.randn(n, n, dtype=F64).tril().softmax(-1)
    ov, qk = torch.randn(2, d, d, dtype=F64)
    after = x + a @ x @ ov
    terms = x @ qk @ x.T, a @ x @ ov @ qk @ x.T, x @ qk @ ov.T @ x.T @ a.T, a @ x @ ov @ qk @ ov.T @ x.T @ a.T
    same(after @ qk @ after.T, sum(terms))


def induction(words, names, beta):
    """Two residual attention layers with the weights of the text; weights of layer 2 at the last position, and the output block."""
    v, n = len(names), len(words) - 1
    width = 3 * v + n + 1
    tok, pos, prev, out = torch.eye(width, dtype=F64).split([v, n + 1, v, v], dim=1)
    x = tok[:, [names.index(w) for w in words]].T + pos.T
    previous = torch.diag(torch.ones(n, dtype=F64), -1)
    for qk, ov in ((pos @ previous @ pos.T, tok @ prev.T), (tok @ prev.T, tok @ out.T)):
        values = torch.cat([x @ ov, torch.eye(n + 1, dtype=F64)], 1)
        read = functional.scaled_dot_product_attention((x @ (beta * qk))[None], x[None], values[None], is_causal=True, scale=1.0)[0]
        x, weights = x + read[:, :width], read[:, width:]
    return weights[-1], (x @ out)[-1]


@checks('thm-mha-induction', 'eq-mha-induction', 'fig-mha-induction')
def induction_head():
    """Every sequence over three words up to length four, some longer ones: the bound, and the answer where all successors agree."""
    names = ['start', 'a', 'b', 'c']
    answered = 0
    for n in (2, 3, 4, 12):
        beta = 2 * math.log(4 * n)
        leak = n * math.exp(-beta)
        tails = product(names[1:], repeat=n) if n < 5 else np.random.choice(names[1:], (40, n))
        for tail in tails:
            words = ['start', *tail]
            found = [j for j in range(1, n + 1) if words[j - 1] == words[n]]
            if not found:
                continue
            weights, output = induction(words, names, beta)
            assert weights[found].sum() >= 1 - n / len(found) * math.exp(-beta * (1 - 2 * leak))
            successors = {words[j] for j in found}
            if len(successors) == 1:
                assert names[int(output.argmax())] == successors.pop()
                answered += 1
    assert answered > 60
    # Different successors: their empirical frequencies as beta grows.
    words = ['start', 'a', 'b', 'a', 'c', 'a', 'b', 'a']
    _, output = induction(words, names, 60.0)
    same(output, torch.tensor([0, 0, 2 / 3, 1 / 3], dtype=F64), atol=1e-9, rtol=0)


# ---------------------------------------------------------------- caches

def bytes_of(*caches):
    return sum(c.numel() * c.element_size() for c in caches)


@checks('tab-mha-kv', 'eq-mha-kv')
def cache_bytes():
    """Sizes of cache tensors that are laid out (without memory) as an inference engine would."""
    models = {
        'Llama 3 8B': (32, 8), 'Llama 3 70B': (80, 8), 'Llama 3 405B': (126, 8),
        '8B 改 MHA': (32, 32), '70B 改 MHA': (80, 64), 'V3 改 MHA': (61, 128),
    }

    def row(layers, size):
        return {
            '每层每 token 个数': size(1) / 2 / layers,
            '每个 token（KiB）': (size(1) / 2**10, 'KiB'),
            '8,192 个 token（GiB）': (size(8192) / 2**30, 'GiB'),
            '131,072 个 token（GiB）': (size(131072) / 2**30, 'GiB'),
        }

    table = {
        name: row(layers, lambda n, layers=layers, groups=groups: bytes_of(*[meta(groups, n, 128) for _ in range(2 * layers)]))
        for name, (layers, groups) in models.items()
    }
    table['DeepSeek-V3（MLA）'] = row(61, lambda n: bytes_of(*[t for _ in range(61) for t in (meta(n, 512), meta(n, 64))]))
    opening = bytes_of(*[meta(128, 32768, 128) for _ in range(2 * 61)]), bytes_of(*[meta(32768, 576) for _ in range(61)])
    assert opening[0] == 122 * 2**30
    assert round(opening[1] / 2**30, 2) == 2.14
    assert round(opening[0] / opening[1], 1) == 56.9
    return table


@checks('eq-mha-pool')
def pooling():
    """Mean pooling is where the gradient of the squared distance vanishes, and grouped heads equal tied heads."""
    keys = torch.randn(4, 5, 3, dtype=F64)
    mean = keys.mean(0).requires_grad_()
    ((keys - mean) ** 2).sum().backward()
    same(mean.grad, torch.zeros_like(mean))
    q, k, v = torch.randn(1, 6, 4, 8, dtype=F64), torch.randn(1, 2, 4, 8, dtype=F64), torch.randn(1, 2, 4, 8, dtype=F64)
    grouped = functional.scaled_dot_product_attention(q, k, v, enable_gqa=True)
    group = [math.ceil((h + 1) * 2 / 6) - 1 for h in range(6)]
    same(grouped, functional.scaled_dot_product_attention(q, k[:, group], v[:, group]))
    same(k.repeat_interleave(3, 1), k[:, group])
    assert not torch.equal(k.repeat(1, 3, 1, 1), k[:, group])


# ---------------------------------------------------------------- latent attention

class Latent:
    """A small multi-head latent attention with decoupled rotary part."""

    def __init__(self, n=6, d=20, count=3, size=4, rank_kv=5, rank_q=7, rope=4):
        self.n, self.count, self.size, self.rope = n, count, size, rope
        self.x = torch.randn(n, d, dtype=F64)
        self.wdkv, self.wdq, self.wkr = weight(d, rank_kv), weight(d, rank_q), weight(d, rope)
        self.wuk, self.wuv = weight(count, rank_kv, size), weight(count, rank_kv, size)
        self.wuq, self.wqr = weight(count, rank_q, size), weight(count, rank_q, rope)
        self.wo = weight(count, size, d)
        self.turns = torch.stack([rotation([i * t for t in (1.0, 0.1)]) for i in range(n)])
        self.c, self.cq = self.x @ self.wdkv, self.x @ self.wdq
        self.q, self.k, self.v = self.cq @ self.wuq, self.c @ self.wuk, self.c @ self.wuv

    def turn(self, t):
        return torch.einsum('nab,...nb->...na', self.turns, t)


@checks('thm-mha-absorb')
def absorption():
    m = Latent()
    explicit = functional.scaled_dot_product_attention(m.q, m.k, m.v, is_causal=True) @ m.wo
    shared = m.c.expand(m.count, -1, -1)
    absorbed = functional.scaled_dot_product_attention(
        m.q @ m.wuk.transpose(1, 2), shared, shared, is_causal=True, scale=m.size**-0.5
    ) @ m.wuv @ m.wo
    same(absorbed.sum(0), explicit.sum(0), rtol=1e-12, atol=1e-12)


@checks('eq-mha-decoupled')
def decoupled():
    """Expanded keys with the rotary part appended, against one shared key of d_c + d_h^R numbers."""
    m = Latent()
    q_rope, k_rope = m.turn(m.cq @ m.wqr), m.turn(m.x @ m.wkr)
    scale = (m.size + m.rope) ** -0.5
    q, k = torch.cat([m.q, q_rope], -1), torch.cat([m.k, k_rope.expand(m.count, -1, -1)], -1)
    explicit = functional.scaled_dot_product_attention(q, k, m.v, is_causal=True) @ m.wo
    cache = torch.cat([m.c, k_rope], -1)
    absorbed = functional.scaled_dot_product_attention(
        torch.cat([m.q @ m.wuk.transpose(1, 2), q_rope], -1), cache.expand(m.count, -1, -1), m.c.expand(m.count, -1, -1),
        is_causal=True, scale=scale,
    ) @ m.wuv @ m.wo
    same(absorbed.sum(0), explicit.sum(0), rtol=1e-12, atol=1e-12)
    assert cache.numel() == m.n * (5 + 4)
    assert round(math.sqrt(576 / 192), 1) == 1.7


@checks('prop-mha-rope')
def rotation_blocks_absorption():
    """No linear map of q serves two key positions: least squares over all of them leaves a residual unless the rotation is trivial."""
    size, rank_kv = 4, 6
    up = torch.randn(rank_kv, size, dtype=F64)
    maps = [up @ rotation([j * 1.0, j * 0.2]).T for j in (0, 3)]         # phi_i must equal both
    best = (maps[0] + maps[1]) / 2
    assert sum((best - one).norm() ** 2 for one in maps) > 0.1
    same(up @ rotation([2 * math.pi, 4 * math.pi]).T, up)                # a full turn is the only way out
    q, c = torch.randn(size, dtype=F64), torch.randn(rank_kv, dtype=F64)
    same(q @ rotation([3.0, 0.6]) @ (up.T @ c), (maps[1] @ q) @ c)
    assert all((m / (2 * math.pi)) % 1 > 1e-7 for m in range(1, 200000))


@checks('tab-mha-mla')
def deepseek_parameters():
    d, count, size, rank_kv, rank_q, rope = 7168, 128, 128, 512, 1536, 64
    layers = {
        '$W_{DQ}$': (d, rank_q), '$W_{UQ}$（全部头）': (rank_q, count * size), '$W_{QR}$（全部头）': (rank_q, count * rope),
        '$W_{DKV}$': (d, rank_kv), '$W_{KR}$': (d, rope), '$W_{UK}$（全部头）': (rank_kv, count * size),
        '$W_{UV}$（全部头）': (rank_kv, count * size), '$W_O$': (count * size, d),
    }
    table = {}
    for name, (rows, columns) in layers.items():
        module = torch.nn.Linear(rows, columns, bias=False, device='meta')
        table[name] = {'行': rows, '列': columns, '参数量': sum(p.numel() for p in module.parameters())}
    total = sum(row['参数量'] for row in table.values())
    assert total == 187_105_280
    assert round(table['$W_O$']['参数量'] / total, 2) == 0.63
    assert 4 * d * count * size == 469_762_048
    return table


# ---------------------------------------------------------------- arithmetic intensity

PEAK, BANDWIDTH = 989.4e12, 3.35e12


def decode_flops(count, groups, length, width_qk, width_v):
    """FLOPs of one query a head against a cache of ``groups`` heads, counted by PyTorch."""
    q, k, v = meta(groups, count // groups, width_qk), meta(groups, length, width_qk), meta(groups, length, width_v)
    return flops(lambda: q @ k.transpose(1, 2) @ v)


@checks('tab-mha-decode', 'eq-mha-intensity', 'eq-mha-intensity-cases', 'fig-mha-roofline')
def decoding():
    n, count, table = 32768, 128, {}
    cases = {
        'MHA': (128, 128, 128, [meta(128, n, 128)] * 2), 'GQA，$H_{kv}=8$': (8, 128, 128, [meta(8, n, 128)] * 2),
        'MQA': (1, 128, 128, [meta(1, n, 128)] * 2), 'MLA（吸收）': (1, 576, 512, [meta(n, 576)]),
    }
    for name, (groups, qk, v, caches) in cases.items():
        work, read = decode_flops(count, groups, n, qk, v), bytes_of(*caches)
        table[name] = {
            '缓存（MiB）': (read / 2**20, 'MiB'), 'FLOPs（GFLOP）': (work / 1e9, 'GFLOP'), '强度（FLOP/byte）': (work / read, 'FLOP/byte'),
            '访存时间（µs）': (read / BANDWIDTH * 1e6, 'µs'), '计算时间（µs）': (work / PEAK * 1e6, 'µs'),
        }
    mha, mla = table['MHA'], table['MLA（吸收）']
    assert mla['FLOPs（GFLOP）'][0] / mha['FLOPs（GFLOP）'][0] == 4.25
    assert round(mha['访存时间（µs）'][0] / mla['访存时间（µs）'][0]) == 57
    assert round(PEAK / BANDWIDTH) == 295
    gqa = table['GQA，$H_{kv}=8$']['强度（FLOP/byte）'][0]
    assert min(t for t in range(1, 100) if t * gqa > PEAK / BANDWIDTH) == 19
    assert mla['强度（FLOP/byte）'][0] < PEAK / BANDWIDTH < 2 * mla['强度（FLOP/byte）'][0]
    exact = decode_flops(128, 1, 4096, 576, 512) / bytes_of(meta(4096, 576), meta(128, 576), meta(128, 512))
    assert round(exact) == 228
    assert round(1 - exact / mla['强度（FLOP/byte）'][0], 3) == 0.056
    # Llama 3 8B and 70B, and Kimi K2, in the figure.
    for heads_, groups, qk, v, read, value in ((32, 8, 128, 128, 2 * 8 * 128, 4), (64, 8, 128, 128, 2 * 8 * 128, 8), (64, 1, 576, 512, 576, 120.9)):
        assert round(decode_flops(heads_, groups, n, qk, v) / (2 * n * read), 1) == value
    return table


def expanded(count, tokens, n, rank_kv, size, rope):
    c, up = meta(n, rank_kv), meta(rank_kv, 2 * count * size)
    q, k, v = meta(count, tokens, size + rope), meta(count, n, size + rope), meta(count, n, size)
    return flops(lambda: (c @ up, q @ k.transpose(1, 2) @ v))


def absorbed(count, tokens, n, rank_kv, size, rope):
    q, up = meta(count, tokens, size), meta(count, size, rank_kv)
    wide, k, v, down = meta(count * tokens, rank_kv + rope), meta(n, rank_kv + rope), meta(n, rank_kv), meta(count, rank_kv, size)
    return flops(lambda: (q @ up, wide @ k.T @ v, meta(count, tokens, rank_kv) @ down))


def crossing(*sizes, n):
    """Where the two FLOP counts, both linear in the number of new tokens, meet."""
    count, rank_kv, size, rope = sizes
    one, two = ([f(count, t, n, rank_kv, size, rope) for t in (1, 2)] for f in (expanded, absorbed))
    slope = [pair[1] - pair[0] for pair in (one, two)]
    return Fraction((one[0] - slope[0]) - (two[0] - slope[1]), slope[1] - slope[0])


@checks('eq-mha-absorb-flops', 'prop-mha-crossover')
def crossover():
    n, count, rank_kv, size, rope, tokens = 1000, 128, 512, 128, 64, 7
    assert expanded(count, tokens, n, rank_kv, size, rope) == 4 * n * rank_kv * count * size + 2 * tokens * n * count * (2 * size + rope)
    assert absorbed(count, tokens, n, rank_kv, size, rope) == 4 * tokens * rank_kv * count * size + 2 * tokens * n * count * (2 * rank_kv + rope)
    assert crossing(count, rank_kv, size, rope, n=n) == Fraction(n * rank_kv * size, n * (rank_kv - size) + rank_kv * size)
    assert round(float(crossing(count, rank_kv, size, rope, n=10**9))) == 171
    assert crossing(64, rank_kv, size, 0, n=n) == crossing(count, rank_kv, size, rope, n=n)
    assert round((2 * 512 + 64) / (2 * 128 + 64), 1) == 3.4


# ---------------------------------------------------------------- variants

@checks('eq-mha-diff', 'eq-mha-gate')
def variants():
    n, d, size, lam = 5, 6, 3, 0.35
    x = torch.randn(n, d, dtype=F64)
    one, two = ((x @ weight(d, size) @ weight(d, size).T @ x.T / math.sqrt(size)).softmax(-1) for _ in range(2))
    wv, wo = weight(d, size), weight(size, d)
    difference = one - lam * two
    same(difference.sum(1), torch.full((n,), 1 - lam, dtype=F64))
    same(difference @ x @ wv @ wo, one @ x @ (wv @ wo) + two @ x @ (wv @ (-lam * wo)))       # two ordinary heads
    gate = torch.sigmoid(x @ torch.randn(d, 1, dtype=F64))
    same(gate * (one @ x @ wv) @ wo, (gate * one) @ x @ (wv @ wo))                            # row sums g_i
    same((gate * one).sum(1, keepdim=True), gate)
    full = torch.sigmoid(x @ torch.randn(d, size, dtype=F64))
    assert not torch.allclose((full * (one @ x @ wv)) @ wo, full.mean(1, keepdim=True) * (one @ x @ (wv @ wo)))


@checks('tab-mha-width')
def widths():
    configurations = {
        'GPT-3 175B': (12288, 96, 128), 'Llama 3 70B': (8192, 64, 128), 'gpt-oss-120b': (2880, 64, 64),
        'Kimi K2': (7168, 64, 128), 'DeepSeek-V3': (7168, 128, 128),
    }
    return {name: {'$Hd_h/d$': torch.nn.Linear(d, count * size, device='meta').out_features / d} for name, (d, count, size) in configurations.items()}


def test_pitfalls_of_pytorch():
    """What the table of functions says about masks, alignment and defaults."""
    q, k, v = torch.randn(1, 1, 8), torch.randn(1, 5, 8), torch.randn(1, 5, 8)
    same(functional.scaled_dot_product_attention(q, k, v, is_causal=True), v[:, :1])        # only the first key
    lower = causal_lower_right(1, 5)
    same(functional.scaled_dot_product_attention(q, k, v, attn_mask=lower), functional.scaled_dot_product_attention(q, k, v))
    module = torch.nn.MultiheadAttention(8, 2)
    assert module.in_proj_weight.shape == (24, 8)
    assert module.in_proj_bias is not None
    assert not module.batch_first
    x = torch.randn(5, 1, 8)
    assert module(x, x, x)[1].shape == (1, 5, 5)                                            # averaged over the heads
    first_hidden = torch.zeros(5, 5, dtype=torch.bool)
    first_hidden[:, 0] = True
    assert module(x, x, x, attn_mask=first_hidden)[1][0, :, 0].abs().max() == 0             # True hides here
    only_first = functional.scaled_dot_product_attention(k, k, v, attn_mask=first_hidden)
    same(only_first, v[:, :1].expand(-1, 5, -1))                                            # True shows here
    with pytest.raises(AssertionError):
        torch.nn.MultiheadAttention(10, 4)


# ---------------------------------------------------------------- exercises

@checks('ex-mha-bias')
def useless_bias():
    """Gradients of torch.nn.MultiheadAttention's own biases, and the value bias moved to the output."""
    d, count = 8, 2
    module = torch.nn.MultiheadAttention(d, count, batch_first=True, dtype=F64)
    torch.nn.init.normal_(module.in_proj_bias)
    x = torch.randn(1, 5, d, dtype=F64)
    (module(x, x, x)[0] ** 2).sum().backward()
    by_q, by_k, by_v = module.in_proj_bias.grad.chunk(3)
    same(by_k, torch.zeros_like(by_k), atol=1e-12, rtol=0)
    assert by_q.abs().max() > 1e-3
    assert by_v.abs().max() > 1e-3
    before = module(x, x, x)[0]
    with torch.no_grad():
        module.out_proj.bias += module.out_proj.weight @ module.in_proj_bias[2 * d:]
        module.in_proj_bias[2 * d:] = 0
    same(module(x, x, x)[0], before)
    # With rotary positions the key bias counts.
    q, k, bias = torch.randn(6, 4, dtype=F64), torch.randn(6, 4, dtype=F64), torch.randn(4, dtype=F64)
    turns = torch.stack([rotation([i, 0.1 * i]) for i in range(6)])

    def turned(t):
        return torch.einsum('nab,nb->na', turns, t)

    plain, shifted = ((turned(q) @ turned(keys).T).softmax(-1) for keys in (k, k + bias))
    assert (plain - shifted).abs().max() > 1e-3


@checks('ex-mha-capacity')
def capacity():
    room = 8 * 80 * 10**9 * 9 // 10 - 2 * 706 * 10**8
    caches = {'a': [meta(8, 32768, 128)] * 160, 'b': [meta(64, 32768, 128)] * 160, 'c': [meta(32768, 576)] * 80}
    assert room // (bytes_of(*caches['a']) // 2**30 * 10**9) == 43          # the mistake of reading 10 GiB as 10 GB
    return {part: room // bytes_of(*tensors) for part, tensors in caches.items()}


@checks('ex-mha-gauge')
def alignment():
    """Orthogonal alignment: the stated optimum, and no random orthogonal matrix does better."""
    one, two = torch.randn(2, 9, 4, dtype=F64)
    u, s, vt = torch.linalg.svd(two.T @ one)
    best = (one - two @ (u @ vt)).norm() ** 2
    same(best, one.norm() ** 2 + two.norm() ** 2 - 2 * s.sum())
    others = torch.linalg.qr(torch.randn(2000, 4, 4, dtype=F64)).Q
    assert ((one - two @ others) ** 2).sum((1, 2)).min() >= best
    minus = -torch.eye(4, dtype=F64)
    same(one @ torch.linalg.inv(minus).T + one, torch.zeros_like(one))


@checks('ex-mha-induction')
def induction_numbers():
    n = 100
    words = [*range(100), 36]                 # 0 is the start; the last word is the 36th again
    beta = 2 * math.log(4 * n)
    leak = n / math.exp(beta)
    weights = {b: induction(words, list(range(100)), float(b))[0][37] for b in range(4, 8)}
    assert round(float(weights[5]), 2) == 0.35
    assert round(float(weights[6]), 2) == 0.71
    guaranteed = 1 - n * math.exp(-beta * (1 - 2 * leak))
    assert induction(words, list(range(100)), beta)[0][37] >= guaranteed
    return {'a': leak, 'b': guaranteed, 'c': min(b for b, w in weights.items() if w > 0.5)}


@checks('ex-mha-crossover')
def other_sizes():
    count, size, rank_kv, rope, n = 64, 128, 256, 64, 8192
    work = decode_flops(count, 1, n, rank_kv + rope, rank_kv)
    bf16, fp8 = work / bytes_of(meta(n, rank_kv + rope)), work / bytes_of(meta(n, rank_kv + rope, dtype=torch.float8_e4m3fn))
    limit = crossing(count, rank_kv, size, rope, n=10**12)
    return {
        'a': round(float(limit), 6), 'b': bf16, 'c': min(t for t in range(1, 50) if t * fp8 > PEAK / BANDWIDTH),
        'd': float(crossing(128, 512, 128, 64, n=4096)),
    }


@checks('ex-mha-gqa-in-mla')
def grouped_inside_latent():
    """(a) numerically; (b) the dimension of the sum of key spaces on both sides."""
    n, d, count, groups, size = 5, 40, 6, 3, 4
    x, wq = torch.randn(n, d, dtype=F64), weight(count, d, size)
    wk, wv = weight(groups, d, size), weight(groups, d, size)
    grouped = functional.scaled_dot_product_attention((x @ wq)[None], (x @ wk)[None], (x @ wv)[None], is_causal=True, enable_gqa=True)[0]
    rank_kv = 2 * groups * size
    latent = x @ torch.cat([*wk, *wv], 1)
    assert latent.shape[1] == rank_kv
    blocks = torch.eye(rank_kv, dtype=F64).split(size, 1)
    member = [h * groups // count for h in range(count)]
    keys, values = (latent @ torch.stack([blocks[shift + g] for g in member]) for shift in (0, groups))
    same(functional.scaled_dot_product_attention(x @ wq, keys, values, is_causal=True), grouped)
    down = weight(d, rank_kv)
    free = torch.cat([(wq[h] @ (down @ blocks[h]).T).T for h in range(count)], 1)
    tied = torch.cat([(wq[h] @ wk[member[h]].T).T for h in range(count)], 1)
    assert rank(free) == min(count, 2 * groups) * size
    assert rank(tied) == groups * size


@checks('ex-mha-premultiply')
def premultiplied():
    up_q, up_k = meta(128, 1536, 128), meta(128, 512, 128)
    merged = up_q @ up_k.transpose(1, 2)
    break_even = next(Fraction(s) for s in range(1, 2000) if 1536 * 512 <= s * (1536 + 512))
    assert round(512 * 7168 / (512 * 128 + 128 * 7168), 1) == 3.7
    return {'a': up_q.numel() + up_k.numel(), 'b': merged.numel(), 'c': break_even}


@checks('ex-mha-serving')
def serving():
    gb, length, layers = 10**9, 131072, 64
    usable = 72 * gb
    room = usable - 130 * gb // 8

    def sequence(*shape, dtype=torch.bfloat16):
        return layers * bytes_of(meta(*shape, dtype=dtype))

    def intensity(queries, keys, values, *caches):
        return decode_flops(queries, 1, length, keys, values) / bytes_of(*caches)

    narrow = [meta(length, 128), meta(length, 128)]
    eight = [meta(length, 128, dtype=torch.float8_e4m3fn) for _ in range(2)]
    assert intensity(16, 128, 128, *narrow) == 16
    assert intensity(16, 128, 128, *eight) == 32
    assert round(intensity(16, 576, 512, meta(length, 576))) == 30
    assert round(intensity(128, 576, 512, meta(length, 576))) == 242
    attention = layers * bytes_of(meta(150_000_000))
    spare = usable - attention - (130 * gb - attention) // 8
    latent = sequence(length, 576)
    assert 8 * (spare // sequence(length, 576, dtype=torch.float8_e4m3fn)) == 64
    return {
        'a': room // sequence(2, length, 128), 'b': room // latent, 'c': 8 * (spare // latent),
        'd': room // sequence(2, length, 128, dtype=torch.float8_e4m3fn),
    }


@checks('ex-mha-soft')
def previous_token_pattern():
    n = 8
    pattern = (2.0 * torch.diag(torch.ones(n - 1, dtype=F64), -1)).softmax(-1)
    assert rank(log_centred(pattern)) == n - 1
    # Spread of the off-diagonal entries of a random projector, used in the sketch of an upper bound.
    n, size = 256, 64
    basis = torch.linalg.qr(torch.randn(n, n, dtype=F64)).Q[:, :size]
    projector = basis @ basis.T
    off = projector[~torch.eye(n, dtype=torch.bool)]
    same(off.std(), torch.tensor(math.sqrt(size * (n - size)) / n**1.5, dtype=F64), rtol=0.05, atol=0)
    assert np.isclose(float(projector.diagonal().mean()), size / n)
