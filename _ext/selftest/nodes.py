"""Places the scripts fill. They hold no text: without a script, and outside the web site, there is nothing to see."""

from __future__ import annotations

import json
from html import escape

from docutils import nodes
from sphinx.writers.html5 import HTML5Translator


BUILDERS = ('html', 'dirhtml')       # where a script can fill the places


class selftest_place(nodes.Part, nodes.Element):  # noqa: N801 - docutils names nodes in lower case
    """``part`` is ``form`` (end of an exercise), ``bar`` (before the first one of a page) or ``review``; ``facts`` become data attributes."""


def visit_html(self: HTML5Translator, node: selftest_place) -> None:
    if self.builder.name not in BUILDERS:       # an EPUB is written by the same translator
        raise nodes.SkipNode
    facts = {key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(',', ':')) for key, value in node['facts'].items()}
    data = ''.join(f' data-{key}="{escape(value)}"' for key, value in facts.items())
    lines = '<div class="selftest-field"></div>' * len(node['facts'].get('fields', ()))       # so that nothing moves when the form appears
    inside = f'<div class="selftest-fields">{lines}</div>' if lines else ''
    self.body.append(f'<div class="selftest-{node["part"]}"{data}>{inside}</div>\n')
    raise nodes.SkipNode


def skip(self: nodes.NodeVisitor, node: selftest_place) -> None:
    raise nodes.SkipNode
