"""Draw one script in all variants and store the files. Runs in worker processes; knows nothing of Sphinx."""

from __future__ import annotations

import hashlib
import os
import re
import sys
import traceback
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

VARIANTS = {'light': 'svg', 'dark': 'svg', 'print': 'pdf'}
DATA = ('.json', '.csv', '.npz')
ENGINES = ('matplotlib', 'mplfonts', 'numpy', 'scipy', 'seaborn')
NO_METADATA = {
    'svg': dict.fromkeys(('Date', 'Creator', 'Format', 'Type')),
    'pdf': dict.fromkeys(('CreationDate', 'Creator', 'Producer')),
}


@dataclass(frozen=True)
class Drawing:
    """A script and the place of its outputs."""

    script: Path
    name: str          # chapter1/attn_entropy
    key: str           # digest of everything the picture depends on
    cache: Path

    def output(self, variant: str) -> Path:
        return self.cache / f'{self.name.replace("/", "-")}-{self.key}-{variant}.{VARIANTS[variant]}'

    @property
    def done(self) -> bool:
        return all(self.output(variant).exists() for variant in VARIANTS)


class Failure(Exception):
    """What went wrong in a script, for its author. ``line`` is the script's own line, 0 when unknown."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message, line)
        self.message, self.line = message, line


def digest(script: Path, root: Path) -> str:
    """Key of script, its data, the shared modules of ``root``, this renderer and the drawing libraries."""
    parts = [script, *(script.with_suffix(suffix) for suffix in DATA), *sorted(root.glob('*.py')), Path(__file__)]
    found = hashlib.sha256()
    for part in parts:
        if part.is_file():
            found.update(part.name.encode() + b'\0' + hashlib.sha256(part.read_bytes()).digest())
    found.update(' '.join(version(name) for name in ENGINES).encode())
    return found.hexdigest()[:12]


def draw(drawing: Drawing, root: Path) -> None:
    """Run the script once for each variant and write the outputs; raises :class:`Failure`.

    A Python warning is a failure too: a missing glyph, a division by zero and a layout that does not fit all spoil the picture.
    """
    sys.path[:0] = [] if str(root.parent) in sys.path else [str(root.parent)]
    import matplotlib

    matplotlib.use('agg')
    from matplotlib import pyplot
    from matplotlib.figure import Figure

    from figures import style

    style.forget()
    drawing.cache.mkdir(parents=True, exist_ok=True)
    for variant, suffix in VARIANTS.items():
        style.use(variant)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('error')
                warnings.simplefilter('ignore', DeprecationWarning)
                figure = _run(drawing.script)
                if not isinstance(figure, Figure):
                    raise Failure(f'figure() 应当返回 matplotlib.figure.Figure，得到的是 {type(figure).__name__}')
                # Written beside and moved: another build may be doing the same, and half a file must never be found.
                part = drawing.output(variant).with_suffix(f'.{os.getpid()}')
                figure.savefig(part, format=suffix, metadata=NO_METADATA[suffix])
            if suffix == 'svg':
                part.write_text(_slim(part.read_text(encoding='utf-8')), encoding='utf-8')
            part.replace(drawing.output(variant))
        except Failure:
            raise
        except BaseException as error:   # SystemExit of a script must not end the worker
            raise Failure(f'{type(error).__name__}: {error}', _line(error, drawing.script)) from None
        finally:
            pyplot.close('all')


def draw_all(drawings: list[Drawing], root: Path, jobs: int) -> dict[str, Failure]:
    """Draw in parallel; failures by name. Fresh interpreters, so no figure depends on which ones came before in this process."""
    failures = {}
    with ProcessPoolExecutor(min(jobs, len(drawings)), mp_context=get_context('spawn')) as pool:
        for drawing, future in [(drawing, pool.submit(draw, drawing, root)) for drawing in drawings]:
            try:
                future.result()
            except Failure as failure:
                failures[drawing.name] = failure
            except Exception as error:   # a worker that died takes the pool with it
                failures[drawing.name] = Failure(f'绘图进程中断：{type(error).__name__}: {error}')
    return failures


def size(svg: Path) -> tuple[float, float]:
    """Width and height in CSS pixels."""
    head = svg.read_text(encoding='utf-8')[:600]
    width, height = (float(re.search(rf'\b{side}="([\d.]+)pt"', head)[1]) for side in ('width', 'height'))
    return width * 4 / 3, height * 4 / 3


def _run(script: Path) -> object:
    space = {'__name__': f'figure_{script.stem}', '__file__': str(script)}
    exec(compile(script.read_bytes(), str(script), 'exec'), space)
    if not callable(space.get('figure')):
        raise Failure('没有定义函数 figure()')
    return space['figure']()


def _line(error: BaseException, script: Path) -> int:
    if isinstance(error, SyntaxError) and error.filename == str(script):
        return error.lineno or 0
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(script)]
    return lines[-1] if lines else 0


def _slim(svg: str) -> str:
    """Without comments and with coordinates of a hundredth of a point: a third smaller, same picture."""
    svg = re.sub(r'\s*<!--.*?-->', '', svg, flags=re.DOTALL)
    svg = re.sub(r'<!DOCTYPE.*?>\n', '', svg, flags=re.DOTALL)
    return re.sub(r'\bd="[^"]*"', lambda path: re.sub(r'-?\d+\.\d+', _short, path[0]).replace('\n', ' '), svg)


def _short(number: re.Match[str]) -> str:
    return f'{float(number[0]):.2f}'.rstrip('0').rstrip('.')
