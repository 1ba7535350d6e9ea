"""The book's one table of TeX macros, as math-core and as LaTeX want it."""

from __future__ import annotations

import hashlib
import re
import tomllib
from functools import cache
from importlib.metadata import version
from pathlib import Path

ALPHABET = re.compile(r'\\math[a-z]+\{[^{}]*\}')      # one symbol of another alphabet, such as \mathcal{V}
TABLE = Path(__file__).with_name('macros.toml')
PACKAGE = 'bookmacros'


@cache
def _table() -> dict:
    return tomllib.loads(TABLE.read_text(encoding='utf-8'))


def _side(name: str) -> dict[str, tuple[str, int]]:
    """Macro -> (replacement, number of arguments), with the replacements of one side laid over the common ones."""
    table = _table()
    common = {key: value for key, value in table.items() if not isinstance(value, dict)}
    merged = common | table.get(name, {})
    return {key: (value, 0) if isinstance(value, str) else (value[0], value[1]) for key, value in merged.items()}


def for_mathml() -> dict[str, str]:
    return {name: replacement for name, (replacement, _) in _side('mathml').items()}


def for_latex() -> str:
    r"""Text of ``bookmacros.sty``. ``\newcommand`` on purpose: a name that LaTeX already uses must fail loudly."""
    # math-core knows the commands of mathtools, such as dcases and \coloneqq.
    lines = [rf'\ProvidesPackage{{{PACKAGE}}}', r'\RequirePackage{mathtools}']
    for name, (replacement, arguments) in _side('latex').items():
        if ALPHABET.fullmatch(replacement):
            replacement = f'{{{replacement}}}'      # so that an accent or a script takes it whole, as in MathML
        lines.append(rf'\newcommand{{\{name}}}' + (f'[{arguments}]' if arguments else '') + f'{{{replacement}}}%')
    return '\n'.join(lines) + '\n'


def digest() -> str:
    """Changes whenever the same TeX may become other MathML, so that an incremental build starts afresh."""
    return hashlib.sha256(TABLE.read_bytes() + version('math-core').encode()).hexdigest()[:16]
