"""A value returned by a check against what the source declares: an answer part by part, a table cell by cell."""

from __future__ import annotations

import re
from collections.abc import Iterator

import answers
from checks.declared import Book, Declared

ROLE = re.compile(r'\{[\w:-]+\}`(?:~?)([^`<]*?)(?:\s*<[^`]*>)?`')
LINK = re.compile(r'\[([^\]]*)\]\([^)]*\)')
HEADER_UNIT = re.compile(r'[（(\[/]\s*([^（）()\[\]/]+(?:/[^（）()\[\]]+)?)\s*[）)\]]?\s*$')


def plain(text: str) -> str:
    """Text of a cell without markup or white space, to find rows and columns by; the check's keys go through it too."""
    text = LINK.sub(r'\1', ROLE.sub(r'\1', text))
    return re.sub(r'[\s$*`]|\\[,;!]', '', text)


def number_text(cell: str) -> str:
    """A cell's text with the TeX of numbers turned into what :class:`answers.Number` reads."""
    text = re.sub(r'\\times|\\cdot', '×', cell)
    text = re.sub(r'\{cite[^}]*\}`[^`]*`', '', text)
    text = re.sub(r'\\(?:mathrm|text|mathbf)\{([^}]*)\}', r' \1', text).replace('\\%', '%')
    text = re.sub(r'\\d?frac\{(\d+)\}\{(\d+)\}', r'\1/\2', text)
    text = re.sub(r'\\[,;: ]|[$*~]|\{,\}', lambda found: ',' if found[0] == '{,}' else ' ', text)
    return re.sub(r'^[≈约]\s*|\\approx', '', text.strip()).strip()


def known_unit(text: str) -> str | None:
    try:
        answers.unit(text)
    except answers.AnswerError:
        return None
    return text


def cell_answer(cell: str, header: str) -> answers.Answer | None:
    """The number in a cell as an answer; nothing where the cell does not start with a number.

    The unit is what follows the number, else the one in the column's header; words that are no unit (层、倍) are ignored.
    """
    text = number_text(cell)
    found = answers.Number.match(text)
    if not found:
        return None
    number, end = found
    rest = text[end:].strip()
    if re.match(r'[A-Za-z_./^–-]', text[end:]) or (rest[:1].isascii() and rest[:1].isalpha() and known_unit(rest) is None):
        return None                             # 7B, 3D, 2017a, 3 Small: a name, not a number
    in_header = HEADER_UNIT.search(re.sub(r'[$*]', '', header))
    unit = (known_unit(rest) if rest else None) or (known_unit(in_header[1].strip()) if in_header else None) or ''
    return answers.Answer('', cell, (number,), False, unit, None, False)


def compare(thing: Declared, value: object, read: set[tuple[str, str]] | None = None) -> list[str]:
    """Disagreements of ``value`` with what ``thing`` declares; parts that were compared are added to ``read``."""
    read = set() if read is None else read
    if thing.kind == 'table':
        return list(compare_table(thing, value, read))
    if not thing.answer:
        return []
    try:
        declared = answers.parse(thing.answer)
    except answers.AnswerError as error:
        return [f'{thing.answer_where}: {error}']
    if not isinstance(value, dict):
        if '' not in declared:
            return [f'{thing.answer_where}: {thing.label} 声明了部分 {"、".join(declared)}，核验要按部分返回 dict，却返回 {value!r}']
        value = {'': value}
    problems = []
    for part, one in value.items():
        read.add((thing.label, str(part)))
        if str(part) not in declared:
            problems.append(f'{thing.answer_where}: {thing.label} 没有声明部分“{part}”（声明的是 {"、".join(declared) or "一个数"}）')
        elif message := declared[str(part)].check(one):
            problems.append(f'{thing.answer_where}: {thing.label} {f"({part}) " if part else ""}{message}')
    return problems


def compare_table(thing: Declared, value: object, read: set[tuple[str, str]]) -> Iterator[str]:
    header, rows = thing.rows[0] if thing.rows else [], thing.rows[2:]
    if not isinstance(value, dict) or not all(isinstance(row, dict) for row in value.values()):
        yield f'{thing.where}: 表 {thing.label} 的核验要返回 {{行首: {{列头: 数值}}}}，却返回 {value!r}'
        return
    columns = column_keys(header)
    heads = [plain(row[0]) for row in rows]
    checked: set[int] = set()
    for row_key, row_values in value.items():
        if heads.count(plain(str(row_key))) != 1:
            many = heads.count(plain(str(row_key)))
            yield f'{thing.where}: 表 {thing.label} {"有多个" if many else "没有"}行首“{row_key}”（行首有 {"、".join(row[0] for row in rows)}）'
            continue
        row = rows[heads.index(plain(str(row_key)))]
        for column_key, one in row_values.items():
            column = columns.get(plain(str(column_key)))
            if column is None:
                yield f'{thing.where}: 表 {thing.label} 没有列头“{column_key}”（列头有 {"、".join(header)}）'
                continue
            checked.add(column)
            read.add((thing.label, f'{plain(row[0])}\0{column}'))
            declared = cell_answer(row[column], header[column]) if column < len(row) else None
            place = f'{thing.where}: 表 {thing.label} 第“{row[0]}”行“{header[column]}”列'
            if declared is None:
                yield f'{place}不是数：“{row[column] if column < len(row) else ""}”'
            elif message := declared.check(one):
                yield f'{place}{message}'


def column_keys(header: list[str]) -> dict[str, int]:
    """Columns by their header's text, with and without the unit in parentheses; ambiguous short forms are left out."""
    keys: dict[str, int] = {}
    short: dict[str, list[int]] = {}
    for index, cell in enumerate(header):
        keys.setdefault(plain(cell), index)
        short.setdefault(plain(HEADER_UNIT.sub('', cell)), []).append(index)
    return {key: found[0] for key, found in short.items() if len(found) == 1} | keys


def numeric_cells(thing: Declared) -> dict[str, str]:
    """Numeric cells of a table outside its first column: key as in ``read`` -> description."""
    header, rows = thing.rows[0], thing.rows[2:]
    return {
        f'{plain(row[0])}\0{column}': f'“{row[0]}”行“{header[column]}”列'
        for row in rows
        for column in range(1, min(len(header), len(row)))
        if cell_answer(row[column], header[column])
    }


def unread(book: Book, read: set[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Label and message of declared answers, and of cells in columns of which some cell was checked, that no check returned."""
    for thing in book.things.values():
        if thing.kind == 'table' and thing.rows:
            cells = numeric_cells(thing)
            seen = {part for label, part in read if label == thing.label}
            columns = {part.split('\0')[1] for part in seen}
            for key, name in cells.items():
                if key.split('\0')[1] in columns and key not in seen:
                    yield thing.label, f'{thing.where}: 表 {thing.label} {name}没有核验，同列其他格有：返回它，或整列都不返回'
        elif thing.answer:
            for part in parts(thing.answer):
                if (thing.label, part) not in read:
                    yield thing.label, f'{thing.answer_where}: {thing.label} 的答案{f"“{part}”" if part else ""}没有核验程序返回'


def parts(answer: str) -> list[str]:
    """Names of an answer's parts; none where it cannot be read, which is told elsewhere."""
    try:
        return list(answers.parse(answer))
    except answers.AnswerError:
        return []
