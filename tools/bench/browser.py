"""What a browser sees of a page: bytes, requests, shifts, long tasks, when the mathematics is there. CPU slowed down four times."""

from __future__ import annotations

import gzip
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from playwright.sync_api import sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page

THROTTLE = 4
RUNS = 3
PACKED = ('.woff2', '.woff', '.png', '.webp', '.jpg')

# Readable: every formula has been laid out, with its font. MathJax's promise says so for the stock build.
OBSERVE = """
window.bench = {shift: 0, tasks: [], readable: 0};
new PerformanceObserver((list) => { for (const one of list.getEntries()) if (!one.hadRecentInput) bench.shift += one.value; }).observe({type: 'layout-shift', buffered: true});
new PerformanceObserver((list) => { for (const one of list.getEntries()) bench.tasks.push(one.duration); }).observe({type: 'longtask', buffered: true});
addEventListener('DOMContentLoaded', async () => {
  if (document.querySelector('script[src*=mathjax]')) {
    while (!window.MathJax?.startup?.promise) await new Promise((next) => setTimeout(next, 10));
    await MathJax.startup.promise;
  }
  await document.fonts.ready;
  requestAnimationFrame(() => requestAnimationFrame(() => { bench.readable = performance.now(); }));
});
"""


@dataclass
class View:
    bytes: int
    html: int
    math: int
    requests: int
    foreign: int
    readable: float
    shift: float
    longest: float
    tasks: float


@cache
def packed(path: Path) -> int:
    data = path.read_bytes()
    return len(data) if path.suffix in PACKED else len(gzip.compress(data, 9))


class _Zipped(SimpleHTTPRequestHandler):
    """Static files, text compressed as any real server does."""

    protocol_version = 'HTTP/1.1'

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            return self.send_error(404)
        body = path.read_bytes()
        self.send_response(200)
        self.send_header('Content-Type', self.guess_type(str(path)))
        if path.suffix not in PACKED:
            body = gzip.compress(body, 6)
            self.send_header('Content-Encoding', 'gzip')
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def served(folder: Path) -> Iterator[str]:
    server = ThreadingHTTPServer(('127.0.0.1', 0), partial(_Zipped, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f'http://127.0.0.1:{server.server_port}'
    server.shutdown()


@contextmanager
def started() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which('chromium'), args=['--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking'],
        )
        yield browser
        browser.close()


@contextmanager
def slow_page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={'width': 412, 'height': 900}, locale='zh-CN')
    page = context.new_page()
    context.new_cdp_session(page).send('Emulation.setCPUThrottlingRate', {'rate': THROTTLE})
    yield page
    context.close()


def view(browser: Browser, folder: Path, name: str) -> View:
    runs = []
    with served(folder) as address:
        for _ in range(RUNS):
            with slow_page(browser) as page:
                urls: list[str] = []
                page.on('request', lambda request, urls=urls: urls.append(request.url))
                page.add_init_script(OBSERVE)
                page.goto(f'{address}/{name}.html', wait_until='load', timeout=120_000)
                page.wait_for_function('bench.readable > 0', timeout=120_000)
                page.wait_for_timeout(500)
                seen = page.evaluate('bench')
            sizes = {}
            for url in {url.split('#')[0] for url in urls if url.startswith('http')}:
                path = folder / unquote(urlsplit(url).path).lstrip('/')
                sizes[url] = packed(path) if path.is_file() else 0
            runs.append(View(
                bytes=sum(sizes.values()),
                html=packed(folder / f'{name}.html'),
                math=sum(size for url, size in sizes.items() if 'mathjax' in url and urlsplit(url).path.endswith('.js')),
                requests=len(sizes),
                foreign=sum(not url.startswith(address) for url in sizes),
                readable=seen['readable'], shift=seen['shift'],
                longest=max(seen['tasks'], default=0), tasks=sum(seen['tasks']),
            ))
    return View(**{name: median(getattr(run, name) for run in runs) for name in View.__dataclass_fields__})
