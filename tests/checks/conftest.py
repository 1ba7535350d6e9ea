"""Runs the check functions of the book: every function marked ``@checks(…)`` in ``test_*.py`` below this folder is a test.

A check takes no parameters and starts from fixed seeds; what it returns is compared with what the source declares under the
labels it names. The default dtype is torch's own (float32): a check that needs float64 says so.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from checks.declared import read_book
from checks.running import disagreements, is_check, run

SOURCE = Path(__file__).resolve().parents[2] / 'source'


class Disagreement(Exception):
    """A check found something else than the source declares."""


class Check(pytest.Item):
    def __init__(self, *, function: object, **keywords: object) -> None:
        super().__init__(**keywords)
        self.function = function

    def runtest(self) -> None:
        if problems := disagreements(self.function, run(self.function), read_book(SOURCE)):
            raise Disagreement('\n'.join(problems))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> object:
        if isinstance(excinfo.value, Disagreement):
            return str(excinfo.value)
        excinfo.traceback = excinfo.traceback.cut(path=self.path)
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        return self.path, self.function.__code__.co_firstlineno - 1, f'{self.name} → {" ".join(self.function.checks)}'


def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> Check | None:
    return Check.from_parent(collector, name=name, function=obj) if is_check(obj, collector.module) else None
