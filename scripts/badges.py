"""Draw the badges of the README from setup.cfg: `python scripts/badges.py`."""
import configparser
from pathlib import Path
from typing import Dict

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / '.github' / 'badges'
BADGE = '''\
<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{label}: {value}">
<rect width="{width}" height="20" rx="3" fill="#31708f"/><rect width="{left}" height="20" rx="3" fill="#444"/>
<g fill="#fff" font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">
<text x="6" y="14">{label}</text><text x="{start}" y="14">{value}</text></g>
</svg>
'''


def badges() -> Dict[str, str]:
    """{name: SVG}."""
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / 'setup.cfg', encoding='utf-8')
    metadata = config['metadata']
    pythons = [line.split(':: ')[-1] for line in metadata['classifiers'].splitlines() if 'Python :: 3.' in line]
    values = {'license': metadata['license'], 'python': f'{pythons[0]} to {pythons[-1]}'}
    return {label: _badge(label, value) for label, value in values.items()}


def _badge(label: str, value: str) -> str:
    left = 7 * len(label) + 12
    return BADGE.format(label=label, value=value, left=left, start=left + 6, width=left + 7 * len(value) + 12)


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, svg in badges().items():
        (FOLDER / f'{name}.svg').write_text(svg, encoding='utf-8')


if __name__ == '__main__':
    main()
