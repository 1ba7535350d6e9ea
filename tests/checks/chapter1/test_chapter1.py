"""综合练习 of chapter 1: byte and FLOP crossovers of Llama 3 8B, and the gauge freedom of a Llama-style decoder."""

from __future__ import annotations

import math

import torch
from checks import checks
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

LLAMA = {'layers': 32, 'width': 4096, 'heads': 32, 'kv_heads': 8, 'head': 128, 'hidden': 14336, 'vocabulary': 128256}


def decoder(layers, width, heads, kv_heads, head, hidden, vocabulary):
    """The weights of a decoder as modules on the meta device: (per-layer list, final norm, output projection)."""
    with torch.device('meta'):
        blocks = [
            nn.ModuleDict({
                'q': nn.Linear(width, heads * head, bias=False), 'k': nn.Linear(width, kv_heads * head, bias=False),
                'v': nn.Linear(width, kv_heads * head, bias=False), 'o': nn.Linear(heads * head, width, bias=False),
                'gate': nn.Linear(width, hidden, bias=False), 'up': nn.Linear(width, hidden, bias=False),
                'down': nn.Linear(hidden, width, bias=False), 'norm1': nn.RMSNorm(width), 'norm2': nn.RMSNorm(width),
            })
            for _ in range(layers)
        ]
        return blocks, nn.RMSNorm(width), nn.Linear(width, vocabulary, bias=False)


def parameters(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def step_bytes(kv_heads: int, context: int, batch: int) -> int:
    """Bytes read in one decoding step, bf16: all weights but the input embedding once, the cache of each sequence."""
    config = LLAMA | {'kv_heads': kv_heads}
    blocks, norm, output = decoder(**config)
    cache = torch.empty(batch, config['layers'], 2, kv_heads, context, config['head'], dtype=torch.bfloat16, device='meta')
    return 2 * parameters(*blocks, norm, output) + cache.nbytes


@checks('ex-chap1-crossover')
def crossovers():
    """FLOPs counted by PyTorch's own counter; bytes from the sizes of real tensors."""
    block = decoder(**LLAMA | {'layers': 1})[0][0]
    x, inner = torch.empty(1, 4096, device='meta'), torch.empty(1, 14336, device='meta')
    with FlopCounterMode(display=False) as linear:
        for name in ('q', 'k', 'v', 'o', 'gate', 'up'):
            block[name](x)
        block['down'](inner)

    def core(context: int) -> int:
        query = torch.empty(32, 1, 128, device='meta')
        cache = torch.empty(32, context, 128, device='meta')
        with FlopCounterMode(display=False) as counter:
            torch.bmm(torch.bmm(query, cache.transpose(1, 2)), cache)
        return counter.get_total_flops()

    per_token = core(1001) - core(1000)
    weights, token = step_bytes(8, 0, 1), step_bytes(8, 1, 1) - step_bytes(8, 0, 1)
    flops = linear.get_total_flops() / per_token
    assert weights / (5 * token) < flops < weights / (4 * token), 'the two crossovers change order between batch 4 and 5'
    return {
        'a': (flops, 'token'),
        'b': (weights / token, 'token'),
        'c': (weights / (step_bytes(8, 1, 16) - weights), 'token'),
    }


@checks('ex-chap1-mqa-claim')
def fewer_key_value_heads():
    assert step_bytes(8, 8192, 64) > 80e9 > 3 * step_bytes(1, 8192, 64), 'only the second fits a card of 80 GB, with room to spare'
    return {part: step_bytes(8, 8192, batch) / step_bytes(1, 8192, batch) for part, batch in (('a', 1), ('b', 64))}


def gauge_freedom(layers, width, heads, kv_heads, head, hidden, vocabulary) -> int:
    return layers * (kv_heads * (head + head**2) + hidden + 2 * width) + width + width * (width - 1) // 2 + 1


def null_directions(layers, width, heads, kv_heads, head, hidden, vocabulary, *, epsilon=0.0) -> tuple[int, int]:
    """Parameters minus the rank of the Jacobian over many inputs, at a random point, by autograd: of logits, of log-probabilities."""
    shapes = {'E': (vocabulary, width)}
    for layer in range(layers):
        shapes |= {
            f'norm1.{layer}': (width,), f'q.{layer}': (width, heads * head), f'k.{layer}': (width, kv_heads * head),
            f'v.{layer}': (width, kv_heads * head), f'o.{layer}': (heads * head, width), f'norm2.{layer}': (width,),
            f'gate.{layer}': (width, hidden), f'up.{layer}': (width, hidden), f'down.{layer}': (hidden, width),
        }
    shapes |= {'norm': (width,), 'U': (width, vocabulary)}
    sizes = [math.prod(shape) for shape in shapes.values()]
    length, group = 8, heads // kv_heads
    angles = torch.arange(length)[:, None] * 3.0 ** -torch.arange(head // 2)
    mask = torch.full((length, length), -torch.inf).triu(1)

    def rotate(x):
        a, b = x.chunk(2, dim=-1)
        cos, sin = angles.cos()[:, None], angles.sin()[:, None]
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)

    def norm(x, gain):
        return x / (x.square().mean(-1, keepdim=True) + epsilon).sqrt() * gain

    def outputs(theta, tokens):
        p = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), theta.split(sizes), strict=True)}
        x = p['E'][tokens]
        for layer in range(layers):
            h = norm(x, p[f'norm1.{layer}'])
            q = rotate((h @ p[f'q.{layer}']).view(length, heads, head))
            k = rotate((h @ p[f'k.{layer}']).view(length, kv_heads, head)).repeat_interleave(group, 1)
            v = (h @ p[f'v.{layer}']).view(length, kv_heads, head).repeat_interleave(group, 1)
            scores = torch.einsum('ihd,jhd->hij', q, k) / head**0.5 + mask
            x = x + torch.einsum('hij,jhd->ihd', scores.softmax(-1), v).reshape(length, -1) @ p[f'o.{layer}']
            h = norm(x, p[f'norm2.{layer}'])
            x = x + (nn.functional.silu(h @ p[f'gate.{layer}']) * (h @ p[f'up.{layer}'])) @ p[f'down.{layer}']
        logits = norm(x, p['norm']) @ p['U']
        return torch.stack([logits.flatten(), logits.log_softmax(-1).flatten()])

    count = sum(sizes)
    theta = torch.randn(count) / 2
    rows = [torch.func.jacrev(outputs)(theta, torch.randint(vocabulary, (length,))) for _ in range(3 * count // (length * vocabulary))]
    nullities = []
    for jacobian in torch.cat(rows, 1):
        values = torch.linalg.svdvals(jacobian)
        rank = int((values > 1e-11 * values[0]).sum())
        assert values[rank - 1] > 1e6 * values[rank], 'no clear gap between zero and non-zero singular values'
        nullities.append(count - rank)
    return nullities[0], nullities[1]


@checks('ex-chap1-gauge')
def redundant_parameters():
    """The formula is confirmed on two small decoders by the rank of the Jacobian, then evaluated at Llama 3 8B."""
    torch.set_default_dtype(torch.float64)
    try:
        for config in ((1, 6, 2, 1, 4, 5, 7), (2, 6, 4, 2, 2, 5, 7)):
            expected = gauge_freedom(*config)
            assert null_directions(*config) == (expected, expected + config[1])
        small = (1, 6, 2, 1, 4, 5, 7)
        assert null_directions(*small, epsilon=0.1)[0] == gauge_freedom(*small) - 1, 'a positive epsilon fixes the scale of the stream'
        narrow = (1, 6, 2, 1, 4, 5, 4)
        assert null_directions(*narrow)[0] > gauge_freedom(*narrow), 'fewer tokens than the width leave more parameters unused'
    finally:
        torch.set_default_dtype(torch.float32)
    total = gauge_freedom(**LLAMA)
    return {'b': total, 'c': total + LLAMA['width']}
