"""Stand-ins for the types of configs in checkpoints: they hold what a file says and do nothing with it.

Older checkpoints carry an ``argparse.Namespace`` or omegaconf's containers beside their tensors. Neither library's code
is run to read them: the unpickler is given these classes under the libraries' names, and `plain` makes dictionaries and
lists of them afterwards.
"""

from typing import Any

NODES = ("AnyNode", "StringNode", "IntegerNode", "FloatNode", "BooleanNode", "BytesNode", "PathNode")
UNUSED = (  # what omegaconf says about its values' types
    *("typing.Any", "omegaconf.base.ContainerMetadata", "omegaconf.base.Metadata", "collections.defaultdict"),
    *(f"builtins.{name}" for name in ("int", "float", "bool", "str", "bytes", "dict", "list", "tuple")),
)


class StandIn:
    """Takes any arguments and any state, and keeps the state."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "StandIn":
        """Make one without looking at the arguments."""
        stand_in = super().__new__(cls)
        stand_in.state = {}
        return stand_in

    def __init__(self, *args: Any, **kwargs: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def held(self, key: str) -> Any:
        """Return a value of the state."""
        if not isinstance(self.state, dict) or key not in self.state:
            raise ValueError(f"a {type(self).__name__} without {key}")
        return self.state[key]


class Namespace(StandIn):
    """For ``argparse.Namespace``: a dictionary of its attributes."""


class Container(StandIn):
    """For omegaconf's ``DictConfig`` and ``ListConfig``; interpolations stay the texts that they are."""


class Node(StandIn):
    """For omegaconf's nodes of one value."""


class Unused(StandIn):
    """For what describes types."""


def stand_ins() -> list[tuple[type, str]]:
    """Return the classes with the names that they stand for, as ``torch.serialization.safe_globals`` takes them."""
    return [
        (Namespace, "argparse.Namespace"),
        (Container, "omegaconf.dictconfig.DictConfig"),
        (Container, "omegaconf.listconfig.ListConfig"),
        *((Node, f"omegaconf.nodes.{name}") for name in NODES),
        *((Unused, name) for name in UNUSED),
    ]


def plain(value: Any) -> Any:
    """Return `value` with dictionaries, lists and values in the place of stand-ins; its own containers are kept.

    Raises
    ------
    ValueError
        When a stand-in lacks the state that its type always has.
    RecursionError
        When containers hold each other.
    """
    if isinstance(value, Namespace):
        return {key: plain(item) for key, item in dict(value.state).items()}
    if isinstance(value, Container):
        content = value.held("_content")
        return plain(content)
    if isinstance(value, Node):
        return plain(value.held("_val"))
    if isinstance(value, StandIn) or (isinstance(value, type) and issubclass(value, StandIn)):
        return None
    if isinstance(value, (dict, list)):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            item = plain(value[key])
            if item is not value[key]:
                value[key] = item
    elif type(value) is tuple:
        items = tuple(plain(item) for item in value)
        return value if all(new is old for new, old in zip(items, value, strict=True)) else items
    return value
