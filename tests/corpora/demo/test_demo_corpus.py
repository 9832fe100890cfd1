"""The corpus on disk: MIMIC-IV-ECG's layout, the same bytes again, what is broken on purpose."""

import csv
import json
import multiprocessing
from collections import Counter

import numpy as np
import pytest
import wfdb

from ecgtext_plugins.cli.main import main
from ecgtext_plugins.corpora.demo import record_files, write
from ecgtext_plugins.corpora.demo.leads import FILE_ORDER
from ecgtext_plugins.corpora.demo.plan import BREAKAGES, diagnosis_of, patient_of, plan_studies
from ecgtext_plugins.corpora.demo.write import write_demo_corpus
from ecgtext_plugins.errors import BadRawData


def table(path):
    with open(path, newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))


def content(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "raw"
    assert write_demo_corpus(folder, records=40, seed=3)
    return folder


def test_tables_have_the_published_columns_and_agree(corpus):
    listed, measured, truth = (
        table(corpus / f"{name}.csv") for name in ("record_list", "machine_measurements", "findings")
    )
    assert list(listed[0]) == ["subject_id", "study_id", "file_name", "ecg_time", "path"]
    assert list(measured[0]) == [
        *("subject_id", "study_id", "cart_id", "ecg_time"),
        *(f"report_{n}" for n in range(18)),
        *("bandwidth", "filtering", "rr_interval", "p_onset", "p_end", "qrs_onset", "qrs_end", "t_end"),
        *("p_axis", "qrs_axis", "t_axis"),
    ]
    assert list(truth[0]) == ["study_id", "findings"]
    assert [r["study_id"] for r in listed] == [r["study_id"] for r in measured] == [r["study_id"] for r in truth]
    assert len({r["study_id"] for r in listed}) == len(listed) == 40
    for row in listed:
        subject, study = row["subject_id"], row["study_id"]
        assert row["path"] == f"files/p{subject[:4]}/p{subject}/s{study}/{study}"
        assert len(subject) == len(study) == 8
        assert (corpus / f"{row['path']}.hea").is_file() and (corpus / f"{row['path']}.dat").is_file()


def test_truth_is_the_plan(corpus):
    truth = [row["findings"].split(";") for row in table(corpus / "findings.csv")]
    assert truth == [list(diagnosis_of(s, patient_of(s, 3), 3).findings) for s in plan_studies(40, 3)]


def test_wfdb_reads_records_and_their_checksums_hold(corpus):
    for row in table(corpus / "record_list.csv")[:8]:
        path = corpus / row["path"]
        record = wfdb.rdrecord(str(path))
        assert record.p_signal.shape == (5000, 12) and record.fs == 500
        assert tuple(record.sig_name) == FILE_ORDER and set(record.units) == {"mV"} and set(record.fmt) == {"16"}
        assert set(record.adc_gain) == {200.0} and set(record.baseline) == {0}
        assert record.comments == [f"<subject_id>: {row['subject_id']}"]
        assert f"{record.base_date} {record.base_time}" == row["ecg_time"]
        digital = wfdb.rdrecord(str(path), physical=False)
        assert digital.init_value == digital.d_signal[0].tolist()
        sums = digital.d_signal.astype(np.int64).sum(axis=0)
        assert [(int(s) - c) % 65536 for s, c in zip(sums, digital.checksum, strict=True)] == [0] * 12
        assert 0.2 < np.ptp(record.p_signal, axis=0).max() < 8


def test_measurements_belong_to_the_signal(corpus):
    truth = {row["study_id"]: row["findings"] for row in table(corpus / "findings.csv")}
    for row in table(corpus / "machine_measurements.csv"):
        rate = 60_000 / float(row["rr_interval"])
        findings = truth[row["study_id"]]
        if "sinus_bradycardia" in findings:
            assert rate < 60
        elif "sinus_tachycardia" in findings:
            assert rate > 100
        elif "sinus_rhythm" in findings:
            assert 59 < rate < 100
        width = int(row["qrs_end"]) - int(row["qrs_onset"])
        assert (width >= 120) == ("bundle_branch" in findings)
        assert (row["p_onset"] == "29999") == ("atrial_fibrillation" in findings)
        assert int(row["t_end"]) > int(row["qrs_end"])
        assert all(abs(int(row[axis])) <= 180 for axis in ("qrs_axis", "t_axis"))


def test_same_arguments_give_the_same_bytes_whatever_the_workers(corpus, tmp_path):
    write_demo_corpus(tmp_path / "again", records=40, seed=3, workers=2)
    assert content(tmp_path / "again") == content(corpus)


def test_another_seed_gives_another_corpus(corpus, tmp_path):
    write_demo_corpus(tmp_path / "other", records=40, seed=4)
    assert (tmp_path / "other" / "findings.csv").read_bytes() != (corpus / "findings.csv").read_bytes()


def test_finished_corpus_is_left_alone_and_others_refused(corpus, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in corpus.rglob("*")}
    assert not write_demo_corpus(corpus, records=40, seed=3)
    for arguments in ({"records": 41, "seed": 3}, {"records": 40, "seed": 0}):
        with pytest.raises(BadRawData, match="give another folder"):
            write_demo_corpus(corpus, **arguments)
    assert {p: p.stat().st_mtime_ns for p in corpus.rglob("*")} == before
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(BadRawData, match="no demo corpus"):
        write_demo_corpus(tmp_path, records=5)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_stopped_run_is_finished_by_the_same_command(corpus, tmp_path, monkeypatch):
    folder, made = tmp_path / "raw", []

    def stop_at_ten(study, seed, folder):
        if len(made) == 10:
            (folder / study.path).parent.mkdir(parents=True, exist_ok=True)
            (folder / study.path).with_suffix(".dat").write_bytes(b"half")
            raise KeyboardInterrupt
        made.append(study)
        return record_files.make_record(study, seed, folder)

    monkeypatch.setattr(write, "make_record", stop_at_ten)
    with pytest.raises(KeyboardInterrupt):
        write_demo_corpus(folder, records=40, seed=3)
    assert not (folder / "demo_corpus.json").exists() and not (folder / "record_list.csv").exists()
    with pytest.raises(BadRawData, match="give another folder"):
        write_demo_corpus(folder, records=12, seed=3)
    monkeypatch.undo()
    assert write_demo_corpus(folder, records=40, seed=3)
    assert content(folder) == content(corpus)


def test_patients_have_one_to_six_studies_in_time_order():
    studies = plan_studies(3000, 0)
    counts = Counter(study.subject_id for study in studies)
    assert set(counts.values()) == {1, 2, 3, 4, 5, 6}
    assert len({study.study_id for study in studies}) == 3000
    for first, second in zip(studies, studies[1:], strict=False):
        assert first.subject_id != second.subject_id or first.time < second.time


@pytest.mark.parametrize(("records", "each"), [(499, 0), (500, 2), (4000, 3), (12000, 9)])
def test_number_of_broken_records(records, each):
    counts = Counter(study.breakage for study in plan_studies(records, 0))
    assert [counts[name] for name in BREAKAGES] == [each] * 4


def test_broken_records_are_broken_as_planned(tmp_path):
    studies = {study.breakage: study for study in plan_studies(500, 1)}
    rows = {kind: record_files.make_record(studies[kind], 1, tmp_path) for kind in ("", *BREAKAGES)}
    lines = {kind: [cell for cell in row.measurements[4:22] if cell] for kind, row in rows.items()}
    assert lines.pop("empty_report") == [] and all(lines.values())
    assert not (tmp_path / f"{studies['missing_signal_file'].path}.dat").exists()
    assert (tmp_path / f"{studies['missing_signal_file'].path}.hea").exists()
    lost = {
        kind: np.isnan(wfdb.rdrecord(str(tmp_path / studies[kind].path)).p_signal).all(axis=0).sum()
        for kind in ("", "missing_signal", "missing_lead", "empty_report")
    }
    assert lost == {"": 0, "missing_signal": 12, "missing_lead": 1, "empty_report": 0}


def test_command(tmp_path, capsys):
    arguments = ["demo-corpus", str(tmp_path / "raw"), "--records", "3", "--workers", "1", "--json"]
    for written in (True, False):
        assert main(arguments) == 0
        told = json.loads(capsys.readouterr().out)
        assert told == {"folder": str(tmp_path / "raw"), "records": 3, "seed": 0, "written": written}
    assert main([*arguments, "--seed", "1"]) == 1
    assert "give another folder" in capsys.readouterr().err
    assert main(["demo-corpus", str(tmp_path / "bad"), "--seed", "-1"]) == 1
    with pytest.raises(SystemExit) as stop:
        main(["demo-corpus", str(tmp_path / "bad"), "--records", "0"])
    assert stop.value.code == 2
    assert not (tmp_path / "bad").exists() and not multiprocessing.active_children()
