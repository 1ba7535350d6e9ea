"""Typesetting tells how far it is; where TeX stops, it names the line of the MyST source."""

from __future__ import annotations

import pytest
from parts import require
from printed.typeset import main, watch


def test_a_failure_names_the_source(project, capsys):
    require('xelatex', 'latexmk')
    made = project(['printed'], {
        'index.md': '# 书\n\n```{toctree}\n:numbered: 2\n\none\n```\n',
        'one.md': '# 甲章\n\n好的一段。\n\n坏的一段 $\\nosuchmacro$。\n\n后面一段。\n',
    }).build('latex')
    tex = next(made.outdir.glob('*.tex'))
    assert main(made.outdir, tex.stem) == 1
    said = capsys.readouterr().err
    assert said.startswith('source/one.md:5: 排版失败：Undefined control sequence.')
    assert r'\nosuchmacro' in said


@pytest.mark.parametrize(('overwrite', 'shown'), [(False, '第 2 遍：20 页'), (True, '第 2 遍：25 页')])
def test_progress(tmp_path, capsys, overwrite, shown):
    lines = ["Run number 1 of rule 'xelatex'\n", '[1][2]\n', "Run number 1 of rule 'makeindex book.idx'\n", '[9]\n', "Run number 2 of rule 'xelatex'\n",
             *(f'[{page}]\n' for page in range(1, 26)), "Run number 1 of rule 'xdvipdfmx'\n", '[1][2]\n']
    with (tmp_path / 'record').open('w') as record:
        assert watch(lines, record, overwrite) == 25
    assert shown in capsys.readouterr().out
