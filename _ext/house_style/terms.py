"""Rules for vocabulary: one term, one translation; an English word is introduced before it is used.

``terms.toml`` holds the two tables: translations to avoid with the one to use, and English words that need no introduction.
What the glossary (``{glossary}`` entries written “中文 / English：definition”) names is known on every page.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from house_style.text import blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from docutils import nodes

    Finding = tuple[str, nodes.Element, str]

TABLE = tomllib.loads(Path(__file__).with_name('terms.toml').read_text(encoding='utf-8'))
AVOID = {re.compile(pattern): better for pattern, better in TABLE['avoid'].items()}
KNOWN = {word for words in TABLE['known'].values() for word in words.split()}
HAN = re.compile(r'[\u4e00-\u9fff]')
WORD = re.compile(r'(?<![\w.@/\\-])[a-z]{3,}(?:-[a-z]+)*(?![\w./])')
IN_PARENTHESES = re.compile(r'（[^（）]*）')


def preferred(document: nodes.document) -> Iterator[Finding]:
    for node, text in blocks(document):
        for pattern, better in AVOID.items():
            if found := pattern.search(IN_PARENTHESES.sub('，', text)):
                yield 'term', node, f'译名不一：“{found[0]}”请改为“{better}”（见术语表）'


def introduced(document: nodes.document) -> Iterator[Finding]:
    """Lower-case English words in Chinese prose that no parenthesis on the page has introduced and no table knows."""
    seen: set[str] = set()
    for node, text in blocks(document):
        if not HAN.search(text):
            continue
        for parenthesis in IN_PARENTHESES.findall(text):
            seen.update(WORD.findall(parenthesis))
        for word in WORD.findall(IN_PARENTHESES.sub('，', text)):
            if word not in KNOWN and word not in seen:
                seen.add(word)
                yield 'english', node, f'英文词“{word}”首次出现要写成“中文（{word}）”；不译的惯用词请加进 _ext/house_style/terms.toml'
