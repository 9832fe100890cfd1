"""The registered model is the plain network: same keys, released weights load, every key of the config arrives."""

import dataclasses

import torch
from omegaconf import OmegaConf

import ecgtext_plugins
from ecgtext_plugins.modules.dbeta import DBeta
from ecgtext_plugins.modules.dbeta_config import DBetaConfig
from ecgtext_plugins.text.encoders import build_text_encoder


class Task:
    def __init__(self, config):
        self.config = config

    def build_text_encoder(self):
        return build_text_encoder(self.config)


def test_released_weights_load_into_the_registered_model(shared):
    ecgtext_plugins.register_all()
    from fairseq.models import build_model

    from ecgtext_plugins.models.dbeta import DBetaModel, DBetaModelConfig

    checkpoint = torch.load(shared / "golden" / "dbeta_tiny.pt", weights_only=True)
    t5 = {**checkpoint["cfg"]["t5"], "model_type": "t5", "vocab_size": checkpoint["cfg"]["vocab_size"]}
    known = {field.name for field in dataclasses.fields(DBetaConfig)}
    values = {key: value for key, value in checkpoint["cfg"].items() if key in known}
    model = build_model(OmegaConf.structured(DBetaModelConfig(_name="dbeta", **values)), Task(t5))
    assert type(model) is DBetaModel
    assert all(getattr(model.config, key) == value for key, value in values.items())
    model.load_state_dict(checkpoint["model"], strict=True)
    plain = DBeta(DBetaConfig(**values), build_text_encoder(t5))
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert set(DBetaModelConfig.__dataclass_fields__) == known | {"_name", "encoder_path"}
