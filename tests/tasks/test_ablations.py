"""Each ablation of the paper trains 20 updates on the demo corpus, with small sizes and an encoder of its kind."""

from pathlib import Path

import pytest

from tests.tasks.training import ROOT, TINY, train
from tests.text.tiny_encoders import tiny_bert, tiny_deberta

RECIPES = sorted((ROOT / "examples/dbeta/ablations").glob("*.yaml"))
SMALL = (
    *TINY,
    *("dataset.num_workers=0", "model.encoder_attention_heads=4", "model.num_heads=4", "model.mem_decoder_num_heads=4"),
    *("dataset.disable_validation=true", "checkpoint.save_interval_updates=20", "optimization.max_update=20"),
)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: Path(path).stem)
def test_twenty_updates(recipe, demo_data, tmp_path):
    encoder = "scratch"
    if "bert" in recipe.stem or "medcpt" in recipe.stem or recipe.stem == "table6_none":
        encoder = str((tiny_deberta if "deberta" in recipe.stem else tiny_bert)(tmp_path / "encoder"))
    keys = ["task.max_text_tokens=48"]  # the tiny encoders have 64 positions
    layers = [] if "layers" in recipe.stem else ["model.encoder_layers=1"]
    keys += [key for key in SMALL if "encoder_layers" not in key] + layers
    done = train(demo_data, tmp_path / "out", f"task.text_encoder={encoder}", *keys, recipe=recipe)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = (tmp_path / "out/metrics.csv").read_text().splitlines()
    assert lines[-1].startswith("train,") and lines[-1].split(",")[2] == "20"
