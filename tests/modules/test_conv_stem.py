"""The stem's parser and arithmetic against torch's own layers."""

import pytest
import torch
from torch import nn

from ecgtext_plugins.modules.conv_stem import ConvStem, PositionalConv, parse_conv_layers


def test_parse_conv_layers():
    assert parse_conv_layers("[(256, 2, 2)] * 4") == [(256, 2, 2)] * 4
    assert parse_conv_layers("[(32, 5, 3)] + 2 * [(64, 2, 2)]") == [(32, 5, 3), (64, 2, 2), (64, 2, 2)]


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "[(1, 2)]",
        "[]",
        "4",
        "[(256, 2, 2)] * 'a'",
        "[(256, -2, 2)]",
        "[(1, 2, 3)",
        "[(True, 2, 2)]",
        "[(1.5, 2, 2)]",
    ],
)
def test_parse_refuses_everything_else(text):
    with pytest.raises(ValueError, match="conv_feature_layers"):
        parse_conv_layers(text)


def test_frames():
    stem = ConvStem([(8, 2, 2)] * 4)
    assert stem.samples_per_frame == 16
    for samples in (16, 31, 5000):
        assert stem.n_frames(samples) == stem(torch.randn(1, 12, samples)).shape[-1] == samples // 16


def test_first_block_is_an_instance_norm():
    torch.manual_seed(0)
    stem = ConvStem([(8, 2, 2)])
    ecg = torch.randn(2, 12, 64)
    expected = nn.functional.gelu(nn.functional.instance_norm(stem.conv_layers[0][0](ecg)))
    assert torch.allclose(stem(ecg), expected, atol=1e-6)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_positional_conv_equals_torch_weight_norm():
    torch.manual_seed(0)
    ours = PositionalConv(16, 8, 4)
    conv = nn.utils.weight_norm(nn.Conv1d(16, 16, 8, padding=4, groups=4), dim=2)
    with torch.no_grad():
        ours.pos_conv[0].weight_g.mul_(1.7)
        ours.pos_conv[0].bias.normal_()
    conv.load_state_dict(ours.pos_conv[0].state_dict())
    frames = torch.randn(3, 20, 16)
    expected = nn.functional.gelu(conv(frames.transpose(1, 2))[..., :-1]).transpose(1, 2)
    assert torch.allclose(ours(frames), expected, atol=1e-6)
    assert ours(frames).shape == frames.shape
