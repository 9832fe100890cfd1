"""The smaller tables of a task, from what results.json tells of it."""

from typing import Any

from ecgtext_plugins.evaluation.challenge_metric import AT_HALF
from ecgtext_plugins.evaluation.tables import CONTROLS, NAMES
from ecgtext_plugins.plotting.report.contents import Interval, Listing


def as_interval(values: Any) -> Interval:
    """Return an interval as numbers; None where JSON has none, or a bound that is not defined."""
    return None if values is None or None in values else (float(values[0]), float(values[1]))


def task_listings(task: str, told: dict[str, Any]) -> list[Listing]:
    """Return the tables of a task besides that of its classes."""
    listings = []
    if len(told.get("prompt_sensitivity", {})) > 1:
        rows = [
            [name, each["macro_auroc"], as_interval(each["interval"])]
            for name, each in told["prompt_sensitivity"].items()
        ]
        listings.append(Listing("Macro AUROC by prompt set", ["Prompts", "Macro AUROC", "95 % interval"], rows))
    if "rows" in told:
        listings.append(_probes(told))
        if told["minus"]:
            listings.append(_minus(told["minus"]))
    if AT_HALF in told:
        listings.append(_at_half(told[AT_HALF]))
    if task == "retrieval":
        listings.append(_retrieval(told))
    if task == "identification":
        rows = [["Accuracy", told["accuracy"], as_interval(told["interval"])], ["Gallery", told["n_gallery"], None]]
        rows.append(["Probes", told["n_probe"], None])
        listings.append(Listing("Nearest gallery ECG of each probe", ["", "Figure", "95 % interval"], rows))
    return listings


def _at_half(told: dict[str, Any]) -> Listing:
    rows = [[name, each["value"], as_interval(each["interval"])] for name, each in told["f1"]["per_class"].items()]
    for name, each in (("macro F1", told["f1"]), ("Challenge metric", told.get("challenge_metric"))):
        rows += [[name, each.get("macro", each.get("value")), as_interval(each["interval"])]] if each else []
    caption = "Decisions above a probability of 0.5, as in training: F1 of each class, then over all"
    return Listing(caption, ["", "Figure", "95 % interval"], rows)


def _probes(told: dict[str, Any]) -> Listing:
    headers = ["Embeddings and probe", "Of train, %", "Records", "Macro AUROC, mean", "SD", "Seeds", "Not taught"]
    rows = []
    for row, by_share in probe_rows(told):
        for share, own in by_share.items():
            cells = [
                float(share) if "." in share else int(share),
                own["n_train"],
                own["mean"],
                own["sd"],
                len(own["seeds"]),
            ]
            rows.append([NAMES.get(row, row), *cells, ", ".join(own["not_taught"]) or "none"])
    return Listing("Probes by share of the train split, over seeds; classes that a share does not teach", headers, rows)


def _minus(minus: dict[str, Any]) -> Listing:
    rows = [
        [NAMES.get(other, other), found["difference"], as_interval(found["interval"]), found["p_value"]]
        for other, found in minus.items()
    ]
    caption = "Macro AUROC of the probe minus that of the others: all of train, first seed, the same resamples"
    return Listing(caption, ["Other probe", "Difference", "95 % interval", "p"], rows)


def probe_rows(told: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Return the rows of probes, the model's first: JSON has them by name."""
    order = list(NAMES)
    return sorted(
        told.get("rows", {}).items(), key=lambda pair: order.index(pair[0]) if pair[0] in order else len(order)
    )


def _retrieval(told: dict[str, Any]) -> Listing:
    kinds = sorted((key for key in told["ecg_to_text"] if key.startswith("r@")), key=lambda key: int(key[2:]))
    headers = ["Direction", *(header for kind in kinds for header in (kind.upper(), "95 % interval")), "Median rank"]
    rows = []
    for key, name in (("ecg_to_text", "ECG to report"), ("text_to_ecg", "report to ECG")):
        own = told[key]
        cells = [cell for kind in kinds for cell in (own[kind], as_interval(own["intervals"][kind]))]
        rank = own["median_rank"]
        rows.append([name, *cells, int(rank) if float(rank).is_integer() else rank])
        for control, found in own["controls"].items():
            cells = [cell for kind in kinds for cell in (found[kind], None)]
            rows.append([f"{name}, {CONTROLS[control]}", *cells, round(found["median_rank"], 1)])
    caption = (
        f"Retrieval among {told['n_ecgs']:,} ECGs and {told['n_texts']:,} different reports; R@k: share of queries "
        "that find a right one among their k nearest"
    )
    return Listing(caption, headers, rows)
