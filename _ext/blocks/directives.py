"""The directives: from source text to ``block`` nodes. Nothing is dropped: what is wrong is said and left out, the rest stays."""

from __future__ import annotations

import re

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from answers import AnswerError, parse

from .kinds import DIFFICULTIES, EXERCISE_KINDS, KINDS
from .nodes import block, block_title, exercise_list

logger = logging.getLogger(__name__)

LABEL = re.compile(r'[^\W\d_]\w*-[\w.:-]+')       # thm-attn-scale, which a title of a proof never looks like


def default_label(target: str) -> str:
    """Label of the solution of ``target``: ``ex-attn-scale`` -> ``sol-attn-scale``."""
    return 'sol-' + target.removeprefix('ex-')


class BlockDirective(SphinxDirective):
    """One block; the directive's name is its kind."""

    has_content = True
    optional_arguments = 1
    final_argument_whitespace = True
    option_spec = {
        'label': directives.unchanged,
        'class': directives.class_option,
        'nonumber': directives.flag,
        'hidden': directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        node = block(docname=self.env.current_document.docname, kind=self.name, classes=self.options.get('class', []))
        self.set_source_info(node)
        title, target = self.read_argument()
        node['target'] = target
        node['label'] = self.read_label(target)
        node['hidden'] = 'hidden' in self.options
        node['nonumber'] = 'nonumber' in self.options or not KINDS[self.name].counter
        self.read_options(node)
        self.set_id(node)
        # A hidden block stays known by its label, but nothing of it is read: neither its figures nor its labels exist.
        if node['hidden']:
            return [node]
        heading = block_title(title)
        self.set_source_info(heading)
        if title:
            children, messages = self.parse_inline(title)
            heading += children
        else:
            messages = []
        node += heading
        node += self.parse_content_to_nodes()
        self.refuse_headings(node)
        return [node, *messages]

    def read_argument(self) -> tuple[str, str]:
        """Title and target from the text after the directive's name."""
        return (self.arguments[0].strip() if self.arguments else ''), ''

    def read_label(self, target: str) -> str:
        return nodes.fully_normalize_name(self.options.get('label') or '')

    def read_options(self, node: block) -> None:
        """What only some kinds have."""

    def set_id(self, node: block) -> None:
        """Give ``node`` the one id it is linked by: its label, or its kind, file and ordinal, unique in the whole book."""
        ids = self.state.document.ids
        stem = re.sub(r'[^\w.-]+', '-', node['label']).strip('-')
        if not stem:
            stem = re.sub(r'[^\w.-]+', '-', f'{self.name}-{node["docname"]}')
            wanted = f'{stem}-1'
        else:
            if not stem[0].isalpha():
                stem = f'{self.name}-{stem}'    # an XML id, which an EPUB needs, does not start with a digit
            wanted = stem
        ordinal = 1
        while wanted in ids:
            ordinal += 1
            wanted = f'{stem}-{ordinal}'
        node['ids'] = [wanted]
        ids[wanted] = node

    def read_answer(self, node: block) -> None:
        text = self.options.get('answer')
        if text is None:
            return
        try:
            parse(text)
        except AnswerError as error:
            self.warn('answer', f':answer: 读不懂：{error}', option='answer')
        else:
            node['answer'] = text

    def refuse_headings(self, node: block) -> None:
        for inner in node.findall():
            # MyST turns a heading it cannot nest into a rubric with a level. Headings of a block inside were told by that block.
            is_heading = isinstance(inner, nodes.section) or (isinstance(inner, nodes.rubric) and 'level' in inner)
            if is_heading and not inner.get('told'):
                inner['told'] = True
                where = (node['docname'], inner.line) if inner.line else node
                self.warn('heading', f'{KINDS[self.name].word}块里不能有标题“{inner.astext()}”：改成加粗的一行，或把它移到块外', location=where)

    def warn(self, subtype: str, message: str, *, option: str = '', location: object = None) -> None:
        if location is None:
            location = (self.env.current_document.docname, self.option_line(option) if option else self.lineno)
        logger.warning(message, type='blocks', subtype=subtype, location=location)

    def option_line(self, option: str) -> int:
        for offset, line in enumerate(self.block_text.splitlines()):
            if line.lstrip().startswith(f':{option}:'):
                return self.lineno + offset
        return self.lineno


class ExerciseDirective(BlockDirective):
    option_spec = {**BlockDirective.option_spec, 'kind': directives.unchanged, 'difficulty': directives.unchanged}

    def read_label(self, target: str) -> str:
        label = super().read_label(target)
        if not label:
            self.warn('missing_label', '练习没有标签，解答与引用都找不到它：在标题下一行写 :label: ex-…')
        return label

    def read_options(self, node: block) -> None:
        kind = self.options.get('kind')
        if kind in EXERCISE_KINDS:
            node['exercise_kind'] = kind
        elif kind is not None:
            self.warn('unknown_kind', f'不认识的练习种类“{kind}”：可用 {"、".join(EXERCISE_KINDS)}', option='kind')
        difficulty = self.options.get('difficulty')
        if difficulty in DIFFICULTIES:
            node['difficulty'] = difficulty
        elif difficulty is not None:
            self.warn('unknown_difficulty', f'不认识的难度“{difficulty}”：可用 {"、".join(DIFFICULTIES)}', option='difficulty')


class SolutionDirective(BlockDirective):
    option_spec = {**BlockDirective.option_spec, 'answer': directives.unchanged}

    def read_argument(self) -> tuple[str, str]:
        return '', nodes.fully_normalize_name(self.arguments[0]) if self.arguments else ''

    def read_label(self, target: str) -> str:
        return super().read_label(target) or (default_label(target) if target else '')

    def read_options(self, node: block) -> None:
        self.read_answer(node)


class ExampleDirective(BlockDirective):
    option_spec = {**BlockDirective.option_spec, 'answer': directives.unchanged}

    def read_options(self, node: block) -> None:
        self.read_answer(node)


class ProofDirective(BlockDirective):
    def read_argument(self) -> tuple[str, str]:
        """``{proof} thm-attn-scale`` names what is proved; anything that is not a label is a title."""
        text = self.arguments[0].strip() if self.arguments else ''
        return ('', nodes.fully_normalize_name(text)) if LABEL.fullmatch(text) else (text, '')


class ExerciseListDirective(SphinxDirective):
    """``{exercise-list}`` with ``:scope:``, ``:kind:`` and ``:difficulty:``; several values are separated by spaces or commas."""

    option_spec = {'scope': directives.unchanged, 'kind': directives.unchanged, 'difficulty': directives.unchanged}

    def run(self) -> list[nodes.Node]:
        node = exercise_list(docname=self.env.current_document.docname, scope='book', exercise_kinds=[], difficulties=[])
        self.set_source_info(node)
        scope = self.options.get('scope', 'book')
        if scope in ('book', 'chapter', 'section', 'doc'):
            node['scope'] = scope
        else:
            self.warn('unknown_scope', f'不认识的范围“{scope}”：可用 book、chapter、section')
        node['exercise_kinds'] = self.choose('kind', EXERCISE_KINDS, 'unknown_kind', '练习种类')
        node['difficulties'] = self.choose('difficulty', DIFFICULTIES, 'unknown_difficulty', '难度')
        return [node]

    def choose(self, option: str, known: dict | tuple, subtype: str, word: str) -> list[str]:
        given = re.split(r'[\s,，、]+', self.options.get(option, '').strip())
        for value in given:
            if value and value not in known:
                self.warn(subtype, f'不认识的{word}“{value}”：可用 {"、".join(known)}')
        return [value for value in given if value in known]

    def warn(self, subtype: str, message: str) -> None:
        logger.warning(message, type='blocks', subtype=subtype, location=(self.env.current_document.docname, self.lineno))


SPECIAL = {'exercise': ExerciseDirective, 'solution': SolutionDirective, 'example': ExampleDirective, 'proof': ProofDirective}
DIRECTIVES = {kind: SPECIAL.get(kind, BlockDirective) for kind in KINDS}
