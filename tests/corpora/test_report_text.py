import pytest

from ecgtext_plugins.corpora.report_text import clean_report, join_report_lines


def test_join_leaves_out_what_is_missing():
    lines = ["Sinus rhythm", "", None, float("nan"), " NaN ", "Left axis,\n deviation", "  "]
    assert join_report_lines(lines) == "Sinus rhythm Left axis, deviation"
    assert join_report_lines([]) == ""


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("  Sinus Rhythm\n Normal EKG ", "sinus rhythm normal ecg"),
        ("*** Poor data quality ***", "poor data quality"),
        ("--- AF with RVR ===", "af with rvr"),
        ("* = - text - = *", "text"),
        ("non-specific ST*T", "non-specific st*t"),
        ("***", ""),
    ],
)
def test_clean(text, cleaned):
    assert clean_report(text) == cleaned
    assert clean_report(cleaned) == cleaned
