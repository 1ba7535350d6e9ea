"""The table on the terminal: ratio first, then the two figures and the budget."""

from __future__ import annotations

from dataclasses import dataclass
from unicodedata import east_asian_width


@dataclass
class Row:
    what: str
    book: float
    stock: float | None  # None: the stock build has no such thing
    budget: str = ''
    kept: bool = True

    @property
    def ratio(self) -> str:
        if self.stock is None:
            return '—'
        if self.book == 0:
            return '1' if self.stock == 0 else '∞'
        return f'{self.stock / self.book:.3g}'

    @property
    def cells(self) -> list[str]:
        verdict = f'{self.budget} {"✓" if self.kept else "✗"}' if self.budget else ''
        return [self.ratio, number(self.book), '—' if self.stock is None else number(self.stock), verdict, self.what]


def number(value: float) -> str:
    return f'{value:.0f}' if value >= 100 or value == int(value) else f'{value:.3g}'


def width(text: str) -> int:
    return sum(2 if east_asian_width(char) in 'WF' else 1 for char in text)


def show(rows: list[Row]) -> None:
    table = [['倍数', '本书', '对照', '预算', '指标'], *(row.cells for row in rows)]
    widths = [max(width(line[column]) for line in table) for column in range(5)]
    for line in table:
        print('  '.join(cell + ' ' * (room - width(cell)) for cell, room in zip(line, widths, strict=True)).rstrip())
