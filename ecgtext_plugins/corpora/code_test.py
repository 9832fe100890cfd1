"""CODE-test (https://zenodo.org/records/3765780): 827 tracings at 400 Hz, read by cardiologists and others.

``ecg_tracings.hdf5``, ``attributes.csv`` and ``annotations/*.csv`` belong together by row; nothing has an identifier,
so a record's id is ``test0000`` and so on. Each is of another person. The file holds its leads in the order I, II, III,
aVL, aVF, aVR, V1..V6, which is checked (:func:`lead_order`). Its page says ``"at the scale 1e-4V: so it should be
multiplied by 1000 in order to obtain the signals in V"``, which contradicts itself; R waves of 1.5 in lead II say mV.
Records of 7 and 10 s are filled up with zeros at both ends to 4,096 samples.
"""

from typing import Any

import pyarrow as pa

from ecgtext_plugins.corpora.corpus import Reader
from ecgtext_plugins.corpora.csv_tables import read_columns
from ecgtext_plugins.corpora.hdf5_tracings import forget_open_files, open_tracings
from ecgtext_plugins.corpora.header_comments import age_of, sex_of
from ecgtext_plugins.corpora.label_sets import LabelSets
from ecgtext_plugins.corpora.label_table import flagged, flags
from ecgtext_plugins.corpora.lead_order import lead_order
from ecgtext_plugins.corpora.raw_folder import RawFolder, Tables
from ecgtext_plugins.corpora.record import RecordEntry
from ecgtext_plugins.corpora.tracing_records import OPTIONS, TracingEntry, check_options, read_tracing_entry
from ecgtext_plugins.errors import BadRawData, BadRecipe, BadRecord

SCHEME = "code_test"
LABELS = ("1dAVb", "RBBB", "LBBB", "SB", "AF", "ST")
SIGNALS, ATTRIBUTES, ANNOTATIONS = "ecg_tracings.hdf5", "attributes.csv", "annotations/{}.csv"


class CodeTest:
    """The corpus under `raw`, or under its folder data/ as the download unpacks; all of it is for testing.

    Raises
    ------
    BadRawData
        When a file is missing, tables and tracings differ in number, or the order of leads cannot be told.
    """

    def __init__(self, raw: RawFolder, tables: Tables, recipe: dict[str, Any]):
        self.raw = raw
        self.published_subsets: dict[str, list[str]] = {}
        places = [place for place in ("", "data/") if raw.is_file(f"{place}{SIGNALS}")]
        if not places:
            raise BadRawData(
                f"{raw} is not CODE-test: neither {SIGNALS} nor data/{SIGNALS} found: expected them with {ATTRIBUTES} "
                "and annotations/ beside; give the folder that data.zip was unpacked in as --raw"
            )
        self._signals = f"{places[0]}{SIGNALS}"
        forget_open_files()
        options, what = recipe["options"], "CODE-test"
        try:
            self._length = len(open_tracings(raw, self._signals, what))
            self._leads = lead_order(raw, self._signals, options["leads"], what)
        except BadRecord as error:
            raise BadRawData(error.message) from None
        annotations = places[0] + ANNOTATIONS.format(options["annotator"])
        self.table_files = [(raw, places[0] + ATTRIBUTES), (raw, annotations)]
        self._attributes = self._rows(places[0] + ATTRIBUTES, ["age", "sex"])
        labels = self._rows(annotations, LABELS)
        self._label_sets = LabelSets(recipe)
        self.label_names = self._label_sets.names({SCHEME: LABELS})
        self._flags = flags(labels, LABELS, f"{raw}/{annotations}")

    def _rows(self, name: str, columns: list[str] | tuple[str, ...]) -> pa.Table:
        """Read a table that has a row for each tracing."""
        table = read_columns(self.raw, name, columns)
        if len(table) != self._length:
            raise BadRawData(
                f"{self.raw}/{name} has {len(table)} rows: expected {self._length}, one for each of the tracings in "
                f"{self._signals}, as they belong together by row; download both again"
            )
        return table

    @property
    def record_ids(self) -> pa.ChunkedArray:
        """All record ids, ascending as text."""
        return pa.chunked_array([list(map(self._record_id, range(self._length)))], pa.string())

    def _record_id(self, row: int) -> str:
        return f"test{row:0{max(4, len(str(self._length - 1)))}d}"

    def entries(self, start: int, stop: int) -> list[RecordEntry]:
        """Return the entries at places `start` to `stop` of `record_ids`."""
        ages, sexes = (self._attributes[name].slice(start, stop - start).to_pylist() for name in ("age", "sex"))
        found = flagged(self._flags[start:stop], LABELS)
        return [
            TracingEntry(
                record_id=self._record_id(row),
                patient_id=self._record_id(row),
                source_path=self._signals,
                labels=self._label_sets.labels({SCHEME: labels}),
                age=age_of(age),
                sex=sex_of(sex),
                split="test",
                position=row,
                leads=self._leads,
            )
            for row, age, sex, labels in zip(range(start, start + len(ages)), ages, sexes, found, strict=True)
        ]


def _check(recipe: dict[str, Any], where: str) -> None:
    check_options(recipe, where)
    annotator = recipe["options"]["annotator"]
    if not annotator.replace("_", "").isalnum():
        raise BadRecipe(
            f"{where}: options.annotator is {annotator!r}: expected the name of a table in annotations/ without .csv, "
            "such as gold_standard or cardiologist1; correct it"
        )
    if recipe["exclude_sources"]:
        raise BadRecipe(f"{where}: exclude_sources is given, but CODE-test is one file: expected []; empty it")


READER = Reader(
    CodeTest,
    read_tracing_entry,
    options={"annotator": ((str,), "gold_standard"), **OPTIONS},
    label_schemes=(SCHEME,),
    official_split=True,
    check=_check,
)
