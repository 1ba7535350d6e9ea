"""Hints and solutions on pages of their own: taken from each page when it is resolved, drawn together when all have been."""

from __future__ import annotations

from pathlib import Path
from posixpath import dirname, join, normpath
from typing import TYPE_CHECKING, ClassVar

from blocks.facts import title_nodes
from blocks.nodes import block
from docutils import nodes
from mathml.epub import MathEpubBuilder
from sphinx import addnodes
from sphinx.util.osutil import relative_uri

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from blocks.facts import Fact
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

WORDS = {'hint': '提示', 'solution': '解答'}


class AnswersEpubBuilder(MathEpubBuilder):
    """Knows the pages of hints and solutions: they follow the chapters in the table of contents and in reading order."""

    guide_titles: ClassVar[dict[str, str]] = {'toc': '目录', 'cover': '封面'}

    def init(self) -> None:
        super().init()
        self.taken: dict[str, list[block]] = {}         # docname -> hints and solutions, of pages resolved in this run

    def build_content(self) -> None:
        # Left by a build before, it would be listed twice.
        Path(self.outdir, self.coverpage_name).unlink(missing_ok=True)
        super().build_content()
        package = Path(self.outdir, 'content.opf')
        cover = f'href="{self.config.epub_cover[0]}"'
        package.write_text(package.read_text(encoding='utf-8').replace(cover, f'properties="cover-image" {cover}', 1), encoding='utf-8')

    def get_refnodes(self, doctree: nodes.Node, result: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Entries of the table of contents, with their numbers."""
        if isinstance(doctree, nodes.reference) and doctree.get('secnumber'):
            doctree.insert(0, nodes.Text('.'.join(map(str, doctree.attributes.pop('secnumber'))) + '　'))
        return super().get_refnodes(doctree, result)

    def get_toc(self) -> None:
        super().get_toc()
        chapters = [docname for docname, _, _ in answer_pages(self.env)]
        if not chapters:
            return
        own = {self.get_target_uri(docname) for chapter in chapters for docname in below(self.env, chapter)}
        at = 1 + max(index for index, item in enumerate(self.refnodes) if item['refuri'].partition('#')[0] in own)
        self.refnodes[at:at] = [
            {'level': 1, 'refuri': self.get_target_uri(page), 'text': title} for _, page, title in answer_pages(self.env)
        ]


# -- which pages there are -------------------------------------------------------------------------------------------------


def below(env: BuildEnvironment, docname: str) -> Iterator[str]:
    yield docname
    for child in env.toctree_includes.get(docname, ()):
        yield from below(env, child)


def chapters_of(env: BuildEnvironment) -> dict[str, str]:
    """Document -> the page under the root that it belongs to."""
    return {docname: chapter for chapter in env.toctree_includes.get(env.config.root_doc, ()) for docname in below(env, chapter)}


def page_name(chapter: str, kind: str) -> str:
    return f'{chapter}-{kind}s'


def answer_pages(env: BuildEnvironment) -> list[tuple[str, str, str]]:
    """Chapter, page and title, in the order of the book: all hints, then all solutions."""
    if env.config.edition != 'full':
        return []
    chapters = chapters_of(env)
    wanted = {(chapters.get(fact.docname), fact.kind) for fact in env.domains['block'].in_order() if is_answer(fact)}
    found = []
    for kind, word in WORDS.items():
        for chapter in env.toctree_includes.get(env.config.root_doc, ()):
            if (chapter, kind) in wanted:
                number = '.'.join(map(str, env.toc_secnumbers.get(chapter, {}).get('', ())))
                found.append((chapter, page_name(chapter, kind), f'第 {number} 章练习{word}' if number else f'练习{word}'))
    return found


def is_answer(fact: Fact) -> bool:
    return not fact.hidden and (fact.kind == 'solution' or (fact.kind == 'hint' and bool(fact.inside)))


# -- taking -----------------------------------------------------------------------------------------------------------------


def take(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Move hints and solutions off the page, leave links to them, and lead every link to where they are now."""
    env = app.env
    if app.builder.name != 'epub' or env.config.edition != 'full' or docname not in (chapters := chapters_of(env)):
        return
    domain = env.domains['block']
    facts = {(fact.docname, fact.id): fact for fact in domain.in_order()}
    moved = {}
    for where, one, kind in env.domains['edition'].inside():
        if where in chapters:
            moved[app.builder.get_target_uri(where), one] = app.builder.get_target_uri(page_name(chapters[where], kind))
    taken = app.builder.taken[docname] = []
    for node in list(doctree.findall(block)):
        fact = facts[docname, node['ids'][0]]
        if is_answer(fact):
            taken.append(node)
            lift(node, doctree, domain, fact)
        elif fact.kind == 'exercise':
            leave_links(app, node, fact, facts, chapters)
    page = app.builder.get_target_uri(docname)
    lead(doctree, page, page, moved)
    for node in taken:
        lead(node, page, app.builder.get_target_uri(page_name(chapters[docname], node['kind'])), moved)


def lift(node: block, doctree: nodes.document, domain: Any, fact: Fact) -> None:
    node.parent.remove(node)
    node['unfolded'] = True
    node['caption'] = node.attributes.pop('owner', '') + node['caption']
    for line in [one for one in node.children if 'block-link' in one.get('classes', ())]:
        node.remove(line)
    notes = {one['ids'][0]: one for one in doctree.findall(nodes.footnote)}
    for reference in list(node.findall(nodes.footnote_reference)):
        note = notes.get(reference.get('refid'))
        if note is not None and note.parent is not node:
            note.parent.remove(note)
            node += note
    exercise = domain.find(fact.target)
    if exercise is not None:
        if not len(node[0]):
            node[0] += title_nodes(exercise.title)
        node += line_of_links([(domain.caption(exercise), f'#{exercise.id}', '回到')])


def leave_links(app: Sphinx, node: block, fact: Fact, facts: dict, chapters: dict[str, str]) -> None:
    """At the end of an exercise: where its hints and its solution are."""
    for line in [one for one in node.children if 'block-link' in one.get('classes', ())]:
        node.remove(line)
    hint = next((one for one in facts.values() if one.kind == 'hint' and one.docname == fact.docname and one.inside == fact.id), None)
    solution = app.env.domains['block'].solution(fact.label) if fact.label else None
    links = []
    for one in (hint, solution):
        if one is not None and is_answer(one) and one.docname in chapters:
            here = app.builder.get_target_uri(fact.docname)
            uri = '' if one.docname == fact.docname else relative_uri(here, app.builder.get_target_uri(one.docname))
            links.append((WORDS[one.kind], f'{uri}#{one.id}', '见'))
    if links:
        node += line_of_links(links)


def line_of_links(links: list[tuple[str, str, str]]) -> nodes.paragraph:
    line = nodes.paragraph(classes=['block-link'])
    for at, (text, uri, words) in enumerate(links):
        line += nodes.Text(f'{"，" if at else ""}{words}')
        line += nodes.reference('', '', nodes.inline('', text), refuri=uri, internal=True)
    line += nodes.Text('。')
    return line


def lead(root: nodes.Element, origin: str, here: str, moved: dict[tuple[str, str], str]) -> None:
    """Rewrite links that were written for the page ``origin`` and now stand on ``here``."""
    for node in root.findall(nodes.Element):
        name = next((one for one in ('refuri', 'uri') if isinstance(node.get(one), str) and node[one]), None)
        if isinstance(node, nodes.reference) and name is None and node.get('refid'):
            node['refuri'], name = f'#{node.attributes.pop("refid")}', 'refuri'
        if name is None or isinstance(node, nodes.image) or ':' in node[name]:
            continue
        path, _, anchor = node[name].partition('#')
        page = normpath(join(dirname(origin), path)) if path else origin
        page = moved.get((page, anchor), page)
        node[name] = ('' if page == here else relative_uri(here, page)) + (f'#{anchor}' if anchor else '')


# -- drawing ----------------------------------------------------------------------------------------------------------------


def collect_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    if app.builder.name != 'epub':
        return
    for chapter, page, title in answer_pages(app.env):
        kind = page.rpartition('-')[2].removesuffix('s')
        parts = [f'<section id="{page}">\n<h1>{title}</h1>\n']
        for docname in below(app.env, chapter):
            if docname not in app.builder.taken:        # not rewritten in this run
                app.env.get_and_resolve_doctree(docname, app.builder, tags=app.tags)
            if blocks := [node for node in app.builder.taken[docname] if node['kind'] == kind]:
                parts.append(section(app, page, docname, chapter, blocks))
        yield page, {'title': title, 'body': ''.join([*parts, '</section>\n']), 'metatags': ''}, 'page.html'


def section(app: Sphinx, page: str, docname: str, chapter: str, blocks: list[block]) -> str:
    builder = app.builder
    builder.secnumbers = app.env.toc_secnumbers.get(docname, {})
    builder.fignumbers = app.env.toc_fignumbers.get(docname, {})
    builder.imgpath = relative_uri(builder.get_target_uri(page), builder.imagedir)
    builder.current_docname = docname
    holder = nodes.container('', *blocks)
    builder.post_process_images(holder)
    body = builder.render_partial(holder)['fragment']
    if docname == chapter:
        return body
    number = '.'.join(map(str, builder.secnumbers.get('', ())))
    heading = builder.render_partial(addnodes.compact_paragraph('', f'{number} ', *(one.deepcopy() for one in app.env.titles[docname].children)))
    return f'<section>\n<h2>{heading["fragment"].removeprefix("<p>").rstrip().removesuffix("</p>")}</h2>\n{body}</section>\n'
