"""The lock file fixes the version of everything that the groups of pyproject.toml name."""

from __future__ import annotations

import re
import tomllib

from conftest import ROOT


def plain(name: str) -> str:
    return re.sub(r'[-_.]+', '-', re.split(r'[\[<>=~! ]', name)[0]).lower()


def test_every_dependency_is_locked():
    groups = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['dependency-groups']
    named = {plain(one) for group in groups.values() for one in group if isinstance(one, str)}
    lines = (ROOT / 'requirements.lock').read_text(encoding='utf-8').splitlines()
    locked = {plain(line) for line in lines if re.fullmatch(r'[\w.-]+==[\w.+!-]+', line)}
    assert named - locked == set()
    assert all(line.startswith('#') or re.fullmatch(r'[\w.-]+==[\w.+!-]+', line) for line in lines)
