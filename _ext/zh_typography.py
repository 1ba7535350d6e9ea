"""Spaces that Chinese does not want: line ends of the source, and blanks before a reference that reads as Chinese.

Authors break source lines where they like and put blanks around every reference. In the output a line end between two
Chinese characters, or beside full-width punctuation, must vanish (a browser and LaTeX would both show a blank), and
``见 {numref}`fig-x` `` must read “见图 1.1.1”, while ``由 {eq}`eq-x` 可知`` keeps its blanks around “(1.1.1)”.
"""

from __future__ import annotations

import re
from itertools import groupby
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.transforms import SphinxTransform
from sphinx.transforms.post_transforms import SphinxPostTransform

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

HAN = r'\u2e80-\u2fdf\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff'
PUNCTUATION = r'\u3001\u3002\u3008-\u3011\u3014-\u301b\uff01-\uff0f\uff1a-\uff20\uff3b-\uff40\uff5b-\uff65\u2014\u2018\u2019\u201c\u201d\u2026'
BETWEEN = re.compile(rf'(?<=[{HAN}{PUNCTUATION}])[ \t]*\n[ \t]*(?=[{HAN}{PUNCTUATION}])')
AFTER_PUNCTUATION = re.compile(rf'(?<=[{PUNCTUATION}])[ \t]*\n[ \t]*')
BEFORE_PUNCTUATION = re.compile(rf'[ \t]*\n[ \t]*(?=[{PUNCTUATION}])')
HAN_THEN_BLANK = re.compile(rf'([{HAN}{PUNCTUATION}])[ \n]$')
BLANK_THEN_HAN = re.compile(rf'^[ \n](?=[{HAN}{PUNCTUATION}])')
CHINESE_FIRST = re.compile(rf'^[{HAN}{PUNCTUATION}]')
VERBATIM = (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.math_block, nodes.raw, nodes.comment)
CHINESE_LAST = re.compile(rf'[{HAN}{PUNCTUATION}]$')


def join_lines(text: str) -> str:
    """Remove the line ends that stand between Chinese characters or beside full-width punctuation."""
    for pattern in (BETWEEN, AFTER_PUNCTUATION, BEFORE_PUNCTUATION):
        text = pattern.sub('', text)
    return text


def joined_runs(children: list[nodes.Node]) -> Iterator[list[nodes.Node]]:
    """Each run of neighbouring texts as one joined text (MyST gives a line end a text node of its own); the rest as it is."""
    for is_text, run in groupby(children, lambda child: isinstance(child, nodes.Text)):
        yield [nodes.Text(join_lines(''.join(run)))] if is_text else list(run)


class JoinLines(SphinxTransform):
    """Apply :func:`join_lines` to all prose, before any other reader of the text."""

    default_priority = 5

    def apply(self, **kwargs: object) -> None:
        for element in list(self.document.findall(nodes.TextElement)):
            if not isinstance(element, VERBATIM) and '\n' in element.astext():
                element.children = [child for run in joined_runs(element.children) for child in run]
                for child in element.children:
                    element.setup_child(child)


class CloseUpReferences(SphinxPostTransform):
    """Drop the blank between Chinese text and a resolved reference whose own text begins or ends in Chinese."""

    default_priority = 900  # after every resolver

    def run(self, **kwargs: object) -> None:
        for reference in list(self.document.findall(nodes.reference)):
            parent, text = reference.parent, reference.astext()
            at = parent.index(reference)
            if at and isinstance(before := parent[at - 1], nodes.Text) and CHINESE_FIRST.search(text):
                parent.replace(before, nodes.Text(HAN_THEN_BLANK.sub(r'\1', before)))
            if at + 1 < len(parent) and isinstance(after := parent[at + 1], nodes.Text) and CHINESE_LAST.search(text):
                parent.replace(after, nodes.Text(BLANK_THEN_HAN.sub('', after)))


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_transform(JoinLines)
    app.add_post_transform(CloseUpReferences)
    return {'env_version': 1, 'parallel_read_safe': True, 'parallel_write_safe': True}
