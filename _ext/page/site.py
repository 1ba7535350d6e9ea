"""What a page may say once it is known where the site lives: address, code repository, downloads, where to report a mistake.

Read the Docs tells all of it in its environment (https://docs.readthedocs.com/platform/stable/reference/environment-variables.html);
elsewhere ``html_baseurl``, ``page_repository`` and ``page_downloads`` do. What is not known is left out of the page.
"""

from __future__ import annotations

import os
from html import escape
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from docutils import nodes
    from sphinx.application import Sphinx
    from sphinx.config import Config

NOT_FOUND = '''<h1>没有这一页</h1>
<p>地址可能写错了，或者这一页已经移动。可以从<a href="{home}">首页的目录</a>找起，或用左侧的搜索（<kbd>Ctrl</kbd>+<kbd>K</kbd>）按词查找。</p>
'''


def on_read_the_docs(environment: Mapping[str, str]) -> dict[str, Any]:
    """Values of this module's and Sphinx's settings as Read the Docs gives them; empty elsewhere."""
    base = environment.get('READTHEDOCS_CANONICAL_URL')
    if environment.get('READTHEDOCS') != 'True' or not base:
        return {}
    origin = '{0.scheme}://{0.netloc}'.format(urlsplit(base))
    language = environment.get('READTHEDOCS_LANGUAGE', 'zh_CN').lower().replace('_', '-')
    version = environment.get('READTHEDOCS_VERSION', 'latest')
    repository = environment.get('READTHEDOCS_GIT_CLONE_URL', '').removesuffix('.git')
    return {
        'html_baseurl': base,
        'page_repository': repository if repository.startswith('https://') else '',
        'page_downloads': {name.upper(): f'{origin}/_/downloads/{language}/{version}/{name}/' for name in ('pdf', 'epub')},
    }


def locate(app: Sphinx, config: Config) -> None:
    """Take from the environment what conf.py leaves open."""
    for name, value in on_read_the_docs(os.environ).items():
        if not config[name]:
            config[name] = value
    config.notfound_urls_prefix = urlsplit(config.html_baseurl).path or '/'
    config.notfound_context = {'title': '没有这一页', 'body': NOT_FOUND.format(home=config.notfound_urls_prefix)}


def feedback_url(repository: str, title: str, pagename: str, version: str) -> str:
    """Address of a new issue (in GitHub's form, which Gitea shares), filled in with section, page and version."""
    where = f'位置：{title}（{pagename}）\n版本：{version}\n\n哪里有错，应当怎样：\n'
    return f'{repository}/issues/new?{urlencode({"title": f"{title}：", "body": where})}'


def social_card(app: Sphinx, pagename: str, title: str, description: str) -> str:
    """Open Graph properties (https://ogp.me) of a page."""
    properties = {
        'type': 'article', 'title': title, 'description': description, 'site_name': app.config.project, 'locale': 'zh_CN',
        'url': f'{app.config.html_baseurl}{app.builder.get_target_uri(pagename)}',
    }
    return ''.join(f'\n    <meta property="og:{name}" content="{escape(value)}" />' for name, value in properties.items())


def add_links(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document | None) -> None:
    config = app.config
    context['book_downloads'] = config.page_downloads
    if config.page_repository and doctree is not None:
        number = app.env.toc_secnumbers.get(pagename, {}).get('', ())
        title = ' '.join(filter(None, ('.'.join(map(str, number)), app.env.titles[pagename].astext())))
        context['book_feedback'] = feedback_url(config.page_repository, title, pagename, config.release)


def setup_site(app: Sphinx) -> None:
    app.add_config_value('page_repository', '', 'html', frozenset({str}))
    app.add_config_value('page_downloads', {}, 'html', frozenset({dict}))
    app.setup_extension('notfound.extension')
    if app.config.html_baseurl or on_read_the_docs(os.environ):
        app.setup_extension('sphinx_sitemap')  # warns without the address of the site
        app.config.sitemap_url_scheme = '{link}'
    app.connect('config-inited', locate, priority=100)  # before notfound and sitemap read their settings
    app.connect('html-page-context', add_links)
