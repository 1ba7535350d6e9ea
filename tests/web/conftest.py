"""Fixtures of the browser tests: Debian's Chromium, a static file server, and the real book built once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from parts import require
from playwright.sync_api import Browser, Page, sync_playwright

# The background services would otherwise look for hosts of their own while a test counts requests.
ARGUMENTS = [
    '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--disable-background-networking', '--disable-component-update',
    '--disable-sync', '--no-first-run', '--no-default-browser-check', '--disable-extensions', '--font-render-hinting=none',
]


@dataclass
class Visit:
    """A page and what happened on it: ``errors`` (console errors, exceptions, failed requests), ``hosts`` asked for anything."""

    page: Page
    errors: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)
    urls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on('console', lambda message: self.errors.append(message.text) if message.type == 'error' else None)
        self.page.on('pageerror', lambda error: self.errors.append(str(error)))
        self.page.on('requestfailed', lambda request: self.errors.append(f'{request.url}: {request.failure}'))
        self.page.on('request', self._asked)

    def _asked(self, request) -> None:
        self.urls.append(request.url)
        if host := urlsplit(request.url).netloc:
            self.hosts.add(host)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture(scope='session')
def browser() -> Iterator[Browser]:
    require('chromium')
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which('chromium'), args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visit]]:
    """``visit(url, width=390, color_scheme='dark', …)`` -> :class:`Visit` in a context of its own; other options as in Playwright."""
    contexts = []

    def open_(url: str, *, width: int = 1280, height: int = 900, **options: object) -> Visit:
        context = browser.new_context(viewport={'width': width, 'height': height}, locale='zh-CN', **options)
        context.set_default_timeout(8_000)
        contexts.append(context)
        visit = Visit(context.new_page())
        visit.page.goto(url, wait_until='load')
        return visit

    yield open_
    for context in contexts:
        context.close()


@pytest.fixture(scope='session')
def serve() -> Iterator[Callable[[Path], str]]:
    """``serve(folder)`` -> address (without final slash) at which the folder is served."""
    servers: dict[Path, ThreadingHTTPServer] = {}

    def start(folder: Path) -> str:
        if folder not in servers:
            servers[folder] = ThreadingHTTPServer(('127.0.0.1', 0), partial(_Quiet, directory=str(folder)))
            Thread(target=servers[folder].serve_forever, daemon=True).start()
        return f'http://127.0.0.1:{servers[folder].server_port}'

    yield start
    for server in servers.values():
        server.shutdown()


@pytest.fixture(scope='session')
def book(make: Callable[[str], Path]) -> Path:
    """Folder of the real book, as `make html` makes it."""
    return make('html')


@pytest.fixture(scope='session')
def book_url(book: Path, serve: Callable[[Path], str]) -> str:
    return serve(book)
