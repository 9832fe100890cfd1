"""Freezing layers: what stops changing, what does not, and the count."""

import pytest
import torch
from torch import nn

from ecgtext_plugins.errors import TextEncoderUnavailable
from ecgtext_plugins.text.encoders import build_text_encoder, load_text_encoder
from ecgtext_plugins.text.freezing import freeze_layers, transformer_blocks
from tests.text.tiny_encoders import FAMILIES, SIZES, tiny_t5

BLOCK_NAMES = {family: "encoder.layer.{}." for family in FAMILIES} | {"t5": "encoder.block.{}."}
EMBEDDINGS = {
    "t5": ["shared."],
    "bert": ["embeddings."],
    "roberta": ["embeddings."],
    "deberta-v2": ["embeddings.", "encoder.rel_embeddings.", "encoder.LayerNorm.", "encoder.conv."],
}


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory):
    return request.param, FAMILIES[request.param](tmp_path_factory.mktemp("text") / "encoder")


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_embeddings_and_the_first_blocks_stay_in_a_training_step(family, layers):
    model_type, folder = family
    encoder = load_text_encoder(folder)
    before = {name: value.detach().clone() for name, value in encoder.named_parameters()}
    count = freeze_layers(encoder, layers)
    prefixes = tuple(EMBEDDINGS[model_type] + [BLOCK_NAMES[model_type].format(i) for i in range(layers)])
    expected = {name for name in before if name.startswith(prefixes)}
    assert all(any(name.startswith(prefix) for name in before) for prefix in prefixes)
    assert {name for name, value in encoder.named_parameters() if not value.requires_grad} == expected
    assert count == sum(before[name].numel() for name in expected)

    trained = [value for value in encoder.parameters() if value.requires_grad]
    if not trained:  # no norm after the last block
        assert layers == 3 and model_type != "t5"
        return
    ids = torch.arange(4, 10)[None]
    states = encoder(input_ids=ids, attention_mask=torch.ones_like(ids).bool()).last_hidden_state
    states.pow(3).sum().backward()
    torch.optim.SGD(trained, 0.1).step()
    after = dict(encoder.named_parameters())
    assert all(torch.equal(after[name], before[name]) and after[name].grad is None for name in expected)
    assert any(not torch.equal(after[name], before[name]) for name in set(before) - expected)


def test_nothing_everything_and_too_much(family):
    encoder = load_text_encoder(family[1])
    total = sum(value.numel() for value in encoder.parameters())
    assert freeze_layers(encoder, 0) == 0 and all(value.requires_grad for value in encoder.parameters())
    for wrong in (4, -2):
        with pytest.raises(ValueError, match=f"cannot freeze {wrong} layers of a text encoder with 3"):
            freeze_layers(encoder, wrong)
    assert all(value.requires_grad for value in encoder.parameters())
    assert freeze_layers(encoder, -1) == total
    assert not any(value.requires_grad for value in encoder.parameters())


def test_relative_positions_of_t5_freeze_with_the_first_block(tmp_path):
    encoder = load_text_encoder(tiny_t5(tmp_path / "encoder"))
    freeze_layers(encoder, 1)
    assert not encoder.encoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight.requires_grad


def test_blocks_first_to_last(family):
    encoder = load_text_encoder(family[1])
    blocks = transformer_blocks(encoder)
    assert isinstance(blocks, nn.ModuleList) and len(blocks) == 3
    calls = []
    for index, block in enumerate(blocks):
        block.register_forward_hook(lambda *_, index=index: calls.append(index))
    encoder(input_ids=torch.tensor([[4, 5]]), attention_mask=torch.ones(1, 2).bool())
    assert calls == [0, 1, 2]


def test_shared_blocks_cannot_be_counted():
    sizes = {**SIZES, "embedding_size": 8, "vocab_size": 40, "pad_token_id": 0, "max_position_embeddings": 64}
    encoder = build_text_encoder({"model_type": "albert", **sizes})
    with pytest.raises(TextEncoderUnavailable, match="AlbertModel has its blocks in none of"):
        freeze_layers(encoder, 1)
    assert freeze_layers(encoder, -1) > 0
