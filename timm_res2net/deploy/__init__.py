"""From a model to the machine's limit: fold, prepack, export, load. Everything here takes a model and returns another.

    fast = deploy.prepack(model)                               # at once, pure torch, CPU
    deploy.export(model, 'model.pt2')                          # compiled by AOTInductor, checked against the model
    fast = deploy.load('model.pt2')                            # anywhere, any format
"""
from ..fold import fold
from .engines import Deployed, load
from .exporting import FORMATS, PRECISIONS, ExportError, Report, export
from .packing import prepack

__all__ = ['FORMATS', 'PRECISIONS', 'Deployed', 'ExportError', 'Report', 'export', 'fold', 'load', 'prepack']
