"""Windows of fairseq-signals' segments."""

import numpy as np

from ecgtext_plugins.data.cmsc_pairs import manifest_pairs
from ecgtext_plugins.data.windows import recordings, windowed
from ecgtext_plugins.store.manifest import read_manifest
from tests.downloads import fairseq_signals as download


def test_segments_are_windows_of_their_length_already_and_can_be_cut_shorter(tmp_path):
    """Halves of segments are paired within the recording, in the order of time."""
    rows = download.write_download(tmp_path, 9, seed=4, n_samples=4096)
    download.write_manifests(tmp_path, tmp_path / "manifests", rows, f"\t{tmp_path / 'segmented'}/")
    for folder in ("manifests", "manifests/cmsc"):
        listed = read_manifest(tmp_path / folder / "train.tsv")
        assert windowed(listed, 2500) is listed
        cut = windowed(listed, 1250)
        record, segment = recordings(cut), cut.store.column("segment")[cut.rows]
        begins = np.maximum(segment, 0) * 2500 + cut.starts
        first, second = manifest_pairs(cut).T
        assert len(first) == len(listed)
        assert np.array_equal(record[first], record[second])
        assert np.array_equal(begins[second], begins[first] + 1250) and (begins[first] % 2500 == 0).all()
