"""What a document holds that a check may name, read off its doctree."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from blocks.nodes import block
from docutils import nodes

DERIVED = frozenset({'theorem', 'lemma', 'proposition', 'corollary'})


class Fact(NamedTuple):
    label: str
    kind: str               # kind of the block, or equation, table, figure
    exercise_kind: str
    answered: bool
    line: int

    @property
    def column(self) -> str:
        """Column of the report this counts in; '' for none."""
        if self.kind == 'exercise':
            return 'exercise' if self.exercise_kind == 'compute' else ''
        return 'derived' if self.kind in DERIVED else self.kind if self.kind in ('equation', 'table', 'figure', 'example') else ''

    @property
    def needs_check(self) -> bool:
        return self.kind == 'example' and self.answered or self.kind == 'exercise' and (self.exercise_kind == 'compute' or self.answered)


def labels(node: nodes.Node) -> tuple[str, ...]:
    """Labels by which a check may name ``node``; none for what takes no mark."""
    if isinstance(node, block):
        return (node['label'],) if node['label'] and node['kind'] not in ('solution', 'hint', 'proof') else ()
    if isinstance(node, nodes.math_block):
        return (node['label'],) if node.get('label') else ()
    if isinstance(node, (nodes.table, nodes.figure)):
        return tuple(node['names'])
    return ()


def kind(node: nodes.Element) -> str:
    if isinstance(node, block):
        return node['kind']
    return {nodes.math_block: 'equation', nodes.table: 'table', nodes.figure: 'figure'}[type(node)]


def collect(doctree: nodes.document) -> Iterator[Fact]:
    """Facts in document order. The answer of an exercise stands at its solution, anywhere in the book: see :meth:`answers`."""
    for node in doctree.findall(nodes.Element):
        for label in labels(node):
            exercise_kind, answer = (node.get('exercise_kind', ''), node.get('answer')) if isinstance(node, block) else ('', None)
            yield Fact(label, kind(node), exercise_kind, bool(answer), node.line or 0)


def answered(doctree: nodes.document) -> set[str]:
    """Labels of the exercises whose solutions declare an answer."""
    return {node['target'] for node in doctree.findall(block) if node['kind'] == 'solution' and node.get('answer')}
