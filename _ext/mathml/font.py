"""The math font: STIX Two Math (OFL), cut down to what the book's formulas show."""

from __future__ import annotations

import hashlib
import re
from html import unescape
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fontTools.ttLib import TTFont

FILE = 'math.woff2'
MARKUP = re.compile(r'<[^>]*>')
IDENTIFIER = re.compile(r'<mi>([^<&])</mi>')
# Drawn by the browser, never written: the radical sign, and the space that every font needs.
UNWRITTEN = '√ '
FEATURES = ['ccmp', 'dtls', 'flac', 'kern', 'ssty']


def _italic(letter: str) -> str:
    """A one-letter <mi> is shown with the mathematical italic letter."""
    special = {'h': 'ℎ', 'ı': '𝚤', 'ȷ': '𝚥', '∂': '𝜕', 'ϵ': '𝜖', 'ϑ': '𝜗', 'ϰ': '𝜘', 'ϕ': '𝜙', 'ϱ': '𝜚', 'ϖ': '𝜛', 'ϴ': '𝛳', '∇': '𝛻'}
    if letter in special:
        return special[letter]
    for first, last, italic in (('A', 'Z', 0x1D434), ('a', 'z', 0x1D44E), ('Α', 'Ω', 0x1D6E2), ('α', 'ω', 0x1D6FC)):
        if first <= letter <= last:
            return chr(italic + ord(letter) - ord(first))
    return ''


def characters(mathml: str) -> set[str]:
    """The characters that showing this formula takes."""
    written = set(unescape(MARKUP.sub('', mathml)))
    return written | {_italic(letter) for letter in IDENTIFIER.findall(mathml)} - {''}


def original() -> Path:
    """STIX Two Math as ziamath carries it; the printed book takes it whole."""
    # Not through an import: ziamath would load its whole layout engine.
    return Path(find_spec('ziamath').origin).parent / 'fonts' / 'STIXTwoMath-Regular.ttf'


def _even_radicals(font: TTFont) -> None:
    """Give every size of the radical sign the width of the smallest.

    Chromium lays a root out as wide as its widest radical would make it, whichever it draws: a gap of 0.4 em after each root.
    """
    radical = font.getBestCmap()[ord('√')]
    variants = font['MATH'].table.MathVariants
    grown = variants.VertGlyphConstruction[variants.VertGlyphCoverage.glyphs.index(radical)]
    names = {record.VariantGlyph for record in grown.MathGlyphVariantRecord} | {part.glyph for part in grown.GlyphAssembly.PartRecords}
    metrics, outlines = font['hmtx'].metrics, font['glyf']
    width = metrics[radical][0]
    for name in names - {radical}:
        advance, bearing = metrics[name]
        outlines[name].coordinates.scale((width / advance, 1))
        outlines[name].coordinates.toInt()
        outlines[name].recalcBounds(outlines)
        metrics[name] = (width, round(bearing * width / advance))


def subset(shown: str) -> bytes:
    """WOFF2 with these characters and everything they grow into: sizes, assemblies, script forms. Same input, same bytes."""
    from fontTools import subset as cutter  # noqa: PLC0415 (a fifth of a second that most builds do not need)
    from fontTools.ttLib import TTFont

    options = cutter.Options(layout_features=FEATURES, hinting=False, name_IDs=['*'], notdef_outline=True)
    font = TTFont(original(), recalcTimestamp=False)
    job = cutter.Subsetter(options)
    job.populate(text=shown + UNWRITTEN)
    job.subset(font)
    _even_radicals(font)
    font.flavor = 'woff2'
    out = BytesIO()
    font.save(out)
    return out.getvalue()


def write(shown: str, target: Path, cache: Path) -> None:
    """Put the font at ``target``; an unchanged set of characters costs a file copy."""
    recipe = Path(__file__).read_bytes() + str(original().stat().st_size).encode()
    stamp = hashlib.sha256(shown.encode() + recipe).hexdigest()[:16]
    kept = cache / f'math-{stamp}.woff2'
    if not kept.exists():
        for old in cache.glob('math-*.woff2'):
            old.unlink()
        kept.write_bytes(subset(shown))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(kept.read_bytes())
