"""``{numref}`` answered from the numbers the environment holds: Sphinx unpickles the target's whole page for each of them.

Only the plain form, on pages: what has words of its own, has no number, or is not found here goes the usual way; where that ends in words without
a number (a heading below the numbered levels), it is told.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.addnodes import number_reference, pending_xref
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

logger = logging.getLogger(__name__)


class Numbers(SphinxPostTransform):
    default_priority = 9        # before references are resolved at 10
    formats = ('html',)

    def run(self, **kwargs: object) -> None:
        for node in list(self.document.findall(pending_xref)):
            if node.get('refdomain') == 'std' and node['reftype'] == 'numref' and not node['refexplicit']:
                self.resolve(node)

    def resolve(self, node: pending_xref) -> None:
        std = self.env.domains.standard_domain
        docname, anchor, title = std.labels.get(node['reftarget'], ('', '', ''))
        kind, number = self.numbered(docname, anchor, title)
        if number and '%s' in (words := self.config.numfig_format.get(kind, '')):
            words %= '.'.join(map(str, number))
            here = self.env.current_document.docname
            node.replace_self(std.build_reference_node(
                here, self.app.builder, docname, anchor, words, 'numref', node_class=number_reference, title=self.config.numfig_format[kind],
            ))

    def numbered(self, docname: str, anchor: str, title: str) -> tuple[str, tuple[int, ...] | None]:
        """Kind and number of a label's target. A page's first heading has its number under no anchor, and its title is the page's."""
        for kind, numbers in self.env.toc_fignumbers.get(docname, {}).items():
            if anchor in numbers:
                return kind, numbers[anchor]
        sections = self.env.toc_secnumbers.get(docname, {})
        if f'#{anchor}' in sections:
            return 'section', sections[f'#{anchor}']
        whole = docname in self.env.titles and title == self.env.titles[docname].astext()
        return 'section', sections.get('') if whole else None


class Unnumbered(SphinxPostTransform):
    default_priority = 11

    def is_supported(self) -> bool:
        return self.app.builder.format != 'latex'       # there the number comes with typesetting

    def run(self, **kwargs: object) -> None:
        empty = {words.replace('%s', '').strip() for words in self.config.numfig_format.values()}
        for node in self.document.findall(number_reference):
            if node.astext().strip() in empty:
                target = node.get('refid') or node['refuri'].partition('#')[2]
                logger.warning('{numref}`%s` 指向没有编号的标题；改用 {ref}`%s`，或引用它所在的节。', target, target, location=node, type='numref', subtype='unnumbered')


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_post_transform(Numbers)
    app.add_post_transform(Unnumbered)
    return {'version': '1', 'parallel_read_safe': True, 'parallel_write_safe': True}
