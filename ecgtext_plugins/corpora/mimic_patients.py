"""Sex and age of MIMIC-IV's patients (https://physionet.org/content/mimiciv/3.1/, hosp/patients.csv.gz)."""

import math
import re
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from ecgtext_plugins.corpora.csv_tables import read_columns, refuse_duplicates
from ecgtext_plugins.corpora.header_comments import age_of, sex_of
from ecgtext_plugins.corpora.raw_folder import RawFolder
from ecgtext_plugins.errors import BadRawData

_YEAR = re.compile(r"(\d{4})-\d\d-\d\d\b.*")


class MimicPatients:
    """The table patients: sex, and the age in one year, from which the age in others follows.

    Dates of a patient are shifted by one distance, so that differences between years hold. Who was older than 89 is 91.

    Raises
    ------
    BadRawData
        When the table is malformed or lists a patient twice.
    """

    def __init__(self, folder: RawFolder, name: str):
        self.files = [(folder, name)]
        self._table = read_columns(folder, name, ["subject_id", "gender", "anchor_age", "anchor_year"])
        refuse_duplicates(self._table["subject_id"], f"subject_id values in {folder}/{name}")

    def refuse_strangers(self, patient_ids: pa.ChunkedArray) -> None:
        """Raise BadRawData when the table lists none of `patient_ids`."""
        if not pc.any(pc.is_in(patient_ids, value_set=self._table["subject_id"])).as_py():
            folder, name = self.files[0]
            raise BadRawData(
                f"{folder}/{name} lists none of the {pc.count_distinct(patient_ids)} patients: expected MIMIC-IV's "
                "table patients; correct options.patients, or set it to null"
            )

    def of(self, patient_ids: pa.Array | pa.ChunkedArray, times: Sequence[str]) -> list[tuple[float, str]]:
        """Return age in years and sex of each of `patient_ids` at `times`; NaN and "" where the table does not say."""
        rows = pc.index_in(patient_ids, value_set=self._table["subject_id"])
        known = self._table.take(rows).to_pydict()
        columns = (known["gender"], known["anchor_age"], known["anchor_year"])
        return [
            (_age(anchor_age or "", anchor_year or "", time), sex_of(sex or ""))
            for sex, anchor_age, anchor_year, time in zip(*columns, times, strict=True)
        ]


def _age(anchor_age: str, anchor_year: str, time: str) -> float:
    year = _YEAR.fullmatch(time)
    if year is None or not anchor_year.isdecimal():
        return math.nan
    return age_of(str(age_of(anchor_age) + int(year[1]) - int(anchor_year)))
