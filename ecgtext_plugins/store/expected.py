"""The figures that a recipe expects of a complete download, against those of the store that was built."""

from collections.abc import Iterator, Mapping
from typing import Any


def differences(corpus: Mapping[str, Any], expected: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Compare corpus.json with a recipe's `expected`; return what differs: `what`, `expected`, `found`.

    A split, label set or label that the store does not have counts as found 0 times.
    """
    found = {
        **corpus["counts"],
        "unique_reports": corpus["unique_reports"],
        "splits": corpus["splits"],
        "labels": corpus["labels"],
        "label_sets": corpus["label_sets"],
    }
    return [
        {"what": what, "expected": number, "found": _look_up(found, what)}
        for what, number in _figures(expected or {})
        if _look_up(found, what) != number
    ]


def _figures(expected: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], int]]:
    for name, value in expected.items():
        if isinstance(value, Mapping):
            yield from _figures(value, (*above, str(name)))
        elif value is not None:
            yield (*above, str(name)), int(value)


def _look_up(found: Mapping[str, Any], what: tuple[str, ...]) -> int:
    value: Any = found
    for name in what:
        value = value.get(name, {}) if isinstance(value, Mapping) else {}
    return value if isinstance(value, int) else 0


def report_lines(different: list[dict[str, Any]], failures: Mapping[str, int]) -> list[str]:
    """Say what differs, a line each, and what was rejected and why."""
    lines = [f"{'figure':<44}{'expected':>12}{'found':>12}"]
    lines += [f"{'.'.join(row['what']):<44}{row['expected']:>12,}{row['found']:>12,}" for row in different]
    lines += [f"rejected as {reason:<32}{'':>12}{number:>12,}" for reason, number in sorted(failures.items())]
    return lines
