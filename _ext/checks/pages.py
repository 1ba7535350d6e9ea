"""Pages of the web site that show the checks: one for each file, a section for each function, links back to what it checks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import sha256
from html import escape
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder

from .names import name, target
from .scan import Function

INTRODUCTION = '<p>这一页是核验程序的源文件。每次测试都会运行它：返回值与书中声明的答案比较，断言不成立即报错。</p>\n'


def collect_pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the pages whose content changed since they were last written: highlighting all takes seconds."""
    if app.builder.name not in ('html', 'dirhtml') or not app.config.checks_pages:
        return
    domain = app.env.domains['checks']
    files: dict[str, list[Function]] = {}
    for function in domain.data['functions']:
        files.setdefault(function.file, []).append(function)
    memory = Path(app.doctreedir, f'checks-{app.builder.name}.json')
    old = json.loads(memory.read_text(encoding='utf-8')) if memory.exists() else {}
    new = {}
    for file, functions in files.items():
        page, source = functions[0].page, (domain.folder / file).read_text(encoding='utf-8')
        backlinks = [links(app, page, function) for function in functions]
        new[page] = sha256(repr((file, source, backlinks)).encode()).hexdigest()
        if old.get(page) == new[page] and Path(app.builder.get_outfilename(page)).exists():
            continue
        path = f'{app.config.checks_path}/{file}'
        heading = f'<h1>核验程序 <code>{escape(path)}</code></h1>\n{INTRODUCTION}'
        body = f'<section id="check-source">\n{heading}{sections(app.builder, source, functions, backlinks)}</section>\n'
        yield page, {'title': f'核验程序 {path}', 'body': body, 'metatags': '<meta name="robots" content="noindex" />'}, 'page.html'
    memory.write_text(json.dumps(new), encoding='utf-8')


def links(app: Sphinx, page: str, function: Function) -> str:
    facts = app.env.domains['checks'].facts()
    found = []
    for label in function.labels:
        if label in facts:
            docname, fact = facts[label]
            href = f'{app.builder.get_relative_uri(page, docname)}#{target(app.env, docname, fact)}'
            found.append(f'<a href="{escape(href)}">{escape(name(app.env, docname, fact))}</a>')
    return '、'.join(found)


def sections(builder: StandaloneHTMLBuilder, source: str, functions: list[Function], backlinks: list[str]) -> str:
    """The file cut at its check functions: what stands between them, and a section for each."""
    lines, at, parts = source.splitlines(), 0, []

    def code(first: int, last: int) -> str:
        text = '\n'.join(lines[first:last]).strip('\n')
        return builder.highlighter.highlight_block(text, 'python') if text.strip() else ''

    for function, back in zip(functions, backlinks, strict=True):
        parts.append(code(at, function.first - 1))
        at = function.last
        parts.append(
            f'<section id="{function.name}">\n<h2><code>{function.name}</code></h2>\n<p class="check-of">核验 {back}</p>\n'
            f'{code(function.first - 1, at)}</section>\n',
        )
    parts.append(code(at, len(lines)))
    return ''.join(parts)
