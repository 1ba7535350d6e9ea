"""``{torch}`` names with links into the official documentation, ``{torch-default}``, and an index of where each is discussed.

The links come from intersphinx. Its inventory is the committed ``names.tsv``, so a build asks no network; with ``TORCH_INVENTORY=live``
or on Read the Docs it is the official one, and the committed one where that cannot be had.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from docutils import nodes
from sphinx.ext.intersphinx import InventoryAdapter
from sphinx.util import logging
from sphinx.util.docutils import SphinxRole

from torch_api import names
from torch_api.domain import TorchDomain, refresh
from torch_api.index import TorchIndex, outdated_indices, render, torch_index
from torch_api.writers import api_name, plain, visit_html, visit_latex

if TYPE_CHECKING:
    from docutils.nodes import Node, system_message
    from sphinx.application import Sphinx
    from sphinx.config import Config
    from sphinx.environment import BuildEnvironment
    from sphinx.util.typing import ExtensionMetadata

logger = logging.getLogger(__name__)


class TorchRole(SphinxRole):
    def run(self) -> tuple[list[Node], list[system_message]]:
        target, title, short = names.split(self.text)
        torch: TorchDomain = self.env.domains['torch']
        found = torch.find(target)
        torch.note(target, self.lineno)
        full = found.name if found else target
        content = nodes.inline('', title) if title else api_name('', full.rpartition('.')[2] if short else full)
        if not found:
            near = names.suggest(target, torch.known())
            hint = f'；是否想写 {"、".join(near)}？' if near else '。'
            logger.warning('names.tsv 里没有 PyTorch 名字 %s%s若名字无误，运行 make inventory（或 python -m torch_api.inventory --from 清单）登记它',
                           target, hint, location=self.get_location(), type='torch', subtype='unknown')
            return [content], []
        reference = nodes.reference('', '', content, internal=False, refuri=found.uri, classes=['torch'], torch=full)
        if title or short:
            reference['reftitle'] = full
        return [reference], []


class DefaultRole(SphinxRole):
    """``nn.LayerNorm eps=1e-5``: shows ``eps=1e-5``; ``tests/checks/test_torch_names.py`` compares it with the real default."""

    def run(self) -> tuple[list[Node], list[system_message]]:
        target, default = names.split_default(self.text)
        if not default:
            logger.warning('{torch-default} 的写法是“函数 参数=默认值”，例如 nn.LayerNorm eps=1e-5；得到的是 %s', self.text,
                           location=self.get_location(), type='torch', subtype='default')
        elif not self.env.domains['torch'].find(target):
            logger.warning('names.tsv 里没有 PyTorch 名字 %s', target, location=self.get_location(), type='torch', subtype='unknown')
        return [api_name('', default or self.text)], []


def provide_inventory(app: Sphinx, config: Config) -> None:
    """Give intersphinx one project a package: the live inventory if wanted, then the committed names."""
    live = os.environ.get('TORCH_INVENTORY') == 'live' or os.environ.get('READTHEDOCS') == 'True'
    entries = names.read(Path(app.confdir, config.torch_names))
    mapping = {}
    for package, base in names.BASES.items():
        local = Path(app.doctreedir, f'{package}.inv')
        local.parent.mkdir(parents=True, exist_ok=True)
        local.write_bytes(names.inventory(package, entries))
        mapping[package] = (base, (None, str(local)) if live else (str(local),))
    config.intersphinx_mapping = {**mapping, **config.intersphinx_mapping}
    config.intersphinx_timeout = config.intersphinx_timeout or 5


def collect(app: Sphinx, env: BuildEnvironment) -> None:
    """Facts of the inventory that intersphinx has just loaded: full name -> address."""
    committed = names.read(Path(app.confdir, app.config.torch_names))
    links = {name: names.BASES[names.package(name)] + entry.uri for name, entry in committed.items()}
    for package in names.BASES:
        data = InventoryAdapter(env).named_inventory.get(package, {})
        links |= {name: entry.uri for name, entry in names.of_inventory(data).items()}
    env.domains['torch'].data['links'] = links


def setup(app: Sphinx) -> ExtensionMetadata:
    app.setup_extension('sphinx.ext.intersphinx')
    app.add_config_value('torch_names', str(names.COMMITTED), '', str)
    literal = plain('literal')
    app.add_node(api_name, html=(visit_html, None), latex=(visit_latex, None), text=literal, man=literal, texinfo=literal)
    app.add_node(torch_index)
    app.add_role('torch', TorchRole())
    app.add_role('torch-default', DefaultRole())
    app.add_directive('torch-index', TorchIndex)
    app.add_domain(TorchDomain)
    app.connect('config-inited', provide_inventory)                   # before intersphinx normalises its mapping (800)
    app.connect('builder-inited', lambda app: collect(app, app.env), priority=600)
    app.connect('env-get-outdated', refresh)
    app.connect('env-get-updated', outdated_indices, priority=900)    # once section numbers are assigned
    app.connect('doctree-resolved', render)
    return {'parallel_read_safe': True, 'parallel_write_safe': True}
