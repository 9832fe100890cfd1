"""Tables of a run for a terminal and in Markdown: our figures x 100, with those of papers beside them, told apart."""

from collections.abc import Iterator, Sequence
from typing import Any

from ecgtext_plugins.evaluation.challenge_metric import AT_HALF

COLUMNS = ("benchmark", "task", "records", "figure x 100", "95 % interval", "published (papers)")
PROMPT_COLUMNS = ("benchmark", "prompt set", "macro AUROC x 100", "95 % interval")
NAMES = {
    "model": "linear probe",
    "model_logistic": "logistic probe",
    "random_encoder": "probe, random encoder",
    "handcrafted": "probe, handcrafted features",
}
CONTROLS = {"chance": "by chance", "commonest_report": "the commonest report first"}
CHALLENGE = "Challenge metric"
TITLES = {"zero_shot": "zero-shot", "probe": "probe, 100 %", "classifier": "classifier"}
EXPLANATION = (
    "Figures are macro AUROC where the task names no other. Macro means are over the classes that are defined; "
    "intervals by resampling patients. A probe's figure is the mean over seeds with the standard deviation after ±, "
    "its interval that of the first seed. A classifier's scores are the probabilities of its own heads. F1 and the "
    "Challenge metric judge decisions, at the thresholds of highest F1 on validation, or above a probability of 0.5 "
    "where the task says so. Published figures are those of the papers, never ours; their zero-shot used other prompts "
    "(MERL's CKEPE, D-BETA's GPT-4o texts)."
)
LEADS_EXPLANATION = (
    "The model's own figures x 100: macro AUROC, or what the task names. Leads that it does not see are zero."
)
READERS_EXPLANATION = (
    "Readers answer yes or no: one sensitivity and one specificity each, no area to hold against that of a score. "
    "The gold standard is what cardiologist1 and cardiologist2 agree on, or a third one where they do not."
)


def terminal_table(results: dict[str, Any]) -> str:
    """Lay out results.json in columns, with what to know below."""
    return "\n".join([*in_columns([COLUMNS, *_rows(results)]), *_warnings(results)])


def markdown(results: dict[str, Any]) -> str:
    """Lay out results.json as Markdown: figures, classes, prompt sets, and what is needed to repeat the run."""
    checkpoint = results["checkpoint"]
    seed = "" if checkpoint["untrained_seed"] is None else f", untrained weights of seed {checkpoint['untrained_seed']}"
    parts = [
        f"# Evaluation of {_cell(checkpoint['path'])}",
        f"{checkpoint['family']}{seed}, SHA-256 `{checkpoint['sha256']}`",
        markdown_table([COLUMNS, *_rows(results)]),
        EXPLANATION,
    ]
    warnings = list(_warnings(results))
    if warnings:
        parts.append("\n".join(f"- {_cell(line)}" for line in warnings))
    sensitivity = list(_prompt_rows(results))
    if sensitivity:
        parts += ["## Prompt sets", markdown_table([PROMPT_COLUMNS, *sensitivity])]
    by_leads = list(_lead_rows(results))
    if by_leads:
        parts += ["## Fewer leads", markdown_table(by_leads), LEADS_EXPLANATION]
    for name, entry in results["benchmarks"].items():
        if entry.get("readers"):
            parts += [f"## {_cell(name)}, readers", markdown_table(_reader_rows(entry["readers"])), READERS_EXPLANATION]
        for task, told in entry["tasks"].items():
            if "figures" in told:
                parts += [f"## {_cell(name)}, {task.replace('_', '-')}", markdown_table(_class_rows(told))]
    versions = ", ".join(f"{package} {version}" for package, version in results["versions"].items())
    parts += ["## To repeat it", f"Versions: {versions}.", _stores(results)]
    return "\n\n".join(parts) + "\n"


def _rows(results: dict[str, Any]) -> Iterator[list[str]]:
    for name, entry in results["benchmarks"].items():
        tasks, n = entry["tasks"], str(entry["n"])
        if "zero_shot" in tasks:
            auroc = tasks["zero_shot"]["figures"]["auroc"]
            published = _published(entry, "zero_shot")
            yield [name, "zero-shot", n, percent(auroc["macro"]), interval(auroc["interval"]), published]
            yield from _challenge_row(name, entry, "zero_shot", "zero-shot")
        for row, by_ratio in tasks.get("probe", {}).get("rows", {}).items():
            for ratio, told in by_ratio.items():
                value = percent(told["mean"]) + ("" if told["sd"] is None else f" ± {percent(told['sd'])}")
                published = _published(entry, "linear_probe", ratio) if row == "model" else ""
                yield [name, f"{NAMES.get(row, row)}, {ratio} %", n, value, interval(told["interval"]), published]
        yield from _challenge_row(name, entry, "probe", f"{NAMES['model']}, 100 %, first seed")
        if "classifier" in tasks:
            yield from _classifier_rows(name, entry, tasks["classifier"])
        if "identification" in tasks:
            told = tasks["identification"]
            published = _published(entry, "fine_tuning", entry.get("leads", "12"), note=" fine-tuned")
            yield [name, "accuracy", n, percent(told["accuracy"]), interval(told["interval"]), published]
        for direction in ("ecg_to_text", "text_to_ecg"):
            if "retrieval" in tasks:
                told = tasks["retrieval"][direction]
                recall = "/".join(percent(told[f"r@{k}"]) for k in (1, 5, 10))
                rank = f"median rank {told['median_rank']:g}"
                recall_interval = interval(told["intervals"]["r@1"])
                title = f"{direction.replace('_', ' ')} R@1/5/10"
                yield [name, title, n, f"{recall}, {rank}", f"R@1 {recall_interval}", ""]
                for control, found in told["controls"].items():
                    recall = "/".join(percent(found[f"r@{k}"]) for k in (1, 5, 10))
                    rank = f"median rank {found['median_rank']:g}"
                    yield [name, f"{title}, {CONTROLS[control]}", n, f"{recall}, {rank}", "", ""]


def _classifier_rows(name: str, entry: dict[str, Any], told: dict[str, Any]) -> Iterator[list[str]]:
    """Yield a classifier's macro AUROC, and what its decisions give at both kinds of thresholds."""
    auroc, n = told["figures"]["auroc"], str(entry["n"])
    tuned = entry["metric"] == "auroc"
    published = _published(entry, "fine_tuning", entry.get("leads", "12"), note=" fine-tuned") if tuned else ""
    yield [name, "classifier", n, percent(auroc["macro"]), interval(auroc["interval"]), published]
    for title, key in (("classifier", "figures"), ("classifier at 0.5", AT_HALF)):
        if "f1" in told[key]:
            f1 = told[key]["f1"]
            yield [name, f"{title}, macro F1", n, percent(f1["macro"]), interval(f1["interval"]), ""]
        yield from _challenge_row(name, entry, "classifier", title, key)


def _challenge_row(
    name: str, entry: dict[str, Any], task: str, title: str, key: str = "figures"
) -> Iterator[list[str]]:
    """Yield the row of the Challenge metric where a task has it, beside what papers have after fine-tuning."""
    found = entry["tasks"].get(task, {}).get(key, {}).get("challenge_metric")
    if found:
        cells = [f"{title}, {CHALLENGE}", str(entry["n"]), percent(found["value"]), interval(found["interval"])]
        tuned = entry["metric"] == "cinc_score"
        published = _published(entry, "fine_tuning", entry.get("leads", "12"), note=" fine-tuned") if tuned else ""
        yield [name, *cells, published]


def _published(entry: dict[str, Any], kind: str, key: str | None = None, note: str = "") -> str:
    told = []
    for model, figures in entry["published"].items():
        value = figures.get(kind)
        value = value.get(key) if isinstance(value, dict) else value
        if value is not None:
            told.append(f"{model} {value:g}{note}")
    return ", ".join(told)


def _prompt_rows(results: dict[str, Any]) -> Iterator[list[str]]:
    for name, entry in results["benchmarks"].items():
        told = entry["tasks"].get("zero_shot", {})
        for place, (prompt_set, found) in enumerate(told.get("prompt_sensitivity", {}).items()):
            shown = f"{prompt_set} (the one above)" if place == 0 else prompt_set
            yield [name, shown, percent(found["macro_auroc"]), interval(found["interval"])]


def _lead_rows(results: dict[str, Any]) -> list[list[str]]:
    """Put the figures of a benchmark's presets of leads in a row; nothing where no benchmark has several."""
    found: dict[tuple[str, str], dict[str, str]] = {}
    for entry in results["benchmarks"].values():
        for task, value in _own_figures(entry["tasks"]).items():
            found.setdefault((entry["name"], task), {})[entry.get("leads", "12")] = percent(value)
    presets = list(dict.fromkeys(leads for row in found.values() for leads in row))
    if len(presets) < 2:
        return []
    titles = ["benchmark", "task", *(f"{leads} lead{'' if leads == '1' else 's'}" for leads in presets)]
    return [titles, *([*key, *(row.get(leads, "-") for leads in presets)] for key, row in found.items())]


def _own_figures(tasks: dict[str, Any]) -> dict[str, float | None]:
    told = {}
    if "zero_shot" in tasks:
        told[TITLES["zero_shot"]] = tasks["zero_shot"]["figures"]["auroc"]["macro"]
    if "probe" in tasks:
        told[TITLES["probe"]] = tasks["probe"]["rows"]["model"]["100"]["mean"]
    if "classifier" in tasks:
        told[TITLES["classifier"]] = tasks["classifier"]["figures"]["auroc"]["macro"]
    for task, title in TITLES.items():
        for key, ending in (("figures", ""), (AT_HALF, " at 0.5")):
            found = tasks.get(task, {}).get(key, {}).get("challenge_metric")
            if found:
                told[f"{title}{ending}, {CHALLENGE}"] = found["value"]
    if "identification" in tasks:
        told["accuracy"] = tasks["identification"]["accuracy"]
    return told


def _reader_rows(readers: dict[str, Any]) -> list[list[str]]:
    rows = [["reader", "class", "sensitivity x 100", "95 % interval", "specificity x 100", "95 % interval"]]
    for reader, points in readers.items():
        for name, point in points.items():
            cells = ((point[key], point[f"{key}_interval"]) for key in ("sensitivity", "specificity"))
            rows.append([reader, name, *(text for value, pair in cells for text in (percent(value), interval(pair)))])
    return rows


def _class_rows(told: dict[str, Any]) -> list[list[str]]:
    figures = told["figures"]
    rows = [["class", "positives", "AUROC x 100", "95 % interval", "AUPRC x 100", "F1 x 100"]]
    f1 = figures.get("f1", {"per_class": {}})
    half = told.get(AT_HALF)
    rows[0] += ["F1 x 100 at 0.5"] if half else []
    for name, found in figures["auroc"]["per_class"].items():
        at = f1["per_class"].get(name, {"value": None})["value"]
        precision = figures["auprc"]["per_class"][name]["value"]
        cells = [percent(found["value"]), interval(found["interval"]), percent(precision), percent(at)]
        cells += [percent(half["f1"]["per_class"][name]["value"])] if half else []
        rows.append([name, str(found["positives"]), *cells])
    return rows


def _warnings(results: dict[str, Any]) -> Iterator[str]:
    """Yield what to know of each benchmark; what holds of all its presets of leads once."""
    told = set()
    for name, entry in results["benchmarks"].items():
        for sentence in _warnings_of(entry):
            if (entry["name"], sentence) not in told:
                told.add((entry["name"], sentence))
                yield name + sentence


def _warnings_of(entry: dict[str, Any]) -> Iterator[str]:
    """Yield sentences that follow the name of an entry."""
    if entry["leaked"]:
        shown = ", ".join(entry["leaked"][:5])
        yield f": LEAK: the model was trained on {len(entry['leaked'])} of the records scored ({shown})"
    for task, told in entry["tasks"].items():
        figures, title = told.get("figures", {}), task.replace("_", "-")
        undefined = figures.get("auroc", {}).get("undefined")
        if undefined:
            yield f", {title}: left out, as all records or none have them: {', '.join(undefined)}"
        undecided = figures.get("challenge_metric", {}).get("undecided")
        if undecided:
            lacking = ", ".join(undecided)
            yield f", {title}: never decided in the {CHALLENGE}, as no validation record has them: {lacking}"
    for ratio, told in entry["tasks"].get("probe", {}).get("rows", {}).get("model", {}).items():
        if told["not_taught"]:
            lacking = ", ".join(told["not_taught"])
            yield f", probe on {ratio} %: left out, as the subset of some seed does not teach them: {lacking}"
    for other, found in entry["tasks"].get("probe", {}).get("minus", {}).items():
        if found["difference"] is not None:
            what = f"{100 * found['difference']:+.2f} ({interval(found['interval'])})"
            yield f": {NAMES['model']}, 100 %, minus {NAMES.get(other, other)}: {what}, paired, first seed"
    for task, reason in entry["skipped"].items():
        yield f": no {task.replace('_', '-')}: {reason}"
    yield from (f": {note}" for note in entry["notes"])
    told = [note for found in entry["tasks"].values() for note in found.get("notes", [])]
    yield from (f": {note}" for note in dict.fromkeys(told))


def _stores(results: dict[str, Any]) -> str:
    rows = [["benchmark", "version", "recipe", "label set", "split", "window", "store fingerprint", "prompts SHA-256"]]
    for name, entry in results["benchmarks"].items():
        prompts = entry["tasks"].get("zero_shot", {}).get("prompts_sha256", "")
        keys = ("version", "recipe", "label_set", "split", "window", "store_fingerprint")
        rows.append([name, *(str(entry[key] if entry[key] is not None else "") for key in keys), prompts])
    return markdown_table(rows)


def percent(value: float | None) -> str:
    """Return a share x 100 with two decimals; a dash for None."""
    return "-" if value is None else f"{100 * value:.2f}"


def interval(values: Sequence[float | None]) -> str:
    """Return an interval x 100; a dash when it is not defined."""
    return "-" if values[0] is None else f"{percent(values[0])} to {percent(values[1])}"


def in_columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield lines whose cells stand below each other."""
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; the first row are its titles."""
    lines = ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _cell(text: str) -> str:
    """Return a text that stays in its cell."""
    return str(text).replace("|", "\\|").replace("\n", " ")
