"""What z-loss pins down and what it does not: the normalizer of a bigram model under Adam, the logit gap of a one-hot target."""

import matplotlib.pyplot as plt
import numpy as np
from scipy import integrate

from figures import style

CONTEXTS, VOCAB, WIDTH, STEPS, RATE = 48, 256, 16, 3000, 0.01
WEIGHTS = (0.0, 1e-4, 1e-2)
GAP_VOCAB, SMOOTH = 1000, 0.1
TIMES = np.geomspace(1e-1, 1e8, 80)


def start():
    """Targets q (contexts × vocabulary) of full support, hidden states and output embeddings."""
    rng = np.random.default_rng(0)
    s = 2 * rng.standard_normal((CONTEXTS, VOCAB))
    target = np.exp(s) / np.exp(s).sum(1, keepdims=True)
    return target, rng.standard_normal((CONTEXTS, WIDTH)), rng.standard_normal((WIDTH, VOCAB)) / 4 + 0.5


def normalizers(weight):
    """Mean of lse over the contexts at each Adam step, the hidden states and the output matrix both trained."""
    target, *parameters = start()
    first, second = [np.zeros_like(w) for w in parameters], [np.zeros_like(w) for w in parameters]
    seen = []
    for step in range(1, STEPS + 1):
        hidden, head = parameters
        z = hidden @ head
        top = z.max(1, keepdims=True)
        lse = top + np.log(np.exp(z - top).sum(1, keepdims=True))
        seen.append(np.sqrt((lse**2).mean()))
        p = np.exp(z - lse)
        out = ((1 + 2 * weight * lse) * p - target) / CONTEXTS
        for i, gradient in enumerate((out @ head.T, hidden.T @ out)):
            first[i] = 0.9 * first[i] + 0.1 * gradient
            second[i] = 0.999 * second[i] + 0.001 * gradient**2
            mean, square = first[i] / (1 - 0.9**step), second[i] / (1 - 0.999**step)
            parameters[i] = parameters[i] - RATE * mean / (np.sqrt(square) + 1e-8)
    return np.array(seen)


def gaps(weight, smooth):
    """Gap between the target's logit and the others' along the gradient flow of free logits, one-hot target, GAP_VOCAB tokens."""
    others = GAP_VOCAB - 1
    target, rest = 1 - smooth + smooth / GAP_VOCAB, smooth / GAP_VOCAB

    def velocity(_, state):
        y, v = state
        lse = np.logaddexp(y, v + np.log(others))
        scale = 1 + 2 * weight * lse
        return target - scale * np.exp(y - lse), rest - scale * np.exp(v - lse)

    flow = integrate.solve_ivp(velocity, (0, TIMES[-1]), (0.0, 0.0), method='LSODA', t_eval=TIMES, rtol=1e-9, atol=1e-11)
    return flow.y[0] - flow.y[1]


@style.once
def data():
    return {w: normalizers(w) for w in WEIGHTS}, [gaps(0.0, 0.0), gaps(1e-2, 0.0), gaps(0.0, SMOOTH)]


def figure():
    runs, (plain, z, smooth) = data()
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS)
    names = ('$\\zeta=0$', '$\\zeta=10^{-4}$', '$\\zeta=10^{-2}$')
    for (_, curve), name, color, line in zip(runs.items(), names, ('C0', 'C1', 'C2'), ('-', '--', '-.'), strict=True):
        left.semilogx(np.arange(1, STEPS + 1), curve, line, color=color, label=name)
    left.set_xlabel('Adam 步数')
    left.set_ylabel('lse 的均方根')
    left.set_ylim(bottom=0)
    left.legend()
    for curve, name, color, line in ((plain, '交叉熵', 'C0', '-'), (z, '加 z-loss', 'C1', '--'), (smooth, '标签平滑', 'C3', ':')):
        right.semilogx(TIMES, curve, line, color=color, label=name, linewidth=2 if line == '--' else 1.5)
    right.axhline(np.log1p(GAP_VOCAB * (1 - SMOOTH) / SMOOTH), color=style.muted(), linewidth=0.8)
    right.set_xlabel('梯度流的时间 $t$')
    right.set_ylabel('logit 间隔')
    right.legend()
    return fig
