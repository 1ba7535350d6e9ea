"""Before writing: the lists of works filled in."""

from __future__ import annotations

from docutils import nodes
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinxcontrib.bibtex.citation_target import parse_citation_targets
from sphinxcontrib.bibtex.domain import BibtexDomain, Citation
from sphinxcontrib.bibtex.nodes import raw_latex

from .nodes import chapter_references, reference_entry
from .style import plain, stop_after

# before, between, after
SEPARATORS = {'p': ('（', '；', '）'), 'alp': ('', '；', ''), **dict.fromkeys(('t', 'author', 'year'), ('', '、', ''))}
GROUP = 'bibtex-citation'       # sphinxcontrib-bibtex's class of the same thing


class Fill(SphinxPostTransform):
    default_priority = 6        # sphinxcontrib-bibtex fills {bibliography} at 5, references are resolved at 10

    def run(self, **kwargs: object) -> None:
        for citation in list(self.document.findall(nodes.citation)):
            # The entry begins with author and year: a label before it would say the same twice.
            entry = reference_entry('', *citation.children[1:], ids=citation['ids'], docname=citation.get('docname', ''))
            citation.replace_self(entry)
        for node in list(self.document.findall(chapter_references)):
            node.replace_self(self.chapter(node['docname']))
        for node in list(self.document.findall(addnodes.pending_xref)):
            if node.get('refdomain') == 'cite' and node['reftype'] in SEPARATORS:
                node['ids'] = []        # for links back from the entries, which this book does not draw
                self.keep_order(node)

    def keep_order(self, node: addnodes.pending_xref) -> None:
        """One reference for each work, as the author ordered them: together they would follow the bibliography's order."""
        targets = list(parse_citation_targets(node['reftarget']))
        if len(targets) < 2:
            return
        before, separator, after = SEPARATORS[node['reftype']]
        group = nodes.inline('', before, classes=[GROUP])
        for index, target in enumerate(targets):
            one = node.deepcopy()
            one['reftype'] = 'alp' if node['reftype'] == 'p' else node['reftype']
            one['reftarget'] = ''.join((f'{{{target.pre}}}' if target.pre else '', target.key, f'{{{target.post}}}' if target.post else ''))
            group += [*([nodes.Text(separator)] if index else []), one]
        if after:
            group += nodes.Text(after)
        node.replace_self(group)

    def chapter(self, docname: str) -> nodes.Node:
        citations = self.env.domains['citations'].cited_below(docname)
        if not citations:
            return nodes.paragraph('', '本章没有引用文献。')
        if self.env._app.builder.format == 'latex':
            # On paper the full entries stand once, at the end of the book: here author, year and title of each, in two columns.
            raw = ('\n\n\\begin{multicols}{2}\\footnotesize\\setlength{\\parskip}{2pt}', '\\end{multicols}\n\n')
            begin, end = (nodes.raw('', tex, format='latex') for tex in raw)
            return nodes.container('', begin, *(self.short(one, docname) for one in citations), end, classes=['chapter-references'])
        return nodes.container('', *(
            reference_entry('', BibtexDomain.backend.paragraph(one.formatted_entry)) for one in citations
        ), classes=['chapter-references'])

    def short(self, citation: Citation, docname: str) -> reference_entry:
        xref = addnodes.pending_xref('', nodes.inline(), refdomain='cite', reftype='t', reftarget=citation.key, refdoc=docname)
        title = title_of(self.env.domains['cite'], citation)
        return reference_entry('', nodes.paragraph('', '', xref, nodes.Text(f'。{title}{stop_after(title)}')), ids=[], docname=docname)


def title_of(cite: BibtexDomain, citation: Citation) -> str:
    return plain(cite.bibdata.data.entries[citation.key].fields['title'])


class Unwrap(SphinxPostTransform):
    """Citations stand among the words: spacing of Chinese text looks at neighbours, which an element around them would hide."""

    default_priority = 20       # after references are resolved

    def run(self, **kwargs: object) -> None:
        self.name_works()
        for node in list(self.document.findall(nodes.inline)):
            if GROUP in node['classes']:
                at = node.parent.index(node)
                node.parent[at:at + 1] = node.children
        for node in list(self.document.findall(raw_latex)):
            if node.rawsource.startswith('\\hyperlink'):
                self.settle_link(node)

    def name_works(self) -> None:
        """What a pointing device shows over a citation is the name of the work; the whole entry, again and again, would weigh on the page."""
        cite = self.env.domains['cite']
        works = {citation.citation_id: citation for citation in cite.citations}
        for node in self.document.findall(nodes.reference):
            if work := works.get(node.get('refid') or node.get('refuri', '').partition('#')[2]):
                node['reftitle'] = title_of(cite, work)

    def settle_link(self, node: raw_latex) -> None:
        """A link fit for print: not expanded too early in a caption, and with the blank before it, which xeCJK drops before a command."""
        node.rawsource = '\\protect' + node.rawsource
        at = node.parent.index(node)
        before, label = node.parent[at - 1] if at else None, node.parent[at + 1]
        if isinstance(before, nodes.Text) and before.endswith(' ') and label.astext()[:1].isascii():
            node.parent[at - 1] = nodes.Text(before.rstrip(' '))
            node.rawsource = '\\ ' + node.rawsource
