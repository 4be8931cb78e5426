"""The report's page as text."""

import json
import re
from html.parser import HTMLParser

from wrimnet.evaluation.results import ResultTable
from wrimnet.visualization.charts import Chart, Series
from wrimnet.visualization.headlines import Headline, Number
from wrimnet.visualization.page import render_page
from wrimnet.visualization.query_table import QueryRow, QueryTable
from wrimnet.visualization.report_figures import PointMap, ReportFigure
from wrimnet.visualization.run_report import ReportContent
from wrimnet.visualization.sheets import ColorScale, Sheet, SheetRow, SheetTile

LINE = Series("cls", [10, 20], [2.0, 1.0])


def figure_of(words):
    """A figure with everything that one can have, its texts as given."""
    return ReportFigure(
        words,
        words,
        sheet=Sheet(
            [SheetRow(words, [SheetTile("data:image/webp;base64,cG5n", words, [words] * 2)])],
            [ColorScale(words, words, words, "linear-gradient(90deg,red,blue)")],
            [(words, words)],
        ),
        charts=[Chart(words, words, words, [LINE._replace(name=words)])],
        maps=[PointMap(words, [0.0], [1.0], ["red"], ["circle"], [words])],
    )


CONTENT = ReportContent(
    title="wrim: WRIM-Net on LLCM (synthetic)",
    summary="Configuration <abc>",
    notes=["The figures are left out: matplotlib"],
    headlines=[Headline("llcm_ir2vis", "infrared to visible", (Number("mAP", "12.34", ("x",)),))],
    results=[ResultTable("", ("protocol", "mAP"), [("llcm_ir2vis", "12.34")], ["ten trials"])],
    learning=[Chart("Losses", "iteration", "loss", [LINE])],
    optimization=[],
    ranked=[],
    figures=[figure_of("What <MIIM> does")],
    queries=[],
    thumbnails={},
    changed_keys=[("SEED", "1", "0")],
    keys=[("SEED", "1")],
    environment=[("commit", "abc")],
)


def render_report(content):
    return render_page("report.html.j2", content._asdict())


class Balance(HTMLParser):
    """Fails on an element that is closed in the wrong place."""

    void = ("meta", "link", "img", "path", "br")

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
    assert parser.seen.count("img") == 1
    assert parser.seen.count("svg") == 2  # the lines in the legends of two charts
    for text in ("12.34", "ten trials", "The figures are left out", "Losses", "SEED", "abc"):
        assert text in page


def test_page_names_no_file_outside_itself():
    page = re.sub(r"<script>.*?</script>", "", render_report(CONTENT), flags=re.DOTALL)
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert "url(" not in page
    assert "@import" not in page
    assert "prefers-color-scheme: dark" in page
    assert "width=device-width" in page


def test_words_of_a_run_cannot_become_markup():
    page = render_report(CONTENT)
    assert "Configuration &lt;abc&gt;" in page
    assert "<MIIM>" not in page
    hostile = '"></script><script>alert(1)</script>'
    everywhere = ReportContent(
        title=hostile,
        summary=hostile,
        notes=[hostile],
        headlines=[Headline(hostile, hostile, (Number(hostile, hostile, (hostile,)),))],
        results=[ResultTable(hostile, (hostile,), [(hostile,)], [hostile])],
        learning=[Chart(hostile, hostile, hostile, [LINE._replace(name=hostile)])],
        optimization=[],
        ranked=[figure_of(hostile)],
        figures=[figure_of(hostile)],
        queries=[QueryTable(hostile, hostile, [QueryRow(hostile, 1, 2, 3.0, 4, [(hostile,) * 2])])],
        thumbnails={hostile: hostile},
        changed_keys=[(hostile,) * 3],
        keys=[(hostile,) * 2],
        environment=[(hostile,) * 2],
    )
    page, parser = render_report(everywhere), Balance()
    parser.feed(page)
    assert "alert(1)</script>" not in page
    assert parser.seen.count("script") == 3 + 6  # the page's own and its data
    assert parser.opened == []


def test_values_of_a_chart_are_in_the_page():
    page = render_report(CONTENT)
    text, *_ = re.findall(r'<script type="application/json">(.*?)</script>', page)
    (series,) = json.loads(text)["series"]
    assert (series["name"], series["x"], series["y"]) == ("cls", [10, 20], [2.0, 1.0])
