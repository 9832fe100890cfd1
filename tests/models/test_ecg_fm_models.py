"""The registered models of ECG-FM are the plain networks; encoders, numbers of labels and updates arrive."""

import dataclasses
import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from omegaconf import OmegaConf

import ecgtext_plugins
from ecgtext_plugins.errors import BadConfig
from ecgtext_plugins.modules.arcface import ArcFace
from ecgtext_plugins.modules.ecg_classifier import EcgClassifier, EcgClassifierConfig
from ecgtext_plugins.modules.wav2vec2_cmsc import Wav2Vec2Cmsc, Wav2Vec2CmscConfig

SMALL = {
    "conv_feature_layers": "[(16, 2, 2)] * 4",
    **{"encoder_layers": 2, "encoder_embed_dim": 24, "encoder_ffn_embed_dim": 32, "encoder_attention_heads": 4},
    **{"conv_pos": 8, "conv_pos_groups": 4},
}
OF_MODELS = {"_name", "encoder_path", "model_path", "no_pretrained_weights"}
KINDS = {
    "wav2vec2_cmsc": (Wav2Vec2Cmsc, Wav2Vec2CmscConfig, {"final_dim": 12, "latent_vars": 6}),
    "ecg_transformer_classifier": (EcgClassifier, EcgClassifierConfig, {"num_labels": 5}),
    "arcface": (ArcFace, EcgClassifierConfig, {"num_labels": 5}),
}


def config_class(name):
    ecgtext_plugins.register_all()
    module = __import__(f"ecgtext_plugins.models.{name}", fromlist=["x"])
    (found,) = {v for k, v in vars(module).items() if k.endswith("ModelConfig") and v.__module__ == module.__name__}
    return found


def build(name, task=None, **options):
    from fairseq.models import build_model

    values = {**SMALL, **KINDS[name][2], **options}
    return build_model(OmegaConf.structured(config_class(name)(_name=name, **values)), task)


@pytest.mark.parametrize("name", KINDS)
def test_registered_model_is_the_plain_network(name):
    network, plain_config, options = KINDS[name]
    model = build(name)
    plain = network(plain_config(**SMALL, **options))
    assert isinstance(model, network)
    assert {k: v.shape for k, v in model.state_dict().items()} == {k: v.shape for k, v in plain.state_dict().items()}
    plain.load_state_dict(model.state_dict(), strict=True)
    ecg = torch.randn(2, 12, 640)
    key = "frames" if name == "wav2vec2_cmsc" else "logits"
    mask = {"mask_seed": torch.arange(2)}
    assert torch.equal(model.eval()(ecg, **mask)[key], plain.eval()(ecg, **mask)[key])
    fields = {field.name for field in dataclasses.fields(config_class(name))}
    assert fields == {field.name for field in dataclasses.fields(plain_config)} | OF_MODELS
    assert all("help" in field.metadata for field in dataclasses.fields(config_class(name)) if field.name != "_name")


def test_fairseq_argument_parser_takes_the_configs():
    from argparse import ArgumentParser

    from fairseq.dataclass.utils import gen_parser_from_dataclass

    for name in KINDS:
        parser = ArgumentParser()
        gen_parser_from_dataclass(parser, config_class(name)())
        assert "--encoder-path" in parser.format_help()


def test_updates_arrive():
    model = build("wav2vec2_cmsc", latent_temp=[2.0, 0.5, 0.9])
    model.set_num_updates(1)
    assert model.quantizer.temperature == pytest.approx(1.8)
    model = build("ecg_transformer_classifier", freeze_finetune_updates=2)
    model.set_num_updates(1)
    assert not model(torch.randn(2, 12, 640))["frames"].requires_grad


@pytest.mark.parametrize("name", ["ecg_transformer_classifier", "arcface"])
def test_labels_of_the_task(name):
    model = build(name, SimpleNamespace(target_labels=["a", "b", "c"]), num_labels=None)
    assert len(model(torch.randn(2, 12, 640))["logits"][0]) == 3
    with pytest.raises(BadConfig, match="num_labels is null"):
        build(name, SimpleNamespace(), num_labels=None)


@pytest.mark.parametrize("name", KINDS)
def test_encoder_of_a_checkpoint(name, monkeypatch):
    calls = []
    loader = ModuleType("encoder_weights")
    loader.load_ecg_encoder = lambda module, path: calls.append((module, path)) or SimpleNamespace(summary=lambda: "")
    monkeypatch.setitem(sys.modules, "ecgtext_plugins.checkpoints.encoder_weights", loader)
    build(name)
    build(name, encoder_path="a.pt", no_pretrained_weights=True)
    assert calls == []
    models = [build(name, encoder_path="a.pt"), build(name, model_path="b.pt")]
    models.append(build(name, encoder_path="c.pt", model_path="c.pt"))
    assert [path for _, path in calls] == ["a.pt", "b.pt", "c.pt"]
    assert all(module is model for (module, _), model in zip(calls, models, strict=True))
    with pytest.raises(BadConfig, match=r"encoder_path=a.pt and model.model_path=b.pt"):
        build(name, encoder_path="a.pt", model_path="b.pt")


@pytest.mark.parametrize("name", KINDS)
def test_published_pretraining_starts_a_model(name, shared):
    path = str(shared / "golden" / "ecg_fm_pretrained_tiny.pt")
    sizes = {
        "conv_feature_layers": "[(32, 2, 2)] * 4",
        **{"encoder_embed_dim": 48, "encoder_ffn_embed_dim": 96, "conv_pos": 16},
    }
    model = build(name, encoder_path=path, **sizes)
    encoder = model if name == "wav2vec2_cmsc" else model.encoder
    weights = torch.load(path, weights_only=True)["model"]
    assert torch.equal(encoder.encoder.layers[1].fc1.weight, weights["encoder.layers.1.fc1.weight"])
    assert torch.equal(encoder.layer_norm.weight, weights["layer_norm.weight"])
