"""Forgetting after two linear tasks: against one principal angle, and averaged over random subspaces."""

import matplotlib.pyplot as plt
import numpy as np

from figures import style

D = 64
RATIOS = (1 / 8, 1 / 2)


def plane(angle):
    """Loss of task 1 after minimum-norm training on task 1 and then task 2, worst unit error e_0 in the plane: by least squares."""
    first, second = np.array([[1.0, 0.0]]), np.array([[np.cos(angle), np.sin(angle)]])
    change = np.eye(2)
    for x in (first, second):
        change = change - np.linalg.pinv(x) @ x @ change
    return np.linalg.norm(first @ change, 2) ** 2


def exact(k1, k2, d=D):
    """Mean forgetting as a share of the loss of task 1 before training."""
    return (d - k1) * k2 * (d - k2) / (d * (d - 1) * (d + 2))


def sample(k1, k2, rng, d=D, draws=200):
    """Train both tasks exactly from zero towards random targets; share of the initial loss of task 1."""
    after = before = 0.0
    for _ in range(draws):
        x1, x2 = (np.linalg.qr(rng.standard_normal((d, k)))[0].T for k in (k1, k2))
        target = rng.standard_normal(d)
        w = x1.T @ (x1 @ target)
        w = w + x2.T @ (x2 @ (target - w))
        after += np.sum((x1 @ (w - target)) ** 2)
        before += np.sum((x1 @ target) ** 2)
    return after / before


@style.once
def data():
    rng = np.random.default_rng(0)
    ranks = np.arange(4, D, 6)
    return ranks, {r: [sample(int(r * D), k, rng) for k in ranks] for r in RATIOS}


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    angle = np.linspace(0, np.pi / 2, 200)
    left.plot(np.degrees(angle), np.sin(2 * angle) ** 2 / 4, '-', color=style.ink(), label='理论')
    some = np.linspace(0, np.pi / 2, 13)
    left.plot(np.degrees(some), [plane(a) for a in some], 'o', color='C0', label='最小二乘')
    left.set_xticks([0, 45, 90])
    left.set_xlabel('主角 $\\theta$（度）')
    style.ylabel(left, '遗忘')
    left.legend(loc='lower center')
    ranks, points = data()
    fine = np.linspace(0, D, 200)
    for (ratio, values), color, marker, name in zip(points.items(), ('C0', 'C1'), 'os', ('$k_1=d/8$', '$k_1=d/2$'), strict=True):
        right.plot(ranks / D, values, marker, color=color, label=name)
        right.plot(fine / D, exact(ratio * D, fine), '-', color=color)
    right.set_xlabel('任务 2 的秩 $k_2/d$')
    style.ylabel(right, '遗忘占原损失的比例')
    right.legend()
    return fig
