"""HTML and EPUB. A fold is a native ``<details>`` whose id is inside, so that a link to it opens it without a script."""

from __future__ import annotations

from html import escape

from sphinx.writers.html5 import HTML5Translator

from .kinds import DIFFICULTIES, EXERCISE_KINDS, KINDS
from .nodes import block, block_title


def folds(node: block) -> bool:
    """Whether it is folded away; ``unfolded`` is set where it stands on a page of its own."""
    return KINDS[node['kind']].family == 'fold' and not node.get('unfolded')


def visit_block(self: HTML5Translator, node: block) -> None:
    kind = KINDS[node['kind']]
    classes = ['block', f'block-{kind.family}', node['kind']]
    node_id = node['ids'][0]
    if folds(node):
        # An e-book reader may draw no fold at all, and a page of paper has no handle to pull: there it stands open.
        self.body.append(tag(self, node, 'details', classes, open='open' if self.builder.name == 'epub' else None))
    else:
        self.body.append(tag(self, node, 'div', classes, id=node_id, role='group', **{'aria-labelledby': f'{node_id}-title'}))


def tag(self: HTML5Translator, node: block, name: str, classes: list[str], **attributes: str | None) -> str:
    given = {'class': ' '.join([*classes, *node['classes']]), **{key: value for key, value in attributes.items() if value is not None}}
    return f'<{name} ' + ' '.join(f'{key}="{escape(value)}"' for key, value in given.items()) + '>\n'


def visit_block_title(self: HTML5Translator, node: block_title) -> None:
    parent = node.parent
    if folds(parent):
        self.body.append('<summary class="block-title">')
    else:
        self.body.append(f'<p class="block-title" id="{parent["ids"][0]}-title">')
    owner = f'<span class="block-owner">{escape(parent["owner"])}</span>' if parent.get('owner') else ''
    self.body.append(f'<span class="block-caption">{owner}{escape(parent["caption"])}</span>')
    if len(node):
        self.body.append(' <span class="block-name">')


def depart_block_title(self: HTML5Translator, node: block_title) -> None:
    parent = node.parent
    if len(node):
        self.body.append('</span>')
    self.body.append(meta(parent))
    if folds(parent):
        self.body.append(f'</summary>\n<div class="block-body" id="{parent["ids"][0]}">\n')
    else:
        self.add_permalink_ref(parent, '链接到这里')
        self.body.append('</p>\n<div class="block-body">\n')


def meta(node: block) -> str:
    parts = []
    if word := EXERCISE_KINDS.get(node.get('exercise_kind', '')):
        parts.append(f'<span class="block-kind">{word}</span>')
    if level := int(node.get('difficulty', 0)):
        pips = '●' * level + '○' * (len(DIFFICULTIES) - level)
        parts.append(f'<span class="block-difficulty">难度 {level} <span class="block-pips" aria-hidden="true">{pips}</span></span>')
    return f' <span class="block-meta">{" ".join(parts)}</span>' if parts else ''


def depart_block(self: HTML5Translator, node: block) -> None:
    self.body.append('</div>\n</details>\n' if folds(node) else '</div>\n</div>\n')
