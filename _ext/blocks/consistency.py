"""What only the whole book shows: labels given twice, solutions without exercise, exercises without solution."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sphinx.util import logging

from .facts import Fact
from .kinds import KINDS

if TYPE_CHECKING:
    from .domain import BlocksDomain

logger = logging.getLogger(__name__)


def check(domain: BlocksDomain) -> None:
    facts = domain.in_order()
    first: dict[str, Fact] = {}
    solved: dict[str, Fact] = {}
    for fact in facts:
        if fact.label:
            duplicate(domain, fact, first)
        if fact.kind == 'hint' and not fact.inside:
            warn('stray_hint', '提示不在练习里：把它移进所属的 exercise 块，放在外层的结束冒号之前', fact)
    for fact in facts:
        owner = first.get(fact.target)
        if fact.kind == 'solution':
            solution(domain, fact, owner, solved)
        elif fact.kind == 'proof' and fact.target and owner is None:
            warn('unknown_target', f'证明的对象“{fact.target}”不存在：改成所证的块的标签；若是标题，写成不像标签的文字', fact)
    if domain.env.config.blocks_require_solution:
        for fact in facts:
            # A duplicate has been reported as such; its solution cannot be told from that of the first.
            if fact.kind == 'exercise' and fact.label and not fact.hidden and first[fact.label] is fact and fact.label not in solved:
                warn('missing_solution', f'练习“{fact.label}”没有解答：在它之后写 :::{{solution}} {fact.label}', fact)


def duplicate(domain: BlocksDomain, fact: Fact, first: dict[str, Fact]) -> None:
    other = first.setdefault(fact.label, fact)
    if other is not fact and fact.kind == other.kind == 'solution' and fact.target == other.target:
        return          # takes its label from the exercise; told as a second solution
    if other is not fact:
        warn('duplicate_label', f'标签“{fact.label}”重复，{place(domain, other)} 已经用过：两处改成不同的标签', fact)
        return
    standard = domain.env.domains.standard_domain.anonlabels.get(fact.label)
    if standard:
        warn('duplicate_label', f'标签“{fact.label}”重复，{domain.env.doc2path(standard[0], False)} 里已有同名的目标：两处改成不同的标签', fact)


def solution(domain: BlocksDomain, fact: Fact, owner: Fact | None, solved: dict[str, Fact]) -> None:
    if not fact.target:
        warn('unknown_exercise', '解答没有写明是哪道练习的：写成 :::{solution} ex-…', fact)
    elif owner is None:
        warn('unknown_exercise', f'解答所指的练习“{fact.target}”不存在：改成某道练习的标签，或补上那道练习', fact)
    elif owner.kind != 'exercise':
        warn('unknown_exercise', f'解答所指的“{fact.target}”是{KINDS[owner.kind].word}，不是练习：改成某道练习的标签', fact)
    elif (other := solved.setdefault(fact.target, fact)) is not fact:
        warn('duplicate_solution', f'练习“{fact.target}”已有解答，在 {place(domain, other)}：合成一份', fact)


def place(domain: BlocksDomain, fact: Fact) -> str:
    return f'{domain.env.doc2path(fact.docname, False)}:{fact.line}'


def warn(subtype: str, message: str, fact: Fact) -> None:
    logger.warning(message, type='blocks', subtype=subtype, location=(fact.docname, fact.line))
