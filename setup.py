"""What setup.cfg cannot say: addresses, all from one setting, `REPOSITORY` of timm_res2net/version.py."""
import re
import runpy
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).resolve().parent


def absolute(readme: str, repository: str) -> str:
    """The README for a page that has not got the repository's files: links and images with the whole address."""
    def link(match):
        kind = 'raw' if match[1].startswith('!') else 'blob'
        return f'{match[1]}{repository}/{kind}/main/{match[2]})'
    return re.sub(r'(!?\[[^]]*\]\()(?!\w+:|#)([^)]+)\)', link, readme) if repository else readme


def project_urls(repository: str) -> dict:
    if not repository:
        return {}
    return {'Source': repository, 'Issues': f'{repository}/issues', 'Changelog': f'{repository}/blob/main/CHANGELOG.md'}


REPOSITORY = runpy.run_path(str(ROOT / 'timm_res2net' / 'version.py'))['REPOSITORY']
setup(
    long_description=absolute((ROOT / 'README.md').read_text(encoding='utf-8'), REPOSITORY),
    long_description_content_type='text/markdown',
    project_urls=project_urls(REPOSITORY),
)
