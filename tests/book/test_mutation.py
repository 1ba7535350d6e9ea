"""The checks can fail: in a copy of the book every declared answer and every checked table cell is changed, one at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import answers
import pytest
from checks.compare import cell_answer, compare, number_text, plain
from checks.declared import Book, Declared, read_book, read_text
from checks.running import checks_below, disagreements, outcome, values_for

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / 'source'


def other(number: answers.Number, tolerance: Fraction | None, relative: bool) -> str:
    """A number just too far from ``number`` to count as equal, written the same way."""
    if tolerance is None:
        mantissa = re.search(r'\d[\d,]*(?:\.\d+)?|\.\d+', number.text)
        digits = mantissa[0].replace(',', '')
        bumped = Decimal(digits) + Decimal(1).scaleb(-len(digits.partition('.')[2]))
        return number.text[:mantissa.start()] + str(bumped) + number.text[mantissa.end():]
    if relative:
        # A value within r of x lies outside r of y = x (1 + 3r) / (1 - r).
        return f'{float(number.value * (1 + 3 * tolerance) / (1 - tolerance)):.15g}' if tolerance < 1 else f'{float(-number.value):.15g}'
    return f'{float(number.value + 3 * tolerance):.15g}'


def mutated_answers(text: str) -> Iterator[tuple[str, str]]:
    """Part and whole answer, with one number of it changed."""
    pieces = [piece.strip() for piece in re.split('[;；]', text) if piece.strip()]
    for index, answer in enumerate(answers.parse(text).values()):
        at = 0
        for number in answer.numbers:
            at = answer.text.index(number.text, at)
            new = answer.text[:at] + other(number, answer.tolerance, answer.relative) + answer.text[at + len(number.text):]
            at += len(number.text)
            yield answer.part, '; '.join([*pieces[:index], f'{answer.part} = {new}' if answer.part else new, *pieces[index + 1:]])


def copy_with_answer(thing: Declared, text: str, book: Book) -> Book:
    """The book, one thing of it read anew from a copy of its file in which the ``:answer:`` differs; the other files are as they were."""
    path, line = thing.answer_at
    lines = path.read_text(encoding='utf-8').splitlines()
    assert thing.answer in lines[line - 1]
    lines[line - 1] = lines[line - 1].replace(thing.answer, text)
    found, of_solutions = read_text(path, '\n'.join(lines))
    read = [answer for label, answer, at in of_solutions if (label, at) == (thing.label, line)]
    read += [one.answer for one in found if one.answer_at == thing.answer_at]
    return Book({**book.things, thing.label: replace(thing, answer=read[0])}, [])


def copies_of_table(thing: Declared, book: Book, value: dict) -> Iterator[tuple[str, Book]]:
    """The book with one checked cell of a table changed."""
    read: set[tuple[str, str]] = set()
    compare(thing, value, read)
    for number, row in enumerate(thing.rows[2:], 2):
        for column, cell in enumerate(row):
            if (thing.label, f'{plain(row[0])}\0{column}') in read:
                answer = cell_answer(cell, thing.rows[0][column])
                new = number_text(cell).replace(answer.numbers[0].text, other(answer.numbers[0], None, False), 1)
                rows = [*thing.rows[:number], [*row[:column], new, *row[column + 1:]], *thing.rows[number + 1:]]
                yield f'“{row[0]}”行第 {column + 1} 列', Book({**book.things, thing.label: replace(thing, rows=rows)}, [])


def test_a_changed_answer_fails_its_check():
    book = read_book(SOURCE)
    survived, seen = [], 0
    for function in checks_below(ROOT / 'tests/checks'):
        value, error = outcome(function)
        if error is not None or disagreements(function, value, book):
            continue                    # fails already, as a test of its own
        for label, one in values_for(function, value, book).items():
            thing = book.things[label]
            if thing.kind == 'table':
                copies = list(copies_of_table(thing, book, one))
            else:
                parts = one if isinstance(one, dict) else {'': one}
                copies = [(text, copy_with_answer(thing, text, book)) for part, text in mutated_answers(thing.answer) if part in parts]
            for what, copy in copies:
                seen += 1
                if not disagreements(function, value, copy):
                    survived.append(f'{thing.answer_where}: {label} 改成 {what} 之后，{function.__name__} 仍然通过')
    if survived:
        pytest.fail('\n'.join(survived), pytrace=False)
    assert seen, '书里没有一个被核验的答案'
