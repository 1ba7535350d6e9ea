"""How citations and entries read: author–year with Chinese punctuation.

In the text Vaswani 等（2017） and （Vaswani 等，2017；Su 等，2021）; in the list
“Vaswani A、Shazeer N、Parmar N 等（2017）。Attention Is All You Need。*NeurIPS*。arXiv:1706.03762。”
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache

from pybtex.database import Entry, Person
from pybtex.richtext import HRef, Tag, Text
from pybtex.style import FormattedEntry
from pybtex.style.formatting import BaseStyle
from pybtex.style.labels import BaseLabelStyle
from pybtex.style.sorting import BaseSortingStyle
from sphinxcontrib.bibtex.style.referencing import BaseReferenceStyle, GroupReferenceStyle
from sphinxcontrib.bibtex.style.template import node, reference

SHOWN = 6               # authors in the list; of more, the first SHOWN and 等
VENUES = ('journal', 'booktitle', 'publisher', 'school', 'institution', 'howpublished', 'organization')
HAN = re.compile(r'[\u3400-\u9fff]')
ARXIV = re.compile(r'(\d{4}\.\d{4,5}|[a-z-]+(?:\.[A-Z]{2})?/\d{7})')


# -- names -------------------------------------------------------------------------------------------------------------

def people(entry: Entry) -> tuple[list[Person], bool]:
    """Authors (else editors), and whether there are others whom the entry does not name."""
    persons = entry.persons.get('author') or entry.persons.get('editor') or []
    named = [person for person in persons if str(person) != 'others']
    return named, len(named) < len(persons)


@cache
def plain(text: str) -> str:
    return str(Text.from_latex(text))


def family(person: Person) -> str:
    """Vaswani, van den Oord, DeepSeek-AI."""
    return plain(' '.join([*person.prelast_names, *person.last_names]) or str(person))


def full(person: Person) -> str:
    """Vaswani A, van den Oord A; a Chinese name as it is written."""
    given = plain(' '.join([*person.first_names, *person.middle_names]))
    if HAN.search(family(person)):
        return family(person) + given
    initials = ''.join(part[0].upper() for part in re.split(r'[\s.\-~]+', given) if part)
    return f'{family(person)} {initials}'.strip()


def spaced(left: str, right: str) -> str:
    """Join with a blank where Latin meets Chinese."""
    return left + ('' if HAN.match(left[-1:]) and HAN.match(right[:1]) else ' ') + right


def short_names(entry: Entry) -> str:
    """Vaswani 等; A 与 B; A. Without authors the title."""
    named, others = people(entry)
    names = [family(person) for person in named]
    if not names:
        return f'《{plain(entry.fields.get("title", entry.key))}》'
    if len(names) == 2 and not others:
        return spaced(spaced(names[0], '与'), names[1])
    return spaced(names[0], '等') if others or len(names) > 2 else names[0]


def all_names(entry: Entry) -> str:
    named, others = people(entry)
    names = '、'.join(full(person) for person in named[:SHOWN])
    return spaced(names, '等') if others or len(named) > SHOWN else names


def year(entry: Entry) -> str:
    return entry.fields.get('year', '无日期')


# -- labels, order -----------------------------------------------------------------------------------------------------

def suffix(index: int) -> str:
    """a, b … z, aa, ab …"""
    letters = ''
    while index >= 0:
        letters, index = chr(ord('a') + index % 26) + letters, index // 26 - 1
    return letters


class Labels(BaseLabelStyle):
    """“Vaswani 等，2017”; works that would share a label get 2017a, 2017b in the order of the list."""

    def format_labels(self, sorted_entries: Iterable[Entry]) -> Iterator[str]:
        labels = [f'{short_names(entry)}，{year(entry)}' for entry in sorted_entries]
        total, seen = Counter(labels), Counter()
        for label in labels:
            yield label + suffix(seen[label]) if total[label] > 1 else label
            seen[label] += 1


class Order(BaseSortingStyle):
    """By the names as shown, then year, then title."""

    def sorting_key(self, entry: Entry) -> tuple:
        names = [family(person).casefold() for person in people(entry)[0]] or [plain(entry.fields.get('title', '')).casefold()]
        return names, year(entry), plain(entry.fields.get('title', '')).casefold(), entry.key


# -- entries -----------------------------------------------------------------------------------------------------------

class Entries(BaseStyle):
    """An entry of the list."""

    default_name_style = 'plain'
    default_label_style = Labels
    default_sorting_style = Order

    def format_entry(self, label: str, entry: Entry, bib_data: object = None) -> FormattedEntry:
        when = label.rpartition('，')[2]
        head = Text(all_names(entry) or '', f'（{when}）')
        title = field_text(entry, 'title')
        if entry.type in ('book', 'phdthesis', 'mastersthesis'):
            title = Tag('em', title)
        parts = [part for part in (head, title, venue(entry), *links(entry), field_text(entry, 'note')) if part is not None and str(part)]
        return FormattedEntry(entry.key, Text(*(Text(part, stop_after(str(part))) for part in parts)), label)


def stop_after(text: str) -> str:
    """A full stop, unless the text (a title that asks) has one."""
    return ' ' if text.endswith(('?', '!')) else '' if text.endswith(('。', '？', '！')) else '。'


def field_text(entry: Entry, name: str) -> Text | None:
    return Text.from_latex(entry.fields[name]) if name in entry.fields else None


def venue(entry: Entry) -> Text | None:
    """Where it appeared: the name, then volume（number）and pages."""
    fields = entry.fields
    name = next((field_text(entry, one) for one in VENUES if one in fields), None)
    if name is None or ARXIV.search(str(name)) or str(name).lower() in ('arxiv', 'arxiv preprint', 'corr') or 'http' in str(name):
        return None                     # said by the link
    details = fields.get('volume', '') + (f'（{fields["number"]}）' if 'number' in fields and 'volume' in fields else '')
    pages = re.sub('-+', '–', fields.get('pages', ''))
    return Text(Tag('em', name), f' {details}' if details else '', f'，{pages}' if pages else '')


def links(entry: Entry) -> Iterator[Text]:
    """arXiv, DOI; an address only where there is neither."""
    fields = entry.fields
    elsewhere = (ARXIV.search(fields[name]) for name in ('journal', 'url', 'howpublished') if 'arxiv' in fields.get(name, '').lower())
    found = ARXIV.search(fields.get('eprint', '')) or next(filter(None, elsewhere), None)
    if found:
        yield HRef(f'https://arxiv.org/abs/{found[1]}', f'arXiv:{found[1]}')
    if 'doi' in fields:
        doi = re.sub(r'^https?://(dx\.)?doi\.org/', '', fields['doi'])
        yield HRef(f'https://doi.org/{doi}', f'doi:{doi}')
    if 'url' in fields and not found and 'doi' not in fields:
        yield HRef(fields['url'], fields['url'])


# -- references in the text --------------------------------------------------------------------------------------------

@node
def citation(children: list, data: dict, textual: bool) -> Text:
    """The whole citation is the link, so that a finger finds it."""
    assert not children
    names, _, when = data['formatted_entry'].label.rpartition('，')
    info = data['reference_info']
    before, after = (f'{info.pre_text} ' if info.pre_text else ''), (f'，{info.post_text}' if info.post_text else '')
    words = f'{names}（{before}{when}{after}）' if textual else f'{before}{names}，{when}{after}'
    return reference[words].format_data(data)


@node
def part(children: list, data: dict, which: int) -> Text:
    assert not children
    return reference[data['formatted_entry'].label.rpartition('，')[which]].format_data(data)


@node
def enclosed(children: list, data: dict, before: str, after: str) -> Text:
    return Text(before, *children, after)


@dataclass
class Textual(BaseReferenceStyle):
    """``{cite:t}`` → Vaswani 等（2017）. A reference has one work: :mod:`citations.transforms` divides those that have several."""

    def role_names(self) -> list[str]:
        return ['t']

    def outer(self, role_name: str, children: list) -> object:
        return enclosed(before='', after='')[children]

    def inner(self, role_name: str) -> object:
        return citation(textual=True)


@dataclass
class Parenthetical(BaseReferenceStyle):
    """``{cite:p}`` → （Vaswani 等，2017）; ``{cite:alp}`` the same without brackets."""

    def role_names(self) -> list[str]:
        return ['p', 'alp']

    def outer(self, role_name: str, children: list) -> object:
        before, after = ('（', '）') if role_name == 'p' else ('', '')
        return enclosed(before=before, after=after)[children]

    def inner(self, role_name: str) -> object:
        return citation(textual=False)


@dataclass
class Parts(BaseReferenceStyle):
    """``{cite:author}``, ``{cite:year}``."""

    def role_names(self) -> list[str]:
        return ['author', 'year']

    def outer(self, role_name: str, children: list) -> object:
        return enclosed(before='', after='')[children]

    def inner(self, role_name: str) -> object:
        return part(which=0 if role_name == 'author' else 2)


@dataclass
class References(GroupReferenceStyle):
    styles: list[BaseReferenceStyle] = field(default_factory=lambda: [Textual(), Parenthetical(), Parts()])
