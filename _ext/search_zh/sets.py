"""Which words a page has, in seven or eight bits a word: a Golomb-coded set of their hashes, decoded by ``search_zh.js``.

A list of words with the pages of each takes three times the room. The price is that a page may seem to have a word (once in
``2 ** BITS`` times); the browser reads the page's records anyway and drops it then. A word that is there is always found.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BITS = 6
_32 = 0xFFFFFFFF


@cache
def digest(word: str) -> int:
    """FNV-1a over UTF-16 units, mixed as MurmurHash3 ends: 32 bits that JavaScript computes as well."""
    value = 0x811C9DC5
    data = word.encode('utf-16-le')
    for at in range(0, len(data), 2):
        value = ((value ^ (data[at] | data[at + 1] << 8)) * 0x01000193) & _32
    value = ((value ^ value >> 16) * 0x85EBCA6B) & _32
    value = ((value ^ value >> 13) * 0xC2B2AE35) & _32
    return value ^ value >> 16


def encode(words: Iterable[str]) -> list[int | str]:
    """[number of words, bits in base64]: gaps between sorted hashes, each as a unary quotient, a zero, and ``BITS`` bits."""
    words = set(words)
    space = len(words) << BITS
    bits = []
    last = -1
    for value in sorted({digest(word) * space >> 32 for word in words}):
        gap = value - last - 1
        bits.append('1' * (gap >> BITS) + '0' + format(gap & (1 << BITS) - 1, f'0{BITS}b'))
        last = value
    # The ones at the end never become a number: no zero follows.
    text = ''.join(bits)
    text += '1' * (-len(text) % 8)
    return [len(words), b64encode(int(text or '0', 2).to_bytes(len(text) // 8, 'big')).decode()]
