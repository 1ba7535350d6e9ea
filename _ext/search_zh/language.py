"""Words of a Chinese text with Latin terms: Han characters and bigrams, everything else whole, lower-cased and stemmed.

Segmenting a query and a text independently loses matches (过/拟/合 against 过拟合). Overlapping pairs of characters cannot disagree:
each substring of the text is found by the pairs it contains. ``SPLITTER`` is the same rule for the query, in JavaScript.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import pairwise

from sphinx.search.en import SearchEnglish

HAN = '\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff'
_FULL_WIDTH = {code: code - 0xFEE0 for start, stop in (('０', '９'), ('Ａ', 'Ｚ'), ('ａ', 'ｚ')) for code in range(ord(start), ord(stop) + 1)}
_FULL_WIDTH[0x3000] = 0x20
_RUN = re.compile(f'[{HAN}]+|[^\\W_{HAN}]+')
_IS_HAN = re.compile(f'[{HAN}]')

SPLITTER = f"""
function splitQuery(query) {{
  const narrow = query.replace(/[\\uff10-\\uff19\\uff21-\\uff3a\\uff41-\\uff5a]/g, (c) => String.fromCharCode(c.charCodeAt(0) - 0xfee0));
  const words = [];
  for (const run of narrow.match(/[{HAN}]+|(?:(?![{HAN}])[\\p{{L}}\\p{{N}}])+/gu) || []) {{
    if (run.length === 1 || !/[{HAN}]/.test(run)) words.push(run);
    else for (let i = 0; i + 1 < run.length; i++) words.push(run.slice(i, i + 2));
  }}
  return words;
}}
"""


def narrow(text: str) -> str:
    """Full-width letters, digits and spaces as their ordinary forms; Chinese punctuation stays."""
    return text.translate(_FULL_WIDTH)


class HanSearch(SearchEnglish):
    # Sphinx names the stemmer it ships to the browser after ``language_name``, so that stays 'English'.
    lang = 'zh'
    stopwords = frozenset()
    js_splitter_code = SPLITTER

    def __init__(self, options: dict[str, str]) -> None:
        super().__init__(options)
        self._latin = cache(super().stem)       # a book has few different ones

    def stem(self, word: str) -> str:
        return word if _IS_HAN.match(word) else self._latin(word)

    def split(self, input: str) -> list[str]:
        words = []
        for run in _RUN.findall(narrow(input)):
            if _IS_HAN.match(run):
                words += run
                words += map(''.join, pairwise(run))
            else:
                words.append(run)
        return words
