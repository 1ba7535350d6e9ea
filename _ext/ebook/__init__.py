"""The EPUB: a cover, and for each chapter of the book a page of hints and a page of solutions, linked both ways with the exercises.

An e-book reader may draw no fold, so what a page of the web folds away stands elsewhere, as in print.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import cover
from .answers import AnswersEpubBuilder, collect_pages, take

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.util.typing import ExtensionMetadata


def configure(app: Sphinx, config: Config) -> None:
    config.epub_cover = config.epub_cover or (f'_static/{cover.FILE}', 'epub-cover.html')


def setup(app: Sphinx) -> ExtensionMetadata:
    for needed in ('mathml', 'blocks', 'editions'):
        app.setup_extension(needed)
    app.add_builder(AnswersEpubBuilder, override=True)
    app.connect('config-inited', configure)
    app.connect('write-started', cover.write)
    app.connect('doctree-resolved', take, priority=950)     # after whatever else makes references
    app.connect('html-collect-pages', collect_pages)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
