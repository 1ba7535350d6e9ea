"""Every PyTorch name in the sources exists in the installed PyTorch, and every default stated with {torch-default} is the real one."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest

from torch_api import names

SOURCE = Path(__file__).resolve().parents[2] / 'source'
INSTALLED = 'torch'     # torchao and others are documented elsewhere and not installed for the tests

mentioned = [mention for mention in names.mentions(SOURCE)]
known = names.read(names.COMMITTED)


def attribute(full: str) -> object:
    """The object of a dotted name: the longest importable module, then attributes."""
    parts = full.split('.')
    for cut in range(len(parts), 0, -1):
        try:
            found = importlib.import_module('.'.join(parts[:cut]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(full)


def defaults(full: str) -> dict[str, object]:
    """Defaults of a function or class by parameter: its signature, else its documentation's first line, else its operator schema."""
    target = attribute(full)
    try:
        parameters = inspect.signature(target).parameters.values()
        return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
    except ValueError:     # a builtin without text signature
        return documented(full, target) or schema(full)


def documented(full: str, target: object) -> dict[str, object]:
    """``cumsum(input, dim, *, dtype=None, out=None) -> Tensor`` and the like."""
    last = re.escape(full.rpartition('.')[2])
    found = re.search(rf'^\s*(?:[\w.]+\.)?{last}(\((?:[^()]|\([^()]*\))*\))', target.__doc__ or '', flags=re.MULTILINE)
    if not found:
        return {}
    try:
        arguments = ast.parse(f'def f{found[1]}: ...').body[0].args
    except SyntaxError:
        return {}
    ordered = [*arguments.posonlyargs, *arguments.args]
    pairs = [*zip(ordered[len(ordered) - len(arguments.defaults):], arguments.defaults, strict=True),
             *((a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d)]
    return {argument.arg: value(ast.unparse(default)) for argument, default in pairs}


def schema(full: str) -> dict[str, object]:
    """Of the first overload with defaults among the ATen operators."""
    import torch

    packet = getattr(torch.ops.aten, full.rpartition('.')[2], None)
    for overload in packet.overloads() if packet else ():
        if found := {a.name: a.default_value for a in getattr(packet, overload)._schema.arguments if a.has_default_value()}:
            return found
    return {}


def value(text: str) -> object:
    """A literal's value; anything else (``torch.strided``) stays text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text.strip()


def wrong(full: str, default: str) -> str | None:
    """What is wrong with `eps=1e-5`, in a sentence; None when it is right."""
    name, stated = (part.strip() for part in default.split('=', 1))
    real = defaults(full)
    if name not in real:
        return f'{full} 没有带默认值的参数 {name}；有 {real}'
    claimed = value(stated)
    same = claimed == real[name] and isinstance(claimed, bool) == isinstance(real[name], bool)     # 1 is not True
    return None if same or stated == str(real[name]) else f'{full} 的 {name} 默认是 {real[name]!r}，书中写的是 {stated}'


def here(mention: names.Mention) -> str:
    return f'{mention.path.relative_to(SOURCE.parent)}:{mention.line}'


def test_names_exist():
    lost = []
    for full in sorted(known):
        if names.package(full) == INSTALLED:
            try:
                attribute(full)
            except (ModuleNotFoundError, AttributeError) as error:
                lost.append(f'{full}：{error}')
    assert not lost, '\n'.join(lost)


def test_stated_defaults_are_real():
    found = []
    for mention in mentioned:
        full = names.resolve(mention.target, known)
        if mention.default and full and (error := wrong(full, mention.default)):
            found.append(f'{here(mention)}: {error}')
    assert not found, '\n'.join(found)


@pytest.mark.parametrize(('full', 'default'), [
    ('torch.nn.LayerNorm', 'eps=1e-5'),
    ('torch.nn.RMSNorm', 'eps=None'),
    ('torch.nn.functional.scaled_dot_product_attention', 'dropout_p=0.0'),      # builtin: documentation
    ('torch.nn.functional.cross_entropy', 'ignore_index=-100'),
    ('torch.nn.functional.cross_entropy', "reduction='mean'"),
    ('torch.optim.AdamW', 'betas=(0.9, 0.999)'),
    ('torch.optim.AdamW', 'weight_decay=0.01'),
    ('torch.repeat_interleave', 'dim=None'),                                     # builtin: documentation
    ('torch.nn.functional.gelu', "approximate='none'"),
    ('torch.Tensor.softmax', 'dtype=None'),                                      # builtin without either: schema
])
def test_real_defaults_pass_and_others_do_not(full, default):
    """The judge itself: right as stated, wrong when changed, wrong for a parameter that is not there."""
    assert wrong(full, default) is None
    assert wrong(full, default.split('=')[0] + '=12345')
    assert wrong(full, 'nonsense=1')


def test_missing_names_are_noticed():
    with pytest.raises(AttributeError):
        attribute('torch.nn.functional.softmaxx')
