"""``{numref}`` answered from the numbers the environment holds: Sphinx unpickles the target's whole page for each of them.

Only the plain form, on pages: what has words of its own, has no number, or is not found here goes the usual way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.addnodes import number_reference, pending_xref
from sphinx.transforms.post_transforms import SphinxPostTransform

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata


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


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_post_transform(Numbers)
    return {'version': '1', 'parallel_read_safe': True, 'parallel_write_safe': True}
