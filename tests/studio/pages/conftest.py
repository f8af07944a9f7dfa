import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from scenes.vocabulary.vocabulary import FOUR_RELATIONS
from studio.api.app import make_app
from studio.config import GatewayConfig
from studio.pages.router import pages_router
from studio.pages.run_index import RunsFolder
from tests.studio.loopback import served
from tests.studio.pages.sample_runs import write_empty, write_sample
from tests.studio.scripted_service import ScriptedService

DEADLINE_MS = 30000


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A folder of runs that nothing writes to: `sample` and `empty`."""
    runs = tmp_path_factory.mktemp("runs")
    write_sample(runs)
    write_empty(runs)
    return runs


@pytest.fixture
def folder(sample):
    return RunsFolder(sample)


@pytest.fixture(scope="session")
def browser_thread():
    """The thread in which playwright runs, and every test that uses it: playwright keeps an event loop running in its
    thread, and no test could start one of its own there."""
    with ThreadPoolExecutor(1, thread_name_prefix="browser") as thread:
        yield thread


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem):
    """Run tests with a browser in its thread."""
    if "browser" not in pyfuncitem.fixturenames:
        return None
    given = {name: pyfuncitem.funcargs[name] for name in pyfuncitem._fixtureinfo.argnames}
    pyfuncitem.funcargs["browser_thread"].submit(pyfuncitem.obj, **given).result()
    return True


@pytest.fixture(scope="session")
def browser(browser_thread):
    """Headless Chromium; skips where it or playwright is not installed."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine; install the system's package chromium")
    with ExitStack() as stack:

        def launch():
            playwright = stack.enter_context(sync_api.sync_playwright())
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            stack.callback(browser.close)
            return browser

        yield browser_thread.submit(launch).result()
        browser_thread.submit(stack.close).result()


@pytest.fixture
def open_page(browser, browser_thread):
    """Opens pages, each in a context of its own, and in the end says what went wrong in them: errors of scripts, of the
    content policy, and requests to another place than the page came from."""
    contexts, faults = [], []

    def open_page(address, expected=(), **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(DEADLINE_MS)
        contexts.append(context)
        page = context.new_page()
        place = urlsplit(address)[:2]

        def say(text):
            if not any(one in text for one in expected):
                faults.append(text)

        page.on("pageerror", lambda error: say(f"script: {error}"))
        page.on("console", lambda message: say(f"console: {message.text}") if message.type == "error" else None)
        page.on("request", lambda r: None if _same(r.url, place) else say(f"request to {r.url[:80]}"))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        browser_thread.submit(context.close).result()
    assert faults == []


def _same(address, place):
    return address.startswith("data:") or urlsplit(address)[:2] == place


@pytest.fixture
def serve():
    """Serves the pages of a folder of runs before a scripted service; gives the address."""
    with ExitStack() as stack:

        def serve(runs, service=None, token="", vocabulary=FOUR_RELATIONS):
            config = GatewayConfig()
            service = service or ScriptedService()
            pages = [pages_router(runs, config, vocabulary)]
            app = make_app(service, config, pages, token=token, vocabulary=vocabulary)
            return stack.enter_context(served(app))

        yield serve


@pytest.fixture
def studio(sample, serve, open_page):
    """Opens Studio before a service."""

    def studio(service=None, path="/studio", token="", **options):
        return open_page(serve(sample, service, token) + path, **options)

    return studio
