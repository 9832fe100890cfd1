from ecgtext_plugins.store.expected import differences, report_lines

CORPUS = {
    "counts": {"found": 10, "kept": 9, "failed": 1},
    "unique_reports": 4,
    "splits": {"train": 7, "valid": 1, "test": 1},
    "labels": {"NORM": 5},
    "label_sets": {"super": {"train": 7, "valid": 1, "test": 1}},
}


def test_what_agrees_and_what_is_not_expected_is_no_difference():
    assert differences(CORPUS, None) == []
    assert differences(CORPUS, {"found": 10, "kept": None, "splits": {"train": 7}, "labels": None}) == []


def test_every_kind_of_figure_is_compared():
    expected = {
        "found": 11,
        "unique_reports": 4,
        "splits": {"train": 8},
        "labels": {"NORM": 5, "MI": 2},
        "label_sets": {"super": {"test": 3}, "form": {"train": 1}},
    }
    found = {".".join(row["what"]): (row["expected"], row["found"]) for row in differences(CORPUS, expected)}
    assert found == {
        "found": (11, 10),
        "splits.train": (8, 7),
        "labels.MI": (2, 0),
        "label_sets.super.test": (3, 1),
        "label_sets.form.train": (1, 0),
    }
    text = "\n".join(report_lines(differences(CORPUS, expected), {"checksum": 1}))
    assert "label_sets.form.train" in text and "rejected as checksum" in text
