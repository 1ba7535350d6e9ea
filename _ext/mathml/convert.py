"""TeX to MathML Core. What math-core would get silently wrong is refused here."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache, lru_cache
from html import escape
from html.entities import html5
from xml.etree import ElementTree

from math_core import LatexError, LatexToMathML

from .macros import for_mathml

XMLNS = 'http://www.w3.org/1998/Math/MathML'
XHTML = 'http://www.w3.org/1999/xhtml'

# (what math-core lets through, subtype, what is wrong and what to write instead)
REFUSED = [
    (re.compile(r'\\begin\{((?:equation|align|gather|multline|eqnarray|alignat|flalign)\*?)\}'), 'environment',
     '不用环境 {0}。改法：写 $$ \\begin{{aligned}}…\\end{{aligned}} $$ (eq-标签)，编号由标签得到'),
    (re.compile(r'\\(?:text)?color(?![A-Za-z])'), 'unsupported', '公式里不用颜色：深色主题与黑白印刷里看不清。改法：删去颜色'),
    (re.compile(r'\\([bx]?cancel)(?![A-Za-z])'), 'unsupported', '印刷版没有 \\{0}。改法：在正文里说明消去了哪一项'),
    (re.compile(r'\\xlongequal(?![A-Za-z])'), 'unsupported', '印刷版没有 \\xlongequal。改法：\\overset{{…}}{{=}}'),
    (re.compile(r'\\degree(?![A-Za-z])'), 'unsupported', '印刷版没有 \\degree。改法：^\\circ'),
    (re.compile(r'\\mathscr(?![A-Za-z])'), 'unsupported', '印刷版没有 \\mathscr。改法：\\mathcal'),
    (re.compile(r'\\begin\{(?:aligned|gathered|split)\}\s*\[[tbc]\]'), 'unsupported',
     '网页不支持环境的位置参数。改法：删去 [t]、[b] 或 [c]'),
    (re.compile(r'\\(?:def|let|newcommand|renewcommand|providecommand|DeclareMathOperator)(?![A-Za-z])'), 'local-macro',
     '公式里不能定义宏。改法：把宏加进 _ext/mathml/macros.toml'),
    (re.compile(r'\n[ \t]*\n'), 'blank-line', '公式里有空行，印刷版会断开。改法：删去空行'),
]

TOKEN = re.compile(r'\\begin\{[^}]*\}|\\end\{[^}]*\}|\\\\|\\[{}&]|[{}&]')
# \boldsymbol leaves digits light.
BOLD_DIGITS = re.compile(r'\\(?:bm|boldsymbol)\s*(?:\{\s*(\d+)\s*\}|(\d))')
# math-core shows what follows \\ in \\[2pt] and \\* as text; rows on the web have their own.
ROW_SPACE = re.compile(r'(?<=\\\\)(?:\*|\s*\[\s*-?[\d.]+\s*[a-z]{2}\s*\])+')
ENTITY = re.compile(r'&(\w+);')
HTML_IN_MTEXT = {'b', 'i', 'code', 'span'}


@dataclass
class MathError(Exception):
    subtype: str
    message: str
    position: int | None = None


@cache
def _engine() -> LatexToMathML:
    return LatexToMathML(macros=for_mathml(), fancy_error=False)


def _breaks_at_top_level(tex: str) -> int | None:
    r"""Position of the first ``\\`` or ``&`` outside groups and environments."""
    depth = 0
    for match in TOKEN.finditer(tex):
        token = match.group()
        if token == '{' or token.startswith(r'\begin'):
            depth += 1
        elif token == '}' or token.startswith(r'\end'):
            depth -= 1
        elif depth == 0 and token in (r'\\', '&'):
            return match.start()
    return None


def _entity(match: re.Match[str]) -> str:
    """XHTML knows five entities only; math-core uses HTML's for invisible operators."""
    return match.group() if match[1] in ('amp', 'lt', 'gt', 'quot') else html5[match[1] + ';']


@lru_cache(maxsize=None)
def convert(tex: str, display: bool) -> str:
    """MathML of one formula, without the TeX in it; raises :class:`MathError`."""
    for pattern, subtype, message in REFUSED:
        if match := pattern.search(tex):
            raise MathError(subtype, message.format(*match.groups()), match.start())
    prepared = ROW_SPACE.sub(lambda match: ' ' * len(match.group()), tex)
    prepared = BOLD_DIGITS.sub(r'\\mathbf{\1\2}', prepared)
    prefix = ''
    if (position := _breaks_at_top_level(prepared)) is not None:
        if not display:
            raise MathError('line-break', r'行内公式不能换行或对齐。改法：改用展示公式 $$…$$ 与 aligned', position)
        # LaTeX gets Sphinx's split around the same text.
        prefix = r'\begin{aligned}'
        prepared = prefix + prepared + r'\end{aligned}'
    try:
        mathml = _engine().convert_with_local_state(prepared, displaystyle=display)
    except LatexError as error:
        raise explain(str(error), tex, len(prefix)) from None
    if mathml.endswith('></math>') and '</' not in mathml[:-7]:
        raise MathError('empty', '公式是空的。改法：写上内容，或删去两端的 $')
    return ENTITY.sub(_entity, mathml)


@lru_cache(maxsize=None)
def convert_strictly(tex: str, display: bool) -> str:
    """The same for XML under the MathML 3 schema of EPUB, where only <mstyle> sets style and level."""
    root = ElementTree.fromstring(convert(tex, display))
    root.set('xmlns', XMLNS)
    for parent in list(root.iter()):
        for place, child in enumerate(list(parent)):
            if child.tag in HTML_IN_MTEXT:
                child.set('xmlns', XHTML)
            style = {name: child.attrib.pop(name) for name in ('displaystyle', 'scriptlevel') if name in child.attrib}
            if style:
                parent[place] = ElementTree.Element('mstyle', style)
                parent[place].append(child)
    return ElementTree.tostring(root, encoding='unicode')


def with_tex(mathml: str, tex: str) -> str:
    """Add what the author wrote, for whoever copies the formula."""
    head, _, body = mathml.removesuffix('</math>').partition('>')
    note = escape(tex.strip(), quote=False)
    return f'{head}><semantics><mrow>{body}</mrow><annotation encoding="application/x-tex">{note}</annotation></semantics></math>'


ALTERNATIVES = {
    'substack': r'下标换行写 \begin{subarray}{c}…\\…\end{subarray}，或把条件合并成一行',
    'tag': '删去它，编号由 $$…$$ (eq-标签) 自动得到',
    'label': '标签写在公式之后：$$…$$ (eq-标签)',
    'mbox': r'用 \text{…}',
    'mathbbm': r'指示函数用 \ind，集合用 \mathbb',
    'mathds': r'指示函数用 \ind，集合用 \mathbb',
    'intertext': '把公式拆成两个，中间写正文',
    'eqref': '在正文里写 {eq}`eq-标签`',
    'ref': '在正文里写 {eq}`eq-标签`',
    'split': r'用 \begin{aligned}…\end{aligned}',
    'alignedat': r'用 \begin{aligned}…\end{aligned}',
    'smallmatrix': r'用 pmatrix 或 \begin{subarray}{c}',
}

# (what math-core says, subtype, Chinese message); groups of the pattern fill {0}, the alternative fills {fix}
MESSAGES = [
    (r'Unknown command "(.+?)"', 'unknown-command', '不认识的命令 {0}。改法：{fix}'),
    (r'Unknown environment "(.+?)"', 'environment', '不认识的环境 {0}。改法：{fix}'),
    (r'Expected closing token "(.+?)"', 'unbalanced', '没有闭合：缺少 {0}。改法：补上 {0}'),
    (r'Expected "(.+?)", but found "(?:.+?)"', 'unbalanced', '环境没有配对：这里应当是 {0}'),
    (r'Unmatched closing token: "(.+?)"', 'unbalanced', '多余的 {0}：前面没有与它配对的开头。改法：删去它，或补上开头'),
    (r'Math mode within text mode', 'unsupported', r'\text{{}} 里不能再用 $。改法：把 \text{{}} 在公式处断开，如 \text{{若 }}x>0\text{{ 则}}'),
    (r'Found "\\(tag|label)', 'unsupported', r'不支持 \{0}。改法：{fix}'),
    (r'Could not extract text', 'syntax', r'\operatorname 里只能写文字，空隙用 \,。改法：换成文字，或用 \mathop{{…}}'),
    (r'Found "(\\limits)"', 'syntax', r'{0} 只能跟在 \sum、\int 一类大算符之后。改法：用 \operatorname*{{…}} 或 \underset'),
    (r'Found "&"', 'line-break', r'& 只能用在 aligned、cases、矩阵、array 里。改法：外面套上 \begin{{aligned}}…\end{{aligned}}'),
    (r'Found "(.+?)", which may only', 'syntax', '{0} 不能用在这里。改法：移到它该在的位置，或删去'),
    (r'[Ee]xpected (?:an )?argument', 'syntax', '缺少参数。改法：补上 {{…}}'),
    (r'(?s)(.*)', 'syntax', '无法转换（math-core：{0}）。改法：换一种写法'),
]


def explain(said: str, tex: str, shift: int) -> MathError:
    """math-core's ``position: message`` as an error of ours."""
    number, _, said = said.partition(': ')
    for pattern, subtype, message in MESSAGES:
        if match := re.search(pattern, said):
            break
    wrong = match[1] if match.groups() else ''
    name = wrong.lstrip('\\').removesuffix('[*]')
    default = (
        'aligned、gathered、cases、pmatrix、bmatrix、array 之一' if subtype == 'environment'
        else '检查拼写；全书都要用的记号加进 _ext/mathml/macros.toml'
    )
    position = min(max(int(number) - shift, 0), len(tex)) if number.isdigit() else None
    if subtype == 'unknown-command' and position is not None and not tex.startswith(wrong, position):
        # a digit made bold before it, or a macro's own replacement, moved it
        position = tex.find(wrong) if wrong in tex else position
    return MathError(subtype, message.format(wrong, fix=ALTERNATIVES.get(name, default)), position)
