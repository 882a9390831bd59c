"""Share a model on the Hugging Face Hub, and get one back.

`push_to_hub` writes what timm reads, so that after `import timm_res2net` plain timm loads a pushed model with the
arguments it was built with: `timm.create_model('hf-hub:USER/NAME', pretrained=True)`. `from_hub` does the same with a
token, and with errors that say what to do.
"""
from .errors import HubError
from .files import Content, save_for_hub
from .pull import from_hub
from .push import push_to_hub

__all__ = ['Content', 'HubError', 'from_hub', 'push_to_hub', 'save_for_hub']
