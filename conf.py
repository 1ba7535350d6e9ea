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
    'sphinxcontrib.bibtex',
    'mathml',
    'blocks',
    'pyfigure',
    'torch_api',
    'checks',
    'search_zh',
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
math_numsep = '.'
math_eqref_format = '({number})'
numfig_format = {'figure': '图 %s', 'table': '表 %s', 'code-block': '代码 %s', 'section': '%s 节'}

bibtex_bibfiles = sorted(str(p.relative_to(ROOT / 'source')) for p in (ROOT / 'source/references').glob('*.bib'))
