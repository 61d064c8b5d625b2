"""The page in Chromium: plots are drawn, nothing is fetched, tooltips and filters work."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sweeps.report import render
from tests.sweeps.report.simulated import simulated
from tests.sweeps.report.stopped import ruled
from tests.sweeps.report.test_page import report_inputs_at
from tests.sweeps.report.test_stopping import STOPPED

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("chrome")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(600),
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: apt-get install chromium"),
]

DRAWN = "document.documentElement.dataset.ready"
DESKTOP, PHONE = (1280, 900), (390, 844)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api")
    with api.sync_playwright() as play:
        found = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def real(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a real small sweep, with two readouts."""
    path = tmp_path_factory.mktemp("page") / "real.html"
    path.write_text(render(report_inputs_at(finished)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a simulated random search of 80 configurations."""
    path = tmp_path_factory.mktemp("page") / "searched.html"
    path.write_text(render(simulated(80, orders=2, seeds=2, tasks=5)), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a simulated grid whose rungs stopped most configurations."""
    folder = tmp_path_factory.mktemp("page")
    path = folder / "stopped.html"
    path.write_text(render(ruled(folder / "storage", STOPPED)), encoding="utf-8")
    return path


class Opened:
    """A page with what went wrong on it and what it asked for."""

    def __init__(self, browser: Any, path: Path, size: tuple[int, int], scheme: str) -> None:
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=scheme
        )
        self.page = self.context.new_page()
        self.issues: list[str] = []
        self.requests: list[str] = []
        self.page.on(
            "console", lambda m: m.type in {"error", "warning"} and self.issues.append(m.text)
        )
        self.page.on("pageerror", lambda error: self.issues.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_function(DRAWN, timeout=120_000)

    def count(self, selector: str) -> int:
        return int(self.page.locator(selector).count())

    def check(self) -> None:
        """Nothing was complained about, and the file alone was read."""
        assert self.issues == []
        assert [u for u in self.requests if not u.startswith(("file:", "data:", "blob:"))] == []
        assert self.page.evaluate(DRAWN) == "true"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_every_plot_is_drawn_and_nothing_is_fetched(
    browser: Any, real: Path, size: tuple[int, int], scheme: str
) -> None:
    opened = Opened(browser, real, size, scheme)
    page = opened.page
    for element in page.locator(".plot:visible").all():
        assert element.locator("svg.main-svg").count() > 0, element.get_attribute("id")
        marks = element.locator(".point, .trace, .hm image, .heatmaplayer image, path.xy").count()
        assert marks > 0, element.get_attribute("aria-label")
    assert page.locator(".plot:visible").count() >= 10
    assert opened.count("#parallel polyline") == 3  # a joint run has one value, and no line
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    level = sum(map(int, ground.strip("rgb()").split(","))) / 3
    assert level > 200 if scheme == "light" else level < 60
    opened.check()


def test_a_table_is_downloaded_as_csv(browser: Any, searched: Path, tmp_path: Path) -> None:
    """The file has the heading and the cells of the table; no cell is run as a formula."""
    opened = Opened(browser, searched, DESKTOP, "light")
    page = opened.page
    page.evaluate("document.querySelector('#front-0 details').open = true")
    with page.expect_download() as download:
        page.click("#front-0 .csv")
    file = tmp_path / "table.csv"
    download.value.save_as(file)
    assert download.value.suggested_filename == "front-0.csv"
    rows = list(csv.reader(file.read_text(encoding="utf-8-sig").splitlines()))
    cells = page.locator("#front-0 table tr").all()
    assert len(rows) == len(cells) > 10
    assert rows[1] == [each.strip() for each in cells[1].locator("td").all_text_contents()]
    assert not any(cell.startswith(("=", "+", "@")) for row in rows for cell in row)
    opened.check()


def test_the_button_turns_the_lights_out(browser: Any, real: Path) -> None:
    opened = Opened(browser, real, DESKTOP, "light")
    page = opened.page
    ink = "getComputedStyle(document.querySelector('#front-0 .xtick text')).fill"
    before = page.evaluate(ink)
    page.click("#theme")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    assert page.evaluate(ink) != before
    opened.check()


def test_tooltips_define_their_words(browser: Any, real: Path) -> None:
    opened = Opened(browser, real, DESKTOP, "light")
    page = opened.page
    term = page.locator("#front .term", has_text="forgetting").first
    term.hover()
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert tip.inner_text() == term.get_attribute("data-tip")
    box = tip.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= DESKTOP[0]
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    term.focus()  # for those who have no mouse
    assert tip.is_visible()
    opened.check()


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_attainment_path_and_stopping_are_drawn(
    browser: Any, stopped: Path, scheme: str, size: tuple[int, int]
) -> None:
    opened = Opened(browser, stopped, size, scheme)
    page = opened.page
    assert opened.count("#attained-0 .scatterlayer path.js-line") >= 3
    assert opened.count("#attained-0 .legend .traces") == 3
    assert opened.count("#stopping-rungs .bars .point") == 6
    for name in ("attained-0", "path-average_accuracy", "stopping-regret"):
        assert opened.count(f"#{name} .points path") > 1, name
        term = page.locator(f"#{name} .terms .term").first
        term.focus()
        assert page.inner_text("#tip") == term.get_attribute("data-tip")
        page.locator(f"#{name} summary").click()
        assert page.locator(f"#{name} table").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    opened.check()


def test_a_click_opens_a_configuration(browser: Any, real: Path) -> None:
    opened = Opened(browser, real, DESKTOP, "light")
    page = opened.page
    row = page.locator("#list tbody tr", has_text="importance_threshold=0.2").first
    row.click()
    assert "importance_threshold=0.2" in page.inner_text("#detail-title")
    assert row.get_attribute("aria-selected") == "true"
    assert page.locator("#detail-maps .main-svg").count() > 0
    page.locator("#detail-validation + details summary").click()
    numbers = "#detail-validation-table tbody tr:last-child td"
    cells = [float(text) for text in page.locator(numbers).all_inner_texts()[1:]]
    assert len(cells) == 5
    printed = page.inner_text("#detail-text").split("average accuracy / %: validation ")[1]
    assert sum(cells) / 5 == pytest.approx(float(printed.split()[0]), abs=0.15)
    assert opened.count("#detail-curves-table tbody tr") == 5
    assert opened.count("#detail-freeze-table tbody tr") > 5
    before = page.inner_text("#detail-title")
    page.locator("#list tbody tr", has_text="nearest_class_mean").first.press("Enter")
    assert page.inner_text("#detail-title") != before
    assert not page.locator("#detail-maps").is_visible()
    opened.check()


def test_plots_keep_their_height_and_follow_the_width(browser: Any, real: Path) -> None:
    """A phone changes the height of its window whenever the address bar hides."""
    opened = Opened(browser, real, DESKTOP, "light")
    page = opened.page
    sizes = (
        "[...document.querySelectorAll('.js-plotly-plot')].filter(e => e.offsetParent)"
        ".map(e => [e, e.querySelector('.main-svg')].map(x => x.getBoundingClientRect()))"
        ".map(([home, svg]) => [home.width, home.height, svg.width, svg.height])"
    )
    before = page.evaluate(sizes)
    page.set_viewport_size({"width": DESKTOP[0], "height": DESKTOP[1] + 300})
    page.wait_for_timeout(400)
    assert page.evaluate(sizes) == before
    page.set_viewport_size({"width": 900, "height": DESKTOP[1]})
    page.wait_for_timeout(400)
    for width, height, inner, own in page.evaluate(sizes):
        assert inner == pytest.approx(width, abs=1.5)
        assert own <= height
    assert page.evaluate("document.documentElement.scrollWidth") <= 900
    opened.check()


def test_one_readout_at_a_time(browser: Any, real: Path) -> None:
    opened = Opened(browser, real, DESKTOP, "light")
    page = opened.page
    assert page.locator("#front-0").is_visible()
    assert not page.locator("#front-1").is_visible()
    page.locator("[data-pick-readout^=batch]").click()
    assert not page.locator("#front-0").is_visible()
    assert page.locator("#front-1 .main-svg").count() > 0
    assert "batch-wise" in page.inner_text("#configurations")
    assert "leaks the task" in page.inner_text("#configurations")
    opened.check()


def test_filters_keep_what_they_say(browser: Any, searched: Path) -> None:
    opened = Opened(browser, searched, DESKTOP, "light")
    page = opened.page
    kept = page.locator("#kept")
    assert kept.inner_text() == "81 of 81 configurations"
    assert opened.count("#list tbody tr") == 50
    page.click("#more")
    assert opened.count("#list tbody tr") == 81
    page.uncheck("#role-baseline")
    assert kept.inner_text() == "80 of 81 configurations"
    page.check("#only-front")
    left = int(kept.inner_text().split()[0])
    assert 0 < left < 80
    assert opened.count("#parallel polyline") == left
    page.fill("#find", "rank=4")
    assert all(
        "rank=4" in text for text in page.locator("#list tbody td:first-child").all_inner_texts()
    )
    page.click("#filters button[type=reset]")
    page.wait_for_function("document.getElementById('kept').textContent.startsWith('81')")
    opened.check()


def test_a_range_on_an_axis_keeps_what_crosses_it(browser: Any, searched: Path) -> None:
    opened = Opened(browser, searched, DESKTOP, "light")
    page = opened.page
    page.locator("#parallel").scroll_into_view_if_needed()
    grip = page.locator("#parallel .grip[data-axis='3']")  # the first objective, better on top
    box = grip.bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + 2)
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    left = int(page.inner_text("#kept").split()[0])
    assert 0 < left < 81
    assert opened.count("#parallel .brush") == 1
    faded = (
        "document.querySelector('#front-0 .plot').data.some(t => (t.selectedpoints || []).length)"
    )
    assert page.evaluate(faded)  # the front shows the same choice
    opened.check()


def test_it_prints_in_light_colors_with_its_tables(
    browser: Any, real: Path, tmp_path: Path
) -> None:
    opened = Opened(browser, real, DESKTOP, "dark")
    page = opened.page
    page.emulate_media(media="print", color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    assert page.locator("#front-0 table").is_visible()
    assert not page.locator("#filters").is_visible()
    widths = page.evaluate(
        "[...document.querySelectorAll('.js-plotly-plot')].filter(e => e.offsetParent)"
        ".map(e => e.querySelector('.main-svg').getBoundingClientRect().width)"
    )
    assert max(widths) <= 690  # what an A4 page holds
    pdf = tmp_path / "page.pdf"
    page.pdf(path=str(pdf), format="A4", print_background=True)
    assert pdf.stat().st_size > 50_000
    page.emulate_media(media="screen", color_scheme="dark")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")
    opened.check()
