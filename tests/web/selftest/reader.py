"""What a reader does on a page of the small book."""

from __future__ import annotations

import json

KEY = '小书:exercises'


def exercise(page, name: str = 'ex-one'):
    return page.locator(f'.block-exercise#{name}')


def fill(page, *values: str, name: str = 'ex-one'):
    """Type into the fields and press Enter in the last one."""
    inputs = exercise(page, name).locator('input')
    for index, value in enumerate(values):
        inputs.nth(index).fill(value)
    inputs.nth(len(values) - 1).press('Enter')
    return exercise(page, name)


def said(page, name: str = 'ex-one') -> str:
    return exercise(page, name).locator('.selftest-said').inner_text()


def mark(page, word: str, name: str = 'ex-one'):
    return exercise(page, name).get_by_role('button', name=word, exact=True)


def stored(page) -> dict:
    return json.loads(page.evaluate('key => localStorage.getItem(key)', KEY) or '{"marks": {}}')['marks']
