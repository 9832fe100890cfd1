"""Beginning a network from another one's ECG encoder."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn

from ecgtext_plugins.checkpoints.locate import locate_checkpoint
from ecgtext_plugins.checkpoints.networks import ENCODER_PREFIXES
from ecgtext_plugins.checkpoints.read import read_source
from ecgtext_plugins.checkpoints.source import Source
from ecgtext_plugins.checkpoints.weights import MisfitCheckpoint, compare_keys, text_table
from ecgtext_plugins.modules.ecg_encoder import EcgEncoder

PARTS = ("feature_extractor", "layer_norm", "post_extract_proj", "conv_pos", "encoder")
MASK = "mask_emb"  # of the same width: taken where both have it


@dataclass(frozen=True)
class TransferReport:
    """What a network got of a checkpoint.

    Attributes
    ----------
    path, family : str
        Of the checkpoint.
    taken : dict of str
        Keys of the network, with those of the checkpoint that they were taken from.
    left : dict of str
        Keys of the checkpoint that were not taken, with the reason.
    initial : tuple of str
        Keys of the network that keep their initial values.
    """

    path: str
    family: str
    taken: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    initial: tuple[str, ...] = ()

    def table(self) -> str:
        """Lay out every key, a line each."""
        rows = [("taken", key, "" if key == origin else f"from {origin}") for key, origin in self.taken.items()]
        rows += [("left", key, why) for key, why in self.left.items()]
        rows += [("initial", key, "") for key in self.initial]
        return text_table(("what", "key", ""), rows)

    def summary(self) -> str:
        """Say in one line what was done."""
        return (
            f"{self.path} ({self.family}): {len(self.taken)} tensors taken, {len(self.left)} left, "
            f"{len(self.initial)} of the network keep their initial values"
        )


def encoder_of(network: nn.Module) -> EcgEncoder:
    """Return the ECG encoder of a network: the network itself, or its part ``ecg_encoder`` or ``encoder``.

    Raises
    ------
    TypeError
        When it has none.
    """
    for candidate in (network, getattr(network, "ecg_encoder", None), getattr(network, "encoder", None)):
        if isinstance(candidate, EcgEncoder):
            return candidate
    raise TypeError(f"a {type(network).__name__} has no EcgEncoder: expected one as itself, .ecg_encoder or .encoder")


def load_ecg_encoder(module: nn.Module, path: str | Path) -> TransferReport:
    """Copy the ECG encoder of a checkpoint into a network: all of the encoder's keys, or none.

    Parameters
    ----------
    module : nn.Module
        An `EcgEncoder`, or a network that has one as ``ecg_encoder`` or ``encoder``.
    path : path-like
        Of any checkpoint that `ecgtext_plugins.load` reads, of an ECG encoder alone, or a hub name.

    Raises
    ------
    BadCheckpoint
        When the checkpoint cannot be read.
    MisfitCheckpoint
        When its encoder has other keys or sizes than the network's; nothing is copied then.
    """
    path = locate_checkpoint(path)
    source = read_source(path, ecg_only=True)
    prefix = ENCODER_PREFIXES[source.family]
    encoder = encoder_of(module)
    own = {key: value for key, value in encoder.state_dict().items() if _is_encoder(key)}
    found = {
        key.removeprefix(prefix): value
        for key, value in source.weights.items()
        if key.startswith(prefix) and _is_encoder(key.removeprefix(prefix))
    }
    comparison = compare_keys(found, own)
    if not comparison.fits:
        raise MisfitCheckpoint(
            f"the ECG encoder of {path} ({source.family}: {_sizes(source.model_config)}) does not fit the network's "
            f"({encoder_sizes(encoder)}), keys are {comparison.sentence()}; expected the same sizes: set the model's "
            "encoder_layers, encoder_embed_dim, encoder_ffn_embed_dim, conv_feature_layers, conv_pos as the checkpoint "
            "has them",
            comparison,
        )
    mask = source.weights.get(prefix + MASK)
    target = encoder.state_dict().get(MASK)
    if isinstance(mask, Tensor) and target is not None and mask.shape == target.shape:
        found[MASK] = mask
    encoder.load_state_dict(found, strict=False)
    return _report(module, encoder, str(path), source, prefix, found)


def _report(
    module: nn.Module, encoder: EcgEncoder, path: str, source: Source, prefix: str, found: dict
) -> TransferReport:
    name = next(name for name, part in module.named_modules() if part is encoder)
    place = f"{name}." if name else ""
    taken = {place + key: prefix + key for key in found}
    gone = set(taken.values())
    why = f"not part of the ECG encoder of {source.family}"
    return TransferReport(
        path=path,
        family=source.family,
        taken=taken,
        left={key: why for key in source.weights if key not in gone},
        initial=tuple(key for key in module.state_dict() if key not in taken),
    )


def _is_encoder(key: str) -> bool:
    return str(key).split(".")[0] in PARTS


def encoder_sizes(encoder: EcgEncoder) -> str:
    """Say an encoder's layers and widths."""
    layers = encoder.encoder.layers
    if not len(layers):
        return "0 layers"
    feed_forward, width = layers[0].fc1.weight.shape
    return f"{len(layers)} layers, width {width}, feed-forward {feed_forward}"


def _sizes(config) -> str:
    return (
        f"{config.encoder_layers} layers, width {config.encoder_embed_dim}, feed-forward {config.encoder_ffn_embed_dim}"
    )
