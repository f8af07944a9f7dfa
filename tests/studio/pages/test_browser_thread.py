import asyncio


def test_a_test_after_one_with_a_browser_can_start_an_event_loop(request) -> None:
    request.getfixturevalue("browser")  # asked for here, so that this test does not run in the browser's thread
    assert asyncio.run(asyncio.sleep(0, "done")) == "done"
