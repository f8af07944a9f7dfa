"""Studio shows what a scene requires, in any words, before it is drawn."""

import json

from scenes.vocabulary.vocabulary import ANY_RELATION
from tests.studio.scripted_service import ScriptedService

ANSWER = {
    "requirements": [{"kind": "count", "item": "fox", "number": 2}, {"question": "Is it day?"}, {"kind": "smell"}]
}


def test_a_scene_in_other_words_is_read_shown_by_kind_and_drawn(sample, serve, open_page):
    service = ScriptedService()
    service.answers = [json.dumps(ANSWER)]
    page = open_page(serve(sample, service, vocabulary=ANY_RELATION) + "/studio")
    scene = page.get_by_label("Scene", exact=True)
    scene.fill("Foxes, a pair, by day")
    page.get_by_role("button", name="Show the requirements").click()
    page.get_by_text("2 requirements were read. Nothing was drawn yet").wait_for()
    assert scene.input_value() == "two foxes; ? Is it day?"
    assert page.locator(".part .kind").all_inner_texts() == ["count", "question"]
    assert "“smell”: it has no item" in page.get_by_role("alert").inner_text()
    assert service.asked == []
    page.get_by_role("button", name="Draw", exact=True).click()
    page.get_by_text("Done. 2 of 2 requirements hold").wait_for()
    assert service.asked[0].graph.prompt == "two foxes; ? Is it day?"


def test_a_scene_that_cannot_be_read_says_why(sample, serve, open_page):
    service = ScriptedService()
    service.answers = ["no", "no"]
    page = open_page(serve(sample, service, vocabulary=ANY_RELATION) + "/studio", expected=("422",))
    page.get_by_label("Scene", exact=True).fill("Foxes!")
    page.get_by_role("button", name="Show the requirements").click()
    page.get_by_text("made no requirements of it in 2 tries").wait_for()
    assert page.get_by_label("Scene", exact=True).input_value() == "Foxes!"
