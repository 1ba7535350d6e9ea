"""Mathematics: TeX becomes MathML Core while the book is built; no script, one macro table for web, EPUB and print."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import domain, epub, html, latex, macros

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.util.typing import ExtensionMetadata


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_node(domain.title_math, latex=(latex.visit_title_math, None))
    app.add_domain(domain.MathMLDomain)
    app.add_transform(domain.MarkTitleMath)
    app.add_transform(domain.CheckMath)
    app.connect('env-get-outdated', domain.read_again)

    app.add_html_math_renderer('mathml', (html.visit_math, None), (html.visit_math_block, None))
    # Not for authors: it makes every page outdated when the macro table or math-core changes.
    app.add_config_value('mathml_digest', macros.digest(), 'env', types=str)
    app.connect('builder-inited', html.register_assets)
    app.connect('write-started', html.write_assets)
    app.connect('html-page-context', html.complete_page)

    app.add_latex_package(macros.PACKAGE, after_hyperref=True)
    app.connect('builder-inited', latex.write_macros)
    app.add_builder(epub.MathEpubBuilder, override=True)

    return {'version': '1', 'env_version': 1, 'parallel_read_safe': True, 'parallel_write_safe': True}
