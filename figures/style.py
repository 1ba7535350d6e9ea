"""The one look of every figure, in three variants: ``light`` and ``dark`` for the screen, ``print`` for paper.

A script never names a colour, font or size: it uses ``C0`` … ``C6``, the functions below and the sizes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib import colors, font_manager
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

R = TypeVar('R')

# Inches. WIDE is legible on a 390 px phone without zoom (10.5 pt come out at 8.6 px); PANELS, being wider, scrolls a little there.
WIDE = (5.8, 3.3)
SQUARE = (4.4, 4.0)
TALL = (5.8, 5.2)
PANELS = (7.2, 2.9)

SEQUENTIAL = 'book'             # from the paper to C0: the default of imshow and its like
DIVERGING = 'book_diverging'    # C0 – paper – C1, for signed quantities

FONT = Path(next(iter(find_spec('mplfonts').submodule_search_locations))) / 'fonts' / 'NotoSansCJKsc-Regular.otf'


@dataclass(frozen=True)
class Theme:
    """Colours of one variant; ``paper`` is only for what must hide something else, the page itself shines through."""

    ink: str
    muted: str
    paper: str
    cycle: tuple[str, ...]


# Hues after Okabe and Ito, moved apart until each pair stays distinct (ΔE ≥ 15) under simulated deuteranopia, protanopia and
# tritanopia while every colour keeps a contrast of at least 3 : 1 with its own paper (C0–C3 and C6: 4.5 : 1, so they may colour text).
_ON_WHITE = ('#1a56c4', '#b3370f', '#1f8560', '#94408f', '#b97a08', '#2e93e6', '#46505a')
_ON_BLACK = ('#5aa2ff', '#f07c4c', '#3fd6ae', '#c58ad2', '#ecd667', '#a9dcff', '#88929b')
THEMES = {
    'light': Theme('#1f2328', '#5f6771', '#ffffff', _ON_WHITE),
    'dark': Theme('#e3e6ea', '#9aa3ad', '#15171a', _ON_BLACK),
    'print': Theme('#000000', '#4a4a4a', '#ffffff', _ON_WHITE),
}

_active = THEMES['light']
_kept: dict[tuple[str, str], object] = {}


def ink() -> str:
    """Colour of text and of lines that belong to no series."""
    return _active.ink


def muted() -> str:
    """Colour of what should step back: reference lines, annotations, boxes."""
    return _active.muted


def paper() -> str:
    """Colour of the page behind the figure."""
    return _active.paper


def tint(color: str, amount: float = 0.15) -> str:
    """``color`` thinned with paper: an opaque pale fill for boxes and bands."""
    front, back = (np.array(colors.to_rgb(c)) for c in (color, _active.paper))
    return colors.to_hex(amount * front + (1 - amount) * back)


def once(function: Callable[[], R]) -> Callable[[], R]:
    """Compute slow data once for the three variants instead of three times. The function takes no arguments."""

    @wraps(function)
    def kept() -> R:
        key = (function.__code__.co_filename, function.__qualname__)
        if key not in _kept:
            _kept[key] = function()
            seed()   # so that what follows draws the same numbers whether or not this was the first variant
        return _kept[key]

    return kept


def forget() -> None:
    """Drop what :func:`once` holds (a new script begins)."""
    _kept.clear()


def seed() -> None:
    random.seed(0)
    np.random.seed(0)


def use(name: str) -> None:
    """Make ``light``, ``dark`` or ``print`` the look of all figures drawn from now on."""
    global _active
    _active = THEMES[name]
    mpl.rcdefaults()
    _fonts()
    _colormaps()
    mpl.rcParams.update(_rc(_active))
    seed()


def label_ends(ax: Axes, *, pad: float = 6, gap: float = 1.15, **text: object) -> None:
    """Write each labelled line's label at its right end, in its colour, instead of a legend; labels never overlap.

    ``pad`` is the distance from the line in points, ``gap`` the least distance between labels in lines of text.
    """
    size = text.pop('fontsize', mpl.rcParams['legend.fontsize'])
    lines = [line for line in ax.get_lines() if not line.get_label().startswith('_') and len(line.get_xdata())]
    ends = []
    for line in lines:
        x, y = (np.asarray(values, dtype=float) for values in line.get_data())
        last = np.flatnonzero(np.isfinite(x) & np.isfinite(y))[-1]
        ends.append((x[last], y[last]))
    height = ax.get_position().height * ax.figure.get_figheight() * 72    # axes height in points, before layout: close enough
    to_axes = ax.transData + ax.transAxes.inverted()
    ax.autoscale_view()
    wanted = np.array([to_axes.transform(end)[1] * height for end in ends])
    placed = _spread(wanted, gap * font_manager.FontProperties(size=size).get_size_in_points())
    for line, end, old, new in zip(lines, ends, wanted, placed, strict=True):
        ax.annotate(line.get_label(), end, (pad, new - old), textcoords='offset points', va='center', color=line.get_color(), fontsize=size,
                    annotation_clip=False, **text)


def ylabel(ax: Axes, text: str) -> None:
    """Name the vertical axis above its upper end, horizontally: Chinese reads badly when turned."""
    ax.annotate(text, (0, 1), (0, 8), xycoords='axes fraction', textcoords='offset points', ha='left', va='bottom')


def _spread(wanted: np.ndarray, gap: float) -> np.ndarray:
    """Positions nearest to ``wanted`` (least squares, order kept) that are at least ``gap`` apart: pool adjacent violators."""
    order = np.argsort(wanted, kind='stable')
    steps = np.arange(len(wanted)) * gap
    blocks: list[list[float]] = []
    for value in wanted[order] - steps:
        blocks.append([value, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (a, m), (b, n) = blocks[-2:]
            blocks[-2:] = [[(a * m + b * n) / (m + n), m + n]]
    placed = np.empty(len(wanted))
    placed[order] = np.repeat([b[0] for b in blocks], [int(b[1]) for b in blocks]) + steps
    return placed


def _fonts() -> None:
    if not any(entry.fname == str(FONT) for entry in font_manager.fontManager.ttflist):
        font_manager.fontManager.addfont(FONT)


def _colormaps() -> None:
    front, other = (_active.cycle[i] for i in (0, 1))
    deep = colors.to_hex(0.62 * np.array(colors.to_rgb(front)) + 0.38 * np.array(colors.to_rgb(_active.ink)))
    far = colors.to_hex(0.62 * np.array(colors.to_rgb(other)) + 0.38 * np.array(colors.to_rgb(_active.ink)))
    zero = tint(_active.muted, 0.07)
    for name, stops in ((SEQUENTIAL, [zero, tint(front, 0.45), front, deep]), (DIVERGING, [deep, front, zero, other, far])):
        mpl.colormaps.unregister(name)
        mpl.colormaps.register(colors.LinearSegmentedColormap.from_list(name, stops), name=name)


def _rc(theme: Theme) -> dict[str, object]:
    return {
        # type
        'font.family': [font_manager.FontProperties(fname=str(FONT)).get_name()],
        'font.size': 10.5,
        'axes.titlesize': 10.5,
        'axes.labelsize': 10.5,
        'xtick.labelsize': 9.5,
        'ytick.labelsize': 9.5,
        'legend.fontsize': 10,
        'mathtext.fontset': 'stix',
        'axes.titlelocation': 'left',
        'axes.titlepad': 8,
        'text.color': theme.ink,
        'axes.labelcolor': theme.ink,
        # frame: two thin spines, no grid, no boxes
        'axes.spines.top': False,
        'axes.spines.right': False,
        'axes.edgecolor': theme.muted,
        'axes.linewidth': 0.7,
        'axes.axisbelow': True,
        'axes.xmargin': 0.02,
        'grid.color': theme.muted,
        'grid.alpha': 0.25,
        'grid.linewidth': 0.5,
        'xtick.color': theme.muted,
        'ytick.color': theme.muted,
        'xtick.labelcolor': theme.ink,
        'ytick.labelcolor': theme.ink,
        **{f'{axis}tick.{kind}.width': width for axis in 'xy' for kind, width in (('major', 0.7), ('minor', 0.5))},
        **{f'{axis}tick.major.size': 3 for axis in 'xy'},
        'legend.frameon': False,
        'legend.handlelength': 2.2,
        # marks
        'axes.prop_cycle': cycler(color=theme.cycle),
        'lines.linewidth': 1.5,
        'lines.markersize': 4.5,
        'lines.markeredgewidth': 0.8,
        'lines.solid_capstyle': 'round',
        'patch.linewidth': 0.7,
        'patch.edgecolor': theme.muted,
        'hatch.color': theme.muted,
        'hatch.linewidth': 0.6,
        'image.cmap': SEQUENTIAL,
        'boxplot.flierprops.markersize': 3,
        # page
        'figure.figsize': WIDE,
        'figure.facecolor': 'none',
        'axes.facecolor': 'none',
        'savefig.facecolor': 'none',
        'savefig.edgecolor': 'none',
        'figure.constrained_layout.use': True,
        'savefig.dpi': 220,
        # small files with the same bytes every time
        'path.simplify': True,
        'path.simplify_threshold': 0.3,
        'svg.fonttype': 'path',
        'svg.hashsalt': 'llm-tutorial',
        'pdf.fonttype': 3,   # outlines: Type 42 would declare the CFF font of FONT to be TrueType
    }
