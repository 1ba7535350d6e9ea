"""What the build remembers about formulas, and the check of every formula when its document is read."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, ClassVar

from docutils import nodes
from sphinx.domains import Domain
from sphinx.transforms import SphinxTransform
from sphinx.util import logging
from sphinx.util.nodes import get_node_source

from .convert import MathError, convert
from .font import characters
from .locate import excerpt, line_of
from .readable import readable

if TYPE_CHECKING:
    from collections.abc import Set
    from typing import Any

    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

logger = logging.getLogger(__name__)


class title_math(nodes.math):
    """Mathematics in a title: its plain text is readable, because titles go where no markup can."""

    tagname = 'math'

    def astext(self) -> str:
        return readable(super().astext())


class MathMLDomain(Domain):
    name = 'mathml'
    label = 'mathml'
    data_version = 1
    initial_data: ClassVar[dict[str, dict[str, Any]]] = {
        'characters': {},  # docname -> the characters its formulas show
        'wrong': {},  # docname -> number of formulas that could not be converted
    }

    def clear_doc(self, docname: str) -> None:
        for table in self.data.values():
            if isinstance(table, dict):
                table.pop(docname, None)

    def merge_domaindata(self, docnames: Set[str], otherdata: dict[str, Any]) -> None:
        for key in self.initial_data:
            self.data[key].update({doc: value for doc, value in otherdata[key].items() if doc in docnames})

    def resolve_any_xref(self, *args: Any) -> list:
        """Nothing here can be referred to; equations belong to Sphinx's own domain."""
        return []

    def characters(self) -> str:
        return ''.join(sorted(set().union(*self.data['characters'].values())))


class MarkTitleMath(SphinxTransform):
    """Before titles are collected."""

    default_priority = 868  # Sphinx collects titles at 880

    def apply(self, **kwargs: Any) -> None:
        for title in self.document.findall(nodes.title):
            for node in list(title.findall(nodes.math)):
                if not isinstance(node, title_math):
                    tex = nodes.math.astext(node)
                    node.replace_self(title_math(node.rawsource, tex, **node.attributes))


class CheckMath(SphinxTransform):
    """Convert each formula once while the document's source is at hand: errors get their line, the font its characters."""

    default_priority = 869

    def apply(self, **kwargs: Any) -> None:
        domain = self.env.domains['mathml']
        shown: set[str] = set()
        wrong = 0
        seen: Counter[tuple[int, str]] = Counter()
        for node in self.document.findall(lambda n: isinstance(n, (nodes.math, nodes.math_block))):
            tex = tex_of(node)
            line = first_line(node)
            try:
                shown |= characters(convert(tex, isinstance(node, nodes.math_block)))
            except MathError as error:
                wrong += 1
                node['reported'] = True
                report(node, error, (line, seen[line, tex]))
            seen[line, tex] += 1
        if shown:
            domain.data['characters'][self.env.docname] = ''.join(sorted(shown))
        if wrong:
            domain.data['wrong'][self.env.docname] = wrong


def tex_of(node: nodes.Element) -> str:
    return nodes.Element.astext(node)


def first_line(node: nodes.Node | None) -> int:
    while node is not None and node.line is None:
        node = node.parent
    return node.line if node is not None else 1


def report(node: nodes.Element, error: MathError, place: tuple[int, int]) -> None:
    source, tex = get_node_source(node) or '', tex_of(node)
    line = line_of(source, place[0], tex, error.position or 0, place[1])
    logger.error(
        '公式有误：%s%s', error.message, excerpt(tex, error.position), location=f'{source}:{line}', type='mathml', subtype=error.subtype
    )


def read_again(app: Sphinx, env: BuildEnvironment, added: Set[str], changed: Set[str], removed: Set[str]) -> list[str]:
    """A page with a wrong formula stays wrong in the next build too, also when nothing changed."""
    return [doc for doc in env.domains['mathml'].data['wrong'] if doc not in removed]
