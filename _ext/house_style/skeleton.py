"""Rules for the build of a section: its parts and their order, its exercises, its figures, and no code."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from blocks.nodes import block
from docutils import nodes

if TYPE_CHECKING:
    from collections.abc import Iterator

    Finding = tuple[str, nodes.Element, str]

PARTS = ('本节目标', '设计选择', 'PyTorch', '研究方向', '练习', '小结')
LEAST = {'derive': 2, 'compute': 2, 'open': 1}
EXERCISES = range(6, 10)


def top_section(document: nodes.document) -> nodes.section | None:
    return next(document.findall(nodes.section), None)


def headings(document: nodes.document) -> Iterator[Finding]:
    """The fixed parts are there, in order, with 3–7 sections of substance between the goals and the design choices."""
    if (top := top_section(document)) is None:
        return
    titles = [child.next_node(nodes.title).astext() for child in top.children if isinstance(child, nodes.section)]
    places = []
    for part in PARTS:
        at = next((i for i, title in enumerate(titles) if part in title), None)
        if at is None:
            yield 'skeleton', top, f'缺小节“{part}”'
        else:
            places.append(at)
    if places != sorted(places):
        yield 'skeleton', top, f'小节次序应为：{"、".join(PARTS)}'
    elif len(places) == len(PARTS) and not 3 <= places[1] - places[0] - 1 <= 7:
        yield 'skeleton', top, f'“本节目标”与“设计选择”之间应有 3–7 个正文小节，现有 {places[1] - places[0] - 1} 个'


def exercises(document: nodes.document) -> Iterator[Finding]:
    """Numbers, kinds and difficulties of the exercises; hints where they are due."""
    if (top := top_section(document)) is None:
        return
    found = [node for node in document.findall(block) if node['kind'] == 'exercise']
    if len(found) not in EXERCISES:
        yield 'exercises', top, f'每节 {EXERCISES.start}–{EXERCISES.stop - 1} 道练习，现有 {len(found)} 道'
    kinds = Counter(node.get('exercise_kind') for node in found)
    for kind, least in LEAST.items():
        if kinds[kind] < least:
            yield 'exercises', top, f'每节至少 {least} 道 {kind} 题，现有 {kinds[kind]} 道'
    if not kinds['design'] + kinds['critique']:
        yield 'exercises', top, '每节至少 1 道 design 或 critique 题'
    for difficulty in sorted({1, 2, 3} - {int(node.get('difficulty') or 0) for node in found}):
        yield 'exercises', top, f'没有难度 {difficulty} 的练习'
    for node in found:
        if int(node.get('difficulty') or 0) >= 2 and not any(inner['kind'] == 'hint' for inner in node.findall(block)):
            yield 'exercises', node, f'难度 {node["difficulty"]} 的练习要有提示（hint）'


def figures(document: nodes.document) -> Iterator[Finding]:
    if (top := top_section(document)) is not None and not any(document.findall(nodes.figure)):
        yield 'figures', top, '每节至少一张图'


def no_code(document: nodes.document) -> Iterator[Finding]:
    for node in document.findall(nodes.literal_block):
        yield 'code', node, '正文不放代码：算法用 algorithm 块加编号步骤写'
