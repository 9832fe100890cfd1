"""Keys and shapes of the published models at their full size, on the meta device: from the reference's tables."""

import pytest
import torch

from ecgtext_plugins.checkpoints.key_spelling import from_stock, to_parametrizations, to_weight_norm
from ecgtext_plugins.checkpoints.weights import compare_keys, parameter_count
from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.modules.ecg_classifier import EcgClassifier, EcgClassifierConfig
from ecgtext_plugins.modules.wav2vec2_cmsc import Wav2Vec2Cmsc, Wav2Vec2CmscConfig
from ecgtext_plugins.text.encoders import build_text_encoder

WIDTH, STEM, FEED_FORWARD = 768, 256, 3072
T5 = {"vocab_size": 32128, "d_model": 768, "d_kv": 64, "d_ff": 2048, "num_layers": 12, "num_heads": 12}
T5 |= {"model_type": "t5", "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}


def linear(name, out, width, bias=True):
    return {f"{name}.weight": (out, width)} | ({f"{name}.bias": (out,)} if bias else {})


def norm(name, width=WIDTH):
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def encoder_table(layers, new_spelling=True):
    table = norm("encoder.layer_norm") | norm("layer_norm", STEM) | linear("post_extract_proj", WIDTH, STEM)
    for layer in (f"encoder.layers.{n}" for n in range(layers)):
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            table |= linear(f"{layer}.self_attn.{name}", WIDTH, WIDTH)
        table |= norm(f"{layer}.self_attn_layer_norm") | norm(f"{layer}.final_layer_norm")
        table |= linear(f"{layer}.fc1", FEED_FORWARD, WIDTH) | linear(f"{layer}.fc2", WIDTH, FEED_FORWARD)
    stem = "feature_extractor.conv_layers"
    table |= {f"{stem}.0.0.weight": (STEM, 12, 2)} | norm(f"{stem}.0.2", STEM)
    table |= {f"{stem}.{n}.0.weight": (STEM, STEM, 2) for n in (1, 2, 3)}
    names = ("parametrizations.weight.original0", "parametrizations.weight.original1")
    g, v = names if new_spelling else ("weight_g", "weight_v")
    position = "conv_pos.pos_conv.0"
    return table | {f"{position}.bias": (WIDTH,), f"{position}.{g}": (1, 1, 128), f"{position}.{v}": (WIDTH, 48, 128)}


def prefixed(prefix, table):
    return {prefix + key: shape for key, shape in table.items()}


def fusion_table(layer):
    table = {}
    for attention in ("attention", "crossattention"):
        for name in ("query", "key", "value"):
            table |= linear(f"{layer}.{attention}.self.{name}", WIDTH, WIDTH)
        table |= linear(f"{layer}.{attention}.output.dense", WIDTH, WIDTH)
        table |= norm(f"{layer}.{attention}.output.LayerNorm")
    table |= linear(f"{layer}.intermediate.dense", FEED_FORWARD, WIDTH)
    return table | linear(f"{layer}.output.dense", WIDTH, FEED_FORWARD) | norm(f"{layer}.output.LayerNorm")


def t5_table():
    embedding = (32128, WIDTH)
    table = {"shared.weight": embedding, "encoder.embed_tokens.weight": embedding}
    table |= {"encoder.final_layer_norm.weight": (WIDTH,)}
    table |= {"encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (32, 12)}
    for block in (f"encoder.block.{n}.layer" for n in range(12)):
        table |= {f"{block}.0.SelfAttention.{name}.weight": (WIDTH, WIDTH) for name in "qkvo"}
        table |= {f"{block}.{n}.layer_norm.weight": (WIDTH,) for n in (0, 1)}
        table |= {f"{block}.1.DenseReluDense.wi_{n}.weight": (2048, WIDTH) for n in (0, 1)}
        table |= {f"{block}.1.DenseReluDense.wo.weight": (WIDTH, 2048)}
    return table


def decoder_table():
    width = 384
    table = {"mask_token": (1, 1, width), "decoder_pos_embed.pe": (1, 512, width)}
    table |= linear("decoder_embed", width, WIDTH) | norm("decoder_norm", width) | linear("decoder_pred", 192, width)
    for block in (f"decoder.resblocks.{n}" for n in range(4)):
        table |= {f"{block}.attn.in_proj_weight": (1152, width), f"{block}.attn.in_proj_bias": (1152,)}
        table |= linear(f"{block}.attn.out_proj", width, width) | norm(f"{block}.ln_1", width)
        table |= norm(f"{block}.ln_2", width)
        table |= linear(f"{block}.mlp.c_fc", 1536, width) | linear(f"{block}.mlp.c_proj", width, 1536)
    return table


def dbeta_table():
    table = {"class_embedding": (WIDTH,), "modality_type_embeddings.weight": (2, WIDTH)}
    table |= prefixed("ecg_encoder.", encoder_table(8, new_spelling=False)) | prefixed("language_encoder.", t5_table())
    for side in ("ecg", "language"):
        table |= linear(f"multi_modal_{side}_proj", WIDTH, WIDTH)
        for layer in range(6):
            table |= fusion_table(f"multi_modal_{side}_layers.{layer}")
        for pooler in (f"multi_modal_{side}_pooler", f"unimodal_{side}_pooler"):
            table |= linear(f"{pooler}.dense", WIDTH, WIDTH)
    table |= {"mlm_head.bias": (32128,), "mlm_head.decoder.weight": (32128, WIDTH)}
    table |= linear("mlm_head.transform.dense", WIDTH, WIDTH) | norm("mlm_head.transform.LayerNorm")
    return table | prefixed("mim_head.", decoder_table()) | linear("itm_head.fc", 2, 1536)


def pretrained_table():
    table = {"mask_emb": (WIDTH,), "quantizer.vars": (1, 640, 128)} | linear("quantizer.weight_proj", 640, STEM)
    return table | encoder_table(12) | linear("project_q", 256, 256) | linear("final_proj", 256, WIDTH)


def finetuned_table(labels):
    return prefixed("encoder.", encoder_table(12)) | linear("proj", labels, WIDTH)


def shapes(weights):
    return {key: tuple(value.shape) for key, value in weights.items()}


def classifier(labels):
    return EcgClassifier(EcgClassifierConfig(num_labels=labels))


@pytest.mark.parametrize(
    ("build", "table", "tensors", "parameters"),
    [
        (lambda: Wav2Vec2Cmsc(Wav2Vec2CmscConfig()), pretrained_table(), 215, 90_883_072),
        (lambda: classifier(17), finetuned_table(17), 209, 90_386_321),
        (lambda: classifier(8), finetuned_table(8), 209, 90_379_400),
    ],
)
def test_ecg_fm(build, table, tensors, parameters):
    with torch.device("meta"):
        weights = build().state_dict()
    written = to_parametrizations(weights)
    assert shapes(written) == table and len(written) == tensors
    assert parameter_count(written) == parameters
    assert shapes(to_weight_norm(written)) == shapes(weights) == shapes(to_weight_norm(weights))
    assert compare_keys(to_weight_norm(written), weights).fits


def test_dbeta():
    with torch.device("meta"):
        weights = DBeta(DBetaConfig(), build_text_encoder(T5)).state_dict()
    assert shapes(weights) == dbeta_table() and len(weights) == 645
    assert parameter_count(weights) == 321_387_330


def test_stock_position_of_the_convolution():
    stock = {"encoder.pos_conv.0.weight_g": 1, "encoder.layers.0.fc1.bias": 2, "mask_emb": 3}
    ours = {"conv_pos.pos_conv.0.weight_g": 1, "encoder.layers.0.fc1.bias": 2, "mask_emb": 3}
    assert from_stock(stock) == ours


def test_a_weight_s_name_is_replaced_only_in_the_positional_convolution():
    weights = {"other.parametrizations.weight.original0": 1, "encoder.conv_pos.pos_conv.0.bias": 2}
    assert to_weight_norm(weights) == weights == to_parametrizations(weights)
