import numpy as np
import pytest
from PIL import Image

from scenes.pictures.size import PictureSize
from tests.studio.loopback import wait_for
from tests.studio.pages.drawing import SCENE, draw
from tests.studio.scripted_service import ScriptedService


def test_the_keyboard_draws_and_another_seed_draws_again(studio):
    service = ScriptedService()
    page = studio(service)
    scene = page.get_by_label("Scene", exact=True)
    scene.fill(SCENE)
    page.get_by_label("Seed", exact=True).fill("7")
    scene.press("Control+Enter")
    page.get_by_text("Done. 2 of 2 requirements hold").wait_for()
    page.get_by_role("button", name="Another seed").click()
    wait_for(lambda: len(service.asked) == 2, "another episode")
    first, second = service.asked
    assert first.seed == 7 != second.seed
    assert first.graph.prompt == second.graph.prompt
    page.get_by_text("Done.").wait_for()
    assert page.get_by_label("Seed", exact=True).input_value() == str(second.seed)


@pytest.mark.parametrize(("holds_after", "outcome"), [(1, "all"), (9, "some")])
def test_the_colour_of_a_result_says_whether_every_requirement_holds(studio, holds_after, outcome):
    page = studio(ScriptedService(holds_after))
    draw(page)
    page.get_by_text("Done.").wait_for()
    assert outcome in page.locator(".lane").get_attribute("class").split()
    assert ("yes" if outcome == "all" else "no") in page.locator("#status").get_attribute("class").split()


class Uneven(ScriptedService):
    """Of the trained models, every requirement holds after turn 1; of the others, only for even seeds."""

    async def episode(self, ask):
        self.holds_after = 1 if ask.model == "rlrig" or ask.seed % 2 == 0 else 9
        async for one in ScriptedService(self.holds_after).episode(ask):
            yield one
        self.asked.append(ask)


def test_many_seeds_are_compared_side_by_side_at_every_turn(studio):
    service = Uneven()
    page = studio(service)
    page.get_by_label("Compare with").check()
    page.get_by_label("How many").fill("11")
    draw(page)
    page.get_by_text("Done. Every requirement holds in: trained 11 of 11, untrained 5 of 11.").wait_for()
    assert sorted((ask.model, ask.seed) for ask in service.asked) == [
        (model, seed) for model in ("rlrig", "rlrig-raw") for seed in range(7, 18)
    ]
    trained, untrained = page.locator(".lane").all()
    assert [lane.locator(".seed.yes").count() for lane in (trained, untrained)] == [11, 5]
    assert untrained.locator(".seed.no").count() == 6
    page.get_by_label("After turn").fill("0")
    page.get_by_text("After turn 0. Every requirement holds in: trained 0 of 11, untrained 0 of 11.").wait_for()
    assert page.locator(".seed.no").count() == 22
    untrained.locator(".seed").first.click()
    assert untrained.locator(".turn").count() == 4  # seed 7 used up its turns


def test_what_was_drawn_before_is_shown_again(studio):
    page = studio()
    draw(page)
    page.get_by_text("Done.").wait_for()
    draw(page, scene="red circle left of blue square", seed="9")
    page.get_by_text("Done. 1 of 1 requirements holds").wait_for()
    earlier = page.get_by_role("region", name="Earlier results").get_by_role("button")
    assert earlier.count() == 2
    assert f"{SCENE}, seed 7" in earlier.last.inner_text()
    earlier.last.click()
    page.get_by_text("Done. 2 of 2 requirements hold").wait_for()
    assert page.locator(".chip").count() == 4


def test_an_image_of_one_s_own_and_a_result_are_edited(studio, tmp_path):
    Image.new("RGB", (64, 64), (10, 10, 10)).save(tmp_path / "mine.png")
    service = ScriptedService()
    page = studio(service)
    page.get_by_label("Edit an image of yours").set_input_files(tmp_path / "mine.png")
    page.get_by_text("mine.png is edited.").wait_for()
    page.get_by_label("Scene", exact=True).fill(SCENE)
    page.get_by_role("button", name="Edit", exact=True).click()
    page.get_by_text("Done.").wait_for()
    assert (service.asked[0].image == 10).all()
    page.get_by_role("button", name="Edit this image").click()
    page.get_by_role("button", name="Edit", exact=True).click()
    wait_for(lambda: len(service.asked) == 2, "the second edit")
    assert (service.asked[1].image == 11).all()
    page.get_by_text("Done.").wait_for()
    page.get_by_role("button", name="Draw a new one instead").click()
    assert page.get_by_role("button", name="Draw", exact=True).is_visible()


def test_the_whole_strip_is_saved_as_one_picture(studio, tmp_path):
    page = studio(ScriptedService(holds_after=2))
    draw(page, seed="50")
    page.get_by_text("Done.").wait_for()
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the strip").click()
    saved.value.save_as(tmp_path / "strip.png")
    with Image.open(tmp_path / "strip.png") as strip:
        pixels = np.asarray(strip.convert("RGB"))
    for grey in (50, 51, 52):
        assert (pixels == grey).all(axis=-1).sum() == 256 * 256


def test_pictures_that_are_no_squares_keep_their_ratio_on_the_page_and_in_the_strip(studio, tmp_path):
    service = ScriptedService(holds_after=0)
    service.image_size = PictureSize(96, 64)
    page = studio(service)
    draw(page, seed="50")
    page.get_by_text("Done.").wait_for()
    shown = page.locator("img.big").first
    assert shown.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [96, 64]
    assert shown.evaluate("image => getComputedStyle(image).objectFit") == "contain"
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save the strip").click()
    saved.value.save_as(tmp_path / "strip.png")
    with Image.open(tmp_path / "strip.png") as strip:
        rows, columns = np.nonzero((np.asarray(strip.convert("RGB")) == 50).all(axis=-1))
    assert np.ptp(columns) + 1 == 256
    assert np.ptp(rows) + 1 in (170, 171)  # 256 · 64 / 96


@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_the_button_and_the_result_are_on_the_first_screen(studio, size):
    width, height = size
    page = studio(viewport={"width": width, "height": height})
    draw(page)
    page.get_by_text("Done.").wait_for()
    for place in (page.get_by_role("button", name="Draw", exact=True), page.locator(".turn img").first):
        box = place.bounding_box()
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= height
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_examples_are_pictures_of_what_they_ask_for(studio):
    page = studio()
    assert page.locator(".example svg").count() == page.locator(".example").count() == 4
    page.locator(".example").nth(1).click()
    assert page.get_by_label("Scene", exact=True).input_value() == "blue triangle above yellow square"
    marks = page.locator(".example").nth(1).locator("polygon")
    tops = [mark.bounding_box()["y"] for mark in marks.all()]
    assert [mark.get_attribute("fill") for mark in marks.all()] == ["#2850dc", "#f0d228"]
    assert tops[0] < tops[1]
