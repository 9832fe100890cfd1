"""Which transformers class reads texts for a config's model type, and which types are refused."""

import inspect
from typing import Any

import torch

from ecgtext_plugins.errors import TextEncoderUnavailable
from ecgtext_plugins.text.transformers_guard import import_transformers

FAMILIES = {"t5": "T5EncoderModel", "bert": "BertModel", "roberta": "RobertaModel", "deberta-v2": "DebertaV2Model"}
"""Model type to class name, of the tested families; DeBERTa-v3 has the type of v2, MedCPT that of BERT."""

OLD_MODEL_TYPE = "t5"  # of a config without model_type
KINDS = (
    ("MODEL_FOR_CAUSAL_LM_MAPPING", "a decoder-only language model, whose states don't see the tokens that follow"),
    ("MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING", "a vision model"),
    ("MODEL_FOR_ZERO_SHOT_IMAGE_CLASSIFICATION_MAPPING", "a vision model"),
)
REMEDY = (
    f"expected one of {', '.join(FAMILIES)} or another encoder with masked language modelling; give one such as "
    "google/flan-t5-small, ncbi/MedCPT-Query-Encoder or microsoft/deberta-v3-small"
)


def check_family(config: Any, name: str) -> None:
    """Refuse what does not encode texts in both directions.

    Raises
    ------
    TextEncoderUnavailable
        When the config is of a decoder, of an encoder-decoder other than T5, of a vision or another model.
    """
    kind = _refused_kind(config)
    if kind is not None:
        raise TextEncoderUnavailable(f"text encoder '{name}' is of type {config.model_type}, {kind}; {REMEDY}")


def _refused_kind(config: Any) -> str | None:
    transformers = import_transformers()
    if config.model_type == "t5":  # its encoder alone is taken
        return None
    if getattr(config, "is_encoder_decoder", False):
        return "an encoder-decoder whose encoder is not taken out here"
    if getattr(config, "is_decoder", False):
        return "with `is_decoder: true` in its config.json, which hides the tokens that follow"
    if config.model_type in FAMILIES or type(config) in transformers.MODEL_FOR_MASKED_LM_MAPPING:
        return None
    for mapping, kind in KINDS:
        if type(config) in getattr(transformers, mapping):
            return kind
    return "which is no text encoder known to the installed transformers"


def encoder_class(config: Any) -> tuple[type, dict[str, bool]]:
    """Return the model class of a config and what it is built with besides: no pooler, where there would be one."""
    transformers = import_transformers()
    if config.model_type in FAMILIES:
        model_class = getattr(transformers, FAMILIES[config.model_type])
    else:
        model_class = transformers.MODEL_MAPPING[type(config)]
    has_pooler = "add_pooling_layer" in inspect.signature(model_class.__init__).parameters
    return model_class, {"add_pooling_layer": False} if has_pooler else {}


def take_bool_masks(encoder: Any) -> Any:
    """Make calls of the encoder turn a bool attention mask into integers, which every family takes; return it.

    DeBERTa-v2's convolution and some others compute with the mask.
    """
    encoder.register_forward_pre_hook(_integer_mask, with_kwargs=True)
    return encoder


def fuse_gelu(encoder: Any) -> Any:
    """Put torch's GELU by tanh in the place of the one that Flan-T5 writes out in eight steps; return the encoder."""
    for parent in encoder.modules():
        for name, child in parent.named_children():
            if type(child).__name__ == "NewGELUActivation":
                setattr(parent, name, torch.nn.GELU(approximate="tanh"))
    return encoder


def _integer_mask(_: Any, args: tuple, kwargs: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
    mask = kwargs.get("attention_mask")
    return args, kwargs if mask is None else kwargs | {"attention_mask": mask.long()}


@torch.no_grad()
def check_forward(encoder: Any, name: str) -> None:
    """Try an encoder that is of no tested family on two tokens.

    Raises
    ------
    TextEncoderUnavailable
        When ``encoder(input_ids=, attention_mask=).last_hidden_state`` is not (B, L, ``config.hidden_size``), or its
        config has no ``vocab_size``.
    """
    if encoder.config.model_type in FAMILIES:
        return
    width, size = (getattr(encoder.config, key, None) for key in ("hidden_size", "vocab_size"))
    ids = torch.full((1, 2), 3)
    was_training = encoder.training
    try:
        states = encoder.eval()(input_ids=ids, attention_mask=torch.ones_like(ids).bool()).last_hidden_state
        found = f"states of shape {tuple(states.shape)} for 2 tokens, hidden_size {width}, vocab_size {size}"
        fits = tuple(states.shape) == (1, 2, width) and isinstance(size, int)
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        first_line = (str(error) or "no message").splitlines()[0]
        found, fits = f"{type(error).__name__}: {first_line}", False
    finally:
        encoder.train(was_training)
    if not fits:
        raise TextEncoderUnavailable(
            f"text encoder '{name}' of type {encoder.config.model_type} cannot be used: from input_ids and "
            f"attention_mask it gave {found}; expected last_hidden_state (batch, tokens, hidden_size); {REMEDY}"
        )
