"""House style: the rules of writing that a program can judge, applied to the doctree of each page as it is read.

The doctree, not the source, so that the bodies of exercises, solutions and captions are held to the same rules.
``prose`` judges sentences, ``skeleton`` the build of a section, ``terms`` the vocabulary. Each rule is a function from a
doctree to findings ``(subtype, node, message)``; each finding is a warning ``house_style.<subtype>`` in Chinese that
names the mend.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sphinx.util import logging

from house_style import prose, skeleton, terms

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

logger = logging.getLogger(__name__)

EVERY_PAGE = (prose.spacing, prose.phrases, prose.symbols, prose.control_characters)
CHAPTER_PAGES = (skeleton.no_code, terms.preferred, terms.introduced)
SECTIONS = (skeleton.headings, skeleton.exercises, skeleton.figures)
CHAPTER_PAGE = re.compile(r'chapter\d+(/.+)?')
SECTION = re.compile(r'chapter\d+/.+')


def judge(app: Sphinx, document: nodes.document) -> None:
    """Apply the rules that hold for this page."""
    docname = app.env.current_document.docname
    rules = [*EVERY_PAGE]
    if docname == app.config.root_doc:
        rules.remove(prose.spacing)  # the home page quotes the titles of the outline as they stand
    if CHAPTER_PAGE.fullmatch(docname):
        rules += CHAPTER_PAGES
    if SECTION.fullmatch(docname):
        rules += SECTIONS
    for rule in rules:
        for subtype, node, message in rule(document):
            logger.warning('%s', message, location=node, type='house_style', subtype=subtype)


def setup(app: Sphinx) -> ExtensionMetadata:
    app.connect('doctree-read', judge)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
