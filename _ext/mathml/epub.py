"""EPUB: what the package must declare about pages with MathML and about the font."""

from __future__ import annotations

import re
from pathlib import Path
from typing import ClassVar

from sphinx.builders.epub3 import Epub3Builder

ITEM = re.compile(r'(<item [^>]*href="([^"]+\.xhtml)"[^>]*?) ?/>')


class MathEpubBuilder(Epub3Builder):
    media_types: ClassVar[dict[str, str]] = {**Epub3Builder.media_types, '.woff2': 'font/woff2'}

    def build_content(self) -> None:
        super().build_content()
        package = Path(self.outdir, 'content.opf')
        package.write_text(ITEM.sub(self._declare, package.read_text(encoding='utf-8')), encoding='utf-8')

    def _declare(self, item: re.Match[str]) -> str:
        page = Path(self.outdir, item[2])
        if 'properties=' in item[1] or not page.is_file() or '<math' not in page.read_text(encoding='utf-8'):
            return item[0]
        return f'{item[1]} properties="mathml" />'
