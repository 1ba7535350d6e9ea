"""Registration with Sphinx."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment

from . import nodes as book
from .domain import ChecksDomain
from .marks import Marks
from .pages import collect_pages
from .report import Reports, VerificationReport

HERE = Path(__file__).parent
STATIC = HERE.parents[1] / '_static'


def add_style(app: Sphinx, config: Config) -> None:
    config.latex_additional_files.append(str(HERE / 'bookchecks.sty'))


def add_assets(app: Sphinx) -> None:
    if app.builder.format == 'html' and STATIC not in (Path(app.confdir, path) for path in app.config.html_static_path):
        app.config.html_static_path += [str(STATIC / 'checks.css')]


def scan(app: Sphinx, env: BuildEnvironment, *changes: set[str]) -> list[str]:
    env.domains['checks'].scan()
    return []


def settle(app: Sphinx, env: BuildEnvironment) -> list[str]:
    return sorted(env.domains['checks'].settle())


def setup(app: Sphinx) -> dict[str, Any]:
    app.setup_extension('blocks')
    app.add_config_value('checks_path', 'tests/checks', 'env', (str,), 'folder of the check functions, relative to conf.py')
    app.add_config_value('checks_pages', True, 'html', (bool,), 'pages that show the checks, and links to them')
    html_mark, html_equation = (book.visit_mark_html, book.depart_mark_html), (book.visit_equation_html, book.depart_equation_html)
    app.add_node(
        book.check_mark, html=html_mark, latex=(book.visit_mark_latex, None), text=(book.visit_mark_text, None),
        man=(book.visit_mark_man, None), texinfo=(book.visit_mark_man, None),
    )
    nothing = (book.ignore, book.ignore)
    app.add_node(
        book.checked_equation, html=html_equation, latex=(book.visit_equation_latex, book.depart_equation_latex), text=nothing, man=nothing,
        texinfo=nothing,
    )
    app.add_node(book.verification_report)
    app.add_domain(ChecksDomain)
    app.add_directive('verification-report', VerificationReport)
    app.add_post_transform(Marks)
    app.add_post_transform(Reports)
    app.connect('config-inited', add_style)
    app.connect('builder-inited', add_assets)
    app.connect('env-get-outdated', scan)
    app.connect('env-get-updated', settle, priority=950)        # after sections and blocks have their numbers
    app.connect('html-collect-pages', collect_pages)
    app.add_latex_package('bookchecks')
    app.add_css_file('checks.css')
    return {'version': '1', 'env_version': 1, 'parallel_read_safe': True, 'parallel_write_safe': True}
