"""``{pyfigure}``: a numbered figure drawn by a script under ``figures/``.

The directive only records which script is used; once all documents are read, every missing picture is drawn in parallel.
"""

from __future__ import annotations

import difflib
import os
import re
from html import escape
from pathlib import Path
from posixpath import join
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.domains import Domain
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from pyfigure.render import Drawing, digest, draw_all, size

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from docutils.nodes import Element, Node
    from sphinx.application import Sphinx
    from sphinx.builders import Builder
    from sphinx.config import Config
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata, OptionSpec

logger = logging.getLogger(__name__)
PHONE = 342           # width of the text, in CSS pixels, on a 390 px screen
STATIC = Path(__file__).parents[2] / '_static'
LEAST_SCALE = 0.61    # 10.5 pt come out at 8.6 px; what would have to shrink further on a phone scrolls there instead


class drawing(nodes.General, nodes.Element):
    """The picture inside a figure; attributes ``name``, ``alt`` and, if given, ``width``."""


class PyFigure(SphinxDirective):
    has_content = True
    required_arguments = 1
    option_spec: ClassVar[OptionSpec] = {
        'name': directives.unchanged,
        'alt': directives.unchanged,
        'width': directives.length_or_percentage_or_unitless,
        'class': directives.class_option,
    }

    def run(self) -> list[Node]:
        name = self.arguments[0].removesuffix('.py')
        line = self.get_source_info()[1]
        figures: FigureDomain = self.env.domains['pyfigure']
        if not (alt := ' '.join(self.options.get('alt', '').split())):
            logger.warning('图 %s 缺少 :alt:（给看不到图的读者的一两句话：横轴、纵轴、看得出什么）', name, location=self.get_location(), type='pyfigure', subtype='alt')
        if not figures.script(name).is_file():
            near = difflib.get_close_matches(name, figures.scripts(), 2, 0.5)
            hint = f'；是否想写 {"、".join(near)}？' if near else ''
            logger.warning('没有图脚本 %s%s', figures.show(name), hint, location=self.get_location(), type='pyfigure', subtype='missing')
        figures.note(name, line)
        picture = drawing(name=name, alt=alt or name, width=self.options.get('width'))
        figure = nodes.figure('', picture, classes=['pyfigure', *self.options.get('class', [])], align='center')
        self.set_source_info(figure)
        self.set_source_info(picture)
        caption, *legend = self.parse_content_to_nodes() or [None]
        if isinstance(caption, nodes.paragraph):
            figure += nodes.caption(caption.rawsource, '', *caption.children)
            figure[-1].source, figure[-1].line = caption.source, caption.line
        elif caption is not None:
            logger.warning('图 %s 的说明应以一段文字开头', name, location=caption, type='pyfigure', subtype='caption')
            legend.insert(0, caption)
        else:
            logger.warning('图 %s 没有说明文字（写“看什么”）', name, location=self.get_location(), type='pyfigure', subtype='caption')
        if legend:
            figure += nodes.legend('', *legend)
        self.add_name(figure)
        return [figure]


class FigureDomain(Domain):
    """Which document shows which script, and the state of the script when it was last read."""

    name = 'pyfigure'
    label = 'figures'
    data_version = 1
    initial_data: ClassVar[dict] = {'uses': {}}   # docname -> [(name, key, line)]

    @property
    def root(self) -> Path:
        return Path(self.env.srcdir, self.env.config.pyfigure_path)

    @property
    def cache(self) -> Path:
        return Path(self.env.srcdir, self.env.config.pyfigure_cache)

    def script(self, name: str) -> Path:
        return self.root / f'{name}.py'

    def show(self, name: str) -> str:
        return f'{self.root.name}/{name}.py'

    def scripts(self) -> list[str]:
        """Names of all scripts; a leading underscore marks a module shared by several."""
        found = (path.relative_to(self.root).with_suffix('').as_posix() for path in self.root.glob('*/**/*.py'))
        return sorted(name for name in found if not re.search(r'(^|/)_', name))

    def key(self, name: str) -> str:
        return digest(self.script(name), self.root)

    def drawing(self, name: str, key: str) -> Drawing:
        return Drawing(self.script(name), name, key, self.cache)

    def note(self, name: str, line: int) -> None:
        self.data['uses'].setdefault(self.env.current_document.docname, []).append((name, self.key(name), line))

    def uses(self) -> Iterator[tuple[str, str, str, int]]:
        for docname in sorted(self.data['uses']):
            for name, key, line in self.data['uses'][docname]:
                yield docname, name, key, line

    def current(self, name: str) -> Drawing:
        return next(self.drawing(used, key) for _, used, key, _ in self.uses() if used == name)

    def clear_doc(self, docname: str) -> None:
        self.data['uses'].pop(docname, None)

    def merge_domaindata(self, docnames: Sequence[str], otherdata: dict) -> None:
        self.data['uses'].update((name, uses) for name, uses in otherdata['uses'].items() if name in docnames)

    def resolve_any_xref(self, *args: object) -> list:
        return []   # figures are labels of the standard domain


def outdated(app: Sphinx, env: BuildEnvironment, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Documents whose pictures are gone or no longer what script, data and style would draw."""
    figures: FigureDomain = env.domains['pyfigure']
    return [docname for docname, name, key, _ in figures.uses() if figures.key(name) != key or not figures.drawing(name, key).done]


def shown(builder: Builder) -> tuple[str, ...]:
    """Variants a builder can use: paper has one, an e-book has no theme switch, and the rest have no pictures at all."""
    return ('light',) if builder.name == 'epub' else {'html': ('light', 'dark'), 'latex': ('print',)}.get(builder.format, ())


def draw_missing(app: Sphinx, env: BuildEnvironment) -> None:
    """Draw what the cache lacks and hand the builder its files. All in the main process, so ``-j`` changes nothing."""
    variants = shown(app.builder)
    if not variants:
        return
    figures: FigureDomain = env.domains['pyfigure']
    drawings = {name: figures.drawing(name, key) for _, name, key, _ in figures.uses() if figures.script(name).is_file()}
    missing = [drawing for drawing in drawings.values() if not drawing.done]
    if missing:
        logger.info('绘图：%d 幅', len(missing))
        failures = draw_all(missing, figures.root.resolve(), os.cpu_count() or 1)
        for docname, name, _, line in figures.uses():
            if failure := failures.get(name):
                at = f' 第 {failure.line} 行' if failure.line else ''
                logger.error('图脚本 %s%s出错：%s', figures.show(name), at, failure.message,
                             location=(docname, line), type='pyfigure', subtype='script')
    for found in drawings.values():
        if found.done:
            for variant in variants:
                path = found.output(variant)
                app.builder.images[str(path)] = path.name


def report_unused(app: Sphinx, env: BuildEnvironment) -> None:
    figures: FigureDomain = env.domains['pyfigure']
    for name in sorted(set(figures.scripts()) - {used for _, used, _, _ in figures.uses()}):
        logger.warning('%s：没有一页使用这个图脚本；加上 {pyfigure} %s，或删去脚本', figures.show(name), name, type='pyfigure', subtype='unused')


def visit_html(self, node: Element) -> None:
    """Both variants, of which the theme shows one; a hidden lazy image is never fetched."""
    found = self.builder.env.domains['pyfigure'].current(node['name'])
    if not found.done:
        self.body.append(f'<p class="pyfigure-lost">{escape(node["alt"])}</p>')
        raise nodes.SkipNode
    width, height = size(found.output('light'))
    style = f'width: {node["width"]}' if node['width'] else ''
    if width * LEAST_SCALE > PHONE:
        style = f'{style}; min-width: {width * LEAST_SCALE:.0f}px'.lstrip('; ')
    style = f' style="{style}"' if style else ''
    focus = ' tabindex="0"' if 'min-width' in style else ''       # what scrolls must be reachable by keyboard
    self.body.append(f'<div class="pyfigure-frame"{focus}>')
    variants = shown(self.builder)
    for variant in variants:
        uri = join(self.builder.imgpath, quote(self.builder.images[str(found.output(variant))]))
        kind, lazy = (f'only-{variant}', ' loading="lazy" decoding="async"') if len(variants) > 1 else ('pyfigure-only', '')
        self.body.append(f'<img class="{kind}" src="{escape(uri)}" alt="{escape(node["alt"])}"'
                         f' width="{width:.0f}" height="{height:.0f}"{style}{lazy} />')
    self.body.append('</div>\n')
    raise nodes.SkipNode


def visit_latex(self, node: Element) -> None:
    found = self.builder.env.domains['pyfigure'].current(node['name'])
    if not found.done:
        self.body.append(self.encode(node['alt']))
        raise nodes.SkipNode
    width = self.latex_image_length(node['width']) if node['width'] else None
    options = f'[width={width}]' if width else ''
    self.body.append(f'\n\\noindent\\sphinxincludegraphics{options}{{{{{found.output("print").stem}}}.pdf}}\n')
    raise nodes.SkipNode


def visit_plain(self, node: Element) -> None:
    """Builders without pictures say what the picture shows."""
    node += nodes.paragraph('', f'［图：{node["alt"]}］')


def depart_plain(self, node: Element) -> None:
    node.clear()


def defaults(app: Sphinx, config: Config) -> None:
    """Both folders lie in the project, beside ``conf.py``; relative values mean that, whatever the source folder is."""
    for value in ('pyfigure_path', 'pyfigure_cache'):
        config[value] = str((Path(app.confdir) / config[value]).resolve())


def provide_style(app: Sphinx) -> None:
    if app.builder.format == 'html' and STATIC not in (Path(app.confdir, path) for path in app.config.html_static_path):
        app.config.html_static_path.append(str(STATIC))


def setup(app: Sphinx) -> ExtensionMetadata:
    app.add_config_value('pyfigure_path', 'figures', '', str)
    app.add_config_value('pyfigure_cache', '_build/figures', '', str)
    plain = (visit_plain, depart_plain)
    app.add_node(drawing, html=(visit_html, None), latex=(visit_latex, None), text=plain, man=plain, texinfo=plain)
    app.add_directive('pyfigure', PyFigure)
    app.add_domain(FigureDomain)
    app.add_css_file('figure.css')
    app.connect('config-inited', defaults)
    app.connect('builder-inited', provide_style)
    app.connect('env-get-outdated', outdated)
    app.connect('env-updated', draw_missing)
    app.connect('env-check-consistency', report_unused)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
