"""What a measured number was measured on."""
import os
import platform
import re
from pathlib import Path


def processor() -> str:
    """Cores and processor, without a host's name."""
    info = Path('/proc/cpuinfo')
    found = re.search(r'model name\s*: (.*)', info.read_text()) if info.is_file() else None
    return f'{os.cpu_count()} cores of {found.group(1) if found else platform.processor() or platform.machine()}'
