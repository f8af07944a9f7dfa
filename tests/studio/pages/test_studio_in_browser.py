from rollout.state import Unread
from scenes.vocabulary.vocabulary import ANY_RELATION
from studio.episodes.service import ServiceUnavailable
from tests.studio.loopback import wait_for
from tests.studio.pages.drawing import SCENE, draw
from tests.studio.scripted_service import ScriptedService

TOKEN = "a-token-of-some-length"


def test_a_scene_is_built_from_chips_and_corrected_turn_by_turn(studio):
    service = ScriptedService(holds_after=2)
    page = studio(service)
    page.get_by_text("Add a relation").first.click()
    for subject, relation, object_ in (("red circle", "left of", "blue square"), ("green star", "above", "red circle")):
        page.get_by_label("Object").first.fill(subject)
        page.get_by_label("Relation", exact=True).select_option(relation)
        page.get_by_label("Object").last.fill(object_)
        page.keyboard.press("Enter")
    assert page.get_by_label("Scene", exact=True).input_value() == SCENE
    assert page.locator(".part").count() == 2
    page.get_by_role("button", name="Draw").click()
    page.get_by_text("Done. 2 of 2 requirements hold").wait_for()
    turns = page.locator(".turn")
    assert turns.locator("h3").all_inner_texts() == ["First image", "Turn 1", "Turn 2"]
    assert [turns.nth(k).locator(".chip.yes").count() for k in range(3)] == [1, 1, 2]
    assert page.locator(".chip.turned").inner_text().split() == [
        "✓",
        "now",
        "holds:",
        *["green", "star", "above", "red", "circle", "0.90"],
    ]
    assert turns.nth(1).locator("dd").all_inner_texts() == ["it is wrong", "move it"]
    assert page.evaluate(
        "[...document.querySelectorAll('.turn img')].every((i) => i.complete && i.naturalWidth === 64)"
    )
    assert "actor 3, editor 5" in page.locator(".end").inner_text()
    assert page.get_by_label("Seed", exact=True).input_value() == str(service.asked[0].seed)
    assert service.asked[0].graph.prompt == SCENE


def test_models_that_know_more_take_any_relation_between_any_objects(sample, serve, open_page):
    service = ScriptedService()
    page = open_page(serve(sample, service, vocabulary=ANY_RELATION) + "/studio")
    page.get_by_text("Add a relation").first.click()
    page.get_by_label("Object").first.fill("Кот")
    page.get_by_label("Object").last.fill("jack in the box")
    page.get_by_role("button", name="Add", exact=True).click()
    assert page.evaluate("document.activeElement.id") == "relation"  # it is empty
    page.get_by_label("Relation", exact=True).fill("leaping over")
    page.keyboard.press("Enter")
    scene = page.get_by_label("Scene", exact=True)
    assert scene.input_value() == "Кот [leaping over] jack in the box"
    scene.fill(scene.input_value() + "; a red fox on a table")
    assert page.locator(".part").count() == 2
    page.get_by_role("button", name="Draw").click()
    page.get_by_text("Done. 2 of 2 requirements hold").wait_for()
    assert service.asked[0].graph.prompt == "Кот leaping over jack in the box; red fox on table"


def test_an_answer_that_could_not_be_read_is_shown_with_its_reason(studio):
    page = studio(ScriptedService(unread=[Unread(2, "what is wrong?", "<b>Nothing</b>.", "no edit")]))
    draw(page)
    page.get_by_text("Done.").wait_for()
    said = "The answer of turn 2 could not be read (no edit): “<b>Nothing</b>.”."
    assert said in page.locator(".end").inner_text()


def test_a_part_is_removed_by_the_keyboard(studio):
    page = studio()
    page.get_by_role("button", name="red circle left of").click()
    page.get_by_role("button", name="Remove: red circle").focus()
    page.keyboard.press("Enter")
    assert page.get_by_label("Scene", exact=True).input_value() == "green star above red circle"
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Remove: green star above red circle"


def test_models_are_compared_on_the_same_seed(studio):
    service = ScriptedService()
    page = studio(service)
    page.get_by_label("Compare with").check()
    draw(page)
    page.get_by_text("Done.").wait_for()
    assert [lane.get_attribute("aria-label") for lane in page.locator(".lane").all()] == [
        "Trained models",
        "Untrained models",
    ]
    assert sorted((ask.model, ask.seed, ask.turns) for ask in service.asked) == [("rlrig", 7, 3), ("rlrig-raw", 7, 3)]


def test_a_link_brings_the_scene_and_asks_for_nothing(studio):
    service = ScriptedService()
    page = studio(service)
    draw(page)
    page.get_by_text("Done.").wait_for()
    address = page.url
    assert "#" in address
    service.asked.clear()
    other = page.context.new_page()
    other.goto(address)
    other.get_by_text("came with the link").wait_for()
    assert other.get_by_label("Scene", exact=True).input_value() == SCENE
    assert other.get_by_label("Seed", exact=True).input_value() == "7"
    assert other.get_by_label("Turns at most").input_value() == "3"
    assert service.asked == []


def test_what_could_not_be_read_is_shown_beside_what_could(studio):
    page = studio(expected=["422"])
    draw(page, scene="red circle left of blue square; a happy dog")
    problem = page.locator("#problem")
    problem.get_by_text("could not be read").wait_for()
    assert "Understood: red circle left of blue square" in problem.inner_text()
    assert "Not understood: “a happy dog”" in problem.inner_text()
    assert page.get_by_role("button", name="Draw").is_enabled()


def test_a_form_that_is_not_complete_is_not_sent(studio):
    service = ScriptedService()
    page = studio(service)
    draw(page, scene=" ", turns="99")
    assert "Say what should be where" in page.locator("#problem").inner_text()
    assert "Turns:" in page.locator("#problem").inner_text()
    assert page.evaluate("document.activeElement.id") == "prompt"
    assert service.asked == []


def test_a_service_that_cannot_answer_says_when_to_ask_again(studio):
    page = studio(ScriptedService(failure=ServiceUnavailable("the editor is being replaced", 7.0)), expected=["503"])
    draw(page)
    page.get_by_text("Try again in 7 s.").wait_for()
    assert "the editor is being replaced" in page.locator("#problem").inner_text()


def test_a_failure_after_the_first_image_keeps_what_is_there(studio):
    page = studio(ScriptedService(9, failure=ServiceUnavailable("a replica was lost"), fails_at=2))
    draw(page)
    page.get_by_text("a replica was lost").wait_for()
    assert page.locator(".turn").count() == 2
    assert page.locator("#status").inner_text() == "It did not come to its end."


def test_a_stream_that_is_cut_off_is_no_whole_episode(studio):
    page = studio()
    body = ": keep-alive\n\n"
    page.route("**/v1/images/generations", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    draw(page)
    page.get_by_text("The episode is not complete").wait_for()


def test_a_network_that_is_down_is_said(studio):
    page = studio(expected=["ERR_", "Failed to fetch"])
    page.route("**/v1/images/generations", lambda route: route.abort())
    draw(page)
    page.get_by_text("The service does not answer").wait_for()


def test_on_a_slow_network_each_turn_is_shown_as_it_comes_and_stop_frees_the_work(studio):
    service = ScriptedService(holds_after=9, turn_s=1.0)
    page = studio(service)
    slow = {"offline": False, "latency": 400, "downloadThroughput": 20_000, "uploadThroughput": 20_000}
    page.context.new_cdp_session(page).send("Network.emulateNetworkConditions", slow)
    draw(page, turns="8")
    assert page.locator("#status").inner_text() == "Asked. Waiting for the first image …"
    assert page.get_by_role("button", name="Draw").is_disabled()
    page.get_by_text("Turn 1 is there: 1 of 2 requirements holds").wait_for()
    assert page.locator(".turn").count() < 9
    page.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped.").wait_for()
    wait_for(lambda: service.under_way == 0, "the episode that was stopped")
    assert page.get_by_role("button", name="Draw").is_enabled()


def test_the_token_is_asked_for_and_stays_in_the_tab(studio):
    service = ScriptedService()
    page = studio(service, token=TOKEN, expected=["401"])
    page.get_by_text("needs an access token").wait_for()
    page.get_by_label("Access token").fill(TOKEN)
    page.get_by_role("button", name="Use").click()
    page.locator("#compare-label").wait_for()
    draw(page)
    page.get_by_text("Done.").wait_for()
    assert page.evaluate("[localStorage.length, document.cookie, sessionStorage.length]") == [0, "", 1]
    assert TOKEN not in page.url
    assert TOKEN not in page.content()
