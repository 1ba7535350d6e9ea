"""Doctree nodes. Every block is a ``block`` whose first child is its ``block_title``."""

from __future__ import annotations

from docutils import nodes


class block(nodes.General, nodes.Element):  # noqa: N801 - docutils names nodes in lower case
    """One block.

    Set by the directive: ``docname``, ``kind``, ``label`` and, where given, ``target``, ``exercise_kind``, ``difficulty``,
    ``answer``, ``nonumber``, ``hidden``. Set before writing: ``caption`` (练习 1.1.3) and, on a hint, ``owner`` (练习 1.1.3 的).
    """


class block_title(nodes.Part, nodes.TextElement):  # noqa: N801
    """The author's title as inline content, possibly empty. Writers put it after the caption of the block."""


class exercise_list(nodes.General, nodes.Element):  # noqa: N801
    """Place of a list of exercises; ``scope``, ``exercise_kinds`` and ``difficulties`` select."""
