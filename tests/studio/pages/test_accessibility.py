from pathlib import Path

import pytest

from tests.studio.scripted_service import ScriptedService

CHECKS = (Path(__file__).parent / "accessibility.js").read_text(encoding="utf-8")
PAGES = {
    "/studio": ".lane .turn",
    "/runs": "#runs",
    "/runs/sample": "svg.chart",
    "/runs/empty": "#curves",
    "/runs/sample/groups": ".group",
    "/runs/sample/trajectories/3/1/0": ".tokens",
}
# What moves has come to rest.
REST = "Promise.all(document.getAnimations().map((one) => one.finished))"
SEEN = "[innerWidth, matchMedia('(prefers-color-scheme: dark)').matches]"
PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture
def ready(sample, serve, open_page):
    """Opens a page and waits for what it is about; Studio has drawn, compared and met a problem."""

    def ready(path, **options):
        address = serve(sample, ScriptedService(holds_after=1))
        page = open_page(address + path, expected=["422"], **options)
        if path == "/studio":
            page.get_by_role("button", name="red circle left of").click()
            page.get_by_label("Compare with").check()
            page.get_by_role("button", name="Draw").click()
            page.get_by_text("Done.").wait_for()
            page.evaluate("rlrig.showToken()")
            page.evaluate(
                "rlrig.showProblem(document.getElementById('problem'), {title: 'A title', lines: ['a line']})"
            )
        page.locator(PAGES[path]).first.wait_for()
        page.evaluate(REST)
        return page

    return ready


@pytest.mark.parametrize("path", PAGES)
def test_a_page_can_be_read_by_everyone(ready, path):
    """Opened on a phone, then as large and as dark as it may become."""
    page, faults = ready(path, viewport=PHONE, color_scheme="light"), {}
    for size in (PHONE, DESKTOP):
        for scheme in ("light", "dark"):
            page.set_viewport_size(size)
            page.emulate_media(color_scheme=scheme)
            page.evaluate(REST)
            faults[tuple(page.evaluate(SEEN))] = page.evaluate(CHECKS)
    assert faults == {(390, False): [], (390, True): [], (1280, False): [], (1280, True): []}


@pytest.mark.long
@pytest.mark.parametrize(("size", "scheme"), [(DESKTOP, "dark"), (PHONE, "dark"), (DESKTOP, "light")])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_that_is_opened_so_can_be_read_by_everyone(ready, path, size, scheme):
    page = ready(path, viewport=size, color_scheme=scheme)
    assert page.evaluate(CHECKS) == []


def test_the_checks_find_what_is_wrong(open_page, sample, serve):
    page = open_page(serve(sample) + "/runs")
    page.locator("#runs").wait_for()
    page.evaluate(
        """() => {
        document.documentElement.lang = "";
        const bad = document.createElement("div");
        bad.innerHTML = '<h4>x</h4><img src="data:,x" width="9" height="9"><input><button></button>';
        bad.innerHTML += '<p id="pale">pale</p>';
        document.getElementById("main").append(bad);
        document.getElementById("pale").style.color = "#aaa";
        document.getElementById("pale").style.minWidth = "3000px";
        }"""
    )
    faults = " ".join(page.evaluate(CHECKS))
    for text in (
        "no language",
        "skips a level",
        "image without",
        "without a label",
        "without a name",
        "contrast",
        "wide",
    ):
        assert text in faults


def test_everything_is_reached_by_the_keyboard_and_seen(sample, serve, open_page):
    page = open_page(serve(sample) + "/studio")
    page.locator("#compare-label").wait_for()
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    reached = []
    for _ in range(40):
        page.keyboard.press("Tab")
        found = page.evaluate(
            """() => {
            const at = document.activeElement;
            const outline = getComputedStyle(at).outlineStyle;
            return [at === document.body ? "" : at.id || at.textContent.trim(), outline];
            }"""
        )
        if not found[0] or (reached and found[0] == reached[0][0]):
            break
        reached.append(found)
    names = [name for name, _ in reached]
    assert names[0] == "To the content"
    for name in (
        "Studio",
        "Runs",
        "prompt",
        "subject",
        "relation",
        "object",
        "add",
        "seed",
        "turns",
        "count",
        "model",
        "image",
        "compare",
        "draw",
        "another",
        "share",
    ):
        assert name in names, name
    assert [name for name, outline in reached if outline == "none"] == []


def test_the_skip_link_leads_past_the_head(ready):
    page = ready("/runs/sample")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_turns_are_announced(ready):
    page = ready("/studio")
    status = page.get_by_role("status")
    assert status.get_attribute("aria-live") == "polite"
    assert "Trained models: 2 of 2 requirements hold" in status.inner_text()
