"""The commands of .readthedocs.yaml, run in a fresh clone with the variables that Read the Docs sets."""

from __future__ import annotations

import os
import subprocess
import zipfile

import pytest
import yaml
from conftest import ROOT
from parts import require

JOBS = yaml.safe_load((ROOT / '.readthedocs.yaml').read_text(encoding='utf-8'))['build']


def run(command: str, folder, env) -> None:
    done = subprocess.run(['bash', '-c', command], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert done.returncode == 0, f'$ {command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}'


@pytest.fixture(scope='module')
def output(tmp_path_factory):
    """READTHEDOCS_OUTPUT after all jobs, built from the committed tree."""
    require('xelatex', 'latexmk', 'fc-list')
    base = tmp_path_factory.mktemp('rtd')
    clone, out = base / 'checkout', base / 'output'
    subprocess.run(['git', 'clone', '--quiet', str(ROOT), str(clone)], check=True)
    env = {key: value for key, value in os.environ.items() if not key.startswith(('MAKE', 'VIRTUAL_ENV', 'PYTHON'))}
    env |= {
        'READTHEDOCS': 'True',
        'READTHEDOCS_VERSION': 'latest',
        'READTHEDOCS_PROJECT': 'llm-tutorial',
        'READTHEDOCS_LANGUAGE': 'zh_CN',
        'READTHEDOCS_CANONICAL_URL': 'https://llm-tutorial.example.org/zh-cn/latest/',
        'READTHEDOCS_OUTPUT': str(out),
    }
    out.mkdir()
    for step in (JOBS['jobs']['create_environment'], JOBS['jobs']['install'], *JOBS['jobs']['build'].values()):
        for command in step:
            run(command, clone, env)
    return out


def test_outputs_land_where_expected(output):
    assert (output / 'html/index.html').is_file()
    assert (output / 'html/chapter1/self-attention.html').is_file()
    pdfs = list((output / 'pdf').iterdir())
    assert [path.suffix for path in pdfs] == ['.pdf']
    assert pdfs[0].read_bytes()[:5] == b'%PDF-'
    epubs = list((output / 'epub').iterdir())
    assert [path.suffix for path in epubs] == ['.epub']
    assert zipfile.ZipFile(epubs[0]).read('mimetype') == b'application/epub+zip'


def test_packages_are_the_ones_the_project_names():
    """Read the Docs installs no package for PDF that `make system` does not."""
    listed = {line.split('#')[0].strip() for line in (ROOT / 'tools/debian-packages.txt').read_text(encoding='utf-8').splitlines()}
    assert set(JOBS['apt_packages']) <= listed
