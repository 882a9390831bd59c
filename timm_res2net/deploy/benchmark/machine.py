"""What a measured number was measured on, and what that can do."""
import os
import platform
import re
from pathlib import Path

import torch


def has_bf16(device: str) -> bool:
    """Whether a device computes in bfloat16; a CPU without takes ten times as long as in float32."""
    return device != 'cpu' or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def held_at_most(device: str) -> float:
    """MB that this process held at most on a device: on a CPU with all imports, NaN where Linux does not tell it."""
    if device == 'cuda':
        return torch.cuda.max_memory_allocated() / 1e6
    status = Path('/proc/self/status')
    found = re.search(r'VmHWM:\s*(\d+)', status.read_text()) if status.is_file() else None
    return int(found[1]) / 1e3 if found else float('nan')


def processor() -> str:
    """Cores and processor, without a host's name."""
    info = Path('/proc/cpuinfo')
    found = re.search(r'model name\s*: (.*)', info.read_text()) if info.is_file() else None
    return f'{os.cpu_count()} cores of {found.group(1) if found else platform.processor() or platform.machine()}'
