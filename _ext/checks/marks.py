"""Before writing: the mark put on every block, equation, table and figure that a check names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from blocks.nodes import block, block_title
from docutils import nodes
from sphinx.transforms.post_transforms import SphinxPostTransform

from .facts import labels
from .nodes import WORD, check_mark, checked_equation

if TYPE_CHECKING:
    from .scan import Function


class Marks(SphinxPostTransform):
    default_priority = 8

    def run(self, **kwargs: object) -> None:
        by_label = self.env.domains['checks'].by_label
        for node in list(self.document.findall(nodes.Element)):
            is_solution = isinstance(node, block) and node['kind'] == 'solution'
            names = (node['target'],) if is_solution and node.get('answer') else labels(node)
            functions = [function for label in names for function in by_label.get(label, ())]
            if functions:
                self.put(node, self.mark(functions))

    def mark(self, functions: list[Function]) -> check_mark:
        names = list(dict.fromkeys(function.name for function in functions))
        return check_mark('', WORD, names=names, uri=self.uri(functions[0]))

    def uri(self, function: Function) -> str:
        """Where the mark leads: the check's source on the site; in an e-book the report; elsewhere nowhere."""
        builder, docname = self.env._app.builder, self.env.current_document.docname
        if builder.name == 'epub':
            reports = sorted(self.env.domains['checks'].data['reports'])
            return builder.get_relative_uri(docname, reports[0]) if reports else ''
        if builder.name in ('html', 'dirhtml') and self.config.checks_pages:
            return f'{builder.get_relative_uri(docname, function.page)}#{function.name}'
        return ''

    def put(self, node: nodes.Element, mark: check_mark) -> None:
        if isinstance(node, nodes.math_block):
            wrapper = checked_equation()
            node.replace_self(wrapper)
            wrapper += node
            if self.env._app.builder.format != 'latex':
                wrapper += nodes.paragraph('', '', mark, classes=['check-line'])
        elif isinstance(node, block):
            self.put_on_block(node, mark)
        else:
            caption = next((child for child in node.children if isinstance(child, (nodes.caption, nodes.title))), None)
            if caption is not None:
                caption += [*self.blank(), mark]
            else:
                node.parent.insert(node.parent.index(node) + 1, nodes.paragraph('', '', mark, classes=['check-line']))

    def put_on_block(self, node: block, mark: check_mark) -> None:
        title = node[0] if len(node) and isinstance(node[0], block_title) else None
        if title is None:               # hidden
            return
        # The title of a fold is what opens it; a link inside would be a control within a control.
        if node['kind'] == 'solution' and self.env._app.builder.format == 'html':
            node.insert(1, nodes.paragraph('', '', mark, classes=['check-line']))
        else:
            title += [*(self.blank() if len(title) else []), mark]

    def blank(self) -> list[nodes.Node]:
        """Where no style sheet sets the mark apart, a blank does."""
        return [] if self.env._app.builder.format in ('html', 'latex') else [nodes.Text(' ')]
