"""The domain: what the book holds that a check may name, which checks there are, which pages show other marks than before."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.domains import Domain
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from .facts import Fact, answered, collect
from .nodes import verification_report
from .scan import Function, scan

logger = logging.getLogger(__name__)


class ChecksDomain(Domain):
    name = 'checks'
    label = '核验'
    data_version = 1
    initial_data: dict[str, Any] = {
        'facts': {},        # docname -> facts in order
        'answered': {},     # docname -> labels of the exercises answered there
        'reports': set(),   # documents with a report
        'functions': (),    # every check, in order of file and line
        'problems': (),
        'shown': {},        # docname -> marks at the last build
        'reported': '',     # what the report showed
    }

    # -- collecting ----------------------------------------------------------------------------------------------------

    def process_doc(self, env: BuildEnvironment, docname: str, document: nodes.document) -> None:
        self.data['facts'][docname] = tuple(collect(document))
        self.data['answered'][docname] = answered(document)
        if next(document.findall(verification_report), None) is not None:
            self.data['reports'].add(docname)

    def clear_doc(self, docname: str) -> None:
        self.data['facts'].pop(docname, None)
        self.data['answered'].pop(docname, None)
        self.data['reports'].discard(docname)

    def merge_domaindata(self, docnames: Iterable[str], otherdata: dict[str, Any]) -> None:
        for docname in docnames:
            for table in ('facts', 'answered'):
                if docname in otherdata[table]:
                    self.data[table][docname] = otherdata[table][docname]
        self.data['reports'] |= otherdata['reports'] & set(docnames)

    def scan(self) -> None:
        self.data['functions'], self.data['problems'] = scan(self.folder)

    @property
    def folder(self) -> Path:
        return Path(self.env._app.confdir, self.env.config.checks_path)

    # -- looking up ----------------------------------------------------------------------------------------------------

    @property
    def by_label(self) -> dict[str, list[Function]]:
        found: dict[str, list[Function]] = {}
        for function in self.data['functions']:
            for label in function.labels:
                found.setdefault(label, []).append(function)
        return found

    def facts(self) -> dict[str, tuple[str, Fact]]:
        """By label: document and fact, the answer of an exercise put with it."""
        with_answer = set().union(*self.data['answered'].values())
        return {
            fact.label: (docname, fact._replace(answered=True) if fact.label in with_answer else fact)
            for docname in sorted(self.data['facts'])
            for fact in self.data['facts'][docname]
        }

    def resolve_any_xref(self, *arguments: object) -> list[tuple[str, nodes.Element]]:
        """Nothing is referred to through this domain; MyST asks every domain."""
        return []

    # -- keeping fresh -------------------------------------------------------------------------------------------------

    def settle(self) -> set[str]:
        """Documents whose marks, or whose report, are not what was last written."""
        by_label = self.by_label
        # A solution carries the mark of its exercise.
        shown = {
            docname: tuple(
                (label, [(function.page, function.name) for function in by_label[label]])
                for label in [*(fact.label for fact in facts), *sorted(self.data['answered'].get(docname, ()))] if label in by_label
            )
            for docname, facts in self.data['facts'].items()
        }
        stale = {docname for docname, marks in shown.items() if marks != self.data['shown'].get(docname, ())}
        self.data['shown'] = shown
        env = self.env
        reported = repr((
            self.facts(), [(one.file, one.name, one.labels) for one in self.data['functions']], env.toc_secnumbers, env.toc_fignumbers,
            env.domains['block'].data['numbers'] if 'block' in env.domains else '',
            {name: title.astext() for name, title in env.titles.items()},
        ))
        if reported != self.data['reported']:
            self.data['reported'] = reported
            stale |= self.data['reports']
        return stale & self.env.found_docs

    # -- consistency ---------------------------------------------------------------------------------------------------

    def check_consistency(self) -> None:
        facts, by_label = self.facts(), self.by_label
        for problem in self.data['problems']:
            self.warn(problem.subtype, problem.message, f'{self.folder / problem.file}:{problem.line}')
        for function in self.data['functions']:
            for label in function.labels:
                if label not in facts:
                    self.warn(
                        'unknown', f'核验程序 {function.name} 所核验的“{label}”不是书中练习、例、定理类块、公式、表或图的标签：改正标签，或删去它',
                        f'{self.folder / function.file}:{function.first}',
                    )
        for label, (docname, fact) in facts.items():
            if fact.needs_check and label not in by_label:
                what = '计算题' if fact.exercise_kind == 'compute' else '声明了答案的练习' if fact.kind == 'exercise' else '带数值答案的例'
                where = self.env.config.checks_path
                self.warn('missing', f"{what} {label} 没有核验程序：在 {where} 下写一个 @checks('{label}') 的函数", (docname, fact.line))

    def warn(self, subtype: str, message: str, location: object) -> None:
        logger.warning(message, type='checks', subtype=subtype, location=location)
