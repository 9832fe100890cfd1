"""MERL's finetune/data_split: train, val and test tables of labels, for the synthetic downloads' records."""

import csv
from pathlib import Path

from tests.downloads import ptbxl

# Classes in MERL's order; of CSN's 38 those that its mistake is about, and a few more.
SPLITS = ("train", "val", "test")
SUPER = ("HYP", "NORM", "MI", "CD", "STTC")
RHYTHM = ("SVARR", "BIGU", "STACH", "SARRH", "SBRAD", "TRIGU", "AFIB", "SR", "SVTAC", "PSVT", "AFLT", "PACE")
SUB = tuple(
    "AMI LAFB/LPFB LVH STTC IMI SEHYP CRBBB WPW LAO/LAE NORM AVB RAO/RAE ISC LMI ISCI ISCA NST CLBBB ILBBB IRBBB PMI "
    "RVH IVCD".split()
)
FORM = tuple("PAC DIG HVOLT STD LPR QWAVE VCLVH NDT TAB LOWT ABQRS LNGQT PRC(S) NT STE NST PVC INVT LVOLT".split())
CPSC = ("AFIB", "VPC", "NORM", "1AVB", "CRBBB", "STE", "PAC", "CLBBB", "STD")
CSN = ("SR", "2AVB", "VB", "STTC", "SA", "STE", "CCR", "CR", "AF", "AVB", "1AVB", "AFIB", "ST")


def split_of(place: int) -> str:
    """Return the split of the record in this place: seven in ten are of train."""
    return ("train", "train", "train", "val", "train", "train", "test", "train", "train", "test")[place % 10]


def write_table(path: Path, columns: list[str], rows: list[list]) -> None:
    """Write one CSV table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as handle:
        table = csv.writer(handle)
        table.writerow(columns)
        table.writerows(rows)


def write_ptbxl(tables: Path, rows: list[dict], name: str, labels: dict[str, list[str]], classes=SUPER) -> None:
    """Write ptbxl/`name` for those `rows` of tests.downloads.ptbxl that have `labels`, by ecg_id.

    The columns of val and test stand the other way round.
    """
    meta = ["ecg_id", "patient_id", "strat_fold", "filename_lr", "filename_hr"]
    for split in SPLITS:
        order = list(classes) if split == "train" else list(reversed(classes))
        lines = []
        for row in rows:
            fold = int(row["strat_fold"])
            of_row = "train" if fold < 9 else ("val", "test")[fold - 9]
            found = labels.get(row["ecg_id"], [])
            if of_row == split and found:
                lines.append([*(row[key] for key in meta), found, *(int(each in found) for each in order)])
        write_table(tables / "ptbxl" / name / f"ptbxl_{name}_{split}.csv", [*meta, name, *order], lines)


def ptbxl_labels(rows: list[dict], name: str) -> dict[str, list[str]]:
    """Return the labels of one of MERL's four sets by ecg_id, from the statements of `rows`."""
    kinds = {code: (flags, kind, subclass.strip("_")) for code, flags, kind, subclass in ptbxl.statements()}
    meaning = {
        "super_class": {code: kind for code, (_, kind, _) in kinds.items()},
        "sub_class": {code: subclass for code, (_, _, subclass) in kinds.items()},
        "form": {code: code.strip("_") for code, (flags, _, _) in kinds.items() if "f" in flags},
        "rhythm": {code: code for code, (flags, _, _) in kinds.items() if "r" in flags},
    }[name]
    return {row["ecg_id"]: sorted({meaning.get(code, "") for code in row["codes"]} - {""}) for row in rows}


def write_download(tables: Path, ptbxl_rows: list[dict] = (), cpsc2018_rows=(), csn_rows=()) -> None:
    """Write the whole data_split folder for what the other downloads' `write_download` returned."""
    for name, classes in (("super_class", SUPER), ("sub_class", SUB), ("form", FORM), ("rhythm", RHYTHM)):
        write_ptbxl(tables, ptbxl_rows, name, ptbxl_labels(ptbxl_rows, name), classes)
    write_icbeb(tables, cpsc2018_rows)
    write_chapman(tables, csn_rows)


def write_icbeb(tables: Path, rows: list[dict]) -> None:
    """Write icbeb for the `rows` of tests.downloads.cpsc2018."""
    meta = ["patient_id", "ecg_id", "filename", "validation", "age", "sex", "scp_codes"]
    for split in SPLITS:
        lines = [
            [
                place,
                place,
                row["record_id"],
                False,
                61.0,
                0,
                "{}",
                *(int(each in row["labels"]) for each in CPSC),
            ]
            for place, row in enumerate(rows)
            if split_of(place) == split
        ]
        write_table(tables / "icbeb" / f"icbeb_{split}.csv", [*meta, *CPSC], lines)


def write_chapman(tables: Path, rows: list[dict]) -> None:
    """Write chapman for the `rows` of tests.downloads.csn, with MERL's mistake in the label columns."""
    for split in SPLITS:
        lines = [
            [f"/chapman/{row['path']}.mat", 12, said, *(int(each in said) for each in CSN)]
            for place, row in enumerate(rows)
            if split_of(place) == split
            for said in [",".join(row["conditions"])]
        ]
        write_table(tables / "chapman" / f"chapman_{split}.csv", ["ecg_path", "age", "diagnose", *CSN], lines)
