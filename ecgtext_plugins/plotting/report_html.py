"""The report of an evaluation as one HTML file that needs no network: a person opens it, searches, sorts, prints."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template

from matplotlib import rc_context

import ecgtext_plugins
from ecgtext_plugins.atomic_files import write_bytes
from ecgtext_plugins.plotting.embedding_map import check_methods
from ecgtext_plugins.plotting.report.contents import Evaluation, Run
from ecgtext_plugins.plotting.report.inputs import read_evaluation
from ecgtext_plugins.plotting.report.markup import escape, section
from ecgtext_plugins.plotting.report.records import cases
from ecgtext_plugins.plotting.report.sections import provenance, results, summary

REPORT = "report.html"
_PARTS = "ecgtext_plugins.plotting.report"


def write_report(folder: str | Path, n_cases: int = 10, maps: Sequence[str] = ("tsne",)) -> Path:
    """Write report.html beside the results.json of ``ecgtext eval run``.

    Two runs of the same evaluation give the same bytes, wherever they are written and however long they took: the page
    has no time of day, and seconds stand in results.json alone. Other versions of packages (matplotlib, scikit-learn,
    umap-learn) may draw other bytes. Nothing is fetched when the page is opened, its policy forbids it; scripts other
    than its own do not run.

    Parameters
    ----------
    folder : path
        Holds results.json and the scores that it names; the stores that it names are read for ECGs and reports.
    n_cases : int
        How many of the worst and of the best records are drawn for each run.
    maps : sequence of str
        Of the embeddings, some of `embedding_map.METHODS`.

    Returns
    -------
    Path
        Of the report.

    Raises
    ------
    BadRawData
        When results.json or a scores file is missing or another file.
    BadConfig, BadEnvironment
        See `check_methods`.
    """
    check_methods(maps)
    path = Path(folder) / REPORT
    write_bytes(path, render(read_evaluation(folder), n_cases, maps).encode("utf-8"))
    return path


def render(evaluation: Evaluation, n_cases: int = 10, maps: Sequence[str] = ("tsne",)) -> str:
    """Return the page, see :func:`write_report`."""
    links = [
        ("summary", "Summary"),
        *((run.anchor, run.title) for run in evaluation.runs),
        ("provenance", "Provenance"),
    ]
    script, style = _part("script.js"), _part("style.css")
    with rc_context({"text.parse_math": False}):  # a class or record may have dollars in its name
        sections = [_section(run, n_cases, maps) for run in evaluation.runs]
    return Template(_part("page.html")).substitute(
        version=escape(ecgtext_plugins.__version__),
        title=escape(f"Evaluation of {evaluation.title}"),
        subtitle=escape(evaluation.subtitle),
        links="".join(f'<li><a href="#{place}">{escape(name)}</a></li>' for place, name in links),
        body=summary(evaluation) + "".join(sections) + provenance(evaluation, evaluation.runs),
        style=style,
        script=script,
        style_hash=_digest(style),
        script_hash=_digest(script),
    )


def _section(run: Run, n_cases: int, maps: Sequence[str]) -> str:
    place = run.anchor
    shown = results(run, maps) + (cases(run, n_cases) if run.labels.size else "")
    return section(place, run.title, shown)


def _part(name: str) -> str:
    return (files(_PARTS) / name).read_text("utf-8")


def _digest(text: str) -> str:
    """Return how a page's policy names the one inline script or style that it allows."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}"
