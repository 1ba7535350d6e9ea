"""Each rule of house style says what is wrong, where, and how to mend it; sound text passes."""

from __future__ import annotations

import pytest

EXTENSIONS = ['blocks', 'house_style']


def warnings_for(project, body: str, name: str = 'chapter1/section.md') -> list[str]:
    built = project(EXTENSIONS, {'index.md': f'# 书\n\n```{{toctree}}\n{name.removesuffix(".md")}\n```\n', name: body}).build('dummy')
    return [line for line in built.warnings.splitlines() if 'house_style' in line]


@pytest.mark.parametrize(
    ('sentence', 'subtype', 'says'),
    [
        ('设$n$为长度。', 'spacing', '应作'),
        ('它在GPU上运行。', 'spacing', 'GPU'),
        ('先求和,再归一。', 'spacing', '，'),
        ('值得注意的是，它收敛。', 'phrase', '套话'),
        ('显然它收敛。', 'phrase', '步骤'),
        ('见上图，它收敛。', 'phrase', 'numref'),
        ('每个令牌各算一次。', 'term', 'token'),
        ('它用 kernel 加权。', 'english', 'kernel'),
        ('它收敛 🎉。', 'symbol', '表情'),
        ('校准 ⇒ 幻觉。', 'symbol', '写进公式'),
        ('设 $\x0crac12$。', 'control', 'U+000C'),
    ],
)
def test_sentence_is_flagged_with_its_line(project, sentence, subtype, says):
    found = [line for line in warnings_for(project, f'# 节\n\n好的一句。\n\n{sentence}\n', 'chapter1.md') if f'house_style.{subtype}' in line]
    assert len(found) == 1
    assert 'chapter1.md:5' in found[0]
    assert says in found[0]


def test_sound_text_passes(project):
    body = """
    # 节

    设 $n$ 为序列长度，它由核（kernel）加权；kernel 之后可以直接用。由 {eq}`eq-a` 可知，见 {ref}`chapter1`。

    $$x=1$$ (eq-a)
    """
    assert warnings_for(project, '(chapter1)=\n' + '\n'.join(line.strip() for line in body.splitlines()), 'chapter1.md') == []


def test_text_inside_a_solution_is_judged(project):
    body = '# 节\n\n:::{exercise} 题\n:label: ex-a\n:kind: derive\n:difficulty: 1\n\n求。\n:::\n\n:::{solution} ex-a\n它在GPU上。\n:::\n'
    assert any('spacing' in line and ':12' in line for line in warnings_for(project, body, 'chapter1.md'))


def test_title_of_a_block_is_judged(project):
    body = '# 节\n\n:::{theorem} GPU上的定理\n:label: thm-a\n\n好。\n:::\n'
    assert any('spacing' in line and 'GPU' in line for line in warnings_for(project, body, 'chapter1.md'))


def test_skeleton_names_each_missing_part(project):
    found = '\n'.join(warnings_for(project, '# 节\n\n## 练习\n\n好。\n\n## 本节目标\n\n好。\n'))
    for part in ('设计选择', 'PyTorch', '研究方向', '小结'):
        assert f'缺小节“{part}”' in found
    assert '小节次序' in found
    assert '每节至少一张图' in found
    assert '每节至少 2 道 derive 题，现有 0 道' in found


def test_exercise_without_hint(project):
    body = '# 节\n\n:::{exercise} 题\n:label: ex-a\n:kind: derive\n:difficulty: 2\n\n求。\n:::\n\n:::{solution} ex-a\n解。\n:::\n'
    assert any('要有提示' in line for line in warnings_for(project, body))


def test_code_is_refused_in_chapters_only(project):
    body = '# 节\n\n```python\nx = 1\n```\n'
    assert any('house_style.code' in line for line in warnings_for(project, body, 'chapter1.md'))
    assert not any('house_style.code' in line for line in warnings_for(project, body, 'preface.md'))
