"""Copied into an environment by `timm-res2net autoload enable`, and run at the start of every Python process there.

Imports nothing by itself: it waits in `sys.meta_path` until somebody imports timm, and then imports timm_res2net.
"""
import os
import sys


class RegisterAfterTimm:
    """A finder that finds timm as the others do and has the Res2Net variants registered once timm has run."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != 'timm':
            return None
        for finder in sys.meta_path:
            find_spec = getattr(finder, 'find_spec', None)
            spec = find_spec(name, path, target) if finder is not cls and find_spec else None
            if spec is not None:
                cls._follow(spec.loader)
                return spec
        return None

    @classmethod
    def _follow(cls, loader):
        run = getattr(loader, 'exec_module', None)
        if run is None:  # timm without an __init__.py is not timm
            return

        def exec_module(module):
            run(module)
            if cls in sys.meta_path:
                sys.meta_path.remove(cls)
            try:
                import timm_res2net  # noqa: F401
            except Exception as error:
                import warnings
                files = f'delete {__file__} and {os.path.splitext(__file__)[0]}.pth'
                gone = isinstance(error, ModuleNotFoundError) and error.name == 'timm_res2net'
                remedy = f'{files} (timm-res2net autoload disable does it, before an uninstall)' if gone else \
                    f'timm-res2net autoload disable, or {files}'
                warnings.warn(
                    f'timm works, but its Res2Net variants were not registered: {type(error).__name__}: {error}. '
                    f'To be rid of this message: {remedy}', RuntimeWarning, stacklevel=2)
        loader.exec_module = exec_module


if RegisterAfterTimm not in sys.meta_path:
    sys.meta_path.insert(0, RegisterAfterTimm)
