"""`timm-res2net demo` as a process, and a browser that visits it and notes what it asks for and complains of."""
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HELPERS = Path(__file__).parent
BROWSERS = ('chromium', 'chromium-browser', 'google-chrome', 'chrome')
QUIET = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
         '--disable-component-update', '--disable-sync']
WAIT = 300e3  # milliseconds; a busy machine is not a wrong page


def find_browser():
    """Path of a Chromium, None if there is none."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Server:
    """A page that is served until the block ends."""

    def __init__(self, command, folder):
        with socket.socket() as probe:
            probe.bind(('127.0.0.1', 0))
            self.port = probe.getsockname()[1]
        self.url = f'http://127.0.0.1:{self.port}/'
        self.network = folder / 'network.txt'
        self.network.touch()
        shutil.copy(HELPERS / 'watch_network.py', folder / 'sitecustomize.py')
        self.temporary = folder / 'tmp'
        self.temporary.mkdir()
        self.output = folder / 'output.txt'
        path = os.pathsep.join(filter(None, [str(folder), os.environ.get('PYTHONPATH')]))
        self.environ = {
            **os.environ, 'PYTHONPATH': path, 'WATCH_NETWORK': str(self.network), 'TMPDIR': str(self.temporary)}
        self.command = [str(word).replace('PORT', str(self.port)) for word in command]

    def start(self, cwd=None):
        self.process = subprocess.Popen(
            self.command, env=self.environ, cwd=cwd, stdout=self.output.open('w'), stderr=subprocess.STDOUT)
        end = time.time() + 900
        while 'the page is at' not in self.output.read_text():
            assert self.process.poll() is None and time.time() < end, self.output.read_text()
            time.sleep(0.2)
        return self

    def stop(self):
        """As a person does; the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def memory(self):
        """The most that it has had in memory, in MB."""
        status = Path(f'/proc/{self.process.pid}/status').read_text()
        return int(status.split('VmHWM:')[1].split()[0]) / 1024

    def files(self):
        """Files that lie in its temporary folders."""
        return [p for p in self.temporary.rglob('*') if p.is_file()]


@contextlib.contextmanager
def served(*arguments):
    """A `Server` of `timm-res2net demo ARGUMENTS`."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, '-m', 'timm_res2net', 'demo', '--no-browser', '--port', 'PORT', *arguments]
        server = Server(command, Path(folder)).start()
        try:
            yield server
        finally:
            server.process.kill()
            server.process.wait()


class Visit:
    """A page in a browser of its own, with all it asked for and complained of."""

    def __init__(self, browser, url, width=1280, height=900, scheme='light'):
        self.context = browser.new_context(viewport={'width': width, 'height': height}, color_scheme=scheme)
        self.page = self.context.new_page()
        self.page.set_default_timeout(WAIT)
        self.url, self.requests, self.complaints = url, [], []
        self.page.on('request', lambda request: self.requests.append(request.url))
        self.page.on('console', lambda line: line.type == 'error' and self.complaints.append(line.text))
        self.page.on('pageerror', lambda error: self.complaints.append(str(error)))
        self.page.goto(url)
        self.until("document.querySelectorAll('#bars-1 label').length && document.querySelector('#map-1 img')")

    def until(self, condition, argument=None):
        """Wait for JavaScript's truth; an expression, or a function of the argument."""
        self.page.wait_for_function(condition, arg=argument)

    def text(self, selector):
        """What a person reads there."""
        return self.page.locator(selector).inner_text()

    def bars(self, number=1):
        """The best classes as they are written."""
        return [' '.join(text.split()) for text in self.page.locator(f'#bars-{number} label').all_inner_texts()]

    def alt(self, selector):
        """The words of an image."""
        return self.page.locator(f'{selector} img').first.get_attribute('alt')

    def tab(self, name):
        self.page.get_by_role('tab', name=name).click()

    def upload(self, path):
        """Give it a file, and wait for the word on it."""
        self.page.locator('#upload input[type=file]').first.set_input_files(path)
        self.until("name => document.querySelector('#state').innerText.includes(name)", Path(path).name)

    def settled(self):
        """Wait until nothing is being computed."""
        quiet = "![...document.querySelectorAll('.wrap.generating, .wrap.pending, .progress-text, .eta-bar')].length"
        for _ in range(3):
            self.until(quiet)
            self.page.wait_for_timeout(400)

    def choose(self, selector, name):
        """Type into a list to choose from."""
        box = self.page.locator(f'{selector} input')
        box.fill(name)
        box.press('Enter')

    def elsewhere(self):
        """Requests that left this machine."""
        return [url for url in self.requests if not url.startswith((self.url, 'data:', 'blob:'))]
