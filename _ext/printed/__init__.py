"""The printed book: class, fonts and packages of the XeLaTeX output, and what moves to its back.

Everything typographic is in ``printed.sty``, the order of the parts in ``structure``; this module hands the former, and the math font that PyPI's ``ziamath`` carries
(STIX Two Math, the font of the web pages), to the LaTeX builder.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mathml import font
from sphinx.errors import ConfigError
from sphinx.util import texescape

from . import answers
from .index import SubjectIndex
from .structure import BookMatter
from .tables import TableWidths
from .urls import Addresses
from .writer import BookTranslator

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.util.typing import ExtensionMetadata

HERE = Path(__file__).parent

# Type and page grow together: lines hold as many characters on both. ctex has no name for 9pt; extsizes takes it from the class's options.
PAPERS = {
    'a4': ({'papersize': 'a4paper', 'pointsize': '10pt'}, 'zihao=5', ''),
    'b5': ({'papersize': 'b5paper', 'pointsize': '9pt'}, 'zihao=false', '\\usepackage{extsizes}\n'),
}

ELEMENTS = {
    'fontenc': '',
    'fontpkg': r'\usepackage{printed}',
    'geometry': r'\usepackage{geometry}',
    'babel': '',
    'polyglossia': '',
    'fncychap': '',
    'figure_align': 'htbp',
    'sphinxsetup': 'TitleColor={gray}{0}, InnerLinkColor={HTML}{1F3F66}, OuterLinkColor={HTML}{1F3F66}, TableRowColorHeader={gray}{0.9},'
                   'TableRowColorOdd={gray}{1}, TableRowColorEven={gray}{1}',
    'maketitle': r'\BookTitlePage',
    'tableofcontents': '',
    'makeindex': r'\usepackage{makeidx}\makeindex',
    'printindex': r'\BookIndex',
}


def configure(app: Sphinx, config: Config) -> None:
    """Defaults that the project's own ``latex_*`` values may override."""
    if config.printed_paper not in PAPERS:
        raise ConfigError(f'没有为纸张“{config.printed_paper}”准备的版式：可用 {"、".join(PAPERS)}')
    paper, size, before = PAPERS[config.printed_paper]
    elements = {**ELEMENTS, **paper, 'extraclassoptions': f'fontset=none,openright,scheme=chinese,{size}'}
    elements['fontpkg'] = before + elements['fontpkg']
    for name, text in (('BookSubtitle', config.printed_subtitle), ('BookNotice', '\n\n'.join(config.printed_notice))):
        elements['fontpkg'] += '\n\\newcommand{\\%s}{%s}' % (name, texescape.escape(text, 'xelatex'))
    config.latex_engine = 'xelatex'
    config.latex_docclass = {'manual': 'ctexbook', **config.latex_docclass}
    config.latex_elements = {**elements, **config.latex_elements}
    config.latex_additional_files = [*config.latex_additional_files, *map(str, (HERE / 'printed.sty', HERE / 'bookpages.sty', HERE / 'book.ist', font.original()))]


def setup(app: Sphinx) -> ExtensionMetadata:
    app.setup_extension('blocks')
    app.add_config_value('printed_paper', 'a4', '', str, 'a4 or b5')
    app.add_config_value('printed_answers_at_back', True, '', bool, 'move hints and solutions to chapters of their own')
    app.add_config_value('printed_subtitle', '', '', str, 'below the title')
    app.add_config_value('printed_notice', [], '', list, 'paragraphs on the back of the title page')
    app.add_node(answers.origin, latex=(answers.visit_origin, answers.depart_origin))
    app.add_latex_package('bookpages', after_hyperref=True)
    app.set_translator('latex', BookTranslator)
    app.connect('config-inited', configure)
    app.add_post_transform(BookMatter)
    app.add_post_transform(answers.MoveAnswers)
    app.add_post_transform(SubjectIndex)
    app.add_post_transform(TableWidths)
    app.add_post_transform(Addresses)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
