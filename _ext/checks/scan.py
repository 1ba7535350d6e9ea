"""The check functions, found by reading ``tests/checks/**/test_*.py`` as text: the build runs none of them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOOKS = ('assert', 'raises')        # an assert statement, torch.testing.assert_close, pytest.raises …


@dataclass(frozen=True)
class Function:
    """One check: ``file`` is relative to the folder of checks, lines include the decorators."""

    file: str
    name: str
    labels: tuple[str, ...]
    first: int
    last: int

    @property
    def page(self) -> str:
        """Page of the web site that shows the file."""
        return f'_checks/{self.file.removesuffix(".py")}'


@dataclass(frozen=True)
class Problem:
    subtype: str
    message: str
    file: str
    line: int


def scan(folder: Path) -> tuple[tuple[Function, ...], tuple[Problem, ...]]:
    """Check functions below ``folder`` in order of file and line, and what is wrong with them."""
    found: list[Function] = []
    problems: list[Problem] = []
    for path in sorted(folder.rglob('test_*.py')):
        file = path.relative_to(folder).as_posix()
        try:
            tree = ast.parse(path.read_text(encoding='utf-8'))
        except SyntaxError as error:
            problems.append(Problem('syntax', f'核验程序不是合法的 Python：{error.msg}', file, error.lineno or 1))
            continue
        for one in functions(tree, file):
            (found if isinstance(one, Function) else problems).append(one)
    return tuple(found), tuple(problems)


def functions(tree: ast.Module, file: str) -> Iterator[Function | Problem]:
    helpers = asserting(tree)
    for node in tree.body:
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            if not (isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Name) and decorator.func.id == 'checks'):
                continue
            values = [argument.value if isinstance(argument, ast.Constant) else None for argument in decorator.args]
            labels = tuple(value for value in values if isinstance(value, str))
            if not labels or len(labels) != len(decorator.args):
                yield Problem('syntax', f"{node.name}：@checks 的参数要直接写成字符串，如 @checks('ex-attn-scale')", file, decorator.lineno)
            elif node.name not in helpers and not returns(node):
                yield Problem('empty', f'{node.name} 既不返回值也不断言，什么也没有核验：返回算出的数，或用 assert', file, node.lineno)
            else:
                yield Function(file, node.name, labels, node.decorator_list[0].lineno, node.end_lineno or node.lineno)


def returns(function: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Return) and node.value is not None for node in ast.walk(function))


def asserting(tree: ast.Module) -> set[str]:
    """Names in a module that assert: functions, themselves or through one another, and other names for such (``same = assert_close``)."""
    uses: dict[str, set[str]] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            uses[node.name] = called(node)
        elif isinstance(node, ast.ImportFrom):
            uses |= {alias.asname or alias.name: {alias.name} for alias in node.names}
        elif isinstance(node, ast.Assign):
            uses |= {target.id: called(node.value) for target in node.targets if isinstance(target, ast.Name)}
    found = {name for name, names in uses.items() if any(hook in one for one in names for hook in HOOKS)}
    while more := {name for name, names in uses.items() if name not in found and names & found}:
        found |= more
    return found


def called(tree: ast.AST) -> set[str]:
    """Names that a piece of code calls or hands on: ``torch.testing.assert_close`` counts as ``assert_close``; an assert statement as ``assert``."""
    names = set()
    for node in ast.walk(tree):     # once: there are many
        if isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Assert):
            names.add('assert')
    return names
