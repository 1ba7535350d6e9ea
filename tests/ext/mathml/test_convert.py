"""TeX to MathML, one formula at a time."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from mathml.convert import MathError, convert, convert_strictly, with_tex
from mathml.macros import _side, for_mathml
from mathml.readable import readable


def text(mathml: str) -> str:
    return ''.join(ElementTree.fromstring(mathml).itertext())


@pytest.mark.parametrize('name', sorted(for_mathml()))
def test_every_macro_converts(name):
    arguments = _side('mathml')[name][1]
    assert text(convert('\\' + name + '{x}' * arguments, False))


@pytest.mark.parametrize(
    'tex',
    [
        r'\begin{aligned}a&=b\\c&=d\end{aligned}',
        r'\begin{cases}1&x>0\\0&\text{否则}\end{cases}',
        r'\begin{pmatrix}a&b\\c&d\end{pmatrix}',
        r'\begin{bmatrix}a&b\\c&d\end{bmatrix}',
        r'\begin{array}{c|c}a&b\\\hline c&d\end{array}',
        r'a&=b\\c&=d',
    ],
)
def test_two_rows(tex):
    root = ElementTree.fromstring(convert(tex, True))
    assert len(root.findall('.//mtr')) == 2


def test_limits_below_operators():
    assert '<munder>' in convert(r'\argmax_{x} f', True)
    assert '<munder>' in convert(r'\E_{x\sim p}[x]', True)


@pytest.mark.parametrize('tex', [r'\bm{1}', r'\bm 1', r'\boldsymbol{1}'])
def test_bold_digit(tex):
    assert text(convert(tex, False)) == '𝟏'


@pytest.mark.parametrize('space', ['[2pt]', ' [-0.5ex]', '*', '*[1em]'])
def test_row_spacing_is_not_shown(space):
    plain = r'\begin{cases}a\\%s b\end{cases}'
    assert text(convert(plain % space, True)) == text(convert(plain % '', True))


def test_no_html_entity_in_xml():
    ElementTree.fromstring(convert(r'\ln x + \max_i \softmax(x_i) \text{<}', True))


@pytest.mark.parametrize(
    ('tex', 'display', 'subtype', 'position', 'says'),
    [
        (r'a+\foo{x}', False, 'unknown-command', 2, r'\foo'),
        (r'\frac{1}{2', False, 'unbalanced', 10, '补上 }'),
        ('a}', False, 'unbalanced', 1, '多余的 }'),
        (r'\left( x', False, 'unbalanced', 8, r'\right'),
        (r'\begin{cases}x', True, 'unbalanced', 14, r'\end{'),
        (r'\begin{foo}x\end{foo}', True, 'environment', 6, 'aligned'),
        (r'\begin{align}a&=b\end{align}', True, 'environment', 0, 'aligned'),
        (r'\begin{align*}a&=b\end{align*}', True, 'environment', 0, 'aligned'),
        (r'x=\textcolor{red}{1}', True, 'unsupported', 2, '颜色'),
        (r'x\cancel{x}', True, 'unsupported', 1, '消去'),
        (r'45^\degree', True, 'unsupported', 3, r'^\circ'),
        (r'\begin{aligned}[t]a&=b\end{aligned}', True, 'unsupported', 0, '[t]'),
        (r'\sum_{\substack{a\\b}}', True, 'unknown-command', 6, 'subarray'),
        (r'x\tag{1}', True, 'unsupported', 1, '(eq-标签)'),
        (r'x\label{a}', True, 'unsupported', 1, '(eq-标签)'),
        (r'\text{a $x$ b}', False, 'unsupported', 8, '断开'),
        (r'a \\ b', False, 'line-break', 2, '$$'),
        ('a\n\n+b', True, 'blank-line', 1, '空行'),
        (r'\newcommand{\x}{1}\x', True, 'local-macro', 0, 'macros.toml'),
        (r'\frac{1}', True, 'syntax', None, '参数'),
        (' ', False, 'empty', None, '空'),
        (r'\nonumber', True, 'empty', None, '空'),
        (r'\operatorname{\mathbb{E}}', False, 'syntax', None, '文字'),
        (r'\bm{1}+\foo', False, 'unknown-command', 7, r'\foo'),
        (r'a&=\foo\\b', True, 'unknown-command', 3, r'\foo'),
    ],
)
def test_refused(tex, display, subtype, position, says):
    with pytest.raises(MathError) as caught:
        convert(tex, display)
    assert caught.value.subtype == subtype
    assert says in caught.value.message
    if position is not None:
        assert caught.value.position == position


@pytest.mark.parametrize(
    ('tex', 'plain'),
    [
        (r'\sqrt{d_k}', '√(d_k)'),
        ('O(n^2)', 'O(n²)'),
        (r'\sigma', 'σ'),
        (r'\frac{QK^\top}{\sqrt{d_k}}', '(QK⊤)/(√(d_k))'),
        (r'\bm x\in\R^{n\times d}', 'x ∈ ℝ^(n×d)'),
        (r'\Normal(0,1)', 'N(0,1)'),
        (r'\foo', r'\foo'),
    ],
)
def test_readable(tex, plain):
    assert readable(tex) == plain


def test_author_tex_kept_exactly():
    root = ElementTree.fromstring(with_tex(convert(r'\bm{1} < a&=b'.replace('&', ''), True), r' \bm{1} < a=b '))
    assert root.findtext('.//annotation') == r'\bm{1} < a=b'


def test_strict_form_sets_style_in_mstyle_only():
    root = ElementTree.fromstring(convert_strictly(r'\displaystyle\dfrac12\begin{aligned}a\end{aligned}', False))
    styled = [element.tag.split('}')[1] for element in root.iter() if {'displaystyle', 'scriptlevel'} & set(element.keys())]
    assert styled
    assert set(styled) == {'mstyle'}

