"""The LaTeX output is a book: matter in order, no home page text, no chapter twice."""

from __future__ import annotations

import re

FILES = {
    'index.md': """
        # 书

        首页文字。

        ## 首页的小节

        ```{toctree}
        preface
        ```

        ```{toctree}
        :numbered: 2
        one
        two
        ```

        ```{toctree}
        appendix
        ```
        """,
    'preface.md': '# 序\n\n## 序的小节\n\n序文。\n',
    'one.md': '# 甲章\n\n```{toctree}\none/first\n```\n',
    'one/first.md': '# 甲节\n\n## 小节\n\n正文。\n',
    'two.md': '# 乙章\n\n正文。\n',
    'appendix.md': '# 附\n\n附文。\n',
}


def test_book_matter(project):
    built = project(['printed'], FILES).build('latex')
    assert built.warnings == ''
    tex = next(built.outdir.glob('*.tex')).read_text(encoding='utf-8')
    tex = tex[tex.index(r'\begin{document}') :]
    order = re.findall(r'\\Book(\w+)Matter|\\(chapter|section|subsection)\{(\w+)\}', tex)
    assert [matter or f'{level} {title}' for matter, level, title in order] == [
        'Front', 'chapter 序', 'section 序的小节', 'Main', 'chapter 甲章', 'section 甲节', 'subsection 小节', 'chapter 乙章', 'Back', 'chapter 附',
    ]
    assert '首页文字' not in tex
