"""The kinds of block: what each is called, which counter numbers it, how it is drawn."""

from __future__ import annotations

from typing import NamedTuple


class Kind(NamedTuple):
    word: str               # 练习
    family: str             # exercise, theorem, proof or fold: decides the look
    counter: str = ''       # blocks with one counter share one sequence of numbers; none: never numbered


KINDS = {
    'exercise': Kind('练习', 'exercise', 'exercise'),
    'solution': Kind('解答', 'fold'),
    'hint': Kind('提示', 'fold'),
    'definition': Kind('定义', 'theorem', 'theorem'),
    'theorem': Kind('定理', 'theorem', 'theorem'),
    'lemma': Kind('引理', 'theorem', 'theorem'),
    'proposition': Kind('命题', 'theorem', 'theorem'),
    'corollary': Kind('推论', 'theorem', 'theorem'),
    'example': Kind('例', 'theorem', 'theorem'),
    'algorithm': Kind('算法', 'theorem', 'theorem'),
    'remark': Kind('注', 'theorem', 'theorem'),
    'proof': Kind('证明', 'proof'),
}

# An exercise on a page that gathers sections is numbered by chapter, 综合练习 1.2, so that it cannot be taken for section 1.2.
CHAPTER_WORD = {'exercise': '综合练习'}

# What names a block by the one it belongs to: 练习 1.1.3 的解答.
OF = {'solution': '的解答', 'hint': '的提示', 'proof': '的证明'}

EXERCISE_KINDS = {'derive': '推导', 'compute': '计算', 'design': '设计', 'critique': '辨析', 'open': '开放'}
DIFFICULTIES = ('1', '2', '3')
