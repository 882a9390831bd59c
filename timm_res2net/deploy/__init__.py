"""From a model to the machine's limit: `fold` and `prepack` make it faster, `export` writes a file, `load` runs that.

    fast = deploy.prepack(model)                               # at once, pure torch, CPU
    deploy.export(model, 'model.pt2')                          # compiled by AOTInductor, checked against the model
    fast = deploy.load('model.pt2')                            # anywhere, any format
"""
from ..model.fold import fold
from .exporting import PRECISIONS, ExportError, Report, export
from .loaders import Deployed, load
from .packing import prepack
from .writers import FORMATS

__all__ = ['FORMATS', 'PRECISIONS', 'Deployed', 'ExportError', 'Report', 'export', 'fold', 'load', 'prepack']
