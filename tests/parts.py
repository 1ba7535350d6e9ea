"""The parts a full test run needs beyond Python, and what happens where one is missing.

Where a part is missing the test is skipped with the part's name; the run then ends with the list of them and the one
command that installs them all. With ``CI`` set nothing may be skipped for that reason: the test fails instead.
"""

from __future__ import annotations

import os
import re
import shutil
from collections import Counter
from collections.abc import Iterable

import pytest

COMMAND = 'sudo make system'


def require(*programs: str) -> None:
    """Skip the calling test (fail it in CI) unless all ``programs`` are on the PATH."""
    missing = [program for program in programs if shutil.which(program) is None]
    if not missing:
        return
    reason = f'缺少 {"、".join(missing)}；安装：{COMMAND}'
    if os.environ.get('CI'):
        pytest.fail(reason)
    pytest.skip(reason)


def missing(reasons: Iterable[str]) -> Counter[str]:
    """Program -> tests that were skipped for it, from what the skipped tests gave as their reasons (they may have run in other processes)."""
    return Counter(program for reason in reasons if (found := re.search(f'缺少 (.+?)；安装：{COMMAND}', reason)) for program in found[1].split('、'))
