"""Best-of-N on proxies with Gaussian, Student-t and exploitable errors of the same pairwise accuracy; mean and median of an ensemble."""

import matplotlib.pyplot as plt
import numpy as np
from scipy import special, stats

from figures import style

V = np.linspace(-9, 9, 1801)
PRIOR = stats.norm.pdf(V) * (V[1] - V[0])
U = np.concatenate([-np.geomspace(300, 10, 200)[:-1], np.linspace(-10, 10, 1001), np.geomspace(10, 3e4, 800)[1:]])
N = 2.0 ** np.arange(21)
D = np.sqrt(np.log(N) - (N - 1) / N)
SCALE = 0.762225          # of the t3 error: pairwise accuracy 75 %
LEAK, SIGMA2 = 0.01, 1.864918   # exploitable share, variance of the proxy there: pairwise accuracy 75 %


def best_of(u, density, gold):
    """Gold reward of the best of N by the proxy: the integral of g(u) against N F^(N-1) f."""
    mass = (density[1:] + density[:-1]) / 2 * np.diff(u)
    above = np.append(np.cumsum(mass[::-1])[::-1], 0)
    above = np.minimum(above / above[0], 1 - 1e-15)
    weight = [n * np.exp((n - 1) * np.log1p(-above)) * density for n in N]
    return np.array([np.trapezoid(w * gold, u) / np.trapezoid(w, u) for w in weight])


def independent(error, u=U):
    joint = error(u[:, None] - V) * PRIOR
    density = joint.sum(1)
    return best_of(u, density, (joint * V).sum(1) / np.maximum(density, 1e-300))


def exploit():
    u = np.linspace(-14, 20, 6801)
    sd = SIGMA2**0.5
    honest, hack = (1 - LEAK) * stats.norm.pdf(u, 0, sd), LEAK * stats.norm.pdf(u, 4, sd)
    return best_of(u, honest + hack, (honest * u / SIGMA2 - hack) / (honest + hack))


def exploit_tilted(lam):
    share = special.expit(np.log(LEAK / (1 - LEAK)) + 4 * lam)
    log_z = np.log(1 - LEAK) + SIGMA2 * lam**2 / 2 + np.logaddexp(0, np.log(LEAK / (1 - LEAK)) + 4 * lam)
    kl = lam * (lam * SIGMA2 + 4 * share) - log_z
    return np.sqrt(kl), (1 - share) * lam - share


def mean_density(members):
    """Density of the mean of independent t3 errors, from the characteristic function (1 + a|t|) exp(-a|t|) of one."""
    count, width = 2**21, 4000
    a = SCALE * 3**0.5 / members * 2 * np.pi * np.fft.rfftfreq(count, width / count)
    density = np.fft.fftshift(np.fft.irfft(((1 + a) * np.exp(-a)) ** members, count)) * count / width
    x = (np.arange(count) - count // 2) * width / count
    return lambda y: np.interp(np.abs(y), x[count // 2:], density[count // 2:])


def median_density(y):
    below, above = stats.t.cdf(y / SCALE, 3), stats.t.sf(y / SCALE, 3)
    return 30 * stats.t.pdf(y / SCALE, 3) / SCALE * (below * above) ** 2


@style.once
def data():
    near = U[(U > -100) & (U < 1500)]
    gauss = np.linspace(-13, 13, 5201)
    return {
        'gauss': best_of(gauss, stats.norm.pdf(gauss, 0, 2**0.5), gauss / 2),
        't': independent(lambda e: stats.t.pdf(e / SCALE, 3) / SCALE),
        'exploit': exploit(),
        'mean': independent(mean_density(5), near),
        'median': independent(median_density, near),
    }


def figure():
    fig, (left, right) = plt.subplots(1, 2, figsize=style.PANELS, sharey=True)
    curves = data()
    for name, label, color, marker in (('gauss', '高斯', 'C0', 'o'), ('t', '$t_3$', 'C1', 's'), ('exploit', '漏洞', 'C2', '^')):
        left.plot(D, curves[name] - curves[name][0], marker + '-', color=color, label=label, markersize=3.5)
    d, gold = exploit_tilted(np.geomspace(0.01, 4, 200))
    left.plot(d[d < 3.6], gold[d < 3.6] + LEAK, ':', color='C2', label='漏洞，KL 正则')
    for name, label, color, marker in (('t', '单个', 'C1', 's'), ('mean', '五个取平均', 'C3', 'D'), ('median', '五个取中位数', 'C4', 'v')):
        right.plot(D, curves[name] - curves[name][0], marker + '-', color=color, label=label, markersize=3.5)
    for ax in (left, right):
        ax.axhline(0, color=style.muted(), linewidth=0.7)
        ax.set_xlabel('$\\sqrt{\\mathrm{KL}}$')
        ax.legend(fontsize=9, loc='upper left')
    style.ylabel(left, '真实奖励')
    return fig
