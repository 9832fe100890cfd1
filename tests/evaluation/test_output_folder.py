"""A run's folder keeps to one command."""

import pytest

from ecgtext_plugins.errors import BadConfig, BadRawData
from ecgtext_plugins.evaluation.output_folder import claim
from ecgtext_plugins.evaluation.results import RESULTS, write_results

CHECKPOINT = {"sha256": "ab", "untrained_seed": None, "path": "a.pt"}
CONFIG = {"tasks": ("zero_shot",), "templates": None, "device": "cpu", "batch_size": 64}
OWN = ("embeddings/0a/part.npy", "another/scores.npz")  # embeddings, and what the results don't name
OTHERS = {
    "checkpoint": (CHECKPOINT | {"sha256": "cd"}, CONFIG, ["demo"]),
    "untrained seed": (CHECKPOINT | {"untrained_seed": 1}, CONFIG, ["demo"]),
    "benchmarks": (CHECKPOINT, CONFIG, ["demo", "csn"]),
    "option tasks": (CHECKPOINT, CONFIG | {"tasks": ("probe",)}, ["demo"]),
}


@pytest.fixture
def used(tmp_path):
    """Return a folder with the results of a run on two presets of leads, and what belongs to others."""
    folder = tmp_path / "run"
    tasks = {"zero_shot": {"scores": "demo/scores.npz"}, "probe": {"scores": "demo/scores_probe.npz"}, "retrieval": {}}
    entries = {"demo": {"name": "demo", "tasks": tasks}, "demo_3_leads": {"name": "demo", "tasks": {}}}
    write_results(folder, {"format": 1, "checkpoint": CHECKPOINT, "config": CONFIG, "benchmarks": entries})
    for name in ("results.md", "report.html", "demo/scores.npz", "demo/scores_probe.npz", *OWN):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("kept")
    return folder


def files(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_the_same_command_goes_on(used):
    before = files(used)
    claim(used, CHECKPOINT | {"path": "b.pt"}, CONFIG | {"device": "cuda", "batch_size": 8}, ["demo"])
    assert files(used) == before


@pytest.mark.parametrize("odd", OTHERS)
def test_another_command_is_refused_unless_asked_for(used, odd):
    before = files(used)
    with pytest.raises(BadConfig, match=f"holds results with {odd} .*--overwrite"):
        claim(used, *OTHERS[odd])
    assert files(used) == before
    claim(used, *OTHERS[odd], overwrite=True)
    assert files(used) == set(OWN)


def test_folders_that_cannot_be(tmp_path, used):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(BadConfig, match="cannot be made a folder"):
            claim(place, CHECKPOINT, CONFIG, ["demo"])
    (used / RESULTS).write_text("{")
    with pytest.raises(BadRawData, match="cannot be read"):
        claim(used, CHECKPOINT, CONFIG, ["demo"])
    claim(used, CHECKPOINT, CONFIG, ["demo"], overwrite=True)
