"""The run report in a real browser: no error, every figure visible, on a phone and in the dark."""

import numpy as np
import pytest
from browser import Browser, find_browser
from PIL import Image
from source_tree import ROOT

from wrimnet.visualization.run_report import write_report

pytestmark = pytest.mark.skipif(find_browser() is None, reason="no Chromium on this machine")
SCREENSHOTS = ROOT / "outputs" / "screenshots"
SIZES = {"desktop": (1200, 900), "phone": (390, 844)}
IMAGES = """[...document.images].map(image => [image.complete && image.naturalWidth > 0,
  image.getBoundingClientRect().width, image.getBoundingClientRect().height])"""
CHARTS = "[...document.querySelectorAll('svg')].map(svg => svg.getBoundingClientRect().height)"


@pytest.fixture(scope="module")
def report(finished_run):
    return write_report(finished_run.run)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with Browser(find_browser(), tmp_path_factory.mktemp("profile")) as browser:
        yield browser


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_opens_without_error_and_shows_everything(report, browser, size, scheme):
    width, height = SIZES[size]
    browser.open(report, width=width, height=height, scheme=scheme)
    images = browser.evaluate(IMAGES)
    assert len(images) == 6
    assert all(loaded and wide > 200 and high > 100 for loaded, wide, high in images)
    assert len(browser.evaluate(CHARTS)) == 3
    assert min(browser.evaluate(CHARTS)) > 50
    assert browser.evaluate("document.querySelectorAll('tbody tr').length") > 10
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    trouble = [
        event for event in browser.events
        if event[0] in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    ]  # fmt: skip
    assert trouble == []
    urls = [p["request"]["url"] for m, p in browser.events if m == "Network.requestWillBeSent"]
    assert urls
    assert all(url.startswith(("file:", "data:")) for url in urls)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    shot = SCREENSHOTS / f"report-{size}-{scheme}.png"
    browser.screenshot(shot)
    corner = np.asarray(Image.open(shot).convert("L"))[2, 2]
    assert corner > 200 if scheme == "light" else corner < 60


def test_tables_are_there_without_javascript(report, browser):
    browser.send("Emulation.setScriptExecutionDisabled", value=True)
    browser.open(report, width=1200, height=900, scheme="light")
    root = browser.send("DOM.getDocument")["root"]["nodeId"]
    found = browser.send("DOM.querySelectorAll", nodeId=root, selector="td")["nodeIds"]
    browser.send("Emulation.setScriptExecutionDisabled", value=False)
    assert len(found) > 30
