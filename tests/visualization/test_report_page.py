"""The report's page and its curves, as text."""

import re
from html.parser import HTMLParser

import pytest

from wrimnet.evaluation.results import ResultTable
from wrimnet.visualization.run_report import (
    EmbeddedFigure,
    ReportContent,
    place_curve,
    render_report,
)

CONTENT = ReportContent(
    title="wrim: WRIM-Net on LLCM (synthetic)",
    summary="Configuration <abc>",
    notes=["The figures are left out: matplotlib"],
    results=[ResultTable("", ("protocol", "mAP"), [("llcm_ir2vis", "12.34")], ["ten trials"])],
    curves={"Losses": {"loss_cls": ([0, 10], [2.0, 1.0])}},
    figures=[EmbeddedFigure("gates", "What <MIIM> does", "cG5n")],
    changed_keys=[("SEED", "1", "0")],
    keys=[("SEED", "1")],
    environment=[("commit", "abc")],
)


class Balance(HTMLParser):
    """Fails on an element that is closed in the wrong place."""

    void = ("meta", "link", "img", "path", "polyline", "circle")

    def __init__(self):
        super().__init__()
        self.opened, self.seen = [], []

    def handle_starttag(self, tag, attributes):
        self.seen.append(tag)
        if tag not in self.void:
            self.opened.append(tag)

    def handle_endtag(self, tag):
        assert self.opened.pop() == tag

    def handle_startendtag(self, tag, attributes):
        self.seen.append(tag)


def test_page_is_balanced_and_has_its_parts():
    page, parser = render_report(CONTENT), Balance()
    parser.feed(page)
    assert parser.opened == []
    assert parser.seen.count("table") == 4
    assert parser.seen.count("img") == parser.seen.count("polyline") == 1
    for text in ("12.34", "ten trials", "The figures are left out", "loss_cls", "SEED", "abc"):
        assert text in page


def test_page_needs_no_network_and_no_javascript():
    page = render_report(CONTENT)
    assert "<script" not in page
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "http" not in page
    assert "url(" not in page
    assert "prefers-color-scheme:dark" in page
    assert "width=device-width" in page


def test_words_of_a_run_cannot_become_markup():
    page = render_report(CONTENT)
    assert "Configuration &lt;abc&gt;" in page
    assert "<MIIM>" not in page
    hostile = '"><script>alert(1)</script>'
    everywhere = ReportContent(
        title=hostile,
        summary=hostile,
        notes=[hostile],
        results=[ResultTable(hostile, (hostile,), [(hostile,)], [hostile])],
        curves={hostile: {hostile: ([0, 1], [1.0, 2.0])}},
        figures=[EmbeddedFigure(hostile, hostile, "cG5n")],
        changed_keys=[(hostile,) * 3],
        keys=[(hostile,) * 2],
        environment=[(hostile,) * 2],
    )
    page, parser = render_report(everywhere), Balance()
    parser.feed(page)
    assert "script" not in parser.seen and parser.opened == []


def page_of(name, iterations, values):
    return render_report(CONTENT._replace(curves={"Losses": {name: (iterations, values)}}))


def test_curve_falls_when_its_values_fall():
    page = page_of("loss", [0, 5, 10], [3.0, 2.0, 1.0])
    points = re.search(r'points="([^"]+)"', page)[1].split()
    x, y = zip(*(map(float, point.split(",")) for point in points), strict=True)
    assert list(x) == sorted(x)
    assert list(y) == sorted(y)  # downwards in SVG
    assert "iteration 10" in page


def test_curve_of_one_value_is_drawn_and_of_none_refused():
    assert "polyline" in page_of("loss", [3], [1.0])
    with pytest.raises(ValueError, match="curve 'loss': 0 values at 0 iterations"):
        place_curve("loss", [], [])
    with pytest.raises(ValueError, match="2 values at 1 iterations"):
        place_curve("loss", [1], [1.0, 2.0])
