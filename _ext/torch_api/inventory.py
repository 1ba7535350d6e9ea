"""``make inventory``: refresh ``names.tsv``, the names the book uses and where the official documentation has them.

    python -m torch_api.inventory                  from the live inventories at docs.pytorch.org
    python -m torch_api.inventory --from FILE      from a saved objects.inv, or a table of role, name and path separated by tabs
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sphinx.util import requests
from sphinx.util.inventory import InventoryFile

from torch_api.names import BASES, COMMITTED, Entry, mentions, of_inventory, package, read, resolve, suggest, write

SOURCE = Path(__file__).resolve().parents[2] / 'source'


def parse(content: bytes) -> dict[str, Entry]:
    """Python names of an ``objects.inv``."""
    return of_inventory(InventoryFile.loads(content, uri='').data)


def load(path: Path) -> dict[str, Entry]:
    content = path.read_bytes()
    return parse(content) if content.startswith(b'# Sphinx inventory') else read(path)


def fetch(timeout: float = 20) -> dict[str, Entry]:
    known = {}
    for base in BASES.values():
        response = requests.get(base + 'objects.inv', timeout=timeout)
        response.raise_for_status()
        known |= parse(response.content)
    return known


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser('python -m torch_api.inventory', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--from', dest='file', type=Path, help='a saved inventory instead of the live ones')
    parser.add_argument('--source', type=Path, default=SOURCE)
    parser.add_argument('--to', type=Path, default=COMMITTED)
    options = parser.parse_args(arguments)
    before = read(options.to) if options.to.exists() else {}
    try:
        known = load(options.file) if options.file else fetch()
    except (OSError, ValueError) as error:   # requests' exceptions are OSErrors
        print(f'读不到官方清单（{error}）；已提交的 {options.to.name} 不变。可用 --from 指定一份存下的 objects.inv。', file=sys.stderr)
        return 1
    # A saved inventory speaks of one package; what it does not cover stays as committed.
    covered = {package(name) for name in known}
    known |= {name: entry for name, entry in before.items() if package(name) not in covered}
    used, unknown = {}, 0
    for mention in mentions(options.source):
        if name := resolve(mention.target, known):
            used[name] = known[name]
        else:
            unknown += 1
            near = suggest(mention.target, known)
            hint = f'；是否想写 {"、".join(near)}？' if near else ''
            print(f'{mention.path}:{mention.line}: 官方清单里没有 {mention.target}{hint}', file=sys.stderr)
    write(options.to, used)
    print(f'{options.to.name}：{len(used)} 个名字，新增 {len(used.keys() - before.keys())}，移除 {len(before.keys() - used.keys())}')
    return bool(unknown)


if __name__ == '__main__':
    sys.exit(main())
