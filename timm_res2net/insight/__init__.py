"""What a network sees and costs: receptive fields, class activation maps, parameters and multiply-accumulates."""
from .activation_maps import class_activation_maps, heat_inside
from .cost import cost
from .find_layer import find_layer
from .groups import group_activations, split_blocks
from .receptive_fields import (
    Field,
    Group,
    Layer,
    effective_receptive_field,
    gradient_field,
    receptive_fields,
    side_of_share,
    table,
)

__all__ = [
    'Field', 'Group', 'Layer', 'class_activation_maps', 'cost', 'effective_receptive_field', 'find_layer',
    'gradient_field', 'group_activations', 'heat_inside', 'receptive_fields', 'side_of_share', 'split_blocks', 'table']
