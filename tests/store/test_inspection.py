import numpy as np
import pytest

from ecgtext_plugins.store.build import build_store
from ecgtext_plugins.store.inspection import describe, report_counts
from ecgtext_plugins.store.recipe import resolve_recipe
from ecgtext_plugins.store.splits import SPLITS
from tests import builders


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inspection")
    rows = builders.write_mimic_tree(folder / "raw", 24, n_patients=9, seed=2)
    copy, flat = rows[4], rows[5]
    builders.write_record((folder / "raw" / copy["path"]).parent, copy["study_id"], rows[3]["counts"])
    counts = flat["counts"].copy()
    counts[6] = 7
    builders.write_record((folder / "raw" / flat["path"]).parent, flat["study_id"], counts)
    (folder / "raw" / rows[0]["path"]).with_suffix(".dat").unlink()
    store = build_store(resolve_recipe(builders.demo_recipe(seconds=3), "test"), folder / "raw", folder / "data").store
    return store, {row["study_id"]: row for row in rows[1:]}


def test_numbers_are_those_of_the_corpus(built):
    store, rows = built
    found = describe(store)
    split = dict(zip(store.column("record_id"), store.column("split"), strict=True))
    assert found["counts"] == {"found": 24, "kept": 23, "failed": 1} and list(found["splits"]) == list(SPLITS)
    for label in builders.LABELS:
        for name in SPLITS:
            expected = sum(label in row["findings"] and split[study] == name for study, row in rows.items())
            assert found["labels"][label][name] == expected
    patients = {name: {row["subject_id"] for study, row in rows.items() if split[study] == name} for name in SPLITS}
    assert found["patients"]["patients"] == {name: len(patients[name]) for name in SPLITS}
    assert found["patients"]["records_a_patient"]["max"] == 3
    assert found["seconds"] == {"2": 23} and found["native_rates"] == {"500": 23}
    assert found["age"] == {"missing": 23} and found["sex"] == {"": 23}


def test_reports_marks_copies_and_failures(built):
    store, rows = built
    found = describe(store)
    texts = [store.report_text(int(report)) for report in store.column("report_id")]
    counts = sorted((texts.count(text) for text in set(texts)), reverse=True)
    reports = found["reports"]
    assert report_counts(store).tolist() == counts and reports["unique"] == len(counts)
    assert reports["share_of_their_own"] == pytest.approx(counts.count(1) / 23)
    assert reports["share_of_the_most_common"] == pytest.approx(counts[0] / 23)
    words = [len(text.split()) for text in set(texts)]
    assert reports["words"] == {"min": min(words), "p5": pytest.approx(np.quantile(words, 0.05)),
                                "median": np.median(words), "p95": pytest.approx(np.quantile(words, 0.95)),
                                "max": max(words)}  # fmt: skip
    assert found["marks"]["flat_leads"] == 1 and found["marked_leads"]["flat_leads"] == {"V1": 1}
    assert found["duplicate_signals"] == {"records": 2, "signals": 1}
    assert found["failures"]["missing_signal_file"]["records"] == 1
    assert "is not in RAW" in found["failures"]["missing_signal_file"]["example"]
    assert 24_000 < found["bytes_per_record"] < 26_000 + 1000


def test_an_empty_store_is_described_too(tmp_path):
    rows = builders.write_mimic_tree(tmp_path / "raw", 3)
    for row in rows:
        (tmp_path / "raw" / row["path"]).with_suffix(".dat").unlink()
    store = build_store(resolve_recipe(builders.demo_recipe(), "test"), tmp_path / "raw", tmp_path / "data").store
    found = describe(store)
    assert found["counts"]["kept"] == 0 and found["reports"]["records"] == 0 and found["seconds"] == {}
