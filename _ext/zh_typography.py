"""Spaces and line breaks that Chinese does not want: line ends of the source, and blanks before a reference that reads as Chinese.

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
FULL_WIDTH = re.compile(f'[{PUNCTUATION}]')
CHINESE = re.compile(f'[{HAN}{PUNCTUATION}]')
CLOSING = re.compile('[，。、；：！？）》」』〉】”’…]+')
VERBATIM = (nodes.literal, nodes.FixedTextElement, nodes.math, nodes.math_block, nodes.raw, nodes.comment)


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
    """Drop blanks beside references whose own text begins or ends in Chinese, and beside full-width brackets of citations."""

    default_priority = 900  # after every resolver

    def run(self, **kwargs: object) -> None:
        for parent in {id(node.parent): node.parent for node in self.document.findall(nodes.reference)}.values():
            for at in range(len(parent) - 1):
                close_up(parent[at], parent[at + 1])


def close_up(before: nodes.Node, after: nodes.Node) -> None:
    """Take the blank between two neighbours away where Chinese typography wants none; the blank stands in a text node."""
    if isinstance(before, VERBATIM) or isinstance(after, VERBATIM):
        return
    left, right = before.astext(), after.astext()
    head, tail = left.rstrip(' \n'), right.lstrip(' \n')
    if (left, right) == (head, tail) or not head or not tail:
        return
    if not (FULL_WIDTH.search(head[-1]) or FULL_WIDTH.search(tail[0]) or (CHINESE.search(head[-1]) and CHINESE.search(tail[0]))):
        return
    for node, text in ((before, head), (after, tail)):
        if isinstance(node, nodes.Text) and text != node.astext():
            node.parent.replace(node, nodes.Text(text))


class KeepPunctuation(SphinxPostTransform):
    """Keep a formula and the punctuation after it on one line: a browser would break there, as it does beside a picture."""

    default_priority = 910
    formats = ('html',)

    def run(self, **kwargs: object) -> None:
        for formula in list(self.document.findall(nodes.math)):
            parent, at = formula.parent, formula.parent.index(formula)
            after = parent[at + 1] if at + 1 < len(parent) else None
            if isinstance(after, nodes.Text) and (closing := CLOSING.match(after)):
                parent[at : at + 2] = [nodes.inline('', '', formula, nodes.Text(closing[0]), classes=['nobr']), nodes.Text(after[closing.end() :])]


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_transform(JoinLines)
    app.add_post_transform(CloseUpReferences)
    app.add_post_transform(KeepPunctuation)
    return {'env_version': 1, 'parallel_read_safe': True, 'parallel_write_safe': True}
