"""The folder for Spaces in an environment of its own, with nothing but what it requires: it answers."""
import subprocess
import sys

import pytest
from demo_page import QUIET, Server, Visit, find_browser
from run_command import here

pytestmark = pytest.mark.demo


def test_the_space_runs_in_a_fresh_environment(tmp_path):
    if find_browser() is None:
        pytest.fail('there is no chromium: apt-get install chromium')
    from playwright.sync_api import sync_playwright
    space, python = tmp_path / 'space', tmp_path / 'env/bin/python'
    assert here('demo', '--space', space).returncode == 0
    subprocess.run([sys.executable, '-m', 'venv', tmp_path / 'env'], check=True)
    subprocess.run([python, '-m', 'pip', 'install', '--quiet', '-r', space / 'requirements.txt'], check=True)
    (tmp_path / 'process').mkdir()
    server = Server([python, 'app.py'], tmp_path / 'process')
    server.environ.update(GRADIO_SERVER_PORT=str(server.port), PYTHONPATH=str(tmp_path / 'process'))
    server.start(cwd=space)
    try:
        with sync_playwright() as playwright:
            visit = Visit(playwright.chromium.launch(executable_path=find_browser(), args=QUIET), server.url)
            assert visit.bars()[0].endswith('rocket')
            assert visit.page.locator('#model-1 input').input_value() == 'seres2net23_16w_8s_cifar_custom'
            visit.settled()
            assert visit.complaints == [] and visit.elsewhere() == []
        assert server.network.read_text() == ''
    finally:
        server.process.kill()
        server.process.wait()
