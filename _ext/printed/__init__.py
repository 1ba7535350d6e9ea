"""The printed book: class, fonts and packages of the XeLaTeX output.

Everything typographic is in ``printed.sty``, the order of the parts in ``structure``; this module hands the former, and the math font that PyPI's ``ziamath`` carries
(STIX Two Math, the font of the web pages), to the LaTeX builder.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from printed.structure import BookMatter

if TYPE_CHECKING:
    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.util.typing import ExtensionMetadata

ELEMENTS = {
    'papersize': 'a4paper',
    'pointsize': '10pt',
    'extraclassoptions': 'fontset=none,openany,scheme=chinese',
    'fontenc': '',
    'fontpkg': r'\usepackage{printed}',
    'babel': '',
    'polyglossia': '',
    'fncychap': '',
    'figure_align': 'htbp',
    'makeindex': '',
    'printindex': '',
}


def math_font() -> Path:
    """Path of STIX Two Math (OFL)."""
    return Path(next(iter(find_spec('ziamath').submodule_search_locations))) / 'fonts' / 'STIXTwoMath-Regular.ttf'


def configure(app: Sphinx, config: Config) -> None:
    """Defaults that the project's own ``latex_*`` values may override."""
    config.latex_engine = 'xelatex'
    config.latex_docclass = {'manual': 'ctexbook', **config.latex_docclass}
    config.latex_elements = {**ELEMENTS, **config.latex_elements}
    config.latex_additional_files = [*config.latex_additional_files, str(Path(__file__).with_name('printed.sty')), str(math_font())]


def setup(app: Sphinx) -> ExtensionMetadata:
    app.connect('config-inited', configure)
    app.add_post_transform(BookMatter)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
