"""The checks under pytest, in a small book of their own: what passes, what fails, what is said, with file and line."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from textwrap import dedent

import pytest
from checks import checks
from checks.declared import read_text
from checks.running import checks_below

ROOT = Path(__file__).resolve().parents[3]

SOURCE = r'''
# 节

::::{exercise} 题
:label: ex-a
:kind: compute

:::{hint}
提示 $x$。
:::
::::

:::{solution} ex-a
:answer: a = 64; b = 8.0 GiB ± 1%

$$ z $$ (eq-a)
:::

```{code-block} text
:::{exercise} 不是题
:label: ex-fake
:::
```

:::{table} 表
:name: tab-a

| 步骤 | 显存（GiB） | FLOPs | 名 | 引用 |
|---|---|---|---|---|
| $QK^\top$ | 2.5 | 8.59e9 | 7B | 3 |
| **投影** | 1,024.5 | $1.2\times10^{9}$ | 7B | 4 |
:::
'''

GOOD = '''
import torch
from checks import checks


@checks('ex-a')
def answer():
    return {'a': torch.tensor(64.0), 'b': (8 * 2**30, 'byte')}


@checks('tab-a')
def table():
    return {r'QK^\\top': {'显存': (2.5 * 2**30, 'byte'), 'FLOPs': 8.5899e9}, '投影': {'显存（GiB）': 1024.5, 'FLOPs': 1.2001e9}}


@checks('eq-a')
def test_equation():
    assert 1 + 1 == 2
'''


FAULTY_SOURCE = SOURCE + r'''
:::{exercise} 二
:label: ex-b
:kind: compute
:::

:::{solution} ex-b
:answer: a = 1; b = 2 GiB; c = 3
:::

:::{exercise} 三
:label: ex-c
:kind: compute
:::

:::{solution} ex-c
:answer: 苹果
:::

:::{solution} ex-d
:answer: 1
:::

:::{example} 例
:label: eq-a
:::

:::{table} 二
:name: tab-b

| 步骤 | 显存 | 名 |
|---|---|---|
| 甲 | 1.0 | 7B |
| 乙 | 2 | 7B |
| 丙 | 3 | 7B |
:::
'''

FAULTY = '''
from checks import checks


@checks('ex-a')
def wrong():
    return {'a': 63, 'b': 8}


@checks('ex-b')
def partial():
    return {'a': 1, 'b': (2, 'B/s'), 'z': 0}


@checks('tab-b')
def table():
    return {'甲': {'显存': 1.06, '名': 7}, '乙': {'显存': 2, '列': 1}, '丁': {}}


@checks('eq-x')
def unknown():
    assert True


@checks('eq-a')
def needless():
    return 2


@checks('eq-a')
def silent():
    1 + 1 == 2


@checks('eq-a')
def untrue():
    assert 1 + 1 == 3
'''


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """Run the checks of a small book: ``run(check, source)`` -> output of pytest."""

    def run(check, source):
        root = tmp_path_factory.mktemp('book')
        folder = root / 'tests/checks/chapter1'
        folder.mkdir(parents=True)
        for name in ('conftest.py', 'test_coverage.py'):
            (folder.parent / name).write_bytes((ROOT / 'tests/checks' / name).read_bytes())
        (root / 'pytest.ini').write_text('[pytest]\naddopts = --import-mode=importlib -q -p no:cacheprovider\n')
        (root / 'source').mkdir()
        (root / 'source/a.md').write_text(source.lstrip(), encoding='utf-8')
        (folder / 'test_a.py').write_text(check, encoding='utf-8')
        done = subprocess.run(
            [sys.executable, '-m', 'pytest'], cwd=root, capture_output=True, text=True, env={'PYTHONPATH': str(ROOT / '_ext'), 'PATH': ''},
        )
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope='module')
def faults(run):
    return run(FAULTY, FAULTY_SOURCE)


def test_good_checks_pass_whatever_their_names(run):
    check = GOOD + dedent('''
        import random, numpy


        @checks('eq-a')
        def draws():
            assert (random.random(), numpy.random.rand(), torch.rand(()).item()) == DRAWN


        random.seed(0), numpy.random.seed(0), torch.manual_seed(0)
        DRAWN = (random.random(), numpy.random.rand(), torch.rand(()).item())
    ''')
    assert '9 passed' in run(check, SOURCE)


def test_checks_may_warn_while_they_are_listed(tmp_path):
    (tmp_path / 'test_warns.py').write_text(dedent('''
        import warnings
        from checks import checks

        @checks('eq-a')
        def first():
            warnings.warn('a warning registers itself in the module')

        @checks('eq-a')
        def second():
            assert 1 + 1 == 2
    '''), encoding='utf-8')
    names = []
    for function in checks_below(tmp_path):
        with pytest.warns() if function.__name__ == 'first' else nullcontext():
            function()
        names.append(function.__name__)
    assert names == ['first', 'second']


@pytest.mark.parametrize('said', [
    'source/a.md:13: ex-a (a) 声明“64”，核验得到 63',
    'a.md:39: ex-b (b) 声明“2 GiB”，单位“B/s”不能换算成声明的“GiB”',
    'a.md:39: ex-b 没有声明部分“z”（声明的是 a、b、c）',
    'a.md:39: ex-b 的答案“c”没有核验程序返回',
    'a.md:59: 表 tab-b 第“甲”行“显存”列声明“1.0”，核验得到 1.06',
    '第“甲”行“名”列不是数：“7B”',
    '没有列头“列”（列头有 步骤、显存、名）',
    '没有行首“丁”（行首有 甲、乙、丙）',
    'a.md:59: 表 tab-b “丙”行“显存”列没有核验，同列其他格有',
    'test_a.py:20: unknown 所核验的“eq-x”不是书中',
    '返回了 2，但 eq-a 没有可比较的答案',
    'test_a.py:31: silent 既不返回值也不断言',
    'assert (1 + 1) == 3',
    "a.md:42: 计算题 ex-c 没有核验程序：写一个 @checks('ex-c') 的函数",
    'a.md:48: “苹果”不以数值开头',
    'a.md:52: 解答所答的练习“ex-d”不存在',
    'a.md:55: 标签“eq-a”已用于',
])
def test_each_fault_is_told(faults, said):
    assert said in faults


def test_source_is_read_as_the_book_is_written():
    found, answers = read_text(Path('a.md'), SOURCE)
    things = {thing.label: thing for thing in found}
    assert set(things) == {'ex-a', 'eq-a', 'tab-a'}
    assert things['ex-a'].exercise_kind == 'compute'
    assert answers == [('ex-a', 'a = 64; b = 8.0 GiB ± 1%', 14)]
    # CONTRIBUTING: a fence inside may have as many colons as the one around it.
    found, answers = read_text(Path('a.md'), SOURCE.replace('::::', ':::'))
    assert {thing.label for thing in found} == set(things)


def test_decorator_wants_labels():
    for wrong in ((), (lambda: 1,), ('',)):
        with pytest.raises(TypeError, match='要写标签'):
            checks(*wrong)


def test_decorator_needs_neither_torch_nor_sphinx():
    code = 'import checks, sys; assert not {"torch", "sphinx", "docutils"} & set(sys.modules)'
    subprocess.run([sys.executable, '-c', code], check=True, env={'PYTHONPATH': str(ROOT / '_ext')})
