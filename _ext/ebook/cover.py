"""The cover: the title on attention weights, computed, with a causal mask."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.builders import Builder

FILE = 'cover.png'
SIZE = (8, 12)          # inches
DPI = 200
TOKENS = 24
INK, PAPER, ACCENT = '#10243f', '#f4efe4', '#c9a24b'


def write(app: Sphinx, builder: Builder) -> None:
    if builder.name == 'epub':
        target = Path(builder.outdir, '_static', FILE)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            draw(app.config.project, app.config.author, app.config.version, target)


def draw(title: str, author: str, version: str, target: Path) -> None:
    import numpy as np  # noqa: PLC0415 (only an EPUB needs them)
    from matplotlib.figure import Figure  # noqa: PLC0415
    from matplotlib.font_manager import FontProperties  # noqa: PLC0415

    fonts = Path(next(iter(find_spec('mplfonts').submodule_search_locations))) / 'fonts'
    regular = FontProperties(fname=str(fonts / 'NotoSansCJKsc-Regular.otf'))
    random = np.random.default_rng(7)
    queries, keys = random.standard_normal((2, TOKENS, 16))
    logits = queries @ keys.T / 4 + 1.6 * np.eye(TOKENS, k=-1)
    weights = np.where(np.tri(TOKENS, dtype=bool), np.exp(logits), 0)
    weights /= weights.sum(1, keepdims=True)

    figure = Figure(figsize=SIZE, facecolor=INK)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, SIZE[0]), ylim=(0, SIZE[1]))
    axes.axis('off')
    step = SIZE[0] / TOKENS
    rows, columns = np.nonzero(np.tri(TOKENS, dtype=bool))
    sizes = np.sqrt(weights[rows, columns])
    axes.scatter((columns + 0.5) * step, SIZE[0] - (rows + 0.5) * step, s=(sizes * step * 66) ** 2, c=ACCENT, alpha=0.85, linewidths=0, marker='s')
    axes.text(SIZE[0] - 0.7, 11.0, title, fontproperties=regular, fontsize=50, color=PAPER, ha='right', va='top')
    axes.plot((SIZE[0] - 0.7 - 2.2, SIZE[0] - 0.7), (9.75, 9.75), color=ACCENT, lw=3)
    axes.text(SIZE[0] - 0.7, 9.45, f'第 {version} 版', fontproperties=regular, fontsize=22, color=PAPER, ha='right', va='top')
    axes.text(SIZE[0] - 0.7, 8.85, author, fontproperties=regular, fontsize=16, color=PAPER, ha='right', va='top', alpha=0.8)
    figure.savefig(target, dpi=DPI, facecolor=INK, metadata={'Software': None})
