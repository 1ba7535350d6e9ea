"""Try first, then look: a field for the answer of an exercise, marks on exercises, progress and a page to review them.

Everything a reader does stays in the browser. ``domain`` notes what each exercise asks; ``fields`` and ``sealed`` turn a declared
answer into something a page can check but not tell; ``transforms`` put places into the pages that the scripts in ``_static/`` fill.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from sphinx.util.typing import ExtensionMetadata

from .domain import SelftestDomain
from .nodes import BUILDERS, selftest_place, skip, visit_html
from .transforms import Places

STATIC = Path(__file__).parents[2] / '_static'
FILES = ('selftest.css', 'selftest-marks.js', 'selftest-check.js', 'selftest.js', 'selftest-review.js')
DATA = 'exercises-data.js'


class ReviewDirective(SphinxDirective):
    """``{exercise-review}`` before an ``exercise-list``: filters, what is marked for another try, export, import, forgetting."""

    def run(self) -> list[nodes.Node]:
        return [selftest_place(part='review', facts={})]


def note(app: Sphinx, doctree: nodes.document) -> None:
    app.env.domains['selftest'].note(app.env.current_document.docname, doctree)


def copy_assets(app: Sphinx) -> None:
    # One file at a time: what else is in the folder belongs to other extensions. The book's own conf.py names the folder itself.
    if app.builder.name in BUILDERS and STATIC not in (Path(app.confdir, path) for path in app.config.html_static_path):
        app.config.html_static_path += [str(STATIC / name) for name in FILES]


def load_scripts(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    """Marks show in the sidebar of every page; what works on exercises is loaded where there are some."""
    if app.builder.name not in BUILDERS:
        return
    app.add_css_file('selftest.css')
    app.add_js_file('selftest-marks.js', loading_method='defer', **{'data-book': app.config.selftest_store or app.config.project})
    parts = {node['part'] for node in doctree.findall(selftest_place)} if doctree is not None else set()
    if 'form' in parts:
        app.add_js_file('selftest-check.js', loading_method='defer')
        app.add_js_file('selftest.js', loading_method='defer')
    if 'review' in parts:
        app.add_js_file('selftest-review.js', loading_method='defer')


def write_data(app: Sphinx, exception: Exception | None) -> None:
    """Which exercises there are, where, and what they ask. A script and not JSON: a book opened from a disk may not fetch."""
    if exception or app.builder.name not in BUILDERS:
        return
    env = app.env
    parents = {child: parent for parent, children in env.toctree_includes.items() for child in children if parent != app.config.root_doc}
    pages: dict[str, list[str]] = {}
    for fact in env.domains['block'].in_order():
        if fact.kind == 'exercise' and not fact.hidden:
            statement = env.domains['selftest'].statement(fact.docname, fact.id)
            pages.setdefault(fact.docname, []).append(f'{fact.id} {statement} {fact.exercise_kind or "-"} {fact.difficulty or "-"}')
    rows = []
    for docname, exercises in pages.items():
        above = [docname]
        while above[-1] in parents and parents[above[-1]] not in above:
            above.append(parents[above[-1]])
        rows.append([[app.builder.get_target_uri(one) for one in above], exercises])
    text = f'selftest.arrived({json.dumps(rows, ensure_ascii=False, separators=(",", ":"))});\n'
    target = Path(app.outdir, '_static', DATA)
    target.parent.mkdir(exist_ok=True)
    target.write_text(text, encoding='utf-8')


def setup(app: Sphinx) -> ExtensionMetadata:
    app.setup_extension('blocks')
    app.add_config_value('selftest_forms', True, 'html', (bool,), 'fields for declared answers; without them only marks remain')
    app.add_config_value('selftest_review', 'appendix/exercises', 'html', (str,), 'the page with the exercise-review')
    app.add_config_value('selftest_store', '', 'html', (str,), 'name under which a browser keeps the marks; empty: the project')
    app.add_node(selftest_place, html=(visit_html, None), **{name: (skip, None) for name in ('latex', 'text', 'man', 'texinfo')})
    app.add_directive('exercise-review', ReviewDirective)
    app.add_domain(SelftestDomain)
    app.add_post_transform(Places)
    app.connect('builder-inited', copy_assets)
    app.connect('doctree-read', note)
    app.connect('html-page-context', load_scripts)
    app.connect('build-finished', write_data)
    return {'version': '1', 'env_version': 1, 'parallel_read_safe': True, 'parallel_write_safe': True}
