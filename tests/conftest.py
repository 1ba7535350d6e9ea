"""What every test may use: tiny Sphinx projects written on the spot, and the parts a full run needs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from io import StringIO
from pathlib import Path
from textwrap import dedent

import pytest
from filelock import FileLock
from sphinx.application import Sphinx
from sphinx.util.console import strip_escape_sequences
from sphinx.util.docutils import docutils_namespace, patch_docutils

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / '_ext'), str(ROOT), str(ROOT / 'tests')]

MYST = ['amsmath', 'attrs_block', 'attrs_inline', 'colon_fence', 'deflist', 'dollarmath']


class Project:
    """A small MyST project in a temporary folder.

    ``write`` adds or replaces sources (name with suffix -> text), ``build`` runs one builder and returns ``self``;
    afterwards ``warnings`` holds what Sphinx said and ``read`` the text of an output file.
    """

    def __init__(self, folder: Path, extensions: list[str], **confoverrides: object) -> None:
        self.src = folder / 'src'
        self.out = folder / 'out'
        self.doctrees = folder / 'doctrees'
        self.src.mkdir(parents=True)
        self.conf: dict[str, object] = {
            'extensions': ['myst_parser', *extensions],
            'root_doc': 'index',
            'project': '小书',
            'language': 'zh_CN',
            'myst_enable_extensions': MYST,
            'nitpicky': True,
            'numfig': True,
            'numfig_secnum_depth': 2,
            'math_numfig': True,
            'html_theme': 'basic',
            'latex_engine': 'xelatex',
            'epub_language': 'zh-CN',
            'epub_copyright': '2026',
            **confoverrides,
        }
        self.warnings = ''
        self.app: Sphinx | None = None

    def write(self, files: dict[str, str]) -> Project:
        for name, text in files.items():
            path = self.src / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(dedent(text).lstrip('\n'), encoding='utf-8')
        return self

    def build(self, builder: str = 'html', *, parallel: int = 1, out: str | None = None, fresh: bool = False, **overrides: object) -> Project:
        """Run ``builder`` in process; output in ``out/<builder>`` unless ``out`` names another folder."""
        warning = StringIO()
        outdir = self.out / (out or builder)
        with patch_docutils(), docutils_namespace():
            self.app = Sphinx(
                self.src, None, outdir, self.doctrees / (out or builder), builder,
                confoverrides={**self.conf, **overrides}, status=None, warning=warning, parallel=parallel, freshenv=fresh,
            )
            self.app.build()
        self.outdir = outdir
        self.warnings = strip_escape_sequences(warning.getvalue())
        return self

    def read(self, name: str) -> str:
        return (self.outdir / name).read_text(encoding='utf-8')

    def warning(self, pattern: str) -> re.Match[str] | None:
        """First warning line that matches."""
        return re.search(f'^.*{pattern}.*$', self.warnings, flags=re.MULTILINE)


@pytest.fixture
def project(tmp_path):
    """Factory: ``project(['blocks'], {'index.md': '…'}, some_config=1)`` -> :class:`Project`."""
    count = 0

    def make(extensions: list[str], files: dict[str, str], **confoverrides: object) -> Project:
        nonlocal count
        count += 1
        return Project(tmp_path / str(count), extensions, **confoverrides).write(files)

    return make


@pytest.fixture(scope='session')
def make(tmp_path_factory):
    """``make('html')`` -> folder of the real book, made once per session by the README's command, for all processes that run tests."""
    base = tmp_path_factory.getbasetemp()
    build = (base.parent if 'PYTEST_XDIST_WORKER' in os.environ else base) / 'book'
    build.mkdir(exist_ok=True)

    def run(target: str) -> Path:
        if target == 'student':
            run('html')             # draws the figures, which both need
        # One build at a time where they share what was read: all but the student edition.
        with FileLock(build / ('student.lock' if target == 'student' else 'book.lock')):
            done = build / f'{target}.done'
            if not done.exists():
                env = {key: value for key, value in os.environ.items() if not key.startswith('MAKE')}
                result = subprocess.run(['make', target, f'BUILD={build}'], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
                if result.returncode:
                    pytest.fail(f'make {target} 失败：\n{result.stdout[-2000:]}\n{result.stderr[-6000:]}')
                done.touch()
        return build / {'latexpdf': 'latex'}.get(target, target)

    return run


# What takes long or has to wait begins first, so that no process is left with it at the end. The checks run in one process:
# their results are kept there, and the proof that they can fail needs them all.
FIRST = ('tests/book/test_readthedocs.py', 'checks', 'tests/print/test_book_student.py', 'tests/web/test_accessibility.py', 'tests/web/test_search.py')


def _group(nodeid):
    path = nodeid.split('::')[0]
    return 'checks' if path.startswith('tests/checks/') or path == 'tests/book/test_mutation.py' else path


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: FIRST.index(_group(item.nodeid)) if _group(item.nodeid) in FIRST else len(FIRST))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Each file is run by one process, since its fixtures are expensive; longest first, as sorted above."""
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return _group(nodeid)

    return ByGroup(config, log)


def pytest_terminal_summary(terminalreporter):
    """End with what could not run, and the one command that would let it run."""
    from parts import COMMAND, missing

    if found := missing(str(report.longrepr) for report in terminalreporter.stats.get('skipped', ())):
        terminalreporter.section('没有运行的测试')
        for program, count in sorted(found.items()):
            terminalreporter.line(f'{program}: {count} 项')
        terminalreporter.line(f'装齐后再运行：{COMMAND}')
