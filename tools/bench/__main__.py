"""``make bench``: the book and a stock build of the same sources, measured side by side in one run.

Stock: the theme as it comes (FontAwesome, its search) and MathJax from a local copy; every other extension is the same.
Figures that depend on the machine (times) are worth comparing only within one run; that is why nothing here is a test.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from bench import browser, builds, searching
from bench.table import Row, show

PAGE = 'chapter1/self-attention'  # the longest kind of page: a section


def main() -> None:
    if not shutil.which('chromium'):
        sys.exit('缺少 chromium；安装：sudo make system')
    with tempfile.TemporaryDirectory(prefix='bench-') as folder:
        print('生成本书与对照（原样的主题，本机 MathJax）……', file=sys.stderr)
        both = builds.make(Path(folder), PAGE)
        print('打开浏览器……', file=sys.stderr)
        with browser.started() as chromium:
            views = {name: browser.view(chromium, build.html, PAGE) for name, build in both.items()}
            found = {name: searching.measure(chromium, build.html, both['book'].html) for name, build in both.items()}
        paper = builds.paper(both['book'])
    rows = view_rows(views) + build_rows(both) + search_rows(found) + paper
    print(f'\n样页：{PAGE}；4× 降速的 CPU；文本按 gzip -9 计。倍数 = 对照 ÷ 本书（大于 1 即本书较省）。\n')
    show(rows)


def view_rows(views: dict[str, browser.View]) -> list[Row]:
    book, stock = views['book'], views['stock']
    return [
        Row('首屏全部字节（KB，gzip）', book.bytes / 1024, stock.bytes / 1024, '≤ 300', book.bytes <= 300 * 1024),
        Row('其中 HTML（KB，gzip）', book.html / 1024, stock.html / 1024, '≤ 60', book.html <= 60 * 1024),
        Row('公式脚本（KB，gzip）', book.math / 1024, stock.math / 1024, '0', book.math == 0),
        Row('请求数', book.requests, stock.requests),
        Row('第三方请求数', book.foreign, stock.foreign, '0', book.foreign == 0),
        Row('公式可读（ms）', book.readable, stock.readable),
        Row('布局偏移（CLS）', book.shift, stock.shift, '0', book.shift < 0.001),
        Row('最长的长任务（ms）', book.longest, stock.longest, '≤ 100', book.longest <= 100),
        Row('长任务合计（ms）', book.tasks, stock.tasks),
    ]


def build_rows(both: dict[str, builds.Build]) -> list[Row]:
    book, stock = both['book'], both['stock']
    pages = book.sections
    return [
        Row(f'整书 HTML，冷（s，{pages} 节）', book.cold, stock.cold, '≤ 60', book.cold <= 60),
        Row('　按节数外推到 72 节（s）', book.cold * 72 / pages, stock.cold * 72 / pages, '≤ 60', book.cold * 72 / pages <= 60),
        Row('公式占冷构建（%）', 100 * book.math / book.cold, None, '≤ 2', book.math / book.cold <= 0.02),
        Row('改一节再生成（s）', book.edit, stock.edit, '≤ 5', book.edit <= 5),
    ]


def search_rows(found: dict[str, searching.Search]) -> list[Row]:
    book, stock = found['book'], found['stock']
    rows = [
        Row(f'召回率（{book.queries} 个查询，子串为准）', book.recall, stock.recall, '1.00', book.recall == 1),
        Row('定义所在节在前三的比例', book.first_three, stock.first_three, '≥ 0.95', book.first_three >= 0.95),
        Row('第一条结果（ms，从打开搜索页起）', book.first_result, stock.first_result),
        Row('一次搜索取的索引（KB，gzip，中位）', book.fetched / 1024, stock.fetched / 1024),
        Row('索引合计（KB，gzip）', book.index / 1024, stock.index / 1024),
        Row('　外推到 72 节', book.index_72 / 1024, stock.index_72 / 1024, '≤ 1024', book.index_72 <= 1024 * 1024),
    ]
    for query, page in book.missed:
        print(f'不在前三：{query} → {page}', file=sys.stderr)
    return rows


if __name__ == '__main__':
    main()
