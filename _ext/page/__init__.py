"""The page around the text: Chinese interface, a description in the head, and (``site``) what depends on the site's address. Templates and styles: ``_templates/``, ``_static/book.css``."""

from __future__ import annotations

from gettext import NullTranslations
from html import escape
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.locale import get_translator
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.writers.html5 import HTML5Translator

from page.site import setup_site, social_card
from page.strings import CHINESE
from search_zh.text import plain

if TYPE_CHECKING:
    from typing import Any

    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata

DESCRIPTION = 120
PHRASE = 5          # characters of Chinese in a cell that may stand below one another
BUILDERS = ('html', 'dirhtml')
# Lets the browser skip what is far away (book.css). Not for a link into the page, or a return to a place on it: these need the heights of all above.
LAZY = '''<script>
    if (!location.hash && performance.getEntriesByType('navigation')[0]?.type === 'navigate') {
      const { classList } = document.documentElement;
      classList.add('lazy');
      addEventListener('click', ({ target }) => { if (target.closest('a[href*="#"]')) classList.remove('lazy'); }, true);
    }
    </script>'''


class _Chinese(NullTranslations):
    def gettext(self, message: str) -> str:
        return CHINESE.get(message, message)


def translate_theme(app: Sphinx) -> None:
    """Ask our table whenever Sphinx's own Chinese catalogue has no answer."""
    translator = get_translator()
    if (app.config.language or '').startswith('zh') and not isinstance(getattr(translator, '_fallback', None), _Chinese):
        translator.add_fallback(_Chinese())


def describe(doctree: nodes.document) -> str:
    """First sentences of a page, cut at a full stop where one is near."""
    text = ''
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, (nodes.section, nodes.document)):
            text += plain(paragraph)
            if len(text) >= DESCRIPTION:
                break
    text = ' '.join(text.split())
    if len(text) <= DESCRIPTION:
        return text
    stop = text.rfind('。', DESCRIPTION // 2, DESCRIPTION)
    return text[: stop + 1] if stop > 0 else text[: DESCRIPTION - 1] + '…'


def add_description(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    if doctree is None or not (text := describe(doctree)):
        return
    if 'name="description"' not in context['metatags']:
        context['metatags'] += f'\n    <meta name="description" content="{escape(text)}" />'
    if app.config.html_baseurl:
        context['metatags'] += social_card(app, pagename, app.env.titles[pagename].astext(), text)


def lay_out_lazily(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    if doctree is not None and app.builder.name in BUILDERS:
        context['metatags'] += f'\n    {LAZY}'


def add_assets(app: Sphinx) -> None:
    """Not in ``setup``: an EPUB would carry them."""
    if app.builder.name in BUILDERS:
        app.add_js_file('preview.js', loading_method='defer')
        app.add_css_file('preview.css')


class Wordy(SphinxPostTransform):
    """Marks cells that hold a phrase: on a narrow screen, columns of them would shrink to two characters a line."""

    default_priority = 890
    formats = ('html',)

    def run(self, **kwargs: object) -> None:
        for entry in self.document.findall(nodes.entry):
            if sum('\u2e80' <= one <= '\uffdc' for one in entry.astext()) > PHRASE:
                entry['classes'].append('wordy')


def setup(app: Sphinx) -> ExtensionMetadata:
    # The theme adds its part (scrolling tables, levels of headings) to the translators that are set, and to the default one only
    # where none is set at all: ours for LaTeX would leave the pages without it.
    for name in BUILDERS:
        app.set_translator(name, HTML5Translator)
    app.add_post_transform(Wordy)
    app.connect('builder-inited', add_assets)
    app.connect('builder-inited', translate_theme)
    app.connect('html-page-context', add_description)
    app.connect('html-page-context', lay_out_lazily)
    setup_site(app)
    return {'version': '1', 'parallel_read_safe': True, 'parallel_write_safe': True}
