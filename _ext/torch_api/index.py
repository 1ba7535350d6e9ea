"""``{torch-index}``: every PyTorch name the book mentions, by module, with the sections that discuss it."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from docutils import nodes
from sphinx.util.docutils import SphinxDirective
from sphinx.util.nodes import make_refnode

from torch_api.writers import api_name

if TYPE_CHECKING:
    from docutils.nodes import Element, Node
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment


class torch_index(nodes.General, nodes.Element):
    """Place of the index; replaced when the document is written."""


class TorchIndex(SphinxDirective):
    def run(self) -> list[Node]:
        self.env.domains['torch'].data['indices'][self.env.current_document.docname] = ()
        return [torch_index()]


class Place(NamedTuple):
    docname: str
    anchor: str
    number: str
    title: str


class Row(NamedTuple):
    module: str
    name: str        # below the module: `Tensor.repeat`
    full: str
    places: tuple[Place, ...]


def module_of(full: str) -> str:
    """Leading parts that are modules: a class begins with a capital, and the last part is never a module."""
    parts = full.split('.')[:-1]
    classes = [i for i, part in enumerate(parts) if part[:1].isupper()]
    return '.'.join(parts[:classes[0]] if classes else parts) or full


def rows(env: BuildEnvironment) -> tuple[Row, ...]:
    """Sorted by module and name; one place a document, in reading order."""
    places: dict[str, list[Place]] = {}
    for docname, mentioned in env.domains['torch'].data['places'].items():
        numbers = env.toc_secnumbers.get(docname, {})
        number = '.'.join(map(str, numbers.get('', ())))
        title = env.titles[docname].astext()
        seen = set()
        for full, anchor in mentioned:
            if full not in seen:
                seen.add(full)
                places.setdefault(full, []).append(Place(docname, anchor, number, title))
    order = {docname: i for i, docname in enumerate(reading_order(env))}
    found = []
    for full, at in places.items():
        module = module_of(full)
        at.sort(key=lambda place: (order.get(place.docname, len(order)), place))
        found.append(Row(module, full.removeprefix(f'{module}.'), full, tuple(at)))
    return tuple(sorted(found))


def reading_order(env: BuildEnvironment) -> list[str]:
    found, stack = [], [env.config.root_doc]
    while stack:
        docname = stack.pop()
        if docname not in found:
            found.append(docname)
            stack.extend(reversed(env.toctree_includes.get(docname, [])))
    return found


def outdated_indices(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """Documents with an index that no longer says what it should."""
    shown = env.domains['torch'].data['indices']
    now = rows(env) if shown else ()
    outdated = sorted(docname for docname, before in shown.items() if before != now)
    shown.update(dict.fromkeys(outdated, now))
    return outdated


def render(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    for place in list(doctree.findall(torch_index)):
        place.replace_self(content(app, docname))


def content(app: Sphinx, docname: str) -> list[Element]:
    """One table a module."""
    found: list[Element] = []
    known = app.env.domains['torch'].known()
    module = None
    for row in rows(app.env):
        if row.module != module:
            module = row.module
            found += [nodes.rubric('', module), table()]
        body = next(found[-1].findall(nodes.tbody))
        name = nodes.reference('', '', api_name('', row.name), internal=False, refuri=known[row.full], reftitle=row.full)
        links: list[Node] = []
        for place in row.places:
            text = f'{place.number} {place.title}'.strip()
            links += [nodes.Text('；')] if links else []
            links.append(make_refnode(app.builder, docname, place.docname, place.anchor, nodes.inline('', text), text))
        body += nodes.row('', *(nodes.entry('', nodes.paragraph('', '', *cell)) for cell in ([name], links)))
    return found or [nodes.paragraph('', '（书中还没有提到 PyTorch 函数。）')]


def table() -> nodes.table:
    head = nodes.thead('', nodes.row('', *(nodes.entry('', nodes.paragraph('', text)) for text in ('函数', '讨论它的节'))))
    group = nodes.tgroup('', nodes.colspec(colwidth=45), nodes.colspec(colwidth=55), head, nodes.tbody(), cols=2)
    return nodes.table('', group, classes=['torch-index', 'colwidths-given'], width='100%')
