"""Report and comparison in a real browser: readable on a phone and in the dark, values shown."""

import itertools
import json
import re
import shutil

import numpy as np
import pytest
from browser import Browser, find_browser
from compare_runs import write_page
from PIL import Image
from source_tree import ROOT

from wrimnet.lab.run_comparison import compare
from wrimnet.visualization.run_report import write_report

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine")
SCREENSHOTS = ROOT / "outputs" / "screenshots"
UNREADABLE = (ROOT / "tests" / "page_checks.js").read_text(encoding="utf-8")
WIDTHS = {1200: 900, 400: 844}  # and the height of the window
IMAGES = """[...document.images].map(image => [image.complete && image.naturalWidth > 0,
  image.getBoundingClientRect().width, image.getBoundingClientRect().height])"""
CHARTS = (
    "[...document.querySelectorAll('.plot svg')].map(svg => svg.getBoundingClientRect().height)"
)
FIRST_PLOT = "document.querySelector('.plot')"
READOUT = """[...document.querySelector('.chart').querySelectorAll('.place, output')]
  .map(element => element.textContent)"""


@pytest.fixture(scope="module")
def run(finished_run, tmp_path_factory):
    """The finished run with two evaluations whose mAP differs by a hundredth of a percent."""
    folder = tmp_path_factory.mktemp("report") / "wrim"
    shutil.copytree(finished_run.run, folder)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for line, value in ((lines[1], 0.0757), (lines[3], 0.0756)):
        for protocol in ("llcm_ir2vis", "llcm_vis2ir"):
            line |= {f"{protocol}/mAP": value, f"{protocol}/Rank-1": value}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture(scope="module")
def report(run):
    return write_report(run)


@pytest.fixture(scope="module")
def comparison(run, tmp_path_factory):
    """The page of two configurations, two seeds each, with names as people give them."""
    folder, folders = tmp_path_factory.mktemp("comparison"), []
    config = (run / "config.yaml").read_text()
    for (name, rate), seed in itertools.product({"wrim": "0.001", "other": "0.002"}.items(), "01"):
        folders.append(folder / f"{name}-with-a-name-as-long-as-people-give-them" / f"seed{seed}")
        folders[-1].mkdir(parents=True)
        for file in ("results.json", "metrics.jsonl"):
            shutil.copy(run / file, folders[-1])
        changed = re.sub(r"(\bBASE_LR:) .*", rf"\1 {rate}", config)
        changed = re.sub(r"^(SEED:) .*", rf"\1 {seed}", changed, flags=re.MULTILINE)
        (folders[-1] / "config.yaml").write_text(changed)
    write_page(compare(folders), folder / "page.html")
    return folder / "page.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(find_browser(), tmp_path_factory.mktemp("profile")) as browser:
        yield browser


def check_readable(browser):
    """The open page has no unreadable text and no error, and asks no network for anything."""
    assert browser.evaluate(UNREADABLE) == []
    trouble = [
        event for event in browser.events
        if event[0] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    ]  # fmt: skip
    assert trouble == []
    urls = [p["request"]["url"] for m, p in browser.events if m == "Network.requestWillBeSent"]
    assert urls
    assert all(url.startswith(("file:", "data:")) for url in urls)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_opens_without_error_and_everything_is_readable(report, browser, width, scheme):
    browser.open(report, width=width, height=WIDTHS[width], scheme=scheme)
    images = browser.evaluate(IMAGES)
    assert images
    assert all(loaded and wide > 20 and high > 20 for loaded, wide, high in images)
    assert len(browser.evaluate(CHARTS)) == 5 + 5  # of the log; gates, embeddings, distances
    assert min(browser.evaluate(CHARTS)) > 150
    check_readable(browser)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    shot = SCREENSHOTS / f"report-{width}-{scheme}.png"
    browser.screenshot(shot)
    corner = np.asarray(Image.open(shot).convert("L"))[2, 2]
    assert corner > 200 if scheme == "light" else corner < 60


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_comparison_opens_without_error_and_everything_is_readable(
    comparison, browser, width, scheme
):
    browser.open(comparison, width=width, height=WIDTHS[width], scheme=scheme)
    assert min(browser.evaluate(CHARTS)) > 150
    assert "± 0.00" in browser.evaluate("document.body.innerText")  # paired differences of 2 seeds
    check_readable(browser)


def test_main_numbers_are_on_the_first_screen(report, browser):
    browser.open(report, width=1200, height=900, scheme="light")
    bottoms = browser.evaluate("""[...document.querySelectorAll('.protocol')]
      .map(element => element.getBoundingClientRect().bottom)""")
    assert len(bottoms) == 2
    assert max(bottoms) < 900


def test_first_ranked_list_is_near_the_top_of_a_phone(report, browser):
    browser.open(report, width=400, height=844, scheme="light")
    assert browser.evaluate("document.querySelector('.tiles').getBoundingClientRect().top") < 2500


def test_a_hundredth_of_a_percent_looks_flat(report, browser):
    browser.open(report, width=1200, height=900, scheme="light")
    heights = browser.evaluate("""[...document.querySelectorAll('.chart')]
      .filter(chart => chart.textContent.includes('mAP by epoch'))
      .flatMap(chart => [...chart.querySelectorAll('[aria-label="line"] path')])
      .map(path => path.getBBox().height)""")
    assert len(heights) == 2
    assert max(heights) < 1


def press(browser, key):
    for kind in ("keyDown", "keyUp"):
        browser.send("Input.dispatchKeyEvent", type=kind, key=key)


def test_values_are_shown_by_keyboard_and_by_pointer(report, browser):
    browser.open(report, width=1200, height=900, scheme="light")
    assert browser.evaluate(READOUT) == ["epoch 2", "7.56", "7.56"]
    browser.evaluate(f"{FIRST_PLOT}.focus()")
    press(browser, "ArrowLeft")
    assert browser.evaluate(READOUT)[1:] == ["7.57", "7.57"]
    spoken = browser.evaluate(f"{FIRST_PLOT}.getAttribute('aria-valuetext')")
    assert "llcm_ir2vis 7.57" in spoken
    press(browser, "End")
    assert browser.evaluate(READOUT)[1] == "7.56"
    left, top = browser.evaluate(f"""(() => {{ const box = {FIRST_PLOT}.getBoundingClientRect();
      return [box.left, box.top]; }})()""")
    browser.send("Input.dispatchMouseEvent", type="mouseMoved", x=left + 60, y=top + 100)
    assert browser.evaluate(READOUT)[1] == "7.57"


def test_queries_are_sorted_by_the_heading_that_is_pressed(report, browser):
    browser.open(report, width=1200, height=900, scheme="light")
    browser.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    ranks = """[...document.querySelector('.sortable tbody').rows]
      .map(row => Number(row.dataset.first))"""
    press_heading = "document.querySelector('.sortable [data-column=first]').click()"
    browser.evaluate(press_heading)
    assert browser.evaluate(ranks) == sorted(browser.evaluate(ranks))
    browser.evaluate(press_heading)
    descending = browser.evaluate(ranks)
    assert descending == sorted(descending, reverse=True)
    assert len(set(descending)) > 1
    loaded = "[...document.querySelectorAll('.sortable img')].map(image => image.naturalWidth)"
    assert min(browser.evaluate(loaded)) > 0
    assert browser.evaluate(UNREADABLE) == []


def test_tables_are_there_without_javascript(report, browser):
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(report, width=1200, height=900, scheme="light")
    root = browser.send("DOM.getDocument")["root"]["nodeId"]
    found = browser.send("DOM.querySelectorAll", nodeId=root, selector="td")["nodeIds"]
    browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert len(found) > 30
