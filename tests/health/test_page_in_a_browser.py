"""
The page in a real browser: it lives, it lets nothing in, anybody can use it, and a flood of events does not slow it.

With SCREENSHOTS=<folder> it also keeps pictures of the page: light, dark, and on a phone.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from hungframe import CircuitBreaker, Guard, TokenBucket
from hungframe.health import app
from tests.health.scene import scene
from tests.health.serving import served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
TOKEN = "correct horse battery staple"

pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium here, or no chromedriver for it"),
    pytest.mark.skipif(not find_spec("selenium"), reason="selenium is not installed"),
    pytest.mark.skipif(not find_spec("uvicorn"), reason="uvicorn is not installed"),
]

# Before any script of the page runs: note what the policy refuses, and what keeps the page from answering.
WATCH = """
window.violations = [];
window.longest = 0;
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
  violations.push(`${violatedDirective} ${blockedURI}`);
});
new PerformanceObserver((list) => {
  for (const { duration } of list.getEntries()) longest = Math.max(longest, duration);
}).observe({ type: "longtask", buffered: true });
"""


@pytest.fixture(scope="module")
def driver() -> Iterator[Any]:
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for word in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--lang=en-GB"):
        options.add_argument(word)
    # Nothing of it is for the network: no updates, no reports.
    for word in ("--disable-background-networking", "--disable-component-update", "--no-first-run", "--disable-sync"):
        options.add_argument(word)
    if getattr(os, "geteuid", lambda: 1)() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    chrome = Chrome(options=options, service=ChromeService(str(DRIVER)))
    try:
        chrome.set_script_timeout(10)
        chrome.set_page_load_timeout(15)
        chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        yield chrome
    finally:
        chrome.quit()


class Page:
    """
    The page as its reader sees it.
    """

    def __init__(self, driver: Any, port: int) -> None:
        self.driver = driver
        self.url = f"http://127.0.0.1:{port}/"
        self.looks()
        driver.get_log("browser")

    def looks(self, scheme: str = "light", width: int = 1320, height: int = 1000) -> None:
        """
        Set the colour scheme, and the size of the window.
        """
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def open(self) -> None:
        self.driver.get(self.url)
        self.until(lambda: self.js("return document.body.dataset.link") == "live")

    def js(self, code: str) -> Any:
        return self.driver.execute_script(code)

    def text(self, selector: str) -> str:
        return str(self.js(f"return document.querySelector({selector!r}).innerText"))

    def until(self, what: Callable[[], Any], within: float = 6.0) -> Any:
        """
        Wait for it, and return it.
        """
        ends_at = time.monotonic() + within
        while not (found := what()):
            assert time.monotonic() < ends_at, f"not within {within} s: {self.js('return document.body.innerText')}"
            time.sleep(0.02)
        return found

    def until_there_are_guards(self, count: int) -> None:
        self.until(lambda: self.js("return document.querySelectorAll('.guard').length") == count)

    def console(self) -> list[str]:
        """
        What the console has that is no information.
        """
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]

    def violations_of_axe(self, rules: list[str] | None = None) -> list[str]:
        """
        What axe-core finds wrong for somebody who does not see, or not well.
        """
        module = pytest.importorskip("axe_core_python.selenium", reason="axe-core-python is not installed")
        found = module.Axe().run(self.driver, options={"runOnly": rules} if rules else {})
        return [f"{each['id']}: {[node['html'] for node in each['nodes']]}" for each in found["violations"]]


@contextmanager
def opened(driver: Any, application: Any) -> Iterator[Page]:
    """
    Serve it, and have it open.
    """
    with served(application) as port:
        page = Page(driver, port)
        page.open()
        try:
            yield page
        finally:
            # The page asks its server again and again, and this one is about to go.
            driver.get("about:blank")


def test_a_breaker_opens_live(driver: Any) -> None:
    """
    What happens is on the page half a second later: state, countdown, events, title; and a screen reader is told.
    """
    guard = Guard("images", budget=TokenBucket(capacity=9), breaker=CircuitBreaker(open_for=30))
    with opened(driver, app(guard)) as page:
        assert ("Closed", "images") == (page.text(".word"), page.text("h2"))
        assert "Ready: 1 closed" == page.text("#verdict")
        guard.call(str)
        page.until(lambda: "1 answered" in page.text(".legend"))
        assert "8 of 9 tokens left" == page.text(".budget p")
        for _ in range(3):
            guard.health.record_failure("timeout")

        page.until(lambda: page.text(".word") == "Open")
        assert "Not ready: 1 open" == page.text("#verdict")
        countdown = page.until(lambda: page.text(".next"))
        assert countdown.startswith("Next try in")
        assert "1 open | Health" == driver.title
        assert any("Breaker opened" in line for line in page.text(".told").splitlines())
        page.until(lambda: "images: open" in page.text("#said"))
        page.until(lambda: page.text(".next") != countdown)
        guard.reset()
        page.until(lambda: page.text(".word") == "Closed" and page.text(".next") == "")
        assert [] == page.js("return violations")
        assert [] == page.console()


def test_lets_nothing_in(driver: Any) -> None:
    """
    Names are text and never markup, and no script runs that is not the page's own.
    """
    guard = Guard("<img src=x onerror=window.hacked=1>")
    with opened(driver, app(guard)) as page:
        assert guard.name == page.text("h2")
        page.js(
            """
            const script = document.createElement("script");
            script.textContent = "window.hacked = 1";
            document.body.append(script);
            document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.hacked=1'>");
            """
        )
        page.until(lambda: len(page.js("return violations")) >= 2)
        assert page.js("return window.hacked === undefined")
        assert all(each.startswith(("script-src", "img-src")) for each in page.js("return violations"))
        page.console()


def test_says_when_it_has_lost_touch(driver: Any) -> None:
    """
    It says that what it shows is old; and is live again by itself when the server is there again.
    """
    guard = Guard("images")
    application = app(guard)
    with served(application) as port:
        page = Page(driver, port)
        page.open()
        page.js("const now = performance.now.bind(performance); performance.now = () => now() + 13000;")
        page.until(lambda: page.js("return document.body.dataset.link") == "stale")
        assert page.text("#link-words").startswith("No word for 1")
        guard.call(str)
        page.until(lambda: page.js("return document.body.dataset.link") == "live")
        # So that the server need not wait for it.
        application.close()
    with served(app(Guard("another")), port):
        page.until(lambda: page.text("h2") == "another")
        driver.get("about:blank")


def test_for_everybody(driver: Any) -> None:
    """
    axe-core finds nothing in light and dark, on a screen and a phone, nor does the page scroll sideways; and the Tab
    key alone goes everywhere.
    """
    from selenium.webdriver import ActionChains, Keys

    until = threading.Event()
    pictures = os.environ.get("SCREENSHOTS")
    try:
        with opened(driver, scene(until, operator_token=TOKEN)) as page:
            for name, scheme, width in [("light", "light", 1320), ("dark", "dark", 1320), ("phone", "light", 390)]:
                page.looks(scheme, width)
                page.open()
                page.until_there_are_guards(3)
                # Structure and names are the same in each; the colours are not.
                assert [] == page.violations_of_axe(None if name == "light" else ["color-contrast"])
                assert width == page.js("return document.documentElement.scrollWidth")
                if pictures:
                    page.looks(scheme, width, page.js("return document.documentElement.scrollHeight"))
                    time.sleep(0.4)
                    driver.save_screenshot(str(Path(pictures) / f"health-page-{name}.png"))
            page.open()
            page.until_there_are_guards(3)
            reached = []
            for _ in range(6):
                ActionChains(driver).send_keys(Keys.TAB).perform()
                reached.append(page.js("const it = document.activeElement; return it.name || it.innerText"))
                assert "none" != page.js("return getComputedStyle(document.activeElement).outlineStyle")
            assert ["Skip to the guards", "guard", "action", "token", "Set", "health.json"] == reached
            assert [] == page.console()
    finally:
        until.set()


def test_an_operator_acts(driver: Any) -> None:
    """
    With the token and no other, and is told what became of it.
    """
    from selenium.webdriver.common.by import By

    guard = Guard("images")
    with opened(driver, app(guard, operator_token=TOKEN)) as page:
        token = page.until(lambda: driver.find_element(By.NAME, "token"))
        token.send_keys("a wrong guess of it")
        token.submit()
        page.until(lambda: page.text("#done").startswith("Not allowed"))
        assert "closed" == guard.snapshot().state
        token.clear()
        token.send_keys(TOKEN)
        token.submit()
        page.until(lambda: page.text("#done") == "Done; it is forced open now.")
        page.until(lambda: page.text(".word") == "Forced open")
        assert any("Set by an operator: force open" in line for line in page.text(".told").splitlines())
        assert [] == page.js("return violations")
        assert all("403" in message for message in page.console())


def test_a_flood(driver: Any) -> None:
    """
    A thousand events a second: the page goes on answering, and does not grow.
    """
    guard = Guard("images", timeout=5)
    quick = guard.using(isolate=None)
    told = 0

    with opened(driver, app(guard)) as page:
        elements = page.js("return document.querySelectorAll('*').length")
        page.js("longest = 0")
        begun = time.monotonic()
        while time.monotonic() - begun < 1.5:
            for _ in range(10):
                quick.call(str)
                told += 2
            time.sleep(max(0.0, begun + told / 1000 - time.monotonic()))
        page.until(lambda: guard.snapshot().counts["success"] == told // 2 and "100 answered" in page.text(".legend"))
        longest = page.js("return longest")
        print(f"{told} events in {time.monotonic() - begun:.1f} s; the longest task took {longest:.0f} ms")
        assert told > 1000
        # 50 ms is where a task counts as long at all; a machine that is busy otherwise adds to it.
        assert longest < 300
        assert page.js("return document.querySelectorAll('*').length") < elements + 30
        assert [] == page.console()
