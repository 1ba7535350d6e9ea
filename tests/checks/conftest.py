"""Runs the check functions of the book: every function marked ``@checks(…)`` in ``test_*.py`` below this folder is a test.

A check takes no parameters and starts from fixed seeds; what it returns is compared with what the source declares under the
labels it names. The default dtype is torch's own (float32): a check that needs float64 says so.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from checks.compare import compare
from checks.declared import read_book

SOURCE = Path(__file__).resolve().parents[2] / 'source'


class Disagreement(Exception):
    """A check found something else than the source declares."""


def run(function: Callable[[], object]) -> object:
    """The value of a check, from fixed seeds."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    return function()


def disagreements(labels: tuple[str, ...], value: object, source: Path = SOURCE, read: set[tuple[str, str]] | None = None) -> list[str]:
    """What is wrong with a returned value, given the book below ``source``."""
    book = read_book(source)
    problems = [f'{source} 里没有标签“{label}”' for label in labels if label not in book.things]
    things = [book.things[label] for label in labels if label in book.things]
    if value is None:
        return problems
    if isinstance(value, dict) and value.keys() <= set(labels):         # one function for several things: a value for each
        values = value
    else:
        values = dict.fromkeys((thing.label for thing in things if thing.answer or thing.kind == 'table'), value)
    comparable = [thing for thing in things if thing.label in values and (thing.answer or thing.kind == 'table')]
    if not comparable and not problems:
        problems.append(f'返回了 {value!r}，但 {"、".join(labels)} 没有可比较的答案：声明 :answer:，或者自己断言、不返回值')
    return problems + [problem for thing in comparable for problem in compare(thing, values[thing.label], read)]


class Check(pytest.Item):
    def __init__(self, *, function: Callable[[], object], **keywords: object) -> None:
        super().__init__(**keywords)
        self.function = function
        self.value: object = None

    def runtest(self) -> None:
        self.value = run(self.function)
        if problems := disagreements(self.function.checks, self.value):
            raise Disagreement('\n'.join(problems))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> object:
        if isinstance(excinfo.value, Disagreement):
            return str(excinfo.value)
        excinfo.traceback = excinfo.traceback.cut(path=self.path)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.function.__code__.co_firstlineno - 1, f'{self.name} → {" ".join(self.function.checks)}'


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> Check | None:
    if getattr(obj, 'checks', None) and callable(obj) and obj.__module__ == collector.module.__name__:
        return Check.from_parent(collector, name=name, function=obj)
    return None
