"""Citations in Chinese typography on top of sphinxcontrib-bibtex: its styles, the works cited by each chapter, warnings with file and line.

``{bibliography}`` stands once, in the appendix, and is what citations link to; ``{chapter-references}`` on a chapter's page lists
the works that the chapter and its sections cite.
"""

from __future__ import annotations

from pybtex.backends.plaintext import Backend as PlainText
from pybtex.plugin import register_plugin as register_pybtex
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import ExtensionMetadata
from sphinxcontrib.bibtex.plugin import register_plugin as register_bibtex

from . import nodes as book
from .directives import ChapterReferences
from .domain import CitationsDomain
from .style import Entries, References
from .transforms import Fill, Unwrap

register_pybtex('pybtex.style.formatting', 'chinese', Entries)
# The bibtex domain looks this one up for each citation, and without an entry here that reads the metadata of all installed packages.
register_pybtex('pybtex.backends', 'plaintext', PlainText, force=True)
register_bibtex('sphinxcontrib.bibtex.style.referencing', 'chinese', References)


def speak_for(app: Sphinx, config: Config) -> None:
    """Our own warning about an unknown key is in Chinese, comes before writing and suggests a key."""
    config.suppress_warnings = [*config.suppress_warnings, 'bibtex.key_not_found']


def reopen(app: Sphinx, env: BuildEnvironment, *_: set[str]) -> list[str]:
    """A bibliography knows the files of works there were when it was read: a later one's works would stay blank wherever cited."""
    cite = env.domains['cite']
    return [place.docname for place, one in cite.bibliographies.items() if list(one.bibfiles) != list(cite.bibdata.bibfiles)]


def settle(app: Sphinx, env: BuildEnvironment) -> list[str]:
    return sorted(env.domains['citations'].settle())


def setup(app: Sphinx) -> ExtensionMetadata:
    app.setup_extension('sphinxcontrib.bibtex')
    nothing = (book.ignore, book.ignore)
    app.add_node(
        book.reference_entry, html=(book.visit_entry_html, book.depart_entry_html), latex=(book.visit_entry_latex, book.depart_entry_latex),
        text=nothing, man=nothing, texinfo=nothing,
    )
    app.add_node(book.chapter_references)
    app.add_domain(CitationsDomain)
    app.add_directive('chapter-references', ChapterReferences)
    app.add_post_transform(Fill)
    app.add_post_transform(Unwrap)
    app.connect('config-inited', speak_for)
    app.connect('env-get-outdated', reopen)
    app.connect('env-get-updated', settle, priority=950)
    app.add_latex_package('multicol')     # the works of a chapter
    app.add_css_file('checks.css')
    return {'version': '1', 'env_version': 1, 'parallel_read_safe': True, 'parallel_write_safe': True}
