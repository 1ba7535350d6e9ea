"""References to what an edition leaves out become plain text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from printed.answers import origin
from sphinx import addnodes
from sphinx.builders.latex.nodes import math_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sphinx.application import Sphinx

REFERENCES = (nodes.reference, addnodes.number_reference, math_reference)
Target = tuple[str, str]            # (docname, id); no id: the document


def unlink(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    if app.config.edition == 'full':
        return
    if app.builder.format == 'latex':
        present = {(doc, one) for doc, node in with_document(doctree, docname) for one in node.get('ids', ())}
        present |= {(doc, '') for doc, _ in with_document(doctree, docname)}
        for doc, node in list(with_document(doctree, docname)):
            if isinstance(node, REFERENCES) and (target := printed_target(doc, node)) and target not in present:
                plain(app, node)
    elif app.builder.format == 'html':
        gone = set(withheld(app, docname))
        for node in list(doctree.findall(nodes.reference)):
            if (node.get('refuri') or f'#{node.get("refid")}') in gone:
                plain(app, node)


def with_document(node: nodes.Node, docname: str) -> Iterator[tuple[str, nodes.Element]]:
    """Every element below ``node`` with the document it comes from."""
    for child in node.children:
        if isinstance(child, nodes.Element):
            inner = child['docname'] if isinstance(child, (addnodes.start_of_file, origin)) else docname
            yield inner, child
            yield from with_document(child, inner)


def printed_target(docname: str, node: nodes.Element) -> Target | None:
    if isinstance(node, math_reference):
        return node['docname'], nodes.make_id(f'equation-{node["target"]}')
    if node.get('refid'):
        return docname, node['refid']
    if node.get('refuri', '').startswith('%'):
        doc, _, anchor = node['refuri'][1:].partition('#')
        return doc, anchor
    return None


def withheld(app: Sphinx, docname: str) -> Iterator[str]:
    """How ``docname`` would refer to what hints and solutions hold."""
    for where, one, _ in app.env.domains['edition'].inside():
        yield f'#{one}' if where == docname else f'{app.builder.get_relative_uri(docname, where)}#{one}'


def plain(app: Sphinx, node: nodes.Element) -> None:
    if isinstance(node, math_reference):
        numbers = app.env.toc_fignumbers.get(node['docname'], {}).get('displaymath', {})
        number = '.'.join(map(str, numbers.get(nodes.make_id(f'equation-{node["target"]}'), ())))
        node.replace_self(nodes.Text((app.config.math_eqref_format or '({number})').format(number=number)))
    else:
        node.replace_self(node.children)
