"""A formula as plain text, for places that hold no markup: <title>, the EPUB's contents, PDF bookmarks, search titles."""

from __future__ import annotations

import unicodedata
from functools import lru_cache
from xml.etree import ElementTree

from .convert import MathError, convert

SUPERSCRIPT = dict(zip('0123456789+−n', '⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ', strict=True))
INVISIBLE = dict.fromkeys(map(ord, '\u2061\u2062\u2063\u2064\ufe00\ufe01'))


def _token(text: str) -> str:
    """Plain letters instead of 𝒙 or 𝑾; ℝ stays."""
    return ''.join(unicodedata.normalize('NFKC', c) if '\U0001d400' <= c <= '\U0001d7ff' else c for c in text.translate(INVISIBLE))


def _group(text: str) -> str:
    return text if len(text) == 1 or text.isalnum() else f'({text})'


def _script(base: str, mark: str, script: str) -> str:
    if mark == '^' and script and all(c in SUPERSCRIPT for c in script):
        return base + ''.join(SUPERSCRIPT[c] for c in script)
    if script in ('′', '″', '⊤', '∗'):
        return base + script
    return f'{base}{mark}{_group(script)}' if script else base


def _read(element: ElementTree.Element) -> str:
    parts = [_read(child) for child in element]
    match element.tag, parts:
        case 'mfrac', [above, below]:
            return f'{_group(above)}/{_group(below)}'
        case 'msqrt', _:
            return '√' + _group(''.join(parts))
        case 'mroot', [base, degree]:
            return f'{_group(base)}^(1/{degree})'
        case 'msup', [base, above]:
            return _script(base, '^', above)
        case ('msub' | 'munder'), [base, below]:
            return _script(base, '_', below)
        case ('msubsup' | 'munderover'), [base, below, above]:
            return _script(_script(base, '_', below), '^', above)
        case 'mover', [base, above]:
            return base + {'ˆ': '\u0302', '˜': '\u0303', '¯': '\u0304', '⃗': '\u20d7'}.get(above, '') if element.get('accent') else base
        case 'mtr', _:
            return ' '.join(parts)
        case 'mtable', _:
            return '; '.join(parts)
        case 'mo', _ if element.text in ('=', '≈', '≤', '≥', '→', '∈', '∼', '<', '>', '≠'):
            return f' {element.text} '
        case _:
            return _token(element.text or '') + ''.join(parts)


@lru_cache(maxsize=None)
def readable(tex: str) -> str:
    """``\\sqrt{d_k}`` -> ``√(d_k)``; the TeX itself where it is wrong."""
    try:
        return ' '.join(_read(ElementTree.fromstring(convert(tex, False))).split())
    except MathError:
        return tex
