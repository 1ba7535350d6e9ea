"""Section 1.6: the four ledgers, and each law of the section, computed another way than in the text."""

from __future__ import annotations

import importlib
import math

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from checks import checks

F64 = torch.float64
LLAMA = {'layers': 32, 'width': 4096, 'heads': 32, 'kv_heads': 8, 'head': 128, 'hidden': 14336, 'vocabulary': 128256}


def linear(rows, columns, bias=False):
    return nn.Linear(rows, columns, bias=bias, device='meta')


def gain(width):
    return nn.RMSNorm(width, device='meta')


def count(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def attention(width, heads, kv_heads, head, bias=False, qk_norm=False):
    parts = [linear(width, heads * head, bias), linear(width, kv_heads * head, bias), linear(width, kv_heads * head, bias),
             linear(heads * head, width, bias)]
    return nn.ModuleList(parts + ([gain(head), gain(head)] if qk_norm else []))


def latent_attention(width, heads):
    return nn.ModuleList([linear(width, 1536), gain(1536), linear(1536, heads * 192), linear(width, 576), gain(512),
                          linear(512, heads * 256), linear(heads * 128, width)])


def gated(width, hidden, bias=False):
    return nn.ModuleList([linear(width, hidden, bias), linear(width, hidden, bias), linear(hidden, width, bias)])


def llama_style(layers, width, heads, kv_heads, head, hidden, vocabulary, tied=False, qk_norm=False):
    """(total, parameters of the matrices of one layer, parameters of the embeddings)."""
    core, feed = attention(width, heads, kv_heads, head, qk_norm=qk_norm), gated(width, hidden)
    embeddings = count(linear(width, vocabulary)) * (1 if tied else 2)
    matrices = sum(p.numel() for p in [*core.parameters(), *feed.parameters()] if p.dim() == 2)
    return layers * count(core, feed, gain(width), gain(width)) + count(gain(width)) + embeddings, matrices, embeddings


def gpt_style(layers, width, heads, positions, vocabulary):
    block = nn.TransformerEncoderLayer(width, heads, 4 * width, device='meta')
    matrices = sum(p.numel() for p in block.parameters() if p.dim() == 2)
    embeddings = vocabulary * width
    return layers * count(block) + count(nn.LayerNorm(width, device='meta')) + embeddings + positions * width, matrices, embeddings


@checks('tab-prac-rule', 'prop-prac-params', 'ex-prac-qwen')
def parameter_rules():
    """Modules on the meta device; GPT from PyTorch's own encoder layer, which has the same parameters."""
    models = {
        'GPT-2 XL': (48, 1600, gpt_style(48, 1600, 25, 1024, 50257)),
        'GPT-3 175B': (96, 12288, gpt_style(96, 12288, 96, 2048, 50257)),
        'Llama 3 8B': (32, 4096, llama_style(**LLAMA)),
        'Llama 3 70B': (80, 8192, llama_style(80, 8192, 64, 8, 128, 28672, 128256)),
        'Llama 3 405B': (126, 16384, llama_style(126, 16384, 128, 8, 128, 53248, 128256)),
        'Qwen3-0.6B': (28, 1024, llama_style(28, 1024, 16, 8, 128, 3072, 151936, tied=True, qk_norm=True)),
        'Qwen3-8B': (36, 4096, llama_style(36, 4096, 32, 8, 128, 12288, 151936, qk_norm=True)),
        'Qwen3-32B': (64, 5120, llama_style(64, 5120, 64, 8, 128, 25600, 151936, qk_norm=True)),
    }
    rows = {}
    for name, (layers, width, (total, matrices, embeddings)) in models.items():
        rows[name] = {
            '系数 $c$': matrices / width**2,
            '嵌入占比（%）': 100 * embeddings / total,
            '精确 $N$（十亿）': total / 1e9,
            '$12Ld^2$ 的误差（%）': 100 * (12 * layers * width**2 / total - 1),
            '修正式的误差（%）': 100 * ((layers * matrices + embeddings) / total - 1),
        }
    assert models['GPT-2 XL'][2][0] == 1557611200    # the published checkpoint
    total, _, embeddings = models['Qwen3-8B'][2]
    cache = torch.empty(36, 2, 8, 128, dtype=torch.bfloat16, device='meta').nbytes
    return {
        'tab-prac-rule': rows,
        'ex-prac-qwen': {'a': total, 'b': total - embeddings, 'c': (cache, 'byte'), 'd': (16 * total, 'byte')},
    }


class FusedNorm(torch.autograd.Function):
    """RMSNorm that keeps its input and the reciprocal root mean square, as fused kernels do."""

    @staticmethod
    def forward(ctx, x):
        scale = x.to(torch.promote_types(x.dtype, torch.float32)).square().mean(-1, keepdim=True).rsqrt()
        ctx.save_for_backward(x, scale)
        return (x * scale).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        x, scale = ctx.saved_tensors
        y = x * scale
        return ((gradient - y * (gradient * y).mean(-1, keepdim=True)) * scale).to(x.dtype)


class Block(nn.Module):
    def __init__(self, width, heads, kv_heads, head, hidden, dtype, norm=FusedNorm.apply):
        super().__init__()
        self.heads, self.kv_heads, self.head = heads, kv_heads, head
        self.norms = nn.ModuleList([nn.RMSNorm(width, eps=1e-5, dtype=dtype) for _ in range(2)]) if norm is None else [norm, norm]
        make = lambda a, b: nn.Linear(a, b, bias=False, dtype=dtype)    # noqa: E731
        self.q, self.k, self.v = make(width, heads * head), make(width, kv_heads * head), make(width, kv_heads * head)
        self.o, self.gate, self.up, self.down = make(heads * head, width), make(width, hidden), make(width, hidden), make(hidden, width)

    def forward(self, x, cos, sin):
        split = lambda y, h: y.unflatten(-1, (h, self.head)).transpose(-3, -2)    # noqa: E731
        turn = lambda y: y * cos + torch.cat([-y.chunk(2, -1)[1], y.chunk(2, -1)[0]], -1) * sin    # noqa: E731
        h = self.norms[0](x)
        q, k, v = turn(split(self.q(h), self.heads)), turn(split(self.k(h), self.kv_heads)), split(self.v(h), self.kv_heads)
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(o.transpose(-3, -2).flatten(-2))
        h = self.norms[1](x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


def saved_bytes(function, x, *others, modules=()):
    """Bytes of the distinct storages kept for backward, without parameters and constants."""
    kept = {}
    skip = {t.untyped_storage().data_ptr() for t in [*others, *(p for m in modules for p in m.parameters())]}

    def pack(t):
        storage = t.untyped_storage()
        if storage.data_ptr() not in skip:
            kept[storage.data_ptr()] = (storage.nbytes(), t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        output = function(x, *others)
    del output
    return sum(size for size, _ in kept.values())


def per_token(width, heads, kv_heads, head, hidden, dtype=torch.bfloat16, norm=FusedNorm.apply):
    """Measured bytes per token of one block on random input."""
    block = Block(width, heads, kv_heads, head, hidden, dtype, norm)
    batch, length = 2, 96
    x = torch.randn(batch, length, width, dtype=dtype, requires_grad=True)
    cos, sin = torch.randn(2, length, head, dtype=dtype).unbind()
    return saved_bytes(block, x, cos.clone(), sin.clone(), modules=[block]) / (batch * length)


def formula(width, heads, kv_heads, head, hidden):
    return 8 * width + 4 * heads * head + 4 * kv_heads * head + 8 * hidden + 4 * heads + 8


@checks('thm-prac-activation', 'eq-prac-activation')
def activations_measured():
    """The theorem to the byte on two shapes, and the surplus of a norm made of elementary operations."""
    for shape in ((256, 4, 2, 64, 640), (192, 6, 2, 48, 512)):
        assert per_token(*shape) == formula(*shape)
        assert per_token(*shape, norm=None) == formula(*shape) + 2 * 6 * shape[0]
    assert 2 * 6 * 4096 == 48 * 1024 and 0.28 < 2 * 6 * 4096 / formula(4096, 32, 8, 128, 14336) < 0.32
    # Llama 3 8B in the text
    each = formula(4096, 32, 8, 128, 14336)
    assert each == 168072 and each - 136 == 167936 and round(8 * 14336 / each, 2) == 0.68
    assert abs(167936 * 8192 / 2**30 - 1.28125) < 1e-9 and round(167936 * 8192 * 32 / 2**30, 1) == 41.0
    assert round((34 * 4096 + 5 * 32 * 8192) * 8192 / 2**30, 2) == 11.06
    assert abs(each * 8192 * 32 / 2**30 - 41.0) < 0.05


@checks('tab-prac-ledger')
def four_ledgers():
    """Parameters from modules, FLOPs from PyTorch's counter on the meta device, bytes from tensors of the right shape."""
    length, layers, width, heads, kv, head, hidden, vocabulary = 8192, *LLAMA.values()
    core, feed, output = attention(width, heads, kv, head), gated(width, hidden), linear(width, vocabulary)
    x, inner = torch.empty(1, width, device='meta'), torch.empty(1, hidden, device='meta')

    def flops(run):
        with FlopCounterMode(display=False) as counter:
            run()
        return counter.get_total_flops()

    q = torch.empty(heads, length, head, device='meta')
    attend = flops(lambda: torch.bmm(torch.bmm(q, q.transpose(1, 2)), q)) // length

    def size(*shape, dtype=torch.bfloat16):
        return torch.empty(shape, dtype=dtype, device='meta').nbytes

    norm = 2 * size(width) + size(1, dtype=torch.float32)
    params = {
        '输入嵌入 $E$': count(output), '层内 RMSNorm（64 处）': 2 * layers * count(gain(width)), '$W_Q$ 与 RoPE': layers * count(core[0]),
        '$W_K$、$W_V$': layers * count(core[1], core[2]), '注意力核心': 0, '$W_O$': layers * count(core[3]),
        '$W_{\\text{gate}}$、$W_{\\text{up}}$': layers * count(feed[0], feed[1]), '$W_{\\text{down}}$': layers * count(feed[2]),
        '末尾 RMSNorm': count(gain(width)), '输出投影 $W_U$': count(output),
    }
    work = [0, 0, layers * flops(lambda: core[0](x)), layers * flops(lambda: (core[1](x), core[2](x))), layers * attend,
            layers * flops(lambda: core[3](x)), layers * flops(lambda: (feed[0](x), feed[1](x))), layers * flops(lambda: feed[2](inner)),
            0, flops(lambda: output(x))]
    kept = [0, 2 * layers * norm, layers * size(heads, head), layers * size(2, kv, head),
            layers * (size(heads, head) + size(heads, dtype=torch.float32)), 0, layers * size(2, hidden), layers * size(2, hidden), norm, 0]
    cache = [0, 0, 0, layers * size(2, kv, head), 0, 0, 0, 0, 0, 0]
    rows = {name: [n, *rest] for (name, n), *rest in zip(params.items(), work, kept, cache, strict=True)}
    rows['合计'] = [sum(column) for column in zip(*rows.values(), strict=True)]
    assert rows['合计'][0] == llama_style(**LLAMA)[0] and abs(rows['合计'][0] / 8.03e9 - 1) < 0.01
    assert (rows['合计'][2] - norm) == layers * formula(width, heads, kv, head, hidden)
    heads_ = ('参数量', 'FLOPs', '激活（byte）', 'KV（byte）')
    return {name: dict(zip(heads_, row, strict=True)) for name, row in rows.items()}


@checks('prop-prac-six', 'eq-prac-compute')
def backward_is_twice_forward():
    """One layer of Llama 3 8B on the meta device: forward by hand from the ledger, forward and backward by the counter."""
    length = 512
    core, feed = attention(4096, 32, 8, 128), gated(4096, 14336)
    x = torch.empty(length, 4096, device='meta', requires_grad=True)

    def run():
        q, k, v = (core[i](x).view(length, -1, 128).transpose(0, 1) for i in range(3))
        k, v = k.repeat_interleave(4, 0), v.repeat_interleave(4, 0)
        y = x + core[3](torch.bmm(torch.bmm(q, k.transpose(1, 2)).softmax(-1), v).transpose(0, 1).reshape(length, 4096))
        return y + feed[2](F.silu(feed[0](y)) * feed[1](y))

    with FlopCounterMode(display=False) as forward:
        out = run()
    with FlopCounterMode(display=False) as backward:
        out.sum().backward()
    assert backward.get_total_flops() == 2 * forward.get_total_flops()
    assert 3 * forward.get_total_flops() == length * (6 * count(core, feed) + 12 * 4096 * length)


@checks('eg-prac-405b', 'ex-prac-mfu', 'def-prac-mfu')
def utilization():
    total = llama_style(126, 16384, 128, 8, 128, 53248, 128256)[0]
    q = torch.empty(128, 8192, 128, device='meta', requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        torch.bmm(torch.bmm(q, q.transpose(1, 2)), q).sum().backward()
    causal = 126 * counter.get_total_flops() / 8192 / 2
    q = torch.empty(128, 131072, 128, device='meta', requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        torch.bmm(torch.bmm(q, q.transpose(1, 2)), q).sum().backward()
    long = 126 * counter.get_total_flops() / 131072 / 2
    assert abs(long / (6 * total + long) - 2 / 5) < 0.001
    assert round(126 * 16384**2 / 8 / 1e8) == 42 and round(2 * 128256 * 16384 / 1e8) == 42
    peak = 989.4e12
    compute = 6 * total * 15.6e12
    big, matrices, embeddings = llama_style(80, 8192, 64, 8, 128, 28672, 128256)
    active, core = 80 * matrices + embeddings // 2, 12 * 80 * 8192 * 8192
    mfu = 870 * (6 * active + core / 2) / peak
    assert round(950 * (6 * active + core / 2) / peak, 3) == 0.431 and round(950 / 870 - 1, 2) == 0.09
    return {
        'eg-prac-405b': {'a': (compute, 'FLOP'), 'b': 430 / 989.4, 'c': 400 / 989.4, 'd': 380 / 989.4, 'e': causal / (6 * total),
                         'f': long / (6 * total), 'g': 3.8e25 / (30.84e6 * 3600) / peak},
        'ex-prac-mfu': {'a': mfu, 'b': 870 * (6 * big + core) / peak, 'c': mfu * 4 / 3, 'd': 15e12 / (870 * 2048) / 86400},
    }


@checks('eg-prac-swallow', 'prop-prac-swallow')
def swallowed_updates():
    """Thresholds found by bisection on real casts; stagnation of a bf16 counter."""
    found = {}
    for part, dtype in (('a', torch.bfloat16), ('b', torch.float32)):
        w = torch.tensor(0.02, dtype=F64).to(dtype).to(F64)
        low, high = 0.0, 0.01
        for _ in range(80):
            middle = (low + high) / 2
            low, high = (middle, high) if (w + middle).to(dtype).to(F64) == w else (low, middle)
        found[part] = low
    total = torch.tensor(0.0, dtype=torch.bfloat16)
    for _ in range(400):
        total = total + 1
    assert total == 256
    return found


@checks('tab-prac-activation', 'eq-prac-korthikanti')
def gpt_layer_measured():
    """A GPT layer with dropout, written out; the bytes kept by each group of operations, measured with the hooks."""
    width, heads, length, batch, dtype = 64, 4, 32, 2, torch.bfloat16
    unit = batch * length * width
    torch.manual_seed(1)
    weight = {name: nn.Parameter(torch.randn(*shape, dtype=dtype) / 8) for name, shape in
              {'q': (64, 64), 'k': (64, 64), 'v': (64, 64), 'o': (64, 64), 'a': (64, 256), 'b': (256, 64)}.items()}
    drop = lambda y: torch.native_dropout(y, 0.1, True)[0]    # noqa: E731

    class Norm(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return F.layer_norm(x, (width,))

        @staticmethod
        def backward(ctx, gradient):
            raise NotImplementedError

    place = [None]

    def at(name, value):
        """What follows belongs to the row `name`; returns the value, so that a stage can be named inside an expression."""
        place[0] = name
        return value

    def layer(x):
        h = Norm.apply(at('两次 LayerNorm', x))
        q, k, v = (at('$Q,K,V$ 投影', h) @ weight[n] for n in 'qkv')
        split = lambda y: y.unflatten(-1, (heads, -1)).transpose(1, 2).contiguous()    # noqa: E731
        q, k, v = split(q), split(k), split(v)
        s = at('$QK^\\top$', q) @ k.transpose(-1, -2)
        p = drop(at('softmax、其 dropout', s).softmax(-1))
        o = (at('加权求和', p) @ v).transpose(1, 2).flatten(-2)
        y = at('输出投影', o) @ weight['o']
        x = x + drop(at('注意力之后的 dropout', y))
        h = Norm.apply(at('两次 LayerNorm', x))
        inner = at('前馈第一个矩阵', h) @ weight['a']
        outer = F.gelu(at('GELU', inner))
        y = at('前馈第二个矩阵', outer) @ weight['b']
        return x + drop(at('前馈之后的 dropout', y))

    kept, rows = {}, {}
    parameters = {w.untyped_storage().data_ptr() for w in weight.values()}

    def pack(t):
        storage = t.untyped_storage()
        if storage.data_ptr() not in parameters and storage.data_ptr() not in kept:
            kept[storage.data_ptr()] = (storage.nbytes(), t)
            # the dropped-out weights are kept by the product with V; the table counts everything n × n under the softmax
            name = 'softmax、其 dropout' if t.numel() == batch * heads * length**2 else place[0]
            rows[name] = rows.get(name, 0) + storage.nbytes() / unit
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        layer(torch.randn(batch, length, width, dtype=dtype, requires_grad=True))
    measured = sum(size for size, _ in kept.values()) / unit
    assert measured == 34 + 5 * heads * length / width
    assert rows.pop('softmax、其 dropout') == 5 * heads * length / width
    assert sum(rows.values()) == 34
    return {name: {'字节数': value} for name, value in rows.items()}


class Recompute(torch.autograd.Function):
    """Keeps the tensors it is given and nothing else; everything inside `function` is computed again for backward."""

    @staticmethod
    def forward(ctx, function, *tensors):
        ctx.function = function
        ctx.save_for_backward(*tensors)
        return function(*tensors)

    @staticmethod
    def backward(ctx, *gradients):
        inputs = [t.detach().requires_grad_(needed) for t, needed in zip(ctx.saved_tensors, ctx.needs_input_grad[1:], strict=True)]
        with torch.enable_grad():
            outputs = ctx.function(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        wanted = [t for t in inputs if t.requires_grad]
        found = iter(torch.autograd.grad(outputs, wanted, gradients))
        return None, *(next(found) if t.requires_grad else None for t in inputs)


class NormFrom(torch.autograd.Function):
    """RMSNorm from its input and the reciprocal root mean square kept from the first pass."""

    @staticmethod
    def forward(ctx, x, scale):
        ctx.save_for_backward(x, scale)
        return (x * scale).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        x, scale = ctx.saved_tensors
        y = x * scale
        return ((gradient - y * (gradient * y).mean(-1, keepdim=True)) * scale).to(x.dtype), None


class Selective(Block):
    """Recomputes norms, SiLU and the product; with `deep` also the gate and the up projection."""

    deep = False

    def forward(self, x, cos, sin):
        split = lambda y, h: y.unflatten(-1, (h, self.head)).transpose(-3, -2)    # noqa: E731
        turn = lambda y: y * cos + torch.cat([-y.chunk(2, -1)[1], y.chunk(2, -1)[0]], -1) * sin    # noqa: E731
        wide = torch.promote_types(x.dtype, torch.float32)
        rms = lambda y: y.detach().to(wide).square().mean(-1, keepdim=True).rsqrt()    # noqa: E731
        several = lambda y, s, *ws: tuple(NormFrom.apply(y, s) @ w.T for w in ws)    # noqa: E731
        narrow = lambda g, u, w: (F.silu(g) * u) @ w.T    # noqa: E731
        q, k, v = Recompute.apply(several, x, rms(x), self.q.weight, self.k.weight, self.v.weight)
        q, k, v = turn(split(q, self.heads)), turn(split(k, self.kv_heads)), split(v, self.kv_heads)
        o = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
        x = x + self.o(o.transpose(-3, -2).flatten(-2))
        pair = self.gate.weight, self.up.weight
        if self.deep:
            return x + Recompute.apply(lambda y, s, a, b, w: narrow(*several(y, s, a, b), w), x, rms(x), *pair, self.down.weight)
        return x + Recompute.apply(narrow, *Recompute.apply(several, x, rms(x), *pair), self.down.weight)


class Deep(Selective):
    deep = True


class Whole(Block):
    """Keeps its input only (enough for the gradient of x, which is all that is compared)."""

    def forward(self, x, cos, sin):
        return Recompute.apply(lambda y: Block.forward(self, y, cos, sin), x)


@checks('tab-prac-recompute')
def recomputation_measured():
    """Each strategy as a block: the gradient is that of the plain block, the bytes kept are the table's formula."""
    width, heads, kv_heads, head, hidden = shape = (192, 6, 2, 48, 512)
    stem = 4 * width + 4 * heads * head + 4 * kv_heads * head + 4 * heads + 8
    for kind, expected in ((Selective, stem + 4 * hidden), (Deep, stem), (Whole, 2 * width)):
        torch.manual_seed(5)
        plain, block = Block(*shape, F64), kind(*shape, F64)
        block.load_state_dict(plain.state_dict())
        x, cos, sin = torch.randn(2, 16, width, dtype=F64, requires_grad=True), *torch.randn(2, 16, head, dtype=F64).unbind()
        torch.testing.assert_close(
            torch.autograd.grad(block(x, cos, sin).square().sum(), x), torch.autograd.grad(plain(x, cos, sin).square().sum(), x))
        block = kind(*shape, torch.bfloat16)
        x = torch.randn(2, 96, width, dtype=torch.bfloat16, requires_grad=True)
        cos, sin = (t.clone() for t in torch.randn(2, 96, head, dtype=torch.bfloat16))
        assert saved_bytes(block, x, cos, sin, modules=[block]) / (2 * 96) == expected


@checks('tab-prac-recompute', 'ex-prac-checkpoint')
def recomputation():
    """Bytes for Llama 3 8B from tensor sizes (the formulas are measured above), extra work from the FLOP counter."""
    size = lambda *shape, dtype=torch.bfloat16: torch.empty(shape, dtype=dtype, device='meta').nbytes    # noqa: E731
    attend = size(2, 32, 128) + size(2, 8, 128) + size(32, dtype=torch.float32) + size(2, dtype=torch.float32)
    inputs = 2 * size(4096)
    core, feed = attention(4096, 32, 8, 128), gated(4096, 14336)
    x, inner = torch.empty(1, 4096, device='meta'), torch.empty(1, 14336, device='meta')
    with FlopCounterMode(display=False) as part:
        feed[0](x), feed[1](x)
    with FlopCounterMode(display=False) as whole:
        [m(x) for m in core], feed[0](x), feed[1](x), feed[2](inner)
    forward = whole.get_total_flops() + sum(4 * 4096 * i for i in range(1, 8193)) / 8192
    selective = inputs + attend + size(2, 14336)
    full = 2 * inputs + attend + size(4, 14336)
    assert round(1 - selective / full, 2) == 0.44
    peak = lambda k: 32 / k * size(4096) + k * full    # noqa: E731
    best = min((k / 1000 for k in range(1, 32000)), key=peak)
    assert abs(best - 1.249) < 0.001 and peak(1) == 430216 and peak(2) == 467216 and round(peak(6)) in (1052123, 1052124, 1052122)
    assert round(peak(1) * 8192 / 2**30, 2) == 3.28
    script = importlib.import_module('figures.chapter1.prac_memory')
    assert [sum(parts.values()) for _, parts in script.STRATEGIES[1:]] == [full, selective, inputs + attend, size(4096)]
    name, column = '每 token 每层（byte）', '额外前向'
    return {'tab-prac-recompute': {
        '全部保存': {name: full, column: 0},
        '选择性：重算归一化、$\\SiLU$ 与乘积': {name: selective, column: 0},
        '选择性加重算门与上投影': {name: inputs + attend, column: part.get_total_flops() / forward},
        '完全重计算': {name: size(4096), column: 1},
    }}


@checks('prop-prac-chunk', 'eq-prac-chunk')
def chunked_cross_entropy():
    """Gradients made chunk by chunk in the forward pass against autograd through the official loss; and what a bf16 accumulator does."""
    n, d, vocabulary, chunk = 48, 16, 97, 8
    x, head = torch.randn(n, d, dtype=F64, requires_grad=True), torch.randn(vocabulary, d, dtype=F64, requires_grad=True)
    y = torch.randint(vocabulary, (n,))
    loss = F.cross_entropy(x @ head.T, y)
    loss.backward()
    dx, dw = torch.zeros_like(x), torch.zeros_like(head)
    with torch.no_grad():
        for rows in torch.arange(n).split(chunk):
            delta = (torch.softmax(x[rows] @ head.T, -1) - F.one_hot(y[rows], vocabulary)) / n
            dx[rows] = delta @ head
            dw += delta.T @ x[rows]
    torch.testing.assert_close(dx, x.grad)
    torch.testing.assert_close(dw, head.grad)
    torch.testing.assert_close(F.linear_cross_entropy(x, head, y), loss)     # the weight is |V| × d
    assert F.cross_entropy(torch.randn(3, 5), torch.full((3,), -100)).isnan()
    assert round(8192 * 128256 * 4 / 2**30, 2) == 3.91 and round(128256 / 4096) == 31
    assert round(100 * 128256 * 4096 / llama_style(**LLAMA)[0], 1) == 6.5


@checks('prop-prac-init', 'eq-prac-init', 'fig-prac-init', 'prop-prac-tied', 'ex-prac-tied')
def initial_loss():
    """Heads of random weights on RMS-normalized inputs, losses by the official operator, against the law and its bounds."""
    width, vocabulary, sigma = 256, 4096, 0.05
    x = F.rms_norm(torch.randn(4, width, dtype=F64), (width,))
    losses = []
    for _ in range(60):
        head = sigma * torch.randn(width, vocabulary, dtype=F64)
        losses.append(F.cross_entropy(x @ head, torch.randint(vocabulary, (4,))))
    losses = torch.stack(losses)
    s = sigma * width**0.5
    v = math.expm1(s**2) / vocabulary
    gap = losses.mean() - math.log(vocabulary) - s**2 / 2
    noise = 4 * losses.std() / len(losses) ** 0.5
    assert -(3 + 2 * s**2) * v - 2 * s * math.sqrt(v / vocabulary) - noise < gap < noise
    # the lse alone, where the noise of z_y does not hide the correction
    z = torch.randn(4000, 512, dtype=F64)
    gap = torch.logsumexp(z, -1).mean() - math.log(512) - 0.5
    v = math.expm1(1) / 512
    assert -(3 + 2) * v - 2 * math.sqrt(v / 512) < gap < 0 and abs(gap + v / 2) < 0.004
    s = 0.02 * 64
    v = math.expm1(s**2) / 128256
    assert (3 + 2 * s**2) * v + 2 * s * math.sqrt(v / 128256) < 3e-4
    assert round(math.log(128256), 3) == 11.762 and round(math.log(128256) + s**2 / 2, 3) == 12.581 and round(0.0004 * 16384 / 2, 2) == 3.28
    script = importlib.import_module('figures.chapter1.prac_init')
    spread, loss, error = script.simulated()
    law = math.log(script.VOCABULARY) + spread**2 / 2
    assert (abs(loss - law)[spread < 3] < 5 * error[spread < 3] + 0.01).all() and (loss < law)[spread > 4.6].all()

    def tied(width, vocabulary, mix):
        """Loss of copying models: rms-normed mix of own embedding and noise, tied head, random targets."""
        table = 0.02 * torch.randn(vocabulary, width, dtype=torch.float32)
        t, y = torch.randint(vocabulary, (2, 64))
        noise = 0.02 * torch.randn(64, width) * math.sqrt(1 / mix**2 - 1)
        x = F.rms_norm(table[t] + noise, (width,))
        return F.cross_entropy(x @ table.T, y, reduction='none').mean()

    expected = math.log(math.exp(15.36) + 50257 * math.exp(0.1536))
    assert abs(tied(768, 50257, 1.0) - expected) < 0.35
    base = math.log(50257) + 0.0004 * 768 / 2
    assert abs(tied(768, 50257, 0.5) - math.log(math.exp(0.5 * 15.36) + math.exp(base))) < 0.35
    rho = 1.0
    for _ in range(60):    # fixed point: own term equal to the rest
        rho = base / (0.0004 * 0 + 0.02 * 768)
    big = torch.logsumexp(torch.tensor([0.02 * 4096, math.log(50257) + 0.0004 * 4096 / 2], dtype=F64), 0)
    return {'ex-prac-tied': {'a': base, 'b': expected, 'c': rho, 'd': big}}


@checks('prop-prac-sign', 'fig-prac-coord')
def coordinate_check():
    """The first Adam step of torch.optim moves a unit by η‖x‖₁; the figure's slopes; one width redone with autograd and torch.optim."""
    layer = nn.Linear(50, 7, bias=False, dtype=F64)
    x, delta = torch.randn(50, dtype=F64), torch.randn(7, dtype=F64)
    before = layer(x).detach()
    adam = torch.optim.Adam(layer.parameters(), lr=1e-3, eps=1e-30)
    (layer(x) @ delta).backward()
    adam.step()
    torch.testing.assert_close(layer(x).detach() - before, -1e-3 * delta.sign() * x.abs().sum())

    script = importlib.import_module('figures.chapter1.prac_coord')
    for transfer in (False, True):
        width, seed = 128, 1
        ratio = script.BASE / width if transfer else 1.0
        rng = __import__('numpy').random.default_rng(seed)
        inputs = torch.tensor(rng.standard_normal((script.TOKENS, 32)))
        labels = torch.tensor(rng.integers(script.CLASSES, size=script.TOKENS))
        shapes = ((32, width), (width, width), (width, script.CLASSES))
        w = [nn.Parameter(torch.tensor(rng.standard_normal(shape) / shape[0] ** 0.5)) for shape in shapes]

        def forward(w=w, inputs=inputs, ratio=ratio):
            hidden = torch.tanh(inputs @ w[0]) @ w[1]
            return hidden, ratio**0.5 * torch.tanh(hidden) @ w[2]

        groups = [{'params': [p], 'lr': script.RATE * r} for p, r in zip(w, (1, ratio, ratio**0.5), strict=True)]
        adam = torch.optim.Adam(groups, eps=1e-12)
        start = [t.detach() for t in forward()]
        for _ in range(script.STEPS):
            adam.zero_grad()
            F.cross_entropy(forward()[1], labels).backward()
            adam.step()
        moved = [(a.detach() - b).square().mean().sqrt().item() for a, b in zip(forward(), start, strict=True)]
        assert all(abs(a / b - 1) < 1e-6 for a, b in zip(moved, script.moves(width, transfer, seed), strict=True))
    slope = lambda pair: [math.log(b / a) / math.log(4) for a, b in zip(*pair, strict=True)]    # noqa: E731
    grow = slope([script.moves(width, False, 0) for width in (64, 256)])
    flat = slope([script.moves(width, True, 0) for width in (64, 256)])
    assert min(grow) > 0.4 and max(map(abs, flat)) < 0.12
    # the slopes the caption states: least squares over all widths
    xs = torch.tensor(script.WIDTHS, dtype=F64).log()
    xs = xs - xs.mean()
    fit = {t: [float(xs @ torch.tensor(y, dtype=F64).log() / (xs @ xs)) for y in script.data()[t]] for t in (False, True)}
    assert [round(v, 2) for v in fit[False]] == [0.71, 0.59] and max(map(abs, fit[True])) <= 0.05


@checks('prop-prac-packing', 'eq-prac-packing')
def packing():
    """Two blocks with RoPE: packed with the document mask equals one document at a time, with or without reset; without mask it does not."""
    torch.manual_seed(3)
    width, heads, head, lengths = 32, 4, 8, (5, 9, 3)
    n = sum(lengths)
    w = [[torch.randn(width, width, dtype=F64) / 6 for _ in range(6)] for _ in range(2)]
    frequency = 10.0 ** -torch.arange(head // 2, dtype=F64)

    def run(x, position, mask):
        angle = position[:, None] * frequency
        cos, sin = torch.cat([angle.cos()] * 2, -1), torch.cat([angle.sin()] * 2, -1)
        turn = lambda y: y * cos + torch.cat([-y.chunk(2, -1)[1], y.chunk(2, -1)[0]], -1) * sin    # noqa: E731
        for q, k, v, o, a, b in w:
            h = F.rms_norm(x, (width,))
            split = lambda y: y.view(-1, heads, head).transpose(0, 1)    # noqa: E731
            out = F.scaled_dot_product_attention(turn(split(h @ q)), turn(split(h @ k)), split(h @ v), attn_mask=mask)
            x = x + out.transpose(0, 1).flatten(1) @ o
            x = x + F.silu(F.rms_norm(x, (width,)) @ a) @ b
        return x

    x = torch.randn(n, width, dtype=F64)
    document = torch.repeat_interleave(torch.arange(3), torch.tensor(lengths))
    causal = torch.ones(n, n).tril().bool()
    mask = causal & (document[:, None] == document)
    reset = torch.cat([torch.arange(m, dtype=F64) for m in lengths])
    alone = torch.cat([run(part, torch.arange(len(part), dtype=F64), torch.ones(len(part), len(part)).tril().bool()) for part in x.split(lengths)])
    torch.testing.assert_close(run(x, torch.arange(n, dtype=F64), mask), alone)
    torch.testing.assert_close(run(x, reset, mask), alone)
    assert (run(x, reset, causal) - alone).abs().max() > 0.1
    assert mask.sum() == sum(m * (m + 1) for m in lengths) / 2
    documents = (4096, 1024, 1024, 512, 512, 512, 512)
    assert sum(documents) == 8192 and round(sum(m * (m + 1) for m in documents) / (8192 * 8193), 3) == 0.297


def waves(rows, columns, tall, wide, units):
    """Simulate: tiles handed out one wave at a time; useful area over the area of all processor slots."""
    tiles = [(r, c) for r in range(0, rows, tall) for c in range(0, columns, wide)]
    slots = 0
    while slots < len(tiles):
        slots += units
    return rows * columns / (slots * tall * wide)


@checks('eg-prac-wave', 'ex-prac-wave', 'eq-prac-wave')
def wave_quantization():
    assert 128256 == 1002 * 128 and 50304 % 128 == 0 and round(100 * (50304 / 50257 - 1), 2) == 0.09
    best = max(range(128, 4097, 128), key=lambda m: (round(waves(m, 28672, 128, 256, 132), 9), m))
    assert round(waves(2560, 28672, 128, 256, 148), 3) == 0.946
    return {
        'eg-prac-wave': {part: waves(m, 4096, 128, 128, 132) for part, m in (('a', 1024), ('b', 1100), ('c', 8192))},
        'ex-prac-wave': {part: waves(m, 28672, 128, 256, 132) for part, m in (('a', 2048), ('b', 2112), ('c', 1152))} | {'d': best},
    }


@checks('prop-prac-tv', 'eq-prac-tv', 'tab-prac-tests')
def stepwise_equals_full():
    """Causality by gradient, exactly; cached decoding against the full pass within the bound from the measured logit error."""
    n, d = 40, 16
    q, k, v = torch.randn(3, n, d, dtype=F64).unbind()
    x = torch.randn(n, d, dtype=F64, requires_grad=True)
    w = [torch.randn(d, d, dtype=F64) for _ in range(3)]
    out = F.scaled_dot_product_attention(*(x @ m for m in w), is_causal=True)
    t = 17
    (gradient,) = torch.autograd.grad((out[:t] * torch.randn(t, d, dtype=F64)).sum(), x)
    assert (gradient[t:] == 0).all() and (gradient[:t] != 0).any()

    full = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    for dtype in (torch.float32, torch.bfloat16):
        ql, kl, vl = q.to(dtype), k.to(dtype), v.to(dtype)
        for i in range(1, n + 1):
            s_exact = q[i - 1] @ k[:i].T / d**0.5
            s = (kl[:i] @ ql[i - 1] / d**0.5).to(F64)
            step = torch.softmax(s, -1) @ v[:i]
            bound = math.tanh((s - s_exact).abs().max() / 2) * torch.cdist(v[:i], v[:i]).max()
            assert (step - full[i - 1]).norm() <= bound + 1e-12
        assert vl.dtype == dtype
    # fp32 stepwise with a cache against the fp32 pass over the whole sequence: equal up to a few units of 2⁻²⁴
    q32, k32, v32 = q.float(), k.float(), v.float()
    whole = F.scaled_dot_product_attention(q32[None], k32[None], v32[None], is_causal=True)[0]
    steps = torch.cat([F.scaled_dot_product_attention(q32[None, i:i + 1], k32[None, :i + 1], v32[None, :i + 1])[0] for i in range(n)])
    assert (whole - steps).abs().max() < 40 * 2**-24 * v.abs().max()


@checks('thm-prac-gamma', 'eq-prac-gamma', 'ex-prac-sqrt', 'fig-prac-rounding')
def rounding_growth():
    """The worst-case bound on float32 sums, and the constants of the √n law against simulation away from powers of two."""
    script = importlib.import_module('figures.chapter1.prac_rounding')
    unit, lengths = script.UNIT, script.LENGTHS
    sequential, pairwise = script.errors()
    assert (sequential < lengths - 1).all() and (pairwise < 1).all()
    constant = sequential[3:] / lengths[3:] ** 0.5
    assert (abs(constant - 0.218) < 0.06).all()
    n = 4096
    for m, expected in ((1.0, math.sqrt(1 / 21)), (9 / 7, math.sqrt(0.2016 / 3))):
        terms = round(n * m)
        x = torch.rand(400, terms, dtype=torch.float32)
        total = torch.zeros(400)
        for column in x.T:
            total = total + column
        exact = x.to(F64).sum(1)
        error = ((total.to(F64) - exact) / exact).square().mean().sqrt() / unit / terms**0.5
        assert abs(error / expected - 1) < 0.12
    x, y = torch.randn(2, 1000, dtype=torch.float32)
    total = torch.tensor(0.0)
    for a, b in zip(x, y, strict=True):
        total = total + a * b
    x, y = x.to(F64), y.to(F64)
    assert (total.to(F64) - x @ y).abs() <= 1000 * unit / (1 - 1000 * unit) * (x * y).abs().sum()


@checks('ex-prac-leak')
def expert_choice_leaks():
    """The counterexample: the gradient towards the future is exactly zero on both sides of the switch, the output differs."""
    def forward(scores):
        chosen = torch.zeros(2, dtype=F64)
        chosen[scores.topk(1).indices] = 1
        return scores + chosen * scores**2

    out = []
    for second in (0.4, 0.6):
        scores = torch.tensor([0.5, second], dtype=F64, requires_grad=True)
        y = forward(scores)
        (gradient,) = torch.autograd.grad(y[0], scores)
        assert gradient[1] == 0
        out.append(y[0].item())
    assert out[0] != out[1]


@checks('tab-prac-totals')
def configurations():
    """Totals of six public configurations from modules; active parameters: chosen experts, all else but the input embedding."""
    def sparse(layers, width, core, dense_layers, dense, experts, chosen, shared, hidden, vocabulary, router_bias=False, bias=False):
        expert, router = count(gated(width, hidden, bias)), count(linear(width, experts, router_bias))
        fixed = layers * (core + 2 * width) + width + dense_layers * count(gated(width, dense)) + vocabulary * width
        mixed = layers - dense_layers
        every = fixed + mixed * ((experts + shared) * expert + router) + vocabulary * width
        return every / 1e9, (fixed + mixed * ((chosen + shared) * expert + router)) / 1e9

    rows = {}
    for name, config in (('Llama 3 405B', (126, 16384, 128, 8, 128, 53248, 128256)), ('Qwen3-32B', (64, 5120, 64, 8, 128, 25600, 151936))):
        total, _, embeddings = llama_style(*config, qk_norm=name.startswith('Qwen'))
        rows[name] = total / 1e9, (total - embeddings // 2) / 1e9
    core = count(attention(4096, 64, 4, 128, qk_norm=True))
    rows['Qwen3-235B-A22B'] = sparse(94, 4096, core, 0, 1, 128, 8, 0, 1536, 151936)
    rows['DeepSeek-V3'] = sparse(61, 7168, count(latent_attention(7168, 128)), 3, 18432, 256, 8, 1, 2048, 129280, router_bias=True)
    rows['Kimi K2'] = sparse(61, 7168, count(latent_attention(7168, 64)), 1, 18432, 384, 8, 1, 2048, 163840, router_bias=True)
    core = count(attention(2880, 64, 8, 64, bias=True)) + 64
    rows['gpt-oss-120b'] = sparse(36, 2880, core, 0, 1, 128, 4, 0, 2880, 201088, router_bias=True, bias=True)
    published = {'Llama 3 405B': 405, 'Qwen3-32B': 32.8, 'Qwen3-235B-A22B': 235, 'DeepSeek-V3': 671, 'gpt-oss-120b': 116.8}
    assert all(abs(rows[name][0] / value - 1) < 0.003 for name, value in published.items())
    assert round(100 * (1 - rows['Kimi K2'][0] / 1040), 1) == 1.3
    return {name: {'算得总数': total, '算得激活': active} for name, (total, active) in rows.items()}


@checks('tab-prac-torch')
def documented_behaviour():
    torch.manual_seed(0)
    w = nn.init.trunc_normal_(torch.empty(200_000), std=0.02)
    assert w.abs().max() > 4 * 0.02                 # the bounds are not multiples of std
    model = nn.Linear(4, 4).to(torch.bfloat16)
    adam = torch.optim.AdamW(model.parameters())
    model(torch.randn(2, 4, dtype=torch.bfloat16)).sum().backward()
    adam.step()
    assert adam.state[model.weight]['exp_avg'].dtype == torch.bfloat16
    q = torch.randn(1, 2, 64, 16)
    with FlopCounterMode(display=False) as counter:
        F.scaled_dot_product_attention(q, q, q, is_causal=True)
    assert counter.get_total_flops() == 0           # the fused kernel of the CPU is not in the counter's table
    assert sdpa_flop_count(q.shape, q.shape, q.shape) == 4 * 2 * 64 * 64 * 16
