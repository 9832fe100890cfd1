"""Writing D-BETA in the layout of its release: the weights, and config.json beside them."""

from pathlib import Path
from typing import Any

import torch

from ecgtext_plugins.checkpoints.dbeta_release import MAX_TEXT_TOKENS, N_SAMPLES, SAMPLE_RATE
from ecgtext_plugins.checkpoints.networks import DBETA
from ecgtext_plugins.checkpoints.source import Source
from ecgtext_plugins.errors import BadCheckpoint

OURS_ALONE = {"ets_log_scale": "learned scale of ETS", "ets_bias": "learned bias of ETS"}
MODEL_KEYS = (  # of the release's config.json, those that its network reads
    *("encoder_layers", "encoder_embed_dim", "encoder_ffn_embed_dim", "encoder_attention_heads", "layer_norm_first"),
    *("dropout", "attention_dropout", "activation_dropout", "encoder_layerdrop", "dropout_input"),
    *("conv_feature_layers", "in_d", "conv_bias", "feature_grad_mult", "conv_pos", "conv_pos_groups"),
    *("hidden_dim", "num_heads", "drop_rate", "num_top_layer", "mem_layer", "mem_prob"),
    *("mem_decoder_hidden_dim", "mem_decoder_num_layers", "mem_decoder_num_heads"),
)
FIXED = {  # the others, as the release has them
    **{"_name": "D-BETA", "all_gather": False, "normalize": False, "filter": False, "data": "", "args": None},
    **{"lead_masking": 0.5, "dropout_features": 0.1, "apply_mask": False, "mask_length": 10, "mask_prob": 0.0},
    **{"mask_selection": "static", "mask_other": 0.0, "no_mask_overlap": False, "mask_min_space": 1},
    **{"mask_channel_length": 10, "mask_channel_prob": 0.0, "mask_channel_selection": "static"},
    **{"mask_channel_other": 0.0, "no_mask_channel_overlap": False, "mask_channel_min_space": 1},
    **{"extractor_mode": "default", "load_pretrained_weights": False, "pretrained_model_path": ""},
}


def dbeta_config(source: Source) -> dict[str, Any]:
    """Return the release's config.json for a model.

    Raises
    ------
    BadCheckpoint
        When the model is not D-BETA with a T5 encoder.
    """
    if source.family != DBETA:
        raise BadCheckpoint(
            f"a {source.family} has no text encoder, fusion and heads: expected D-BETA for its release's layout; use "
            "--to ecgtext or --to fairseq-signals"
        )
    kind = source.text_config.get("model_type")
    if kind != "t5":
        raise BadCheckpoint(
            f"the text encoder is a {kind}: expected t5, the only one of the release's code; use --to ecgtext"
        )
    values = vars(source.model_config)
    text = {"vocab_size": source.text_config["vocab_size"], "max_text_size": MAX_TEXT_TOKENS + 2}
    own = {key: values[key] for key in MODEL_KEYS}
    return {"model": FIXED | own | text | {"num_layers": values["num_top_layer"]}}


def write_dbeta(path: Path, source: Source) -> tuple[dict[str, str], list[str]]:
    """Write the weights; returns the keys that are left out with the reason, and what the file cannot say."""
    left = {key: why for key, why in OURS_ALONE.items() if key in source.weights}
    torch.save({"model": {key: value for key, value in source.weights.items() if key not in left}}, path)
    notes = []
    if source.text_files is not None:
        notes.append("the tokenizer has no place in the release's layout: load it with text_encoder=")
    if (source.sample_rate, source.n_samples) != (SAMPLE_RATE, N_SAMPLES):
        notes.append(
            f"{source.sample_rate:g} Hz and {source.n_samples} samples have no place in the file, whose readers take "
            f"{SAMPLE_RATE:g} Hz and {N_SAMPLES}"
        )
    if source.config["task"].get("max_text_tokens") != MAX_TEXT_TOKENS:
        notes.append(f"texts of {source.config['task'].get('max_text_tokens')} tokens: readers take {MAX_TEXT_TOKENS}")
    if source.layout != "D-BETA release" and source.model_config.text_attention_mask:
        notes.append("trained with the texts' padding hidden from their encoder: the release's code attends to it")
    return left, notes
