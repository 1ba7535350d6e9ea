"""What a labelled thing is called where no reference can be resolved: 练习 1.1.2, 式 (1.1.3), 表 1.1.1."""

from __future__ import annotations

from sphinx.environment import BuildEnvironment

from .facts import Fact

FIGTYPES = {'equation': 'displaymath', 'figure': 'figure', 'table': 'table'}


def name(env: BuildEnvironment, docname: str, fact: Fact) -> str:
    if fact.kind not in FIGTYPES:
        block = env.domains['block'].find(fact.label)
        return env.domains['block'].caption(block) if block else fact.label
    numbers = env.toc_fignumbers.get(docname, {}).get(FIGTYPES[fact.kind], {})
    number = '.'.join(map(str, numbers.get(target(env, docname, fact), ())))
    if not number:
        return fact.label
    return f'式 ({number})' if fact.kind == 'equation' else env.config.numfig_format[fact.kind] % number


def target(env: BuildEnvironment, docname: str, fact: Fact) -> str:
    """Id to link to."""
    if fact.kind == 'equation':
        return f'equation-{fact.label}'
    if fact.kind in FIGTYPES:
        return env.domains['std'].anonlabels.get(fact.label, ('', fact.label))[1]
    block = env.domains['block'].find(fact.label)
    return block.id if block else fact.label
