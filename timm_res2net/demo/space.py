"""The page as a folder that runs as a Hugging Face Space as it is: the app, what it requires, a README, the package."""
import os
import shutil
import sys
from importlib import metadata
from pathlib import Path
from typing import List, Mapping, Sequence

from packaging.requirements import Requirement

from ..model.scratch import scratch

PACKAGE = Path(__file__).resolve().parents[1]
APP = '''"""A page to look inside a Res2Net: `timm-res2net demo`, as a Hugging Face Space."""
import os

os.chdir(os.path.dirname(os.path.abspath(__file__)))
from timm_res2net.commands.demo import open_shelf  # noqa: E402
from timm_res2net.demo.serving import serve  # noqa: E402

MODELS = {models!r}

if __name__ == '__main__':
    serve(open_shelf(), MODELS, MODELS, free=False)
'''
CARD = '''---
title: Look inside a Res2Net
emoji: 🔎
colorFrom: yellow
colorTo: blue
sdk: gradio
sdk_version: '{gradio}'
python_version: '{python}'
app_file: app.py
pinned: false
license: apache-2.0
short_description: What each group of each block of a Res2Net sees
tags: [timm, res2net, image-classification, explainability]
{models}---

# Look inside a Res2Net

Give it a photo: what the network answers, where it looks, and what each group of each block sees. Shown:

{shown}

To run it elsewhere: `pip install -r requirements.txt && python app.py`. `timm_res2net` is the package timm-res2net
{version}, the code of this page included (`timm_res2net/demo`). What is
uploaded is forgotten at the latest an hour after the page is closed.
'''


def requirements() -> List[str]:
    """What the package and the page require, as pip reads it.

    Raises:
        PackageNotFoundError, ValueError: The package is not installed, so that nothing says what it requires, or was
            before it had this page.
    """
    found = (Requirement(line) for line in metadata.requires('timm-res2net') or ())
    needed = [r for r in found if r.marker is None or r.marker.evaluate({'extra': 'demo'})]
    if not any(r.name == 'gradio' for r in needed):
        raise ValueError('timm-res2net was installed before it had the page: install it again from where it lies.')
    return sorted(f'{r.name}{r.specifier}' for r in needed)


def gradio_version() -> str:
    """The version that is here, else the least that the page runs with."""
    try:
        return metadata.version('gradio')
    except metadata.PackageNotFoundError:
        least, = (r.specifier for r in map(Requirement, requirements()) if r.name == 'gradio')
        return next(s.version for s in least if s.operator == '>=')


def write_space(folder: Path, models: Sequence[str], written: Mapping[str, Path]) -> None:
    """Write the folder, complete or not at all.

    Args:
        folder: It must not exist.
        models: Names of the one or two models that are shown, as `timm.create_model` takes them.
        written: Folder in the Space -> folder here, of models that are neither registered nor on the Hub.
    """
    with scratch(folder) as beside:
        part = beside / folder.name
        shutil.copytree(PACKAGE, part / PACKAGE.name, ignore=shutil.ignore_patterns('__pycache__', '*.pyc'))
        for name, source in written.items():
            shutil.copytree(source, part / name)
        on_hub = [name.removeprefix('hf-hub:').partition('@')[0] for name in models if name.startswith('hf-hub:')]
        texts = {
            'app.py': APP.format(models=list(models)),
            'requirements.txt': '\n'.join(requirements()) + '\n',
            'README.md': CARD.format(
                gradio=gradio_version(), python=f'{sys.version_info.major}.{sys.version_info.minor}',
                models=f'models: [{", ".join(on_hub)}]\n' if on_hub else '',
                shown='\n'.join(f'- `{name}`' for name in models), version=metadata.version('timm-res2net'))}
        for name, text in texts.items():
            (part / name).write_text(text, encoding='utf-8')
        os.replace(part, folder)
