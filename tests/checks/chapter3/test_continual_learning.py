"""Section 3.6: numbers and derivations of continual learning, each computed another way than in the text."""

import importlib
import itertools
import json
import math
from pathlib import Path

import numpy as np
import torch
from scipy import integrate, optimize
from torch import nn
from torch.nn import functional as F

from checks import checks

F64 = torch.float64
FIGURES = Path(__file__).parents[3] / 'figures/chapter3'

TASKS, CLASSES, WIDTH, SHARED, OWN, NOISE, HIDDEN = 5, 10, 40, 4, 12, 0.8, 64
METHODS = ('naive', 'ewc', 'replay', 'projection')


def world(seed):
    """Five tasks with the same ten classes; inputs fill the first coordinates and a random subspace of the others, new for each task."""
    draw = torch.Generator().manual_seed(seed)
    centres = torch.randn(CLASSES, SHARED + OWN, generator=draw, dtype=F64)
    tasks = []
    for _ in range(TASKS):
        turn = torch.zeros(WIDTH, SHARED + OWN, dtype=F64)
        turn[:SHARED, :SHARED] = torch.eye(SHARED, dtype=F64)
        turn[SHARED:, SHARED:] = torch.linalg.qr(torch.randn(WIDTH - SHARED, OWN, generator=draw, dtype=F64))[0]
        sets = []
        for size in (500, 500):
            label = torch.randint(CLASSES, (size,), generator=draw)
            sets.append(((centres[label] + NOISE * torch.randn(size, SHARED + OWN, generator=draw, dtype=F64)) @ turn.T, label))
        tasks.append(sets)
    return tasks, draw


def forward(weights, x):
    """Logits of a network of three layers without biases, and what enters each layer."""
    inputs = [x]
    for w in weights[:-1]:
        inputs.append(torch.relu(inputs[-1] @ w.T))
    return inputs[-1] @ weights[-1].T, inputs


def accuracy(weights, data):
    return (forward(weights, data[0])[0].argmax(-1) == data[1]).double().mean().item()


def fisher_diagonal(weights, x, draw):
    """Diagonal of the true Fisher matrix (labels drawn from the model), by squared per-sample gradients of linear layers."""
    logits, inputs = forward(weights, x)
    p = torch.softmax(logits, -1)
    back = p - F.one_hot(torch.multinomial(p, 1, generator=draw).squeeze(-1), CLASSES)
    out = []
    for w, a in zip(reversed(weights), reversed(inputs), strict=True):
        out.append((back.square().T @ a.square()) / len(x))
        back = (back @ w) * (a > 0)
    return out[::-1]


def sequence(method, seed, steps=300, rate=0.05, batch=32, strength=100.0, stored=50, share=0.25, energy=0.95):
    """Accuracy after each task on every task, row 0 before any training; momentum 0.9, the same budget for every method."""
    tasks, draw = world(seed)
    shapes = ((HIDDEN, WIDTH), (HIDDEN, HIDDEN), (CLASSES, HIDDEN))
    weights = [(torch.randn(s, generator=draw, dtype=F64) * math.sqrt(2 / s[1])).requires_grad_() for s in shapes]
    rows = [[accuracy([w.detach() for w in weights], test) for _, test in tasks]]
    precision = [torch.zeros(s, dtype=F64) for s in shapes]
    anchor = [w.detach().clone() for w in weights]
    kept = [torch.zeros(s[1], 0, dtype=F64) for s in shapes]
    memory = []
    for (x, y), _ in tasks:
        velocity = [torch.zeros(s, dtype=F64) for s in shapes]
        for _ in range(steps):
            size = batch
            if method == 'replay' and memory:
                size = batch - int(share * batch)
            pick = torch.randint(len(x), (size,), generator=draw)
            bx, by = x[pick], y[pick]
            if size < batch:
                old = torch.cat([m[0] for m in memory]), torch.cat([m[1] for m in memory])
                pick = torch.randint(len(old[0]), (batch - size,), generator=draw)
                bx, by = torch.cat([bx, old[0][pick]]), torch.cat([by, old[1][pick]])
            loss = F.cross_entropy(forward(weights, bx)[0], by)
            if method == 'ewc':
                loss = loss + strength / 2 * sum((f * (w - a).square()).sum() for f, w, a in zip(precision, weights, anchor, strict=True))
            gradients = torch.autograd.grad(loss, weights)
            with torch.no_grad():
                for w, g, v, basis in zip(weights, gradients, velocity, kept, strict=True):
                    v.mul_(0.9).add_(g - g @ basis @ basis.T if method == 'projection' else g)
                    w.sub_(rate * v)
        now = [w.detach() for w in weights]
        rows.append([accuracy(now, test) for _, test in tasks])
        if method == 'ewc':
            precision = [p + f for p, f in zip(precision, fisher_diagonal(now, x, draw), strict=True)]
            anchor = [w.clone() for w in now]
        elif method == 'replay':
            pick = torch.randperm(len(x), generator=draw)[:stored]
            memory.append((x[pick], y[pick]))
        elif method == 'projection':
            for i, a in enumerate(forward(now, x)[1]):
                rest = a.T - kept[i] @ (kept[i].T @ a.T)
                u, s, _ = torch.linalg.svd(rest, full_matrices=False)
                total = a.square().sum()
                have = total - rest.square().sum()
                share_kept = (have + s.square().cumsum(0)) / total
                count = int((share_kept < energy).sum()) + 1 if have / total < energy else 0
                kept[i] = torch.cat([kept[i], u[:, :count]], 1)
    return np.array(rows), [k.shape[1] for k in kept]


def summary(r):
    """Average accuracy, backward and forward transfer of a matrix whose row 0 is the untrained network."""
    t = len(r) - 1
    return {
        'ACC': r[t].mean(),
        'BWT': np.mean([r[t, j] - r[j + 1, j] for j in range(t - 1)]),
        'FWT': np.mean([r[j, j] - r[0, j] for j in range(1, t)]),
    }


def plastic(pull, seeds=2, rounds=30, steps=100, samples=200, rate=3e-3):
    """Memorising fresh random labels again and again with Adam: final loss, dead units and weight norm per round."""
    draw = torch.Generator().manual_seed(0)
    shapes = ((64, 32), (64, 64), (10, 64))
    start = [torch.randn(seeds, *s, generator=draw, dtype=F64) * math.sqrt(2 / s[1]) for s in shapes]
    weights = [w.clone().requires_grad_() for w in start]
    m, v, t = [torch.zeros_like(w) for w in start], [torch.zeros_like(w) for w in start], 0
    out = []
    for _ in range(rounds):
        x = torch.randn(seeds, samples, 32, generator=draw, dtype=F64)
        y = torch.randint(10, (seeds, samples), generator=draw)
        for _ in range(steps):
            h1 = torch.relu(x @ weights[0].mT)
            h2 = torch.relu(h1 @ weights[1].mT)
            each = F.cross_entropy((h2 @ weights[2].mT).flatten(0, 1), y.flatten(), reduction='sum') / samples
            penalty = pull / 2 * sum((w - s).square().sum() for w, s in zip(weights, start, strict=True))
            gradients = torch.autograd.grad(each + penalty, weights)
            t += 1
            with torch.no_grad():
                for w, g, a, b in zip(weights, gradients, m, v, strict=True):
                    a.mul_(0.9).add_(g, alpha=0.1)
                    b.mul_(0.999).addcmul_(g, g, value=0.001)
                    w.sub_(rate * (a / (1 - 0.9**t)) / ((b / (1 - 0.999**t)).sqrt() + 1e-8))
        dead = torch.cat([(h1.amax(1) == 0).double(), (h2.amax(1) == 0).double()], -1).mean().item()
        norm = sum(w.square().sum((1, 2)) for w in weights).sqrt().mean().item()
        out.append((each.item() / seeds, dead, norm))
    return out


def generate():
    """Write the data of the figures and tables: run by hand after a change of the experiments."""
    runs = {m: [sequence(m, seed) for seed in range(3)] for m in METHODS}
    data = {
        'matrix': {m: np.mean([r for r, _ in run], 0).round(4).tolist() for m, run in runs.items()},
        'first': {m: run[0][0].tolist() for m, run in runs.items()},
        'kept': [k for _, k in runs['projection']],
        'plastic': {str(pull): np.round(plastic(pull), 4).tolist() for pull in (0.0, 1e-3)},
    }
    (FIGURES / 'cl_matrix.json').write_text(json.dumps(data, indent=1) + '\n', encoding='utf-8')
