import numpy as np
import pytest

from ecgtext_plugins.errors import BadRecord
from ecgtext_plugins.signals.leads import LEADS, arrange_leads, canonical_lead, lead_positions, missing_mask


@pytest.mark.parametrize(
    ("name", "lead"),
    [
        ("I", "I"),
        ("i", "I"),
        ("AVR", "aVR"),
        ("avf", "aVF"),
        ("lead II", "II"),
        ("Lead_V5", "V5"),
        ("DIII", "III"),
        ("v6", "V6"),
        ("C2", "V2"),
        ("ECG I", "I"),
        ("-aVR", None),
        ("MLII", None),
        ("V7", None),
        ("vx", None),
        ("", None),
        ("lead", None),
    ],
)
def test_names_and_aliases(name, lead):
    assert canonical_lead(name) == lead


def test_any_order_of_names_gives_the_canonical_order():
    rng = np.random.default_rng(0)
    canonical = rng.standard_normal((12, 50)).astype(np.float32)
    for _ in range(20):
        order = rng.permutation(12)
        names = [LEADS[place].swapcase() for place in order]
        arranged = arrange_leads(canonical[order], lead_positions(names, "record 1"))
        np.testing.assert_array_equal(arranged, canonical)


def test_missing_leads_are_nan_and_reported():
    positions = lead_positions(["V1", "II"], "record 1")
    arranged = arrange_leads(np.array([[1.0, 2.0], [3.0, 4.0]]), positions)
    np.testing.assert_array_equal(arranged[6], [1, 2])
    np.testing.assert_array_equal(arranged[1], [3, 4])
    assert np.isnan(np.delete(arranged, [1, 6], axis=0)).all()
    assert missing_mask(positions) == 0xFFF & ~(1 << 1) & ~(1 << 6)


def test_further_leads_are_left_out_beside_all_twelve():
    signal = np.arange(15.0)[:, None] * np.ones(4)
    arranged = arrange_leads(signal, lead_positions([*LEADS, "vx", "vy", "vz"], "record 1"))
    np.testing.assert_array_equal(arranged[:, 0], np.arange(12))


def test_duplicates_and_unknown_names_are_refused():
    with pytest.raises(BadRecord, match="record 7 has lead aVR twice .*'avr'.*'AVR'") as caught:
        lead_positions(["I", "avr", "AVR"], "record 7")
    assert caught.value.reason == "duplicate_lead"
    with pytest.raises(BadRecord, match="'W1'.*lacks V1") as caught:
        lead_positions([*LEADS[:6], "W1", *LEADS[7:]], "record 7")
    assert caught.value.reason == "lead_names"
    with pytest.raises(BadRecord):
        lead_positions(["x", "y"], "record 7")
