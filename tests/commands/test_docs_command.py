"""`timm-res2net docs`: the pages of the wheel; a pager only where a person watches."""
import json
import os
import pty
import subprocess
import sys
from functools import partial
from pathlib import Path

from run_command import here

import timm_res2net

docs = partial(here, 'docs')
PAGES = {p.stem: p for p in (Path(timm_res2net.__file__).parent / 'docs').glob('*.md')}


def text(name):
    return PAGES[name].read_text(encoding='utf-8')


def test_names_and_titles():
    assert set(docs('--list').stdout.split()) == set(PAGES)
    titles = json.loads(docs('--json').stdout)
    assert titles == {name: text(name).splitlines()[0].strip('# ') for name in PAGES}
    assert all(f'{name} ' in docs().stdout and title in docs().stdout for name, title in titles.items())


def test_pages():
    for name in PAGES:
        done = docs(name)
        assert (done.returncode, done.stdout, done.stderr) == (0, text(name), '')
    assert docs('faq.md').stdout == docs('faq').stdout


def test_a_pager_for_a_person(tmp_path):
    """On a real terminal PAGER gets the page."""
    pager = tmp_path / 'pager'
    pager.write_text('#!/bin/sh\ncat > page.txt\n')
    pager.chmod(0o755)
    master, terminal = pty.openpty()
    env = {**os.environ, 'PAGER': str(pager), 'TERM': 'xterm'}
    command = [sys.executable, '-m', 'timm_res2net', 'docs', 'faq']
    process = subprocess.Popen(command, stdin=terminal, stdout=terminal, stderr=terminal, env=env, cwd=tmp_path)
    os.close(terminal)
    assert process.wait(timeout=60) == 0
    os.close(master)
    assert (tmp_path / 'page.txt').read_text(encoding='utf-8').strip() == text('faq').strip()
