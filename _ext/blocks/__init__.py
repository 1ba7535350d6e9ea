"""Numbered blocks: exercises with solutions and hints, definitions, theorems and their kin.

``fences`` let blocks nest;
``directives`` turn source into ``block`` nodes; when a file has been read, ``domain`` notes facts about them; when all have been read it
numbers them and names the pages that became stale; ``transforms`` put captions on the nodes; writers only draw.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.typing import ExtensionMetadata

from . import fences, html, latex, plain
from .directives import DIRECTIVES, ExerciseListDirective
from .domain import BlocksDomain
from .nodes import block, block_title, exercise_list
from .transforms import Captions, ExerciseLists

logger = logging.getLogger(__name__)

HERE = Path(__file__).parent
STATIC = HERE.parents[1] / '_static'


def nest_fences(app: Sphinx, docname: str, source: list[str]) -> None:
    if app.env.doc2path(docname).suffix == '.md':
        source[0], problems = fences.nest(source[0])
        for line, message in problems:
            logger.warning(message, type='blocks', subtype='fence', location=(docname, line))


def note(app: Sphinx, doctree: nodes.document) -> None:
    # Not Domain.process_doc: MyST turns [](#label) into a reference only after that.
    app.env.domains['block'].note(app.env.current_document.docname, doctree)


def settle(app: Sphinx, env: BuildEnvironment) -> list[str]:
    return sorted(env.domains['block'].settle())


def add_style(app: Sphinx, config: Config) -> None:
    config.latex_additional_files.append(str(HERE / 'bookblocks.sty'))


def add_assets(app: Sphinx) -> None:
    # One file at a time: what else is in the folder belongs to other extensions. The book's own conf.py names the folder itself.
    if isinstance(app.builder, StandaloneHTMLBuilder) and STATIC not in (Path(app.confdir, path) for path in app.config.html_static_path):
        app.config.html_static_path += [str(STATIC / 'blocks.css'), str(STATIC / 'blocks.js')]


def missing_reference(app: Sphinx, env: BuildEnvironment, node: nodes.Element, contnode: nodes.Element) -> nodes.Element | None:
    if node.get('refdomain') == 'std' and node['reftype'] in ('ref', 'numref'):
        return env.domains['block'].resolve_label(node.get('refdoc', env.current_document.docname), node)
    return None


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_config_value('blocks_secnum_depth', None, 'env', (int, type(None)), 'section levels in a number; None: numfig_secnum_depth')
    app.add_config_value('blocks_counters', {}, 'env', (dict,), 'kind -> counter, where it differs from the usual')
    app.add_config_value('blocks_require_solution', True, 'env', (bool,), 'warn about an exercise without solution')
    html_pair, html_title = (html.visit_block, html.depart_block), (html.visit_block_title, html.depart_block_title)
    app.add_node(
        block, html=html_pair, latex=(latex.visit_block, latex.depart_block), text=(plain.visit_text, plain.depart_text),
        man=(plain.visit_man, plain.depart_man), texinfo=(plain.visit_texinfo, plain.depart_texinfo),
    )
    app.add_node(
        block_title, html=html_title, latex=(latex.visit_block_title, latex.depart_block_title),
        text=(plain.visit_text_title, plain.depart_text_title), man=(plain.visit_man_title, plain.depart_man_title),
        texinfo=(plain.visit_texinfo_title, plain.depart_texinfo_title),
    )
    app.add_node(exercise_list)
    app.add_domain(BlocksDomain)
    for name, directive in DIRECTIVES.items():
        app.add_directive(name, directive, override=name == 'hint')        # docutils has a hint of its own
    app.add_directive('exercise-list', ExerciseListDirective)
    app.add_post_transform(Captions)
    app.add_post_transform(ExerciseLists)
    app.connect('config-inited', add_style)
    app.connect('builder-inited', add_assets)
    app.connect('source-read', nest_fences)
    app.connect('doctree-read', note)
    app.connect('env-get-updated', settle, priority=900)     # section numbers are assigned by a listener at 500
    app.connect('missing-reference', missing_reference, priority=400)    # before intersphinx
    app.add_latex_package('bookblocks')
    app.add_css_file('blocks.css')
    app.add_js_file('blocks.js', loading_method='defer')
    return {'version': '1', 'env_version': 1, 'parallel_read_safe': True, 'parallel_write_safe': True}
