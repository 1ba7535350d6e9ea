"""Editions of the book from one source: ``full``; ``student``, without hints and solutions; ``answers``, exercises with their solutions alone.

Everything is read and numbered as in the full book, so numbers agree; what an edition leaves out is taken from the pages before they are
written, and references to it become plain text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sphinx.errors import ConfigError

from .domain import EditionsDomain
from .links import unlink
from .select import AnswersOnly, WithoutAnswers, WithoutReturnLinks

if TYPE_CHECKING:
    from pathlib import Path

    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.util.typing import ExtensionMetadata

NAMES = {'full': '', 'student': '学生版（不含提示与解答）', 'answers': '教师用书'}


def configure(app: Sphinx, config: Config) -> None:
    if config.edition not in NAMES:
        raise ConfigError(f'没有“{config.edition}”这一版：可用 {"、".join(NAMES)}')
    if config.edition == 'full':
        return
    config.printed_subtitle = '　'.join(filter(None, (NAMES[config.edition], config.printed_subtitle)))
    config.printed_answers_at_back = False
    if config.edition == 'answers':
        config.latex_elements = {**config.latex_elements, 'preamble': config.latex_elements.get('preamble', '') + r'\BookListsOfExercises'}
    for name in ('checks_pages', 'selftest_forms'):      # a check computes the answer; a field confirms a guess
        if name in config:
            config[name] = False
    config.html_title = f'{config.html_title or config.project} · {NAMES[config.edition]}'
    config.latex_documents = [
        (start, target.replace('.tex', f'-{config.edition}.tex'), f'{title}：练习解答' if config.edition == 'answers' else title, *rest)
        for start, target, title, *rest in config.latex_documents
    ]


def drop_unused_images(app: Sphinx, exception: Exception | None) -> None:
    """Pictures that only what was left out shows."""
    if exception is not None or app.config.edition == 'full' or app.builder.format not in ('html', 'latex'):
        return
    suffix, folder = {'html': ('.html', app.outdir / app.builder.imagedir), 'latex': ('.tex', app.outdir)}[app.builder.format]
    text = ''.join(page.read_text(encoding='utf-8') for page in sorted(app.outdir.rglob(f'*{suffix}')))
    for name in app.builder.images.values():
        picture: Path = folder / name
        if picture.is_file() and name not in text and picture.stem not in text:
            picture.unlink()


def setup(app: Sphinx) -> ExtensionMetadata:
    app.setup_extension('printed')
    app.add_config_value('edition', 'full', '', str, 'full, student or answers')
    app.connect('config-inited', configure, priority=400)       # before the builders' and other extensions' defaults
    app.add_domain(EditionsDomain)
    for transform in (WithoutAnswers, WithoutReturnLinks, AnswersOnly):
        app.add_post_transform(transform)
    app.connect('doctree-resolved', unlink, priority=900)       # after whatever else makes references
    app.connect('build-finished', drop_unused_images)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
