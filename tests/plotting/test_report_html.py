import dataclasses
import json
import os
import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pytest

import ecgtext_plugins
from ecgtext_plugins.cli.main import main
from ecgtext_plugins.errors import BadConfig, BadRawData
from ecgtext_plugins.evaluation.results import RESULTS, Scores, figures, write_results, write_scores
from ecgtext_plugins.evaluation.thresholds import OperatingPoint
from ecgtext_plugins.plotting.report.cases import pick_cases
from ecgtext_plugins.plotting.report_html import write_report
from ecgtext_plugins.store.manifest import read_manifest
from ecgtext_plugins.store.reader import RecordStore
from tests.evaluation.tiny_models import tiny_ecg_model

ATTACK = "<script>window.attacked = true</script><img src=x onerror='window.attacked = true'>"
NAMES = ["sinus_rhythm", "atrial_fibrillation", "low_voltage", "never & nowhere $x_{$"]
VOID = {"meta", "link", "img", "input", "br", "wbr"}


@pytest.fixture(scope="module")
def run(demo_data, tmp_path_factory):
    """Return a folder as `ecgtext eval run` leaves it: zero-shot, a probe, retrieval; texts that try to run scripts."""
    folder, rng = tmp_path_factory.mktemp("run"), np.random.default_rng(0)
    manifest = read_manifest(demo_data / "manifests" / "train.tsv")
    store, n = manifest.store, len(manifest)
    labels = np.zeros((n, 4), dtype=bool)
    labels[:, :3] = store.label_matrix(manifest.rows, NAMES[:3])
    tasks = {}
    for task, path in (("zero_shot", "demo/scores.npz"), ("probe", "demo/scores_probe.npz")):
        values = labels + rng.normal(size=labels.shape)
        values = values if task == "zero_shot" else 1 / (1 + np.exp(-values))
        scores = Scores.of(manifest, labels, NAMES, values, task)
        write_scores(folder / path, scores)
        tasks[task] = {"scores": path, "figures": figures(scores, 50)}
    tasks["zero_shot"]["prompts_sha256"] = "0a1b"
    found = {"mean": 0.8, "sd": 0.01, "n_train": 9, "seeds": [0.79, 0.81], "not_taught": [NAMES[3]]}
    found |= {"per_class": dict.fromkeys(NAMES, 0.8), "classes_in_macro": 3}
    found["interval"] = tasks["probe"]["figures"]["auroc"]["interval"]
    tasks["probe"] |= {
        "rows": {"model": {"1": found, "100": found}, "random_encoder": {"100": found}},
        "minus": {"random_encoder": {"difference": 0.123, "interval": [0.1, 0.15], "p_value": 0.002}},
        "notes": [ATTACK],
    }
    hits = {"r@1": 0.25, "r@5": 0.5, "median_rank": 3.0}
    hits |= {"controls": {"chance": dict(hits), "commonest_report": dict(hits)}}
    hits |= {"intervals": {"r@1": [0.1, 0.4], "r@5": [None, None]}}
    tasks["retrieval"] = {"n_ecgs": n, "n_texts": 50, "ecg_to_text": hits, "text_to_ecg": hits}
    place = folder / "embeddings" / "0f"
    place.mkdir(parents=True)
    np.save(place / "part-00000.npy", rng.normal(size=(n, 8)).astype(np.float32))
    entry = {
        "description": f"a benchmark {ATTACK}",
        "metric": "auroc",
        "split": "train",
        "store": str(demo_data),
        "store_fingerprint": store.fingerprint,
        "embeddings": "elsewhere/0f",
        "n": n,
        "n_patients": len(np.unique(scores.patients)),
        "classes": {name: [name] for name in NAMES},
        "positives": dict(zip(NAMES, labels.sum(axis=0).tolist(), strict=True)),
        "leaked": ["r17"],
        "notes": [],
        "skipped": {"identification": "no gallery"},
        "published": {"D-BETA": {"zero_shot": 76.2, "linear_probe": {"1": 83.15, "100": 90.11}}},
        "readers": {"a cardiologist": {NAMES[0]: dataclasses.asdict(OperatingPoint(0.9, 0.8, (0, 1), (0, 1), 4, 5))}},
        "tasks": tasks,
    }
    accuracy = {"accuracy": 0.6543, "interval": [0.6, 0.7], "n_gallery": 7, "n_probe": n}
    other = entry | {"tasks": {"identification": accuracy}, "metric": "accuracy", "classes": {}, "positives": {}}
    other["published"] = {"D-BETA": {"fine_tuning": {"12": 65.4}}}
    checkpoint = {"path": "runs/best <1>.pt", "sha256": "c0ffee" * 10, "family": "dbeta", "untrained_seed": None}
    told = {"format": 1, "checkpoint": checkpoint, "config": {"seed": 0}, "versions": {"numpy": "2"}, "seconds": 1.5}
    write_results(folder, told | {"benchmarks": {"demo": entry, "who": other}})
    return folder


class Page(HTMLParser):
    """Collect tags with attributes and the visible texts; complain about tags that are not closed in their order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts += [data] if self.open and self.open[-1] not in ("script", "style") else []


@pytest.fixture(scope="module")
def page(run):
    path = write_report(run, n_cases=3)
    assert path == run / "report.html" and path.stat().st_size < 3e6
    return Page(path.read_text("utf-8"))


def test_figures_are_those_of_the_results(run, page):
    text, told = " ".join(page.texts), json.loads((run / RESULTS).read_text())["benchmarks"]["demo"]
    for task in ("zero_shot", "probe"):
        for kind in ("auroc", "auprc"):
            own = told["tasks"][task]["figures"][kind]
            low, high = own["interval"]
            assert f"{low:.3f}–{high:.3f}" in text
            for each in own["per_class"].values():
                assert each["value"] is None or f"{each['value']:.3f}" in text
    assert "Macro AUROC of the probe minus that of the others" in text and "0.100–0.150" in text
    assert "ECG to report, by chance" in text and "report to ECG, the commonest report first" in text
    assert "D-BETA (published)" in text and "0.7620" in text and "0.8315" in text
    assert "Undefined, so left out of the macro mean (1 of 4 classes" in text and NAMES[3] in text
    assert "The model was trained on 1 of the records that are scored: r17" in text
    assert "identification was skipped: no gallery" in text
    assert "Retrieval among" in text and "0.100–0.400" in text
    assert "0.6543" in text and "0.600–0.700" in text and "fine-tuning, 12\u00a0leads" in text and "0.6540" in text
    for known in ("c0ffee" * 10, "a cardiologist", told["store_fingerprint"], "0a1b", "t-SNE of", "random encoder"):
        assert known in text


def test_nothing_is_fetched_and_everything_has_a_name(page):
    for tag, attributes in page.tags:
        for key in ("src", "href"):
            assert attributes.get(key, "#")[:5] in {"data:", attributes.get(key, "#")[:5] if key == "href" else ""} | {
                "#"
            }
            assert "//" not in attributes.get(key, "")[:12]
        assert not any(key.startswith("on") or key == "style" for key in attributes), (tag, attributes.keys())
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 2 * 2 + 2 * 2 + 1 + 1 + 2 * 6  # bars, curves, calibration of the probe, map, records
    assert all(image["alt"] and image["width"] and image["height"] for image in images)
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    identities = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identities) == len(set(identities))
    targets = {attributes["href"][1:] for tag, attributes in page.tags if tag == "a"}
    assert targets <= set(identities)


def test_texts_are_escaped(page):
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert any("window.attacked" in text for text in page.texts)
    assert "best <1>.pt" in " ".join(page.texts)


def test_the_same_results_give_the_same_bytes(run, tmp_path):
    first = write_report(run, n_cases=1).read_bytes()
    folder = shutil.copytree(run, tmp_path / "later")
    results = json.loads((folder / RESULTS).read_text())
    results["seconds"] = results["benchmarks"]["demo"]["seconds"] = 777.777  # what alone tells two runs apart
    results["benchmarks"]["demo"]["embeddings"] = str(folder / "embeddings" / "0f")
    write_results(folder, results)
    assert write_report(folder, n_cases=1).read_bytes() == first


def test_two_evaluations_of_a_checkpoint_give_the_same_bytes(demo_data, tmp_path, monkeypatch):
    model = tiny_ecg_model(tmp_path / "weights", rate=float(RecordStore.open(demo_data).sample_rate))
    monkeypatch.setattr(ecgtext_plugins, "load", lambda path, untrained_seed=None: model)
    words = ["eval", "run", str(tmp_path / "weights"), "--benchmarks", "demo", "--data", str(demo_data)]
    words += ["--tasks", "probe", "--baselines", "none", "--ratios", "50,100", "--seeds", "2", "--resamples", "20"]
    pages, seconds = [], []
    for folder in (tmp_path / "first", tmp_path / "second"):
        assert main([*words, "--out", str(folder)]) == 0
        pages.append((folder / "report.html").read_bytes())
        seconds.append(json.loads((folder / RESULTS).read_text())["seconds"])
    assert pages[0] == pages[1] and len(pages[0]) > 1e5
    whole = [rf"(?<![\d.]){re.escape(str(value))}(?!\d)" for value in seconds]  # 0.53 is not in 0.538
    assert [re.search(value, pages[0].decode("utf-8")) for value in whole] == [None, None]


@pytest.mark.slow
def test_umap_stands_beside_tsne_where_it_is_asked_for(run, tmp_path):
    pytest.importorskip("umap", reason="umap-learn is not installed")
    folder = shutil.copytree(run, tmp_path / "copy")
    pages = [write_report(folder, n_cases=1, maps=("tsne", "umap")).read_text("utf-8") for _ in range(2)]
    assert pages[0] == pages[1] and "UMAP of the embeddings" in pages[0] and "t-SNE of the embeddings" in pages[0]
    with pytest.raises(BadConfig, match="maps tsne,pca: expected different ones of tsne, umap"):
        write_report(folder, maps=("tsne", "pca"))


def test_the_challenge_metric_is_shown(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "copy")
    results = json.loads((folder / RESULTS).read_text())
    entry = results["benchmarks"]["demo"]
    entry["tasks"]["probe"]["figures"]["challenge_metric"] = {
        "value": 0.4321,
        "interval": [0.41, 0.45],
        "thresholds": "of validation",
        "undecided": [NAMES[3]],
        "weights_sha256": "0" * 64,
    }
    entry["metric"], entry["published"] = "cinc_score", {"D-BETA": {"fine_tuning": {"12": 55.9}}}
    write_results(folder, results)
    text = " ".join(Page(write_report(folder, n_cases=1).read_text("utf-8")).texts)
    assert "Challenge metric" in text and "0.4321" in text and "0.410–0.450" in text and "0.5590" in text
    assert f"the Challenge metric gives no record {NAMES[3]}" in text


def test_small_screens_scroll_tables_and_wide_pictures_alone(attacked, browser):
    tab = browser.new_page(viewport={"width": 420, "height": 900})
    tab.goto(attacked.as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    table = tab.locator("#run-demo-zero-shot .scroll").first
    table.evaluate("node => { node.scrollLeft = 300; }")
    assert table.evaluate("node => node.scrollLeft") > 100
    left = table.evaluate("node => node.getBoundingClientRect().left")
    for kept in ("caption span", "tbody th"):  # stay in sight
        box = table.locator(kept).first.bounding_box()
        assert abs(box["x"] - left) < 2 and box["width"] < 390
    tab.close()


def test_a_store_that_is_gone_or_changed_is_told(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "copy")
    results = json.loads((folder / RESULTS).read_text())
    del results["benchmarks"]["demo"]["embeddings"], results["benchmarks"]["demo"]["tasks"]["probe"]
    for key, value, told in (("store_fingerprint", "f00", "has changed since the run"), ("store", "gone", "not shown")):
        results["benchmarks"]["demo"][key] = value
        write_results(folder, results)
        text = write_report(folder, n_cases=1).read_text("utf-8")
        assert told in text and "data:image/png" not in text and "Worst 1: record" in text


@pytest.mark.parametrize("damage", ["scores", "key", "count"])
def test_other_files_are_refused(run, tmp_path, damage):
    folder = shutil.copytree(run, tmp_path / "copy")
    results = json.loads((folder / RESULTS).read_text())
    if damage == "scores":
        (folder / "demo" / "scores.npz").unlink()
    elif damage == "key":
        del results["benchmarks"]["demo"]["store"]
    else:
        results["benchmarks"]["demo"]["n"] += 1
    write_results(folder, results)
    with pytest.raises(BadRawData, match="expected"):
        write_report(folder)


def test_worst_and_best_by_hand():
    labels = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], bool)
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.1, 0.9]])  # row 1 is ranked the wrong way round
    found = pick_cases(labels, scores, 1)
    assert (found.worst.tolist(), found.best.tolist()) == ([1], [0])
    ranks = np.array([[7, 1], [3, 5], [5, 3], [1, 7]]) / 8
    np.testing.assert_allclose(found.ranks, ranks)
    assert found.loss[1] == pytest.approx((-np.log(3 / 8) - np.log(1 - 5 / 8)) / 2)
    order = pick_cases(labels, 5 * scores - 3, 1)  # only the order of a class's scores matters
    np.testing.assert_allclose(order.loss, found.loss)


def test_cases_of_few_records_and_of_no_defined_class():
    found = pick_cases(np.array([[1], [0], [0]], bool), np.zeros((3, 1)), 10)
    assert len(found.worst) == len(found.best) == 1 and not set(found.worst) & set(found.best)
    assert pick_cases(np.zeros((3, 2), bool), np.zeros((3, 2))) is None


CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser():
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with api.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def attacked(run, browser):
    """Return a page whose reports try to run scripts, too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RecordStore, "report_text", lambda self, report_id: f"report {report_id} {ATTACK}")
        return shutil.copyfile(write_report(run, n_cases=2), run / "attacked.html")


@pytest.fixture
def opened(attacked, browser):
    """Return the page in a browser, with what its console said and what it asked for."""
    path = attacked
    tab, said, asked = browser.new_page(), [], []
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(path.as_uri())
    yield tab, said, [url for url in asked if not url.startswith("data:")], path
    tab.close()


def test_page_runs_its_own_script_alone_and_asks_for_nothing(opened):
    tab, said, asked, path = opened
    assert said == [] and asked == [path.as_uri()]
    assert tab.evaluate("window.attacked") is None
    assert tab.evaluate("Array.from(document.images).every((image) => image.naturalWidth > 0)")
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=\"http://localhost/x.png\">')")
    tab.wait_for_timeout(100)
    assert asked == [path.as_uri()] and "Content Security Policy" in said[0]


def test_search_filters_rows_and_records(opened):
    tab, _, _, _ = opened
    box = tab.get_by_label("Search rows and records")
    record = re.search(r"record (\S+)", tab.locator("article.case h4").first.text_content()).group(1)
    everything = tab.locator("article.case:visible").count()
    assert everything == 8
    box.fill(f"  {record.upper()} REPORT ")
    shown = tab.locator("article.case:visible")
    assert 1 <= shown.count() < everything
    assert all(record in text for text in shown.all_text_contents())
    assert tab.locator("#matches").text_content() == f"0 rows and {shown.count()} records match"
    box.fill("low voltage")  # in the classes or the report, not among the scores
    for card in tab.locator("article.case:visible").all():
        assert "low_voltage" in " ".join(card.locator("> p").all_text_contents())
    box.fill("nowhere")
    assert tab.locator("table.sortable > tbody > tr:visible").count() >= 2
    box.fill("")
    assert tab.locator("article.case:visible").count() == everything


def test_headers_sort_by_number_with_unknown_last(opened):
    tab, _, _, _ = opened
    table = tab.locator("#run-demo-zero-shot table").filter(has=tab.get_by_text("Positive"))
    header = table.get_by_role("columnheader", name="AUROC")

    def values():
        return table.locator("tbody tr").evaluate_all("rows => rows.map(row => row.cells[3].textContent)")

    before = values()
    button = header.get_by_role("button")
    button.focus()
    tab.keyboard.press("Enter")
    known = sorted(value for value in before if value != "–")
    assert values() == [*known, "–"] and header.get_attribute("aria-sort") == "ascending"
    button.click()
    assert values() == [*known[::-1], "–"] and header.get_attribute("aria-sort") == "descending"


def test_page_reads_without_script(attacked, browser):
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    tab.goto(attacked.as_uri())
    assert not tab.locator("#search").is_visible()
    assert tab.locator("article.case:visible").count() == 8
    assert tab.locator("#summary td:visible").count() > 10
    context.close()
