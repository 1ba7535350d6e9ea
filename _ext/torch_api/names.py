"""Names of the PyTorch documentation: how an author writes them, where they lead, which are committed. Knows nothing of Sphinx."""

from __future__ import annotations

import difflib
import re
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

PREFIXES = ('', 'torch.', 'torch.nn.', 'torch.nn.functional.')
BASES = {
    'torch': 'https://docs.pytorch.org/docs/stable/',
    'torchao': 'https://docs.pytorch.org/ao/stable/',
}
COMMITTED = Path(__file__).with_name('names.tsv')
HEADER = '# Names of the PyTorch documentation that the book uses; written by `make inventory`.\nrole\tname\turi\n'
# `softmax`, `~nn.functional.softmax()`, `the text <nn.LayerNorm>`; torch-default: `nn.LayerNorm eps=1e-5`
ROLE = re.compile(r'\{torch(?P<default>-default)?\}`(?P<text>[^`]+)`')
EXPLICIT = re.compile(r'^(?P<title>.+?)\s*<(?P<target>[^<>]+)>$', re.DOTALL)


class Entry(NamedTuple):
    role: str
    uri: str       # below the base of its package


class Mention(NamedTuple):
    path: Path
    line: int
    target: str
    default: str = ''   # `eps=1e-5` of a {torch-default}


def split(text: str) -> tuple[str, str | None, bool]:
    """Role text -> target, explicit title or None, whether only the last part is to be shown."""
    title = None
    if explicit := EXPLICIT.match(text.strip()):
        title, text = explicit['title'], explicit['target']
    text = text.strip()
    return text.lstrip('~!.').removesuffix('()'), title, text.startswith('~')


def split_default(text: str) -> tuple[str, str]:
    """`nn.LayerNorm eps=1e-5` -> target and `eps=1e-5`; the latter is empty when the text has another form."""
    target, _, default = text.strip().partition(' ')
    name, equals, value = default.partition('=')
    return target, default.strip() if equals and name.strip().isidentifier() and value.strip() else ''


def resolve(target: str, known: Mapping[str, object]) -> str | None:
    """Full name of what an author wrote, tried with each prefix."""
    return next((prefix + target for prefix in PREFIXES if prefix + target in known), None)


def suggest(target: str, known: Iterable[str], count: int = 2) -> list[str]:
    """Known names the author may have meant: those with the same last part first, then those spelt alike."""
    known = sorted(known)
    last = target.rpartition('.')[2]
    same = sorted((name for name in known if name.rpartition('.')[2] == last), key=len)
    alike = difflib.get_close_matches('torch.' + target.removeprefix('torch.'), known, count, 0.75)
    return list(dict.fromkeys([*same, *alike]))[:count]


def read(path: Path) -> dict[str, Entry]:
    """Names of a ``role name uri`` table; those of other domains than Python's are left out."""
    rows = (line.split('\t') for line in path.read_text(encoding='utf-8').splitlines() if line.startswith('py:'))
    return prefer((name, Entry(role, uri)) for role, name, uri in rows)


def prefer(rows: Iterable[tuple[str, Entry]]) -> dict[str, Entry]:
    """One entry a name: what can be called before the module of the same name."""
    found: dict[str, Entry] = {}
    for name, entry in rows:
        if name not in found or found[name].role == 'py:module':
            found[name] = entry
    return found


def write(path: Path, entries: Mapping[str, Entry]) -> None:
    path.write_text(HEADER + ''.join(f'{entry.role}\t{name}\t{entry.uri}\n' for name, entry in sorted(entries.items())), encoding='utf-8')


def of_inventory(data: Mapping[str, Mapping[str, object]]) -> dict[str, Entry]:
    """Python names of an inventory as Sphinx holds it: role -> name -> item."""
    return prefer((name, Entry(role, item.uri)) for role, items in data.items() if role.startswith('py:') for name, item in items.items())


def package(name: str) -> str:
    return name.partition('.')[0]


def inventory(project: str, entries: Mapping[str, Entry]) -> bytes:
    """The names of one package as an ``objects.inv`` of version 2, which is what intersphinx reads."""
    lines = ''.join(f'{name} {entry.role} 1 {entry.uri} -\n' for name, entry in sorted(entries.items()) if package(name) == project)
    head = f'# Sphinx inventory version 2\n# Project: {project}\n# Version: \n# The remainder of this file is compressed using zlib.\n'
    return head.encode() + zlib.compress(lines.encode())


def mentions(source: Path) -> Iterator[Mention]:
    """Every use of the two roles in the sources, as text: also what no build has read yet."""
    for path in sorted(source.rglob('*.md')):
        text = path.read_text(encoding='utf-8')
        for found in ROLE.finditer(text):
            line = text.count('\n', 0, found.start()) + 1
            if found['default']:
                yield Mention(path, line, *split_default(found['text']))
            else:
                yield Mention(path, line, split(found['text'])[0])
