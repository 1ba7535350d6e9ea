"""Look at figures without building the book: ``python -m figures chapter1/attn_entropy …`` writes PNGs of the three variants."""

import runpy
import sys
from pathlib import Path

import matplotlib

matplotlib.use('agg')

from figures import style  # noqa: E402

ROOT = Path(__file__).parent
OUT = ROOT.parent / '_build' / 'preview'

if len(sys.argv) < 2:
    sys.exit(f'用法：python -m figures chapter1/<name> …\n图片写到 {OUT}')
OUT.mkdir(parents=True, exist_ok=True)
for name in sys.argv[1:]:
    name = name.removeprefix('figures/').removesuffix('.py')
    style.forget()
    for variant in style.THEMES:
        style.use(variant)
        target = OUT / f'{name.replace("/", "-")}-{variant}.png'
        runpy.run_path(str(ROOT / f'{name}.py'))['figure']().savefig(target, facecolor=style.paper(), dpi=150)
        print(target)
