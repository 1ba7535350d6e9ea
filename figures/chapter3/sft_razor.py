"""Policy gradient, its natural version and SFT on the same new task: which solution each reaches, and what it costs on the old task."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

BASE = np.array([0.30, 0.08, 0.62])        # two correct answers and one wrong answer
ACTIONS, WIDTH, NEW, OLD = 6, 12, 6, 60
GOAL = 0.95
SEEDS = 20


def softmax(s):
    e = np.exp(s - s.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def kl(p, q):
    return (p * (np.log(np.maximum(p, 1e-300)) - np.log(q))).sum(-1)


def vanilla(p0, correct, until, step=0.02):
    """Exact policy gradient on free logits: ds = p (r - J)."""
    s, path = np.log(p0), [p0]
    r = correct.astype(float)
    while path[-1][correct].sum() < until:
        p = path[-1]
        s = s + step * p * (r - p @ r)
        path.append(softmax(s))
    return np.array(path)


def world(seed):
    """A log-linear model: six actions, features of width 12, the same weights for old and new contexts."""
    rng = np.random.default_rng(seed)
    theta = rng.standard_normal((WIDTH, ACTIONS)) / np.sqrt(WIDTH) * 1.5
    old, new = rng.standard_normal((OLD, WIDTH)), rng.standard_normal((NEW, WIDTH))
    correct = np.zeros((NEW, ACTIONS), bool)
    for row in correct:
        row[rng.choice(ACTIONS, 3, replace=False)] = True
    return rng, theta, old, new, correct


def train(theta0, new, correct, target=None, rate=0.5, steps=60_000):
    """Gradient ascent until the mean success on the new contexts is GOAL: exact policy gradient, or SFT towards ``target``."""
    theta, r = theta0.copy(), correct.astype(float)
    for _ in range(steps):
        p = softmax(new @ theta)
        success = (p * r).sum(-1, keepdims=True)
        if success.mean() >= GOAL:
            break
        signal = p * (r - success) if target is None else target - p
        theta += rate * new.T @ signal / len(new)
    return theta, success.mean()


@style.once
def data():
    rows = []
    for seed in range(SEEDS):
        rng, theta0, old, new, correct = world(seed)
        p_old, p_new = softmax(old @ theta0), softmax(new @ theta0)
        inside = p_new * correct / (p_new * correct).sum(-1, keepdims=True)
        targets = {'RL': None, 'own': inside}
        for i in range(6):
            draw = rng.dirichlet(np.full(ACTIONS, 0.5), NEW) * correct
            targets[f'sft{i}'] = draw / draw.sum(-1, keepdims=True)
        for name, target in targets.items():
            theta, success = train(theta0, new, correct, target)
            moved, size = kl(softmax(new @ theta), p_new).mean(), np.linalg.norm(theta - theta0)
            forgot = kl(p_old, softmax(old @ theta)).mean()
            rows.append((seed, name.rstrip('0123456789'), moved, forgot, success, size))
    return rows


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    correct = np.array([True, True, False])
    path = vanilla(BASE, correct, 0.995)
    t = np.linspace(0, 1, 200)
    inside = BASE * correct / BASE[correct].sum()
    straight = (1 - t)[:, None] * BASE + t[:, None] * inside
    left.plot(straight[:, 0], straight[:, 1], '-', color='C0', label='自然梯度')
    left.plot(path[:, 0], path[:, 1], '--', color='C1', label='普通策略梯度')
    sft = np.array([0.35, 0.65, 0])
    line = (1 - t)[:, None] * BASE + t[:, None] * sft
    left.plot(line[:, 0], line[:, 1], ':', color='C2', label='SFT 到给定数据')
    left.plot([0, 1], [1, 0], color=style.muted(), linewidth=0.8)
    left.plot(*BASE[:2], 'o', color=style.ink())
    left.annotate('基座', BASE[:2], (-7, 0), textcoords='offset points', ha='right', va='center')
    left.set(xlim=(0, 1), ylim=(0, 0.8), xlabel='正确答案甲的概率')
    style.ylabel(left, '正确答案乙的概率')
    left.legend(loc='upper right', fontsize=8.5)
    for kind, marker, color, label in (('sft', 's', 'C2', 'SFT（外来数据）'), ('own', '^', 'C0', '自采样 SFT'), ('RL', 'o', 'C1', '策略梯度')):
        points = np.array([[row[2], row[3]] for row in data() if row[1] == kind])
        right.plot(*points.T, marker, color=color, label=label, markersize=4)
    right.set(xscale='log', yscale='log', xlabel='新任务的 $\\mathrm{KL}(\\pi\\Vert\\pi_0)$（nat）', xlim=(0.25, 3.5))
    right.set_xticks([0.3, 1, 3], ['0.3', '1', '3'])
    right.set_yticks([0.1, 0.3, 1, 2], ['0.1', '0.3', '1', '2'])
    right.minorticks_off()
    style.ylabel(right, '旧任务的 $\\mathrm{KL}(\\pi_0\\Vert\\pi)$（nat）')
    right.legend(fontsize=8.5, loc='lower right')
    return fig
