"""Leads by preset, name, number or text, and one drawn from a bucket."""

import numpy as np
import pytest

from ecgtext_plugins.data.lead_selection import LeadSelection, lead_places, lead_selection
from ecgtext_plugins.errors import BadConfig


@pytest.mark.parametrize(
    ("preset", "places"),
    [("12", range(12)), ("6", range(6)), ("3", (0, 1, 7)), ("2", (0, 1)), ("1", (0,)), (None, range(12))],
)
def test_presets(preset, places):
    selection = lead_selection(preset)
    assert selection.leads == tuple(places) and selection.channels == len(places)
    assert lead_selection(preset, padded=True).channels == 12


@pytest.mark.parametrize("leads", [["I", "ii", "V2"], [0, 1, 7], "['I','II','V2']", "[0,1,7]", "I,II,V2", ("I", 1)])
def test_ways_to_name_leads(leads):
    assert lead_places(leads, "task.leads_to_load") == (0, 1, 7)[: len(leads) if isinstance(leads, tuple) else 3]
    assert lead_places("II", "task.leads_to_load") == (1,)


@pytest.mark.parametrize("leads", ["__import__('os').system('true')", [], ["X"], [12], [True], [1.0], ["I", 0], "{}"])
def test_what_is_no_list_of_leads_is_refused(leads):
    with pytest.raises(BadConfig, match="task.leads_to_load.*expected"):
        lead_selection(leads=leads)


def test_a_bucket_adds_one_lead_uniformly():
    selection = lead_selection(leads=["I"], bucket="['V1','V2','V3','V4']")
    assert selection.channels == 2
    drawn = np.array([selection.shown(draw) for draw in (np.arange(400) + 0.5) / 400])
    assert (drawn[:, 0] == 0).all() and np.unique(drawn[:, 1], return_counts=True)[1].tolist() == [100] * 4
    assert lead_selection(bucket=[3, 4]).shown(0.99).tolist() == [4]
    assert LeadSelection().shown(0.3).tolist() == list(range(12))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"preset": "4"}, "leads_preset=4: expected one of 12, 6, 3, 2, 1"),
        ({"preset": "3", "leads": ["I"]}, "expected one of them"),
        ({"leads": ["I"], "bucket": ["I", "II"]}, "leads_bucket holds I"),
        ({"bucket": ["I"], "bucket_selection": "gauss"}, "bucket_selection=gauss"),
    ],
)
def test_options_that_clash(options, said):
    with pytest.raises(BadConfig, match=said):
        lead_selection(**options)
