"""Checks: programs under ``tests/checks/`` that recompute what the book states.

``@checks('ex-attn-scale')`` names what a function recomputes: the label of a block, equation, table or figure.

- :mod:`checks.declared`: what the source declares, read as text (labels, answers, tables), for the tests;
- :mod:`checks.compare`: a returned value against what is declared;
- :mod:`checks.scan`: the check functions, read as text, for the build, which runs none of them;
- :mod:`checks.marks`: the mark “已核验” on what a check names, and its warnings;
- :mod:`checks.pages`: the highlighted source a mark links to; :mod:`checks.report`: the coverage report.

This module imports neither torch nor Sphinx, so that a check starts fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from sphinx.application import Sphinx

F = TypeVar('F', bound=Callable[[], Any])


def checks(*labels: str) -> Callable[[F], F]:
    """Mark a function without parameters as the check of everything labelled ``labels``."""
    if not labels or not all(isinstance(label, str) and label for label in labels):
        raise TypeError("@checks 要写标签：@checks('ex-attn-scale')")

    def mark(function: F) -> F:
        function.checks = labels
        return function

    return mark


def setup(app: Sphinx) -> dict[str, Any]:
    from checks.extension import setup

    return setup(app)
