"""Hooks of mkdocs.yml: README, images, results and an API reference join the pages, from where they are."""
import ast
import re
import runpy
from pathlib import Path
from typing import Dict, List

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / 'timm_res2net'
REPOSITORY = runpy.run_path(str(PACKAGE / 'version.py'))['REPOSITORY']
PLACES = {'timm_res2net/docs/': '', 'images/': 'images/', '.github/badges/': 'badges/', 'scripts/results/': 'results/'}
ROOMS = {
    'variants': 'The table of variants', 'model': 'What a Res2Net is', 'weights': 'Any file and a model',
    'hub': 'The Hugging Face Hub', 'deploy': "To the machine's limit", 'insight': 'What a network sees'}


def home(readme: str) -> str:
    """The README as the first page: its links lead to where things are on the site."""
    def link(match):
        for start, place in PLACES.items():
            if match[2].startswith(start):
                return f'{match[1]}{place}{match[2].removeprefix(start)})'
        return f'{match[1]}{REPOSITORY}/blob/main/{match[2]})' if REPOSITORY else match[0]
    return re.sub(r'(!?\[[^]]*\]\()(?!\w+:|#)([^)]+)\)', link, readme)


def public() -> Dict[str, List[str]]:
    """{room: the public names that come from it}, dotted; read, not imported."""
    names: Dict[str, List[str]] = {room: [] for room in ROOMS}
    for node in ast.walk(ast.parse((PACKAGE / '__init__.py').read_text(encoding='utf-8'))):
        if isinstance(node, ast.ImportFrom) and node.module not in ('commands', 'version', None):
            room = node.module.split('.')[0] if node.module == 'model' or '.' not in node.module else 'variants'
            room = 'variants' if room == 'res2net_custom' else room
            names[room] += [f'timm_res2net.{alias.name}' for alias in node.names]
    for node in ast.parse((PACKAGE / 'deploy' / '__init__.py').read_text(encoding='utf-8')).body:
        if isinstance(node, ast.ImportFrom):
            names['deploy'] += [f'timm_res2net.deploy.{alias.name}' for alias in node.names]
    return names


def reference() -> Dict[str, str]:
    """{page: text} of the API."""
    return {
        f'api/{room}.md': f'# {words}\n\n' + '\n\n'.join(f'::: {name}' for name in public()[room]) + '\n'
        for room, words in ROOMS.items()}


def on_config(config):
    """Addresses, where there are any."""
    if REPOSITORY:
        config.repo_url, config.edit_uri = REPOSITORY, ''
    return config


def on_files(files, config):
    """What lies outside docs_dir, and what is written here."""
    from mkdocs.structure.files import File
    files.append(File.generated(
        config, 'index.md', content=home((ROOT / 'README.md').read_text(encoding='utf-8'))))
    for page, text in reference().items():
        files.append(File.generated(config, page, content=text))
    for start, place in PLACES.items():
        if place:
            for path in sorted((ROOT / start).glob('*.*')):
                if path.suffix in ('.md', '.png', '.svg'):
                    files.append(File.generated(config, place + path.name, abs_src_path=str(path)))
    return files
