"""The manifests of a build: label sets, windows, subsets, gallery and probe."""

import numpy as np
import pyarrow as pa
import pytest

from ecgtext_plugins.store.listing import in_label_set, windows, write_manifests
from ecgtext_plugins.store.recipe import resolve_recipe
from ecgtext_plugins.store.subsets import nested_subset
from ecgtext_plugins.store.tables import RECORDS
from tests.builders import demo_recipe

SETS = ["super", "form"]


def records(number=40, seed=0, n_samples=2500):
    rng = np.random.default_rng(seed)
    patients = rng.integers(0, 12, number)
    rows = []
    for index, patient in enumerate(patients.tolist()):
        labels = ["super/NORM"] * bool(rng.random() < 0.7) + ["form/PVC"] * bool(rng.random() < 0.3)
        row = dict.fromkeys(RECORDS.names)
        split = ("train", "train", "valid", "test")[patient % 4]
        row |= {"record_id": f"r{index:03d}", "patient_id": f"p{patient}", "split": split, "labels": labels}
        rows.append({**row, "n_samples": n_samples + 10 * index})
    return pa.Table.from_pylist(rows, schema=RECORDS)


def recipe_of(**changes):
    recipe = resolve_recipe(demo_recipe(), "x")
    return {**recipe, **changes}


def lines(path):
    return [line.split("\t") for line in path.read_text().splitlines()]


def test_label_sets_list_their_own_records(tmp_path):
    table = records()
    counts = write_manifests(tmp_path, table, recipe_of(labels={"scheme": SETS}), {})
    rows = table.to_pylist()
    for name in SETS:
        for split in ("train", "valid", "test"):
            root, header, *listed = lines(tmp_path / "manifests" / name / f"{split}.tsv")
            expected = [
                row["record_id"]
                for row in rows
                if row["split"] == split and any(label.startswith(f"{name}/") for label in row["labels"])
            ]
            assert (root, header) == (["../.."], ["record_id", "n_samples"])
            assert [record_id for record_id, _ in listed] == expected and counts[name][split] == len(expected)
    assert len(lines(tmp_path / "manifests" / "train.tsv")) == 2 + sum(row["split"] == "train" for row in rows)


def test_label_sets_are_told_by_what_stands_before_the_first_slash():
    labels = pa.array([["sub/LAFB/LPFB"], [], ["sup/NORM", "sub/MI"], ["LAFB/LPFB"]])
    assert in_label_set(labels, "sub").tolist() == [True, False, True, False]
    assert in_label_set(labels.slice(2, 2), "sup").tolist() == [True, False]


def test_windows_side_by_side():
    rows, starts = windows(np.array([2500, 999, 1000, 0]), 1000)
    assert (rows.tolist(), starts.tolist()) == ([0, 0, 2], [0, 1000, 0])


def test_windows_are_listed_and_stores_keep_whole_records(tmp_path):
    table = records(6)
    write_manifests(tmp_path, table, recipe_of(segments={"seconds": 2}), {})
    for split in ("train", "valid", "test"):
        _, header, *listed = lines(tmp_path / "manifests" / f"{split}.tsv")
        assert header == ["record_id", "n_samples", "start"]
        expected = [
            [row["record_id"], "1000", str(start)]
            for row in table.to_pylist()
            if row["split"] == split
            for start in range(0, row["n_samples"] - 999, 1000)
        ]
        assert listed == expected


def test_subsets_are_nested_and_do_not_depend_on_order():
    ids = [f"r{n}" for n in range(1000)]
    one, ten, all_of_it = (nested_subset(ids, share, 0) for share in (1, 10, 100))
    assert (len(one), len(ten), len(all_of_it)) == (10, 100, 1000)
    assert set(one) <= set(ten) and (np.diff(ten) > 0).all()
    turned = nested_subset(ids[::-1], 10, 0)
    assert {ids[::-1][place] for place in turned} == {ids[place] for place in ten}
    assert set(nested_subset(ids, 10, 1)) != set(ten)
    assert len(nested_subset(ids[:3], 1, 0)) == 1


def test_subsets_of_train_and_of_each_label_set(tmp_path):
    rule = {"percentages": [10, 50], "method": "nested", "seed": 0}
    write_manifests(tmp_path, records(200), recipe_of(labels={"scheme": SETS}, subsets=rule), {})
    for place in ("", "super/", "form/"):
        whole, half, tenth = (
            {line[0] for line in lines(tmp_path / "manifests" / f"{place}{name}.tsv")[2:]}
            for name in ("train", "train_50pct", "train_10pct")
        )
        assert tenth < half < whole and len(half) == round(len(whole) / 2)


def test_published_subsets_leave_out_what_was_rejected(tmp_path):
    table = records()
    train = [row["record_id"] for row in table.to_pylist() if row["split"] == "train"]
    published = {"train_10pct": [train[5], "rejected", train[1]], "super/train_1pct": [train[0]]}
    rule = {"percentages": [10], "method": "published", "seed": 0}
    write_manifests(tmp_path, table, recipe_of(subsets=rule), published)
    listed = [line[0] for line in lines(tmp_path / "manifests" / "train_10pct.tsv")[2:]]
    assert listed == [train[1], train[5]]
    assert not (tmp_path / "manifests" / "train_1pct.tsv").exists()


@pytest.mark.parametrize("segments", [None, {"seconds": 2}])
def test_gallery_and_probe_share_patients_and_nothing_else(tmp_path, segments):
    table = records(30)
    write_manifests(tmp_path, table, recipe_of(identification=True, segments=segments), {})
    folder = tmp_path / "manifests" / "identification"
    patient = dict(zip(table["record_id"].to_pylist(), table["patient_id"].to_pylist(), strict=True))
    for split in ("valid", "test"):
        (_, header, *gallery), (_, _, *probe) = (lines(folder / f"{split}_{name}.tsv") for name in ("gallery", "probe"))
        assert header[-1] == "identity" and len(gallery) == len(probe) > 1
        assert sorted(int(line[-1]) for line in gallery) == list(range(len(gallery)))
        owners = {line[-1]: patient[line[0]] for line in gallery}
        for line in probe:
            assert owners[line[-1]] == patient[line[0]]
        assert {line[0] for line in gallery}.isdisjoint(line[0] for line in probe)  # another recording, not a window
        recorded = [
            name
            for name, row_split in zip(table["record_id"].to_pylist(), table["split"].to_pylist(), strict=True)
            if row_split == split
        ]
        several = {owner for owner in patient.values() if sum(patient[name] == owner for name in recorded) >= 2}
        assert set(owners.values()) == several
    train = lines(folder / "train.tsv")[2:]
    owners = {(line[-1], patient[line[0]]) for line in train}
    assert len(owners) == len({identity for identity, _ in owners}) == len({owner for _, owner in owners})
    assert {int(identity) for identity, _ in owners} == set(range(len(owners)))
