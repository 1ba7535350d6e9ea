"""The shared look: legible and distinguishable colours, labels that do not collide, data computed once."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import matplotlib

matplotlib.use('agg')

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from matplotlib import colors  # noqa: E402
from matplotlib import pyplot as plt  # noqa: E402

from figures import diagram, style  # noqa: E402

# Machado, Oliveira & Fernandes (2009), full severity, in linear RGB.
SIGHT = {
    'normal': np.eye(3),
    'deuteranopia': np.array([[.367322, .860646, -.227968], [.280085, .672501, .047413], [-.011820, .042940, .968881]]),
    'protanopia': np.array([[.152286, 1.052583, -.204868], [.114503, .786281, .099216], [-.003882, -.048116, 1.051998]]),
    'tritanopia': np.array([[1.255528, -.076749, -.178779], [-.078411, .930809, .147602], [.004733, .691367, .303900]]),
}
TO_XYZ = np.array([[.4124, .3576, .1805], [.2126, .7152, .0722], [.0193, .1192, .9505]])


def linear(color: str) -> np.ndarray:
    c = np.array(colors.to_rgb(color))
    return np.where(c <= .04045, c / 12.92, ((c + .055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    low, high = sorted(TO_XYZ[1] @ linear(c) for c in (a, b))
    return (high + .05) / (low + .05)


def lab(rgb: np.ndarray) -> np.ndarray:
    xyz = TO_XYZ @ np.clip(rgb, 0, 1) / np.array([.9505, 1, 1.089])
    f = np.where(xyz > .008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close('all')


@pytest.mark.parametrize('name', style.THEMES)
def test_contrast(name):
    theme = style.THEMES[name]
    assert contrast(theme.ink, theme.paper) > 10
    assert contrast(theme.muted, theme.paper) >= 4.5
    assert min(contrast(color, theme.paper) for color in theme.cycle) >= 3
    assert min(contrast(theme.cycle[i], theme.paper) for i in (0, 1, 2, 3, 6)) >= 4.5       # these may colour text


@pytest.mark.parametrize('name', style.THEMES)
@pytest.mark.parametrize('sight', SIGHT)
def test_every_pair_of_colours_differs(name, sight):
    seen = [lab(SIGHT[sight] @ linear(color)) for color in style.THEMES[name].cycle]
    assert len(seen) == 7
    assert min(np.linalg.norm(a - b) for a, b in combinations(seen, 2)) >= 15


@pytest.mark.parametrize('name', style.THEMES)
def test_sequential_map_is_monotonic_in_lightness(name):
    style.use(name)
    light = [lab(linear(c))[0] for c in plt.get_cmap(style.SEQUENTIAL)(np.linspace(0, 1, 32))[:, :3]]
    steps = np.diff(light)
    assert (steps > 0).all() or (steps < 0).all()


def test_end_labels_keep_apart_and_keep_order():
    style.use('light')
    fig, ax = plt.subplots()
    for i, end in enumerate((0.50, 0.52, 0.51, 0.9)):
        ax.plot([0, 1], [0, end], label=str(i))
    ax.plot([0, 1], [0, 1])                 # no label: nothing written
    style.label_ends(ax)
    fig.canvas.draw()
    boxes = {text.get_text(): text.get_window_extent() for text in ax.texts}
    assert set(boxes) == {'0', '1', '2', '3'}
    assert boxes['0'].y1 <= boxes['2'].y0 + 1 and boxes['2'].y1 <= boxes['1'].y0 + 1 and boxes['1'].y1 <= boxes['3'].y0
    assert all(box.x1 <= fig.bbox.x1 for box in boxes.values())


def test_once_runs_once_and_leaves_no_trace_in_the_random_state():
    calls = []

    @style.once
    def data():
        calls.append(np.random.rand())
        return calls[-1]

    after = []
    for variant in style.THEMES:
        style.use(variant)
        data()
        after.append(np.random.rand())
    assert len(calls) == 1
    assert len(set(after)) == 1, 'the first variant must not draw other numbers than the second'
    style.forget()
    data()
    assert len(calls) == 2


def test_theme_functions_follow_the_variant():
    style.use('light')
    light = style.ink(), style.muted(), style.paper(), style.tint('C0')
    style.use('dark')
    assert set(light).isdisjoint({style.ink(), style.muted(), style.paper(), style.tint('C0')})


def test_diagram_anchors_and_group():
    style.use('light')
    fig, ax = diagram.canvas(12, 4)
    a, b = diagram.box(ax, 2, 2, '甲'), diagram.box(ax, 6, 2, '乙', color='C0', width=3)
    assert a.right == (3, 2) and b.left == (4.5, 2) and b.top == (6, 2.45)
    diagram.arrow(ax, a.right, b.left, text='$x$')
    frame = diagram.group(ax, [a, b], '组', pad=0.5)
    assert frame.left[0] == pytest.approx(0.5) and frame.right[0] == pytest.approx(8)
    assert tuple(fig.get_size_inches()) == pytest.approx((style.WIDE[0], style.WIDE[0] / 3))
    fig.canvas.draw()
    cell = ax.transData.transform((1, 1)) - ax.transData.transform((0, 0))
    assert cell[0] == pytest.approx(cell[1]), 'cells are square'


def test_dark_paper_is_the_page():
    css = (Path(__file__).resolve().parents[3] / '_static/book.css').read_text(encoding='utf-8')
    assert f'--pst-color-background: {style.THEMES["dark"].paper};' in css
