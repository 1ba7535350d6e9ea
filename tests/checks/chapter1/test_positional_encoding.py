"""Section 1.3: positions. Rotations are built as matrices or by torch's complex numbers, not by the book's closed forms."""

import math
from functools import wraps

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.linalg import expm, schur

from checks import checks
from figures.chapter1 import pos_decay, pos_precision, pos_scaling


def float64(function):
    """Run a check with torch's default dtype set to float64."""

    @wraps(function)
    def run():
        before = torch.get_default_dtype()
        torch.set_default_dtype(torch.float64)
        try:
            return function()
        finally:
            torch.set_default_dtype(before)

    return run


def spectrum(base, dim):
    """Frequencies from successive division, as a reference for base ** (-2c/dim)."""
    ratio = math.exp(-2 * math.log(base) / dim)
    return np.cumprod(np.r_[1.0, np.full(dim // 2 - 1, ratio)])


def rotate(x, position, frequency):
    """Interleaved RoPE through complex numbers."""
    turn = torch.polar(torch.ones(len(frequency)), torch.as_tensor(position * frequency))
    return torch.view_as_real(torch.view_as_complex(x.unflatten(-1, (-1, 2)).contiguous()) * turn).flatten(-2)


def rotate_half(x, position, frequency):
    """Half-split RoPE with cos and sin."""
    a, b = x.chunk(2, -1)
    angle = torch.as_tensor(position * frequency)
    return torch.cat([a * angle.cos() - b * angle.sin(), b * angle.cos() + a * angle.sin()], -1)


def rotation(position, frequency):
    """The matrix of interleaved RoPE as the exponential of a skew matrix."""
    generator = np.zeros((2 * len(frequency),) * 2)
    for c, w in enumerate(frequency):
        generator[2 * c, 2 * c + 1], generator[2 * c + 1, 2 * c] = -w, w
    return expm(position * generator)


def t5_bucket(distance):
    """Bucket of a causal distance by counting thresholds, instead of a logarithm."""
    thresholds = [*range(1, 16)] + [16 * 8 ** (k / 16) for k in range(16)]
    return sum(distance >= t - 1e-9 for t in thresholds)


def alibi_weights(slope, length=20_000):
    return torch.softmax(-slope * torch.arange(length), 0)


@checks('def-pos-sinusoid', 'prop-pos-shift', 'eq-pos-sin-inner')
@float64
def sinusoid_shift():
    dim, base = 16, 1e4
    w = spectrum(base, dim)
    np.testing.assert_allclose(w, base ** (-2 * np.arange(dim // 2) / dim))
    table = np.empty((60, dim))
    table[:, 0::2], table[:, 1::2] = np.sin(np.outer(np.arange(60), w)), np.cos(np.outer(np.arange(60), w))
    for shift in (1, 7):
        matrix, residual, *_ = np.linalg.lstsq(table[:-shift], table[shift:], rcond=None)      # least squares knows nothing of rotations
        np.testing.assert_allclose(table[:-shift] @ matrix, table[shift:], atol=1e-8)
        inner = (table[:-shift] * table[shift:]).sum(1)
        np.testing.assert_allclose(inner, np.cos(shift * w).sum(), atol=1e-12)


@checks('eq-pos-four', 'eq-pos-xl')
@float64
def four_terms():
    x, t, q_map, k_map = torch.randn(5, 8), torch.randn(5, 8), torch.randn(8, 4), torch.randn(8, 4)
    b = q_map @ k_map.T
    whole = ((x + t) @ q_map) @ ((x + t) @ k_map).T
    torch.testing.assert_close(whole, x @ b @ x.T + x @ b @ t.T + t @ b @ x.T + t @ b @ t.T)
    u, v, r_map, d = torch.randn(4), torch.randn(4), torch.randn(8, 4), torch.randn(9, 8)
    for i in range(5):                  # Transformer-XL: two queries, one for contents and one for distances
        for j in range(5):
            q, k, r = q_map.T @ x[i], k_map.T @ x[j], r_map.T @ d[i - j + 4]
            terms = q @ k_map.T @ x[j] + q @ r_map.T @ d[i - j + 4] + u @ k_map.T @ x[j] + v @ r_map.T @ d[i - j + 4]
            torch.testing.assert_close((q + u) @ k + (q + v) @ r, terms)


@checks('eg-pos-t5', 'eq-pos-t5')
@float64
def t5_example():
    formula = [d if d < 16 else min(31, 16 + math.floor(16 * math.log(d / 16) / math.log(8) + 1e-12)) for d in range(1000)]
    assert formula == [t5_bucket(d) for d in range(1000)]
    return {'b40': t5_bucket(40), 'b100': t5_bucket(100), 'last': min(d for d in range(1000) if t5_bucket(d) == 31)}


@checks('eg-pos-alibi', 'eq-pos-alibi', 'eq-pos-alibi-window')
@float64
def alibi_example():
    steep, gentle = alibi_weights(2.0**-1), alibi_weights(2.0**-8)
    distance = torch.arange(20_000)
    window = int((gentle.cumsum(0) < 0.9).sum()) + 1
    return {'mean1': ((steep * distance).sum(), 'token'), 'mean8': ((gentle * distance).sum(), 'token'), 'w8': (window, 'token')}


@checks('ex-pos-bias')
@float64
def bias_exercise():
    slope = 0.5 ** (8 * 4 / 16)
    mean = (alibi_weights(slope) * torch.arange(20_000)).sum()
    wrong = [d for d in range(3000) if d >= 16 and 16 + math.floor(16 * math.log(d / 16) / math.log(128) + 1e-12) >= 31]
    assert wrong[0] == 1513                             # the common mistake named in the solution
    return {'a': t5_bucket(64), 'b': sum(t5_bucket(d) == 30 for d in range(1000)), 'c': slope, 'd': (mean, 'token')}


@checks('prop-pos-constant')
@float64
def constant_sequence():
    """Three random causal layers whose logits depend on content and position at will, on identical rows."""
    n, d = 12, 8
    x = torch.randn(d).expand(n, d)
    for _ in range(3):
        logits = x @ torch.randn(d, d) @ x.T + torch.randn(n, n) * 5
        weights = logits.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf).softmax(-1)
        x = x + weights @ x @ torch.randn(d, d)
        x = x + torch.nn.functional.silu(x @ torch.randn(d, 2 * d)) @ torch.randn(2 * d, d)
        x = torch.nn.functional.layer_norm(x, (d,))
    torch.testing.assert_close(x, x[:1].expand(n, d))
    sink = torch.cat([torch.zeros(n, n).masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf) + 0.7, torch.full((n, 1), 2.0)], 1)
    rows = sink.softmax(-1)[:, :-1].sum(1)              # a sink logit: rows no longer sum to one, and count
    index = torch.arange(1, n + 1)
    torch.testing.assert_close(rows, index * math.exp(0.7) / (index * math.exp(0.7) + math.exp(2.0)))
    assert torch.diff(rows).min() > 0
    positions = torch.randn(n, d)
    assert (x + positions).std(0).max() > 0.1           # what is added to the input is seen


@checks('eg-pos-complex', 'thm-pos-rigid', 'eq-pos-functional', 'eq-pos-rope', 'def-pos-rope')
@float64
def rigidity():
    """Powers of any orthogonal matrix are relative; other maps (a shear, a position-dependent scale) are not."""
    d = 6
    q, _ = torch.linalg.qr(torch.randn(d, d))

    def gram(maps, i, j):
        return maps(i).T @ maps(j)

    torch.testing.assert_close(gram(lambda i: torch.linalg.matrix_power(q, i), 9, 4), gram(lambda i: torch.linalg.matrix_power(q, i), 12, 7))
    shear = torch.eye(d)
    shear[0, 1] = 0.3
    for broken in (lambda i: torch.linalg.matrix_power(shear, i), lambda i: 1.01**i * torch.eye(d)):
        assert (gram(broken, 9, 4) - gram(broken, 12, 7)).abs().max() > 1e-2
    w = spectrum(1e4, d)
    x, y = torch.randn(2, d)
    logits = [float(rotate(x, i, w) @ rotate(y, i - 5, w)) for i in (5, 50, 500)]
    np.testing.assert_allclose(logits, logits[0])
    np.testing.assert_allclose(rotation(7, w) @ x.numpy(), rotate(x, 7, w).numpy())
    xc, yc = (torch.view_as_complex(v.reshape(-1, 2)) for v in (x, y))
    np.testing.assert_allclose(logits[0], (xc * yc.conj() * torch.exp(1j * torch.as_tensor(5 * w))).sum().real)


@checks('prop-pos-gram')
@float64
def any_relative_gram():
    """Vectors recovered from a kernel of i - j alone, in a basis of no meaning: one orthogonal map moves each to the next position."""
    rng = np.random.default_rng(3)
    w, phase, contents, steps = np.array([0.3, 1.1, 2.4]), rng.uniform(0, 6, (4, 3)), range(4), range(8)
    size = rng.uniform(0.5, 2, (4, 3))
    points = [(x, i) for x in contents for i in steps]
    gram = np.array([[(size[x] * size[y] * np.cos(phase[x] - phase[y] + (i - j) * w)).sum() for y, j in points] for x, i in points])
    values, vectors = np.linalg.eigh(gram)
    assert (values[:-6] < 1e-10).all()
    f = (vectors[:, -6:] * values[-6:] ** 0.5).reshape(4, 8, 6)
    before, after = f[:, :-1].reshape(-1, 6), f[:, 1:].reshape(-1, 6)
    r = np.linalg.lstsq(before, after, rcond=None)[0].T
    np.testing.assert_allclose(before @ r.T, after, atol=1e-8)
    np.testing.assert_allclose(r @ r.T, np.eye(6), atol=1e-8)
    np.testing.assert_allclose(np.sort(np.angle(np.linalg.eigvals(r)))[3:], w, atol=1e-8)
    np.testing.assert_allclose(f[2, 7], np.linalg.matrix_power(r, 7) @ f[2, 0], atol=1e-8)


@checks('thm-pos-canonical', 'eq-pos-absorb', 'prop-pos-generator')
@float64
def canonical_form():
    """The real Schur form of an orthogonal matrix is block diagonal, so its basis can go into the projections."""
    rng = np.random.default_rng(0)
    r = np.linalg.qr(rng.standard_normal((7, 7)))[0]
    blocks, basis = schur(r, output='real')
    assert np.abs(np.triu(blocks, 2)).max() < 1e-12 and np.abs(np.tril(blocks, -2)).max() < 1e-12
    q, k = rng.standard_normal((2, 7))
    power = np.linalg.matrix_power
    np.testing.assert_allclose((power(r, 5) @ q) @ (power(r, 2) @ k), (power(blocks, 5) @ basis.T @ q) @ (power(blocks, 2) @ basis.T @ k))
    a = rng.standard_normal((5, 5))
    skew = a - a.T
    np.testing.assert_allclose(expm(0.3 * skew) @ expm(0.4 * skew), expm(0.7 * skew), atol=1e-12)
    np.testing.assert_allclose(expm(skew) @ expm(skew).T, np.eye(5), atol=1e-12)
    assert np.abs(np.linalg.eigvals(skew)).min() < 1e-12         # odd dimension: one direction does not turn


@checks('prop-pos-layout', 'eq-pos-layout')
@float64
def layouts():
    d = 8
    w = spectrum(5e5, d)
    q, k = torch.randn(2, d)
    order = torch.cat([torch.arange(0, d, 2), torch.arange(1, d, 2)])
    interleaved = rotate(q, 11, w) @ rotate(k, 3, w)
    torch.testing.assert_close(rotate_half(q[order], 11, w) @ rotate_half(k[order], 3, w), interleaved)
    assert abs(rotate_half(q, 11, w) @ rotate_half(k, 3, w) - interleaved) > 1e-3       # forgetting the permutation
    torch.testing.assert_close(rotate_half(q, 0, w) @ rotate_half(k, 0, w), rotate(q, 0, w) @ rotate(k, 0, w))


@checks('prop-pos-bounded', 'eq-pos-power')
@float64
def matrix_power():
    """Averaging a bounded group's Gram matrices finds the basis in which it is orthogonal."""
    rng = np.random.default_rng(1)
    basis = rng.standard_normal((4, 4)) + 2 * np.eye(4)
    t = basis @ rotation(1, np.array([0.7, 0.11])) @ np.linalg.inv(basis)
    power = np.linalg.matrix_power
    mean = np.mean([power(t, n).T @ power(t, n) for n in range(-3000, 3001)], axis=0)
    values, vectors = np.linalg.eigh(mean)
    root = vectors @ np.diag(values**0.5) @ vectors.T
    r = root @ t @ np.linalg.inv(root)
    np.testing.assert_allclose(r @ r.T, np.eye(4), atol=5e-3)
    left, right = rng.standard_normal((2, 4, 4))                # F_i^T = T^i F_0^T and G_j = (F_0^T)^-1 T^-j F_0^T G_0
    base = left.T @ right

    def product(i, j):
        return (power(t, i) @ left.T) @ (np.linalg.inv(left.T) @ power(t, -j) @ base)

    np.testing.assert_allclose(product(9, 4), product(15, 10), rtol=1e-8)
    np.testing.assert_allclose(product(9, 4), power(t, 5) @ base, rtol=1e-8)


@checks('tab-pos-spectrum', 'eq-pos-freq', 'eq-pos-turns', 'eq-pos-complete')
@float64
def spectrum_table():
    """The wavelengths one by one; the configuration computed from is returned with them, so that both belong together on the page."""
    rows = {}
    for name, base, dim, length in (
        ('Llama 2', 1e4, 128, 4096), ('Llama 3', 5e5, 128, 8192), ('Qwen3', 1e6, 128, 32768), ('gpt-oss', 1.5e5, 64, 4096),
    ):
        wavelength = 2 * np.pi / spectrum(base, dim)
        done = int((wavelength <= length).sum())
        assert done == math.floor(dim / 2 * math.log(length / (2 * math.pi)) / math.log(base)) + 1
        rows[name] = {
            '底数': base, '头维数': dim, '训练长度': length, '最长波长': round(wavelength[-1]), '转满的通道': done,
            '占比（%）': 100 * done / (dim // 2), '最慢圈数': length / wavelength[-1],
        }
    return {quantity: {name: row[quantity] for name, row in rows.items()} for quantity in rows['Qwen3']}


@checks('eq-pos-abel', 'eq-pos-abel-bound')
@float64
def abel():
    m, distance = 64, 37
    w = spectrum(1e4, 2 * m)
    h = np.random.default_rng(0).standard_normal((m, 2)) @ (1, 1j)
    terms = np.exp(1j * distance * w)
    partial = np.cumsum(terms)
    steps = np.diff(np.r_[h, 0])
    np.testing.assert_allclose(h @ terms, -steps @ partial)
    assert abs(h @ terms) <= np.abs(steps).max() * np.abs(partial).sum()


@checks('prop-pos-log', 'eq-pos-log')
@float64
def logarithmic_decay():
    for base, half in ((1e4, 56), (5e5, 397)):
        w = spectrum(base, 128)

        def law(distance, base=base):
            return 1 - (math.log(distance) + np.euler_gamma) / math.log(base)

        for distance in (30, 100, 300, 1000, 3000):
            window = np.arange(int(0.8 * distance), int(1.25 * distance) + 1)
            kernel = np.cos(np.outer(window, w)).mean(1)
            gap = kernel - [law(d) for d in window]
            assert abs(gap.mean()) < 0.015 and abs(gap.mean() + 1 / 128) < 0.005       # the left end point: 1 / d_k too low
            if distance == 30:
                assert gap.std() < 0.02
            if distance == 3000:
                assert abs(gap.std() - 0.06) < 0.01
        integral = quad(lambda u, base=base: math.cos(100 * base**-u), 0, 1, limit=400)[0]
        assert abs(integral - law(100)) < 2e-3
        assert round(math.exp(-np.euler_gamma) * base**0.5) == half
        assert abs(law(half) - 0.5) < 2e-3


@checks('prop-pos-peak')
@float64
def peak():
    w = spectrum(5e5, 128)
    k = torch.randn(128)
    q = rotate(k, -1000, w)
    logits = torch.stack([q @ rotate(k, -distance, w) for distance in range(0, 8000, 1)])
    assert int(logits.argmax()) == 1000
    torch.testing.assert_close(logits[1000], k @ k)
    q, k = torch.randn(2, 100_000, 16)
    for distance in (0, 10, 10_000):
        logit = (q * rotate(k, -distance, spectrum(1e4, 16))).sum(-1)
        assert abs(logit.mean()) < 0.06 and abs(logit.var() / 16 - 1) < 0.03


@checks('fig-pos-decay')
@float64
def decay_figure():
    """The distances at which the sum of cosines first turns negative, stated in the text, and the peak of the right panel."""
    for base, first in ((1e4, 1707), (5e5, 18438)):
        w = spectrum(base, 128)
        np.testing.assert_allclose(pos_decay.frequencies(base), w)
        sums = np.concatenate([np.cos(np.outer(np.arange(s, s + 5000), w)).sum(1) for s in range(1, 20_001, 5000)])
        assert int(np.argmax(sums < 0)) + 1 == first
    figure = pos_decay.figure()
    line = figure.axes[1].lines[0]
    assert line.get_xdata()[np.argmax(line.get_ydata())] == 1000


@checks('eq-pos-pi', 'eq-pos-ntk', 'eq-pos-ntk-factor')
@float64
def ntk_aware():
    base, dim, factor = 1e4, 128, 4
    enlarged = base * factor ** (dim / (dim - 2))
    assert round(enlarged) == 40890 and enlarged > base
    old, new = spectrum(base, dim), spectrum(enlarged, dim)
    np.testing.assert_allclose([old[0] / new[0], old[-1] / new[-1]], [1, factor])
    np.testing.assert_allclose(old / new, np.geomspace(1, factor, dim // 2))
    x, y = torch.randn(2, dim)                    # interpolated positions are divided frequencies
    torch.testing.assert_close(rotate(x, 40 / factor, old) @ rotate(y, 8 / factor, old), rotate(x, 40, old / factor) @ rotate(y, 8, old / factor))


@checks('ex-pos-ntk')
@float64
def ntk_gap():
    base, dim, length, factor = 1e4, 128, 4096, 8
    old, new = spectrum(base, dim), spectrum(base * factor ** (dim / (dim - 2)), dim)
    ratio = factor * length * new / (length * old)
    gap = [c for c in range(dim // 2) if length * old[c] < 2 * np.pi and ratio[c] > 1 + 1e-9]
    low, high = 8.0, 64.0                         # bisection for the factor that brings the first one back
    for _ in range(60):
        middle = (low + high) / 2
        again = spectrum(base * middle ** (dim / (dim - 2)), dim)
        low, high = (middle, high) if factor * again[gap[0]] > old[gap[0]] else (low, middle)
    return {'c': len(gap), 'd': ratio[gap[0]], 'e': high}


def llama31(frequency):
    """Frequencies of Llama 3.1 in the branches of the reference implementation: by wavelength, not by the number of turns."""
    wavelength = 2 * math.pi / frequency
    if wavelength < 8192 / 4:
        return frequency
    if wavelength > 8192 / 1:
        return frequency / 8
    smooth = (8192 / wavelength - 1) / (4 - 1)
    return (1 - smooth) * frequency / 8 + smooth * frequency


@checks('eg-pos-llama', 'eq-pos-parts')
@float64
def llama_channels():
    w = spectrum(5e5, 128)
    ratio = np.array([x / llama31(x) for x in w])
    return {'keep': int((ratio == 1).sum()), 'blend': int(((ratio > 1) & (ratio < 8 - 1e-9)).sum()), 'full': int((ratio >= 8 - 1e-9).sum())}


@checks('tab-pos-llama')
@float64
def llama_table():
    w = spectrum(5e5, 128)
    rows = {}
    for c in range(28, 36):
        old, new = 2 * math.pi / w[c], 2 * math.pi / llama31(w[c])
        rows[str(c)] = {
            '原波长（token）': old, '圈数': 8192 / old, '保留比例': (old / new - 1 / 8) / (1 - 1 / 8),
            '新波长（token）': new, '放大倍数': new / old,
        }
    return rows


@checks('ex-pos-llama')
@float64
def llama_exercise():
    w = spectrum(5e5, 128)[33]
    old, new = 2 * math.pi / w, 2 * math.pi / llama31(w)
    gamma = (old / new - 1 / 8) / (1 - 1 / 8)
    return {'a': (old, 'token'), 'b': 8192 / old, 'c': gamma, 'd': (new, 'token'), 'e': (gamma * old + (1 - gamma) * 8 * old, 'token')}


@checks('eg-pos-ramp')
@float64
def two_ramps():
    base, dim, length, factor = 1.5e5, 64, 4096, 32
    w = spectrum(base, dim)
    turns = length * w / (2 * np.pi)
    keep = np.interp(turns[12], [1, 32], [0, 1])
    ends = np.interp(np.log([32, 1]), np.log(turns)[::-1], np.arange(dim / 2)[::-1])       # log turns are linear in the channel
    np.testing.assert_allclose(ends, [8.09, 17.40], atol=5e-3)
    assert abs(turns[12] - 7.47) < 5e-3
    coded = np.interp(12, ends, [1, 0])
    return {'paper': 1 / (keep + (1 - keep) / factor), 'code': 1 / (coded + (1 - coded) / factor)}


@checks('eq-pos-yarn', 'prop-pos-temperature')
@float64
def temperature():
    """Scaling cos and sin scales the logits by the square; the margin that a target needs when the keys multiply."""
    w = spectrum(1e4, 8)
    q, k = torch.randn(2, 8)
    scale = 0.1 * math.log(32) + 1
    logits = (scale * rotate(q, 9, w)) @ (scale * rotate(k, 2, w)) / (rotate(q, 9, w) @ rotate(k, 2, w))
    assert round(float(logits), 2) == 1.81 and round(scale, 2) == 1.35

    def weight(margin, others):
        return torch.softmax(torch.cat([torch.tensor([margin]), torch.zeros(others)]), 0)[0]

    torch.testing.assert_close(weight(5.0, 1000), weight(5.0 + math.log(8), 8000))
    margins = [math.log(s) / ((0.1 * math.log(s) + 1) ** 2 - 1) for s in (8, 32)]
    np.testing.assert_allclose(margins, [4.5, 4.3], atol=0.05)


@checks('fig-pos-scaling')
@float64
def scaling_figure():
    w = spectrum(5e5, 128)
    turns = 8192 * w / (2 * np.pi)
    np.testing.assert_allclose(pos_scaling.by_parts(turns, 1, 4), [x / llama31(x) for x in w])
    lines = {line.get_label(): line.get_ydata() for line in pos_scaling.figure().axes[0].lines}
    np.testing.assert_allclose(lines['NTK-aware'], w / spectrum(5e5 * 8 ** (128 / 126), 128))
    assert all(np.all(y[turns < 1] == 8) for name, y in lines.items() if name.startswith(('Llama', 'YaRN')))
    assert int(np.argmax(lines[next(n for n in lines if n.startswith('YaRN'))] > 1)) == 19


def attend(q, k, v):
    """Causal attention by PyTorch, with the logits unscaled."""
    return torch.nn.functional.scaled_dot_product_attention(q[None, None], k[None, None], v[None, None], is_causal=True, scale=1.0)[0, 0]


@checks('thm-pos-nope')
@float64
def nope():
    n, beta, back, slope = 40, 6.0, 3, 0.25
    marker = torch.zeros(n, 1)
    marker[0] = 1                                                         # BOS
    inverse = attend(torch.zeros(n, 1), torch.zeros(n, 1), marker)        # first layer
    torch.testing.assert_close(inverse[:, 0], 1 / torch.arange(1, n + 1))
    nodes = 1 / torch.arange(n, 0, -1)                                    # increasing: 1/n … 1
    features = torch.relu(inverse - nodes[:-1])                           # n - 1 hidden units, plus a bias

    def readout(values):
        slopes = torch.diff(values) / torch.diff(nodes)
        return values[0] + features @ torch.diff(torch.cat([torch.zeros(1), slopes]))

    index = torch.arange(n, 0, -1).double()
    i, square = readout(index), readout(index**2)
    torch.testing.assert_close(i, torch.arange(1, n + 1).double())
    torch.testing.assert_close(square, i**2)
    content_q, content_k, v = torch.randn(3, n, 4)
    ones = torch.ones(n, 1)
    biased = attend(torch.cat([content_q, ones], 1), torch.cat([content_k, slope * i[:, None]], 1), v)
    logits = content_q @ content_k.T - slope * (torch.arange(n)[:, None] - torch.arange(n))
    alibi = logits.masked_fill(torch.ones(n, n).triu(1).bool(), -torch.inf).softmax(-1) @ v
    torch.testing.assert_close(biased, alibi)
    weights = attend(torch.stack([2 * beta * (i - back), -beta * torch.ones(n)], 1), torch.stack([i, square], 1), torch.eye(n))
    on_target = weights[torch.arange(back, n), torch.arange(n - back)]
    assert on_target.min() >= 1 - 2 * math.exp(-beta) / (1 - math.exp(-beta))
    for dtype, first in ((torch.bfloat16, 190), (torch.float16, 1464)):   # where 1/i and 1/(i+1) become one number
        stored = (1 / torch.arange(1, 4000)).to(dtype)
        assert int((stored[1:] == stored[:-1]).nonzero()[0]) + 1 == first


@checks('eq-pos-llama4')
@float64
def llama4_temperature():
    position = torch.arange(0, 20_000)
    scale = torch.log(torch.floor((position + 1) / 8192) + 1) * 0.1 + 1
    assert (scale[:8191] == 1).all() and scale[8191] > 1


@checks('eq-pos-fox')
@float64
def fox():
    n = 12
    gate = torch.nn.functional.logsigmoid(torch.randn(n))
    path = torch.tensor([[gate[j + 1:i + 1].sum() for j in range(n)] for i in range(n)])
    total = gate.cumsum(0)
    torch.testing.assert_close((total[:, None] - total).tril(), path.tril())
    constant = torch.full((n,), -0.3).cumsum(0)
    index = torch.arange(n)
    torch.testing.assert_close(constant[:, None] - constant, -0.3 * (index[:, None] - index))


@checks('eq-pos-path')
@float64
def path():
    """Two reflections make a rotation by twice the angle between their normals."""
    normals = [torch.tensor([math.cos(a), math.sin(a)]) for a in (0.0, 0.2)]
    first, second = (torch.eye(2) - 2 * torch.outer(w, w) for w in normals)
    torch.testing.assert_close(second @ first, torch.as_tensor(rotation(1, np.array([0.4]))))
    w, beta = torch.nn.functional.normalize(torch.randn(6, 5), dim=1), 2 * torch.rand(6)
    steps = [torch.eye(5) - b * torch.outer(x, x) for b, x in zip(beta, w, strict=True)]
    q, key = torch.randn(2, 5)
    cached = key
    for step in steps[3:]:                              # j = 2, i = 5: each new token multiplies the cached key
        cached = step @ cached
    torch.testing.assert_close(cached @ q, key @ torch.linalg.multi_dot(steps[3:]) @ q)


@checks('eg-pos-mrope')
@float64
def mrope():
    wavelength = 2 * np.pi / spectrum(1e6, 128)
    time, height, width = np.split(wavelength, np.cumsum([16, 24]))
    np.testing.assert_allclose([height.min() / time.min(), width.min() / height.min()], [31.6, 178], rtol=2e-3)
    return {'time': (time.max(), 'token'), 'height': (height.min(), 'token'), 'width': (width.min(), 'token'), 'phase': (100 / width.min() * 2 * np.pi, 'rad')}


@checks('eg-pos-cache')
@float64
def changed_base():
    old = spectrum(1e4, 128)[20]
    new = spectrum(1e4 * 2 ** (128 / 126), 128)[20]
    np.testing.assert_allclose([old, new], [0.05623, 0.04513], atol=5e-6)
    i, j = 5000, 4096
    extra = ((i - j) * new) - (i * new - j * old)        # relative phase wanted minus the one obtained
    return {'error': (abs(extra), 'rad'), 'turns': abs(extra) / (2 * math.pi)}


@checks('eg-pos-bf16')
@float64
def distinct_positions():
    position = torch.arange(8192)
    stored = position.to(torch.bfloat16)
    worst = 0.0
    for w in spectrum(5e5, 128)[1:2]:
        single = np.float32(w)
        i = np.arange(2**20 - 4096, 2**20)
        worst = np.abs((i.astype(np.float32) * single).astype(np.float64) - i * np.float64(single)).max()
    assert torch.tensor(65519).to(torch.float16).isfinite() and torch.tensor(65520).to(torch.float16).isinf()
    assert bool((torch.arange(2049).half().double() == torch.arange(2049)).all()) and torch.tensor(2049).half().item() != 2049
    return {'distinct': len(stored.unique()), 'first': int((stored.double() != position).nonzero()[0]), 'fp32': (worst, 'rad')}


@checks('ex-pos-precision')
@float64
def precision_exercise():
    rounded = torch.tensor(100_000).to(torch.bfloat16).item()
    below = torch.tensor(2.0**17, dtype=torch.float32)
    spacing = below - torch.nextafter(below, torch.tensor(0.0, dtype=torch.float32))
    return {'a': len(torch.arange(131_072).to(torch.bfloat16).unique()), 'b': int(rounded), 'c': (100_000 - rounded, 'rad'), 'd': (spacing.item() / 2, 'rad')}


def two_tables():
    """The group law on two short tables of single precision; reducing a single-precision product modulo 2π does not help."""
    w = spectrum(5e5, 128)
    i = np.random.default_rng(0).integers(0, 2**20, 2000)
    exact = np.exp(1j * np.outer(i, w))
    long, short = (np.exp(1j * np.outer(np.arange(1024) * stride, w)).astype(np.complex64) for stride in (1024, 1))
    assert np.abs(long[i // 1024] * short[i % 1024] - exact).max() < 3e-7
    product = i[:, None].astype(np.float32) * w.astype(np.float32)
    for angle in (product, np.mod(product, np.float32(2 * np.pi))):
        assert np.abs(np.exp(1j * angle.astype(np.float64)) - exact).max() > 1e-2


@checks('fig-pos-precision')
@float64
def precision_figure():
    two_tables()
    values = torch.randn(10_000, dtype=torch.float32) * 100
    np.testing.assert_array_equal(pos_precision.bf16(values.numpy()), values.bfloat16().float().numpy())
    positions, tables, angles = (line for line in pos_precision.figure().axes[0].lines[:3])
    far = positions.get_xdata() > 2000
    assert positions.get_ydata()[far].min() > 0.15
    assert np.ptp(np.log10(tables.get_ydata())) < 0.5 and tables.get_ydata().max() < 0.01
    slope = np.polyfit(np.log(angles.get_xdata()[far]), np.log(angles.get_ydata()[far]), 1)[0]
    assert 0.8 < slope < 1.2
    where, ahead = angles.get_xdata(), angles.get_ydata() > tables.get_ydata()
    assert not ahead[where < 1e5].any() and ahead[where > 7e5].all() and ahead[(where > 1.5e5) & (where < 3e5)].any()
    assert angles.get_ydata()[-1] > 3 * tables.get_ydata()[-1]
    level = positions.get_ydata()
    assert abs(np.median(level[(where > 300) & (where < 3000)]) - 0.2) < 0.05 and abs(np.median(level[where > 5000]) - 0.7) < 0.1
    assert abs(np.median(tables.get_ydata()) - 0.002) < 5e-4


@checks('ex-pos-commute')
@float64
def commuting():
    """The solution space of “relative for all i, j” has dimension two and is spanned by I and J."""
    w = 0.8
    t = [np.array([math.sin(i * w), math.cos(i * w)]) for i in range(6)]
    equations = [np.kron(t[i + 1], t[j + 1]) - np.kron(t[i], t[j]) for i in range(5) for j in range(5)]
    _, sizes, space = np.linalg.svd(np.array(equations))
    assert sizes[1] > 1e-6 and sizes[2] < 1e-12
    identity, turn = np.eye(2), np.array([[0, 1], [-1, 0]])
    for b in (identity, turn):
        assert np.abs(np.array(equations) @ b.ravel()).max() < 1e-12
    a, e = 1.3, -0.4
    np.testing.assert_allclose(t[5] @ (a * identity + e * turn) @ t[2], a * math.cos(3 * w) + e * math.sin(3 * w))


@checks('ex-pos-critique')
@float64
def counterexample():
    k = torch.tensor([1.0, 0.0])
    w = np.ones(1)
    q = rotate(k, -3, w)
    logits = [float(q @ rotate(k, -distance, w)) for distance in range(4)]
    np.testing.assert_allclose(logits, [-0.990, -0.416, 0.540, 1], atol=5e-4)


@checks('ex-pos-jordan')
@float64
def jordan():
    t = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    q, k = torch.randn(2, 2)
    for distance in (0, 1, 9):
        torch.testing.assert_close(q @ torch.linalg.matrix_power(t, distance) @ k, q @ k + distance * q[0] * k[1])
    assert torch.tensor(0.99, dtype=torch.float32) ** 20_000 == 0 and torch.tensor(0.99, dtype=torch.float32) ** -20_000 == torch.inf
    return {'b': float(torch.log10(torch.tensor(0.99)) * 20_000)}


@checks('ex-pos-design')
@float64
def design():
    turns = 32768 * spectrum(1e6, 128) / (2 * np.pi)
    assert round(0.1 * math.log(8) + 1, 3) == 1.208 and round((0.1 * math.log(8) + 1) ** 2, 3) == 1.459
    return {'a': (int((turns >= 32).sum()), int(((turns < 32) & (turns >= 1)).sum()), int((turns < 1).sum()))}


@checks('tab-pos-torch')
@float64
def torch_traps():
    """What the table says of masks, complex views and buffers, as torch behaves."""
    attention = torch.nn.functional.scaled_dot_product_attention
    q, v = torch.zeros(1, 1, 2, 8, dtype=torch.bfloat16), torch.eye(2, 8, dtype=torch.bfloat16)[None, None]
    bias = torch.tensor([[257.0, 256.0]] * 2, dtype=torch.float32)
    kept, rounded = (float(attention(q, q, v, attn_mask=m)[0, 0, 0, 0]) for m in (bias, bias.bfloat16()))
    assert abs(kept - 1 / (1 + math.exp(-1))) < 4e-3 and rounded == 0.5
    q, b = torch.randn(1, 1, 5, 8), torch.randn(5, 5)
    lower = b.masked_fill(torch.ones(5, 5).triu(1).bool(), -torch.inf)
    torch.testing.assert_close(attention(q, q, q, attn_mask=b, is_causal=True), attention(q, q, q, attn_mask=lower))
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH), pytest.raises(RuntimeError):
        attention(q, q, q, attn_mask=b, is_causal=True)
    for broken in (
        lambda: torch.polar(torch.ones(2, dtype=torch.bfloat16), torch.ones(2, dtype=torch.bfloat16)),
        lambda: torch.view_as_complex(torch.ones(3, 2, dtype=torch.bfloat16)),
        lambda: torch.view_as_complex(torch.ones(2, 3).t()),
    ):
        with pytest.raises(RuntimeError):
            broken()
    assert torch.log(torch.sigmoid(torch.tensor(-120.0, dtype=torch.float32))) == -torch.inf
    assert torch.nn.functional.logsigmoid(torch.tensor(-120.0, dtype=torch.float32)) == -120
    module = torch.nn.Module()
    module.register_buffer('frequency', torch.rand(3))
    assert module.bfloat16().frequency.dtype == torch.bfloat16
