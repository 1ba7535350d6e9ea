"""Search that finds Chinese: every substring of the text, the page that defines a term before those that use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search_zh.index import BUILDERS, unindexed, write_index, write_page
from search_zh.language import HanSearch

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata


class HanSearchCN(HanSearch):
    lang = 'zh_CN'


def add_assets(app: Sphinx) -> None:
    """Not in ``setup``: an EPUB would carry the script, and has no search."""
    if app.builder.name in BUILDERS:
        app.add_js_file('search_zh.js', loading_method='defer')
        app.add_css_file('search_zh.css')


def setup(app: Sphinx) -> ExtensionMetadata:
    # Sphinx looks for the exact code first; its own class would answer for 'zh'.
    app.add_search_language(HanSearch)
    app.add_search_language(HanSearchCN)
    app.connect('env-get-outdated', unindexed)
    app.connect('html-page-context', write_page)
    app.connect('build-finished', write_index)
    app.connect('builder-inited', add_assets)
    return {'version': '1', 'parallel_read_safe': True, 'parallel_write_safe': True}
