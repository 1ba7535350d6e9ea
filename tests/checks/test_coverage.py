"""What the checks leave out: labels that do not exist, computed things without a check, answers that no check returns."""

from __future__ import annotations

from pathlib import Path

import answers
import pytest
from checks.compare import unread
from checks.declared import read_book
from checks.running import checks_below, disagreements, outcome
from checks.scan import scan

HERE = Path(__file__).resolve().parent
SOURCE = HERE.parents[1] / 'source'


def fail_with(problems: list[str]) -> None:
    if problems:
        pytest.fail('\n'.join(problems), pytrace=False)


def test_labels_are_unique_and_solutions_have_exercises():
    fail_with(read_book(SOURCE).problems)


def test_answers_can_be_read():
    problems = []
    for thing in read_book(SOURCE).things.values():
        if thing.answer:
            try:
                answers.parse(thing.answer)
            except answers.AnswerError as error:
                problems.append(f'{thing.answer_where}: {error}')
    fail_with(problems)


def test_every_check_names_what_exists_and_says_something():
    functions, problems = scan(HERE)
    known = read_book(SOURCE).things
    fail_with([f'{HERE / one.file}:{one.line}: {one.message}' for one in problems] + [
        f'{HERE / function.file}:{function.first}: {function.name} 所核验的“{label}”不是书中练习、例、定理类块、公式、表或图的标签'
        for function in functions for label in function.labels if label not in known
    ])


def test_everything_computed_has_a_check():
    functions, _ = scan(HERE)
    checked = {label for function in functions for label in function.labels}
    fail_with([
        f"{thing.where}: {'计算题' if thing.exercise_kind == 'compute' else '有数值答案的'} {label} 没有核验程序：写一个 @checks('{label}') 的函数"
        for label, thing in read_book(SOURCE).things.items()
        if (thing.exercise_kind == 'compute' or thing.answer) and label not in checked
    ])


def test_every_answer_is_returned_by_a_check():
    book = read_book(SOURCE)
    read: set[tuple[str, str]] = set()
    broken: set[str] = set()
    for function in checks_below(HERE):
        value, error = outcome(function)
        if error is None:
            disagreements(function, value, book, read)
        else:
            broken |= set(function.checks)          # fails as a test of its own
    fail_with([line for label, line in unread(book, read) if label not in broken])
