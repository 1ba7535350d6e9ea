"""Configuration of 《语言模型全面教程》. Values only: anything with logic is an extension under ``_ext/``."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent
sys.path[:0] = [str(ROOT / '_ext'), str(ROOT)]

project = '语言模型全面教程'
author = '《语言模型全面教程》作者'
copyright = '2026，《语言模型全面教程》作者。正文采用 CC BY-NC-SA 4.0，程序采用 MIT 许可'
version = release = '2026.11'
language = 'zh_CN'

extensions = [
    'myst_parser',
    'sphinx_design',
    'sphinx_copybutton',
    'citations',
    'numref',
    'printed',
    'zh_typography',
    'mathml',
    'blocks',
    'pyfigure',
    'torch_api',
    'checks',
    'selftest',
    'editions',
    'ebook',
    'house_style',
    'search_zh',
    'page',
]

root_doc = 'index'
source_suffix = {'.md': 'markdown'}
templates_path = ['_templates']
nitpicky = True

myst_enable_extensions = ['amsmath', 'attrs_block', 'attrs_inline', 'colon_fence', 'deflist', 'dollarmath']
myst_heading_anchors = 4
myst_dmath_double_inline = True

numfig = True
numfig_secnum_depth = 2
math_numfig = True
html_math_renderer = 'mathml'
math_numsep = '.'
math_eqref_format = '({number})'
numfig_format = {'figure': '图 %s', 'table': '表 %s', 'code-block': '代码 %s', 'section': '%s 节'}

bibtex_bibfiles = sorted(str(p.relative_to(ROOT)) for p in (ROOT / 'source/references').glob('*.bib'))
bibtex_default_style = bibtex_reference_style = 'chinese'
bibtex_tooltips = False     # the name of the work is shown instead (citations.transforms)
bibtex_cite_id = 'cite-{key}'
bibtex_bibliography_id = 'references-{bibliography_count}'

html_theme = 'sphinx_book_theme'
html_title = project
html_static_path = ['_static']
html_css_files = ['icons.css', 'book.css', 'print.css']
html_secnumber_suffix = ' '
html_favicon = '_static/favicon.svg'
html_copy_source = False
html_show_sourcelink = False
html_sidebars = {'**': ['book-home.html', 'search-button-field.html', 'sbt-sidebar-nav.html']}
html_theme_options = {
    'search_bar_text': '搜索本书',
    'toc_title': '本页目录',
    'show_toc_level': 2,
    'max_navbar_depth': 2,
    'shorten_urls': False,
    'use_download_button': False,
    'use_fullscreen_button': False,
    'footer_content_items': 'copyright.html, downloads.html, feedback.html',
    'pygments_light_style': 'a11y-high-contrast-light',
    'pygments_dark_style': 'a11y-high-contrast-dark',
}

latex_documents = [('index', 'llm-tutorial.tex', project, author, 'manual')]
today = '2026 年 11 月'
printed_subtitle = f'第 {version} 版'
printed_notice = [
    '© 2026 《语言模型全面教程》作者。',
    '正文采用知识共享“署名—非商业性使用—相同方式共享 4.0 国际”许可（CC BY-NC-SA 4.0）：可以为非商业目的复制、分享和改编，须注明出处并以相同方式共享。'
    '许可全文见 creativecommons.org/licenses/by-nc-sa/4.0。书中程序采用 MIT 许可。',
    f'版本 {version}。内容截至 2026 年 11 月；时间敏感的断言写有日期，以最新文献为准。标有“已核验”的内容由程序复算过，含义见书末“核验报告”。',
    '字体：Noto Serif CJK SC、Noto Sans CJK SC、STIX Two Math（均为 SIL OFL 1.1），TeX Gyre（GUST 字体许可）。用 XeLaTeX 排版。',
]
latex_use_xindy = False

epub_basename = 'llm-tutorial'
epub_language = 'zh-CN'
epub_publisher = author
epub_copyright = copyright
epub_show_urls = 'no'
epub_tocscope = 'includehidden'
epub_tocdup = False
epub_uid = 'llm-tutorial'
epub_identifier = epub_uid  # the same in the package and in the NCX, which epubcheck compares
