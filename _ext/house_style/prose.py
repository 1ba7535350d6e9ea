"""Rules for sentences: spaces and punctuation, worn phrases, vague pointers, symbols that do not belong."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import autocorrect_py
from docutils import nodes
from house_style.text import CITED, blocks

if TYPE_CHECKING:
    from collections.abc import Iterator

    Finding = tuple[str, nodes.Element, str]

# ``space-dash`` would put blanks around the hyphen of 编码器-解码器; ``halfwidth-word`` would halve the colon of V3：64 维.
autocorrect_py.load_config(json.dumps({'rules': {'space-dash': 0, 'halfwidth-word': 0}}))

PHRASES = {
    r'值得注意的是|需要指出的是|综上所述|总而言之|众所周知|不言而喻': '套话，删掉后直接写内容',
    r'在当今时代|随着[^。，]{0,12}的(?:快速|飞速|不断)发展|扮演着?[^。，]{0,8}角色|至关重要': '套话，写出具体的作用或数字',
    r'显然|不难(?:证明|看出|发现|得到)|容易(?:证明|看出|得到)|可以推导出|易(?:知|得|证)': '省略了步骤，把理由写出来',
    r'(?:如|见)(?:上|下)(?:图|表|式)|(?<![以之])(?:上|下)(?:图|表)(?![0-9])|(?:前|后|上|下)文(?:所述|提到|已述)|见(?:前|后|上|下)文|(?:如前|如上)所述': '指代不明，改用标签引用（{numref}、{eq}、{ref}）',
}
CONTROL = re.compile('[\x00-\x08\x0b-\x1f\x7f]')
EMOJI = re.compile('[\U0001f000-\U0001faff\u2600-\u27bf\ufe0f]')
ARROW = re.compile('[\u2190-\u2211\u2213-\u22ff]')     # arrows and relations, but the minus sign: no Chinese text font has them all


def spacing(document: nodes.document) -> Iterator[Finding]:
    """Half-width punctuation in Chinese, and missing or superfluous blanks (AutoCorrect's rules).

    Not in the title of the page, which stands as the outline has it. Blanks around a citation in brackets are taken away
    by ``zh_typography``.
    """
    for node, text in blocks(document):
        if node is document.next_node(nodes.title):
            continue
        for line in re.sub(rf' ?{CITED} ?', CITED, text).splitlines():
            if (better := autocorrect_py.format(line)) != line:
                at = next(i for i, (a, b) in enumerate(zip(line + '\0', better + '\0', strict=False)) if a != b)
                window = slice(max(0, at - 8), at + 10)
                yield 'spacing', node, f'空格或标点：“{line[window]}”应作“{better[window]}”（公式、函数名在此显示为 x）'


def phrases(document: nodes.document) -> Iterator[Finding]:
    for node, text in blocks(document):
        for pattern, advice in PHRASES.items():
            if found := re.search(pattern, text):
                yield 'phrase', node, f'“{found[0]}”：{advice}'


def symbols(document: nodes.document) -> Iterator[Finding]:
    for node, text in blocks(document):
        if found := EMOJI.search(text):
            yield 'symbol', node, f'正文不用表情符号：“{found[0]}”'
        if found := ARROW.search(text):
            yield 'symbol', node, f'数学符号“{found[0]}”写进公式（如 $\\Rightarrow$），或改用文字：印刷的字体没有它'


def control_characters(document: nodes.document) -> Iterator[Finding]:
    """A stray \\f or \\b eats the beginning of a TeX command, and what is left may still be valid."""
    for text in document.findall(nodes.Text):
        if found := CONTROL.search(text):
            yield 'control', text.parent, f'控制字符 U+{ord(found[0]):04X}：删去它；若在公式里，多半是反斜杠命令被吃掉了开头'
