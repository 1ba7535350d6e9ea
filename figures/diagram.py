"""Boxes, arrows and groups for structural diagrams, in the style of :mod:`figures.style`.

A diagram is drawn on a grid: ``canvas(12, 5)`` is twelve cells wide and five high, origin at the lower left::

    fig, ax = diagram.canvas(12, 3)
    norm = diagram.box(ax, 2, 1.5, 'RMSNorm')
    attn = diagram.box(ax, 6, 1.5, '自注意力', color='C0')
    diagram.arrow(ax, norm.right, attn.left, text='$n\\times d$')
    diagram.group(ax, [norm, attn], '子层')
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from figures import style

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A drawn box: centre and size in cells; its anchors are where arrows start and end."""

    x: float
    y: float
    width: float
    height: float

    @property
    def left(self) -> Point:
        return self.x - self.width / 2, self.y

    @property
    def right(self) -> Point:
        return self.x + self.width / 2, self.y

    @property
    def top(self) -> Point:
        return self.x, self.y + self.height / 2

    @property
    def bottom(self) -> Point:
        return self.x, self.y - self.height / 2


def _round(radius: float) -> str:
    return f'round,pad=0,rounding_size={radius}'


def canvas(columns: float, rows: float, width: float = style.WIDE[0]) -> tuple[Figure, Axes]:
    """A figure ``width`` inches wide with square cells and no axes."""
    fig = plt.figure(figsize=(width, width * rows / columns), layout='none')
    ax = fig.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, columns), ylim=(0, rows))
    ax.set_axis_off()
    return fig, ax


def box(ax: Axes, x: float, y: float, text: str = '', *, width: float = 2, height: float = 0.9, color: str | None = None,
        hatch: str | None = None, **font: object) -> Box:
    """A rounded box centred at (x, y). Without ``color`` it is neutral; ``hatch`` tells kinds apart in black and white."""
    edge = color or style.muted()
    frame = FancyBboxPatch((x - width / 2, y - height / 2), width, height, boxstyle=_round(min(width, height) * 0.16),
                           facecolor=style.tint(edge, 0.14 if color else 0.06), edgecolor=edge, linewidth=1, hatch=hatch)
    ax.add_patch(frame)
    if hatch:
        frame.set_hatchcolor(style.tint(edge, 0.4))
    ax.text(x, y, text, ha='center', va='center', linespacing=1.25, **font)
    return Box(x, y, width, height)


def sections(ax: Axes, places: dict[str, tuple[float, float, str]], *, width: float) -> dict[str, Box]:
    r"""Boxes of a chapter's sections, ``{'1.1\n自注意力': (x, y, color)}``, by their number: ``{'1.1': box}``."""
    return {text.split('\n')[0]: box(ax, x, y, text, width=width, height=1.15, color=color) for text, (x, y, color) in places.items()}


def arrow(ax: Axes, *points: Point, text: str = '', color: str | None = None, linestyle: str = '-', head: bool = True,
          offset: Point = (0, 5)) -> None:
    """An arrow through the points. ``text`` stands beside the middle of its longest piece, ``offset`` points away."""
    color = color or style.muted()
    ax.add_patch(FancyArrowPatch(path=Path(points), arrowstyle='-|>,head_length=0.32,head_width=0.16' if head else '-', mutation_scale=13,
                                 color=color, linestyle=linestyle, linewidth=1.1, shrinkA=0, shrinkB=0, joinstyle='round', capstyle='butt'))
    if text:
        (x0, y0), (x1, y1) = max(zip(points, points[1:], strict=False), key=lambda ends: math.dist(*ends))
        across, up = (int(math.copysign(1, shift)) if shift else 0 for shift in offset)
        ax.annotate(text, ((x0 + x1) / 2, (y0 + y1) / 2), offset, textcoords='offset points', fontsize=9.5, color=style.ink(),
                    ha=('center', 'left', 'right')[across], va=('center', 'bottom', 'top')[up])


def join(ax: Axes, x: float, y: float, symbol: str = '+', radius: float = 0.24) -> Box:
    """A small circle with a sign in it: a sum, a product, a concatenation. Symbols: ``+`` or mathematics such as ``$\\times$``."""
    ax.add_patch(plt.Circle((x, y), radius, facecolor=style.paper(), edgecolor=style.ink(), linewidth=1))
    ax.text(x, y, '$+$' if symbol == '+' else symbol, ha='center', va='center')
    return Box(x, y, 2 * radius, 2 * radius)


def group(ax: Axes, boxes: Iterable[Box], label: str = '', *, pad: float = 0.35, color: str | None = None) -> Box:
    """A dashed frame around boxes, its label at the upper left."""
    boxes = list(boxes)
    left, right = min(b.left[0] for b in boxes) - pad, max(b.right[0] for b in boxes) + pad
    bottom, top = min(b.bottom[1] for b in boxes) - pad, max(b.top[1] for b in boxes) + pad
    color = color or style.muted()
    ax.add_patch(FancyBboxPatch((left, bottom), right - left, top - bottom, boxstyle=_round(pad / 2), facecolor='none', edgecolor=color,
                                linewidth=0.9, linestyle=(0, (4, 3)), zorder=0))
    ax.annotate(label, (left, top), (3, 3), textcoords='offset points', fontsize=9.5, color=color, ha='left', va='bottom')
    return Box((left + right) / 2, (bottom + top) / 2, right - left, top - bottom)
