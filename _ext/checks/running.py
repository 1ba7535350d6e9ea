"""Running checks: each function once in a process, from fixed seeds; what it returned is compared with the book as often as wanted."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from checks.compare import compare
from checks.declared import Book, Declared

Check = Callable[[], object]


@cache
def module(path: Path) -> ModuleType:
    """A file of checks, imported under a name of its own unless pytest has it already."""
    for loaded in list(sys.modules.values()):
        if getattr(loaded, '__file__', None) == str(path):
            return loaded
    spec = spec_from_file_location(f'book_checks.{path.parent.name}.{path.stem}', path)
    loaded = module_from_spec(spec)
    sys.modules[spec.name] = loaded
    spec.loader.exec_module(loaded)
    return loaded


def is_check(function: object, where: ModuleType) -> bool:
    """Whether a module's attribute is a check of its own, not one it imported."""
    return callable(function) and bool(getattr(function, 'checks', None)) and function.__module__ == where.__name__


def checks_below(folder: Path) -> Iterator[Check]:
    for path in sorted(folder.rglob('test_*.py')):
        where = module(path)
        # A list: a check that runs between two steps may add to its module (a warning does, in ``__warningregistry__``).
        yield from [function for function in vars(where).values() if is_check(function, where)]


@cache
def outcome(function: Check) -> tuple[object, BaseException | None]:
    """What a check returned, or raised."""
    import numpy as np
    import torch

    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    torch.set_num_threads(1)  # the matrices are small: threads cost more than they bring, and one thread sums in one order
    try:
        return function(), None
    except Exception as error:
        return None, error


def run(function: Check) -> object:
    value, error = outcome(function)
    if error is not None:
        raise error
    return value


def values_for(function: Check, value: object, book: Book) -> dict[str, object]:
    """Label -> the value to compare with what is declared there; empty where the check asserts by itself."""
    if value is None:
        return {}
    if isinstance(value, dict) and value.keys() <= set(function.checks):        # one function for several things: a value for each
        return value
    return {label: value for label in function.checks if label in book.things and comparable(book.things[label])}


def comparable(thing: Declared) -> bool:
    return bool(thing.answer) or thing.kind == 'table'


def disagreements(function: Check, value: object, book: Book, read: set[tuple[str, str]] | None = None) -> list[str]:
    """What is wrong with a returned value; the parts it was compared with are added to ``read``."""
    problems = [f'书里没有标签“{label}”' for label in function.checks if label not in book.things]
    values = values_for(function, value, book)
    if value is not None and not values and not problems:
        problems.append(f'返回了 {value!r}，但 {"、".join(function.checks)} 没有可比较的答案：声明 :answer:，或者自己断言、不返回值')
    for label, one in values.items():
        if label in book.things:
            if comparable(book.things[label]):
                problems += compare(book.things[label], one, read)
            else:
                problems.append(f'{book.things[label].where}: {label} 没有声明答案，核验却返回 {one!r}')
    return problems
