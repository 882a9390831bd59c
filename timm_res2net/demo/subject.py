"""A model as the page has it: with the names of its classes, its blocks and a word on it; a few are kept loaded."""
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Callable, Dict, List, Tuple

from ..deploy.preprocessing import data_config, image_mode
from ..insight import Layer, receptive_fields, split_blocks

# hooks belong to a model and counters to the process, and two cores gain nothing from two networks at once
COMPUTING = threading.RLock()


@dataclass(frozen=True)
class Subject:
    """A model in eval mode, which nobody changes.

    Attributes:
        name: As the person gave it.
        classes: Names of its classes.
        note: What to know of its weights, '' if there is nothing.
    """
    name: str
    model: Any
    classes: List[str]
    note: str = ''
    facts: Dict[str, Any] = field(default_factory=dict)  # numbers measured once, see `numbers`

    @cached_property
    def config(self) -> Dict[str, Any]:
        """timm's preprocessing."""
        return data_config(self.model)

    @property
    def size(self) -> int:
        """Height and width of its input, in pixels."""
        return self.config['input_size'][-1]

    @cached_property
    def layers(self) -> List[Layer]:
        """Its receptive fields, layer by layer; none in a network that is not of this package."""
        return receptive_fields(self.model) if split_blocks(self.model) else []

    @property
    def blocks(self) -> List[str]:
        """Names of the blocks with groups."""
        return [layer.name for layer in self.layers if layer.groups]

    @property
    def map_layers(self) -> List[str]:
        """Names of the layers that a class activation map may be taken from: stages, and the blocks in them."""
        stages = [info['module'] for info in self.model.feature_info]
        return list(dict.fromkeys([*stages[::-1], *self.blocks[::-1]]))

    def layer(self, name: str) -> Layer:
        """The receptive fields of one of its blocks."""
        return next(layer for layer in self.layers if layer.name == name)


def checked(subject: Subject) -> Subject:
    """The subject, if the page can show it.

    Raises:
        ValueError: It has no classifier, or takes other channels than pictures have, or no squares.
    """
    image_mode(subject.config)
    if not getattr(subject.model, 'num_classes', 0):
        raise ValueError(f'{subject.name} has no classifier, so it answers nothing: give a model with classes.')
    if subject.config['input_size'][1] != subject.config['input_size'][2]:
        raise ValueError(f'{subject.name} takes {subject.config["input_size"][1:]} pixels, the page shows square ones.')
    return subject


class Shelf:
    """Models by name, loaded when they are asked for; the last few are kept."""

    def __init__(self, load: Callable[[str], Tuple[Any, List[str], str]], keep: int = 4) -> None:
        """
        Args:
            load: Name -> model in eval mode, names of its classes, note; raises what it likes.
            keep: Most models in memory.
        """
        self.load = load
        self.keep = keep
        self.held: OrderedDict[str, Subject] = OrderedDict()
        self.loading: Dict[str, threading.Lock] = {}
        self.lock = threading.Lock()

    def __getitem__(self, name: str) -> Subject:
        """The model of that name, spaces around it aside; who asks for another one does not wait for it.

        Raises:
            ValueError: The page cannot show it; or what `load` raises.
        """
        name = name.strip()
        with self.lock:
            one_of_this_name = self.loading.setdefault(name, threading.Lock())
        try:
            with one_of_this_name:
                subject = self.held.get(name)
                if subject is None:
                    model, classes, note = self.load(name)
                    subject = checked(Subject(name, model, classes, note))
        finally:
            with self.lock:
                self.loading.pop(name, None)
        with self.lock:
            self.held[name] = subject
            self.held.move_to_end(name)
            while len(self.held) > self.keep:
                self.held.popitem(last=False)
        return subject
