"""The folder of a run holds the results of one command: another one's are neither mixed with them nor lost unasked."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ecgtext_plugins.errors import BadConfig, BadRawData
from ecgtext_plugins.evaluation.results import RESULTS, read_results

TABLES, REPORT = "results.md", "report.html"
OF_NO_MATTER = ("batch_size", "device")


def make_folder(out: Path) -> None:
    """Make a run's folder, so that nothing is computed for a place that cannot be written to.

    Raises
    ------
    BadConfig
        When it is a file, or cannot be made.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadConfig(
            f"--out {out} cannot be made a folder ({error.strerror}): give one that can be written"
        ) from error


def claim(
    out: Path, checkpoint: dict[str, Any], config: dict[str, Any], names: Sequence[str], overwrite: bool = False
) -> None:
    """Make sure that a run's folder has no results of another command.

    Parameters
    ----------
    out : Path
    checkpoint, config : dict
        As results.json has them.
    names : sequence of str
        Of benchmarks.
    overwrite : bool
        Delete another command's results, tables, report and the scores that its results name; embeddings stay, they are
        told apart. Of damaged results no scores are deleted.

    Raises
    ------
    BadConfig
        When they are of another checkpoint, other options or other benchmarks, naming what differs.
    BadRawData
        When results.json is damaged, unless it is to be overwritten.
    """
    make_folder(out)
    if not (out / RESULTS).is_file():
        return
    if not overwrite:
        before = read_results(out)
        ours, theirs = _told(checkpoint, config, names), _told(before["checkpoint"], before["config"], _names(before))
        odd = next((key for key in ours | theirs if ours.get(key) != theirs.get(key)), None)
        if odd is None:
            return
        raise BadConfig(
            f"{out} holds results with {odd} {theirs.get(odd)}, this run has {ours.get(odd)}: expected those of the "
            "same command; give another --out, with --cache to share embeddings, or --overwrite"
        )
    for path in (*_scores_of(out), TABLES, REPORT, RESULTS):
        (out / path).unlink(missing_ok=True)


def _scores_of(out: Path) -> list[str]:
    try:
        entries = read_results(out)["benchmarks"].values()
    except BadRawData:
        return []
    return [told["scores"] for entry in entries for told in entry["tasks"].values() if "scores" in told]


def _told(checkpoint: dict[str, Any], config: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return what tells commands apart, as JSON gives it back."""
    told = {"checkpoint": checkpoint["sha256"], "untrained seed": checkpoint["untrained_seed"]}
    told |= {"benchmarks": ",".join(dict.fromkeys(names))}
    told |= {f"option {key}": value for key, value in config.items() if key not in OF_NO_MATTER}
    return json.loads(json.dumps(told))


def _names(results: dict[str, Any]) -> list[str]:
    return [entry["name"] for entry in results["benchmarks"].values()]
