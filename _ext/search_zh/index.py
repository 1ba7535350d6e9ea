"""Files of the search: ``searchdata/pages/<page>.js`` with the records of a page, ``searchdata/index.js`` to find the pages.

The text of a book is too much for one request, so the browser first asks the index which pages may hold all parts of the query (``sets``) and then
fetches those pages' records to confirm, rank and quote. All are scripts rather than JSON: ``file://`` allows no other request.
A page's file is written when its HTML is, so it is as fresh as the HTML; the index is made of these files when all are there.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from search_zh.language import HanSearch
from search_zh.records import collect
from search_zh.sets import BITS, encode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import Any

    from docutils import nodes
    from sphinx.application import Sphinx

FOLDER = 'searchdata'
BUILDERS = {'html', 'dirhtml'}
FREQUENT = 4  # a page with a word this often comes before others in the first look


def shard(outdir: Path, docname: str) -> Path:
    return outdir / FOLDER / 'pages' / f'{docname}.js'


def write_page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    if app.builder.name not in BUILDERS or doctree is None:
        return
    numbers = {anchor: '.'.join(map(str, number)) for anchor, number in app.env.toc_secnumbers.get(pagename, {}).items()}
    unwanted = 'no-search' in app.env.metadata.get(pagename, {})
    records = [] if unwanted else [asdict(record) for record in collect(doctree, numbers)]
    path = shard(app.outdir, pagename)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'bookSearch.page({dumps(pagename)},{dumps(records)})\n', encoding='utf-8')


def read_page(path: Path) -> list[dict[str, Any]]:
    text = path.read_text(encoding='utf-8')
    return json.loads('[' + text[len('bookSearch.page(') : text.rindex(')')] + ']')[1]


def write_index(app: Sphinx, error: Exception | None) -> None:
    if app.builder.name not in BUILDERS or error:
        return
    folder = app.outdir / FOLDER
    found = {docname: read_page(path) for docname in reading_order(app) if (path := shard(app.outdir, docname)).exists()}
    pages, names, terms = [], [], []
    language = HanSearch({})
    for docname, records in found.items():
        if not records:
            continue
        page = len(pages)
        names += [[page, name] for record in records for name in named(record)]
        terms += [group for record in records if record['kind'] == 'term' for group in synonyms(record)]
        text = '\n'.join(f'{" ".join(named(record))} {record["text"]}' for record in records)
        counts = Counter(language.stem(word) for word in language.split(text))
        often = [word for word, count in counts.items() if count >= FREQUENT]
        pages.append([docname, app.builder.get_target_uri(docname), records[0]['number'], records[0]['title'], encode(counts), encode(often)])
    folder.mkdir(exist_ok=True)
    index = {'bits': BITS, 'pages': pages, 'names': names, 'terms': terms}
    (folder / 'index.js').write_text(f'bookSearch.index({dumps(index)})\n', encoding='utf-8')
    wanted = {folder / 'index.js', *(shard(app.outdir, docname) for docname in found)}
    for stale in set(folder.rglob('*.js')) - wanted:
        stale.unlink()


def named(record: dict[str, Any]) -> list[str]:
    """What a reader may call the record."""
    return [name for name in (record['number'], record['title'], *record['names']) if name]


def synonyms(record: dict[str, Any]) -> list[list[str]]:
    """Names of one thing that a glossary entry gives: KV 缓存, KV cache. Of several terms with as many English names each has its own."""
    terms = record['title'].split('、')
    english = [name for name in record['names'] if name not in terms]
    if len(terms) == 1:
        return [[*terms, *english]] if english else []
    return [list(pair) for pair in zip(terms, english)] if len(terms) == len(english) else []


def reading_order(app: Sphinx) -> Iterator[str]:
    """Pages as the book has them, then those outside of it."""
    seen = set()

    def walk(docname: str) -> Iterator[str]:
        if docname not in seen and docname in app.env.all_docs:
            seen.add(docname)
            yield docname
            for child in app.env.toctree_includes.get(docname, []):
                yield from walk(child)

    yield from walk(app.config.root_doc)
    yield from (docname for docname in sorted(app.env.all_docs) if docname not in seen)


def unindexed(app: Sphinx, *_: object) -> list[str]:
    """Pages whose records are missing, for instance because a build before this one did not write them."""
    if app.builder.name not in BUILDERS:
        return []
    return [docname for docname in app.env.all_docs if app.env.doc2path(docname).exists() and not shard(app.outdir, docname).exists()]


def dumps(data: object) -> str:
    return json.dumps(data, ensure_ascii=False, separators=(',', ':'))
