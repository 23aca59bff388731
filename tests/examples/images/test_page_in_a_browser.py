"""
The page in a real browser: it plays the frames, never shows a broken one, and tells what is wrong with what is asked.

With SCREENSHOTS=<folder> it also keeps pictures of the page: light, dark, and on a phone.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from examples.images.api.app import create_app
from examples.images.ports import Frame, Image
from tests.examples.images.api_parts import (
    CATALOGUE,
    NOON,
    BoardInMemory,
    FramesInMemory,
    QueueInMemory,
    gradient,
    served,
)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")

pytestmark = [
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium here, or no chromedriver for it"),
    pytest.mark.skipif(not find_spec("selenium"), reason="selenium is not installed"),
]

GOOD = {f"good-{number}.png": gradient(*colour) for number, colour in enumerate([(230, 120, 60), (40, 160, 150)])}
# Broken in each way that bytes break: no image, only its begin, cut off, changed in the middle, without its end.
_WHOLE = gradient(90, 60, 200, 128)
BROKEN = {
    "text.png": b"<html>502 Bad Gateway</html>",
    "magic.png": _WHOLE[:8],
    "cut.png": _WHOLE[: len(_WHOLE) // 2],
    "changed.png": _WHOLE[:60] + bytes(40) + _WHOLE[100:],
    "no-end.png": _WHOLE[:-30],
}

# Before any script of the page runs: note what comes onto the screen, and what the policy refuses.
WATCH = """
window.seen = [];
window.violations = [];
addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) => {
  violations.push(`${violatedDirective} ${blockedURI}`);
});
addEventListener("DOMContentLoaded", () => {
  const note = ({ src, naturalWidth, complete }) =>
    seen.push({ href: src, src: new URL(src).pathname, naturalWidth, complete });
  new MutationObserver((changes) => {
    for (const change of changes) for (const added of change.addedNodes) if (added.tagName === "IMG") note(added);
  }).observe(document.getElementById("screen"), { childList: true, subtree: true });
});
"""


@dataclass
class Stage:
    """
    The browser, and what stands behind the page.
    """

    driver: Any
    queue: QueueInMemory = field(default_factory=QueueInMemory)
    frames: FramesInMemory = field(default_factory=FramesInMemory)
    board: BoardInMemory = field(default_factory=BoardInMemory)

    def app(self, **settings: Any) -> Any:
        return create_app(
            self.queue,
            self.frames,
            self.board,
            catalogue=CATALOGUE,
            default_model="gpt-image-1",
            health_kept_for=0,
            **settings,
        )

    def js(self, code: str) -> Any:
        return self.driver.execute_script(code)

    def until(self, what: Callable[[], Any], within: float = 10.0) -> Any:
        """
        Wait for it, and return it.
        """
        ends_at = time.monotonic() + within
        while not (found := what()):
            assert time.monotonic() < ends_at, f"not within {within} s: {self.driver.page_source[-3000:]}"
            time.sleep(0.02)
        return found

    def text(self, id: str) -> str:
        return str(self.js(f"return document.getElementById('{id}').innerText"))

    def seen(self) -> list[str]:
        return [image["src"] for image in self.js("return seen")]

    def console(self) -> list[str]:
        """
        What the console has that is no answer of the server's, which the page deals with.
        """
        entries = [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "INFO"]
        return [message for message in entries if "Failed to load resource" not in message]


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
        chrome.set_script_timeout(5)
        chrome.set_page_load_timeout(15)
        chrome.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
        yield chrome
    finally:
        chrome.quit()


@pytest.fixture
def stage(driver: Any) -> Stage:
    """
    With nothing in the console. The page of the test before still asks its server, which is gone, until the next comes.
    """
    driver.get_log("browser")
    return Stage(driver)


def test_the_slideshow_plays_and_never_shows_a_broken_frame(stage: Stage) -> None:
    """
    All good frames come, again and again; of the broken ones none is on the screen, not for a moment.
    """
    good, broken = iter(GOOD.items()), iter(BROKEN.items())
    for name, content in [next(broken), next(good), next(broken), next(broken), next(good), *broken]:
        stage.frames.add(name, content)
    stage.frames.add("gone.png", b"")
    stage.board.workers["painter:1"] = {"state": "closed"}
    with served(stage.app()) as address:
        stage.driver.get(f"{address}/?every=0.2")
        stage.until(lambda: len(stage.seen()) >= 5)
        assert {f"/images/{name}" for name in GOOD} == set(stage.seen())
        assert all(image["complete"] and image["naturalWidth"] == 64 for image in stage.js("return seen"))
        assert int(stage.js("return document.getElementById('stage').dataset.skipped")) >= len(BROKEN) + 1
        assert [] == stage.js("return violations")
        assert [] == stage.console()


def test_a_new_frame_is_shown_next_and_one_that_hangs_stops_nothing(stage: Stage) -> None:
    """
    Frames that come while the page is open are played before the old ones; one that never loads is passed over.
    """

    class Hanging(FramesInMemory):
        async def image(self, name: str) -> Image | None:
            if name == "hangs.png":
                await asyncio.sleep(1.6)
            return await super().image(name)

    stage.frames = Hanging()
    with served(stage.app(patience=30)) as address:
        stage.driver.get(f"{address}/?every=0.2")
        stage.until(lambda: "Nothing drawn yet" in stage.text("empty-text"))
        stage.frames.add("first.png", GOOD["good-0.png"])
        stage.until(lambda: stage.seen() == ["/images/first.png"])
        stage.frames.add("hangs.png", GOOD["good-0.png"])
        stage.frames.add("new.png", GOOD["good-1.png"])
        stage.until(lambda: "/images/new.png" in stage.seen())
        assert "/images/hangs.png" not in stage.seen()


def test_the_keyboard_is_enough(stage: Stage) -> None:
    """
    The arrows go back and forth, the space bar stops and goes on, and the buttons say what they do.
    """
    from selenium.webdriver import ActionChains, Keys

    def press(key: str) -> None:
        ActionChains(stage.driver).send_keys(key).perform()

    for number in range(3):
        stage.frames.add(f"{number}.png", gradient(200, 60 * number, 80))
    with served(stage.app()) as address:
        stage.driver.get(f"{address}/?every=60")
        stage.until(lambda: stage.seen() == ["/images/2.png"])
        press(Keys.ARROW_LEFT)
        stage.until(lambda: stage.seen()[1:] == ["/images/1.png"])
        press(Keys.ARROW_RIGHT)
        stage.until(lambda: stage.seen()[2:] == ["/images/2.png"])
        button = "return document.getElementById('play').getAttribute('aria-label')"
        assert "Pause" == stage.js(button)
        press(Keys.SPACE)
        assert "Play" == stage.js(button)
        # Where somebody writes, they are letters.
        stage.js("document.getElementById('prompt').focus()")
        press(Keys.SPACE)
        press(Keys.ARROW_LEFT)
        assert "Play" == stage.js(button)
        assert 3 == len(stage.seen())


def test_what_is_asked_for_is_queued_and_followed_to_its_image(stage: Stage) -> None:
    """
    The form posts; the job's line says how far it is; a repeat is told as one.
    """
    with served(stage.app()) as address:
        stage.driver.get(f"{address}/?every=0.2")
        stage.until(lambda: stage.js("return document.getElementById('size').value") == "1024x1024")
        submit(stage, prompt="A paper kite", seed="7")
        stage.until(lambda: stage.text("answer") == "It is in the queue.")
        (job,) = stage.queue.jobs.values()
        assert {"prompt": "A paper kite", "model": "gpt-image-1", "size": "1024x1024", "seed": 7} == job.payload
        assert "queued" in stage.text("asked")

        submit(stage, prompt="A paper kite", seed="7")
        stage.until(lambda: stage.text("answer") == "This one was asked for before.")
        assert 1 == stage.js("return document.getElementById('asked').children.length")
        submit(stage, prompt="A sunken bell", seed="0")
        stage.until(lambda: len(stage.queue.jobs) == 2)

        stage.frames.add("kite.png", GOOD["good-0.png"], job_id=job.id)
        stage.queue.end(job.id, "done")
        other = next(one for one in stage.queue.jobs.values() if one.id != job.id)
        stage.queue.end(other.id, "dead", "no-image-url")
        stage.until(lambda: "/images/kite.png" in stage.seen())
        stage.until(lambda: "done" in stage.text("asked") and "given up: no-image-url" in stage.text("asked"))
        assert "/images/kite.png" == stage.js("return document.querySelector('#asked a').getAttribute('href')")
        assert [] == stage.js("return violations")
        assert [] == stage.console()


def test_a_frame_from_elsewhere_is_shown_where_that_is_allowed(stage: Stage) -> None:
    """
    Old rows name images on other hosts: the policy lets through those that were named to it, and no other.
    """
    elsewhere = FramesInMemory()
    elsewhere.add("far.png", GOOD["good-0.png"])
    app = create_app(QueueInMemory(), elsewhere, BoardInMemory(), catalogue=CATALOGUE, default_model="dall-e-2")
    with served(app) as allowed, served(app) as other:
        stage.frames.frames = [
            Frame(1, None, f"{allowed}/images/far.png", NOON),
            Frame(2, None, f"{other}/images/far.png", NOON),
        ]
        with served(stage.app(image_sources=[allowed])) as address:
            stage.driver.get(f"{address}/?every=0.2")
            stage.until(stage.seen)
            stage.until(lambda: stage.js("return violations"))
            assert [f"{allowed}/images/far.png"] == stage.js("return seen.map((image) => image.href)")
            assert {f"img-src {other}/images/far.png"} == set(stage.js("return violations"))


def test_a_problem_is_shown_beside_its_field(stage: Stage) -> None:
    """
    With what would do, tied to the field for a screen reader, the first such field focused; and gone when it is mended.
    """
    with served(stage.app()) as address:
        stage.driver.get(address)
        submit(stage, prompt="  ", seed="seven")
        stage.until(lambda: stage.text("prompt-error"))
        assert "It is blank; say in words what to draw." == stage.text("prompt-error")
        assert "must be a whole number from 0 to 4294967295, got 'seven'" in stage.text("seed-error")
        for field_id in ("prompt", "seed"):
            about = stage.js(
                f"const e = document.getElementById('{field_id}');"
                "return [e.getAttribute('aria-invalid'), e.getAttribute('aria-describedby')]"
            )
            assert "true" == about[0] and f"{field_id}-error" in about[1]
        assert "prompt" == stage.js("return document.activeElement.id")

        submit(stage, prompt="A kite", seed="7")
        stage.until(lambda: not stage.text("prompt-error") and not stage.text("seed-error"))
        assert not stage.js("return document.querySelector('[aria-invalid]')")

        submit(stage, prompt="x" * 100_000, seed="7")
        stage.until(lambda: "the body must be at most 65536 bytes" in stage.text("answer"))


def test_the_page_tells_how_it_is_also_when_it_is_bad(stage: Stage) -> None:
    """
    The breaker's state in words and not by colour alone; and that nobody works, or the server is gone.
    """
    stage.board.workers["painter:1"] = {
        "state": "half_open",
        "timeout": 45.0,
        "budget": 3,
        "in_flight": 2,
        "orphans": 1,
    }
    with served(stage.app()) as address:
        stage.driver.get(f"{address}/?every=0.2")
        stage.until(lambda: stage.text("ready-text") == "All is well")
        worker = stage.text("workers")
        assert "circuit half open" in worker
        assert "timeout 45 s · budget 3 · 2 in flight · 1 left hanging" in worker
        stage.board.workers["painter:1"] = {"state": "open", "retry_after": 41.2}
        stage.until(lambda: stage.text("ready-text") == "The provider hangs; new images wait")
        assert "tries again in 42 s" in stage.text("workers")
        stage.board.workers.clear()
        stage.until(lambda: stage.text("ready-text") == "No worker is running")
    stage.until(lambda: stage.text("ready-text") == "The server does not answer")


@pytest.mark.parametrize("width", [320, 1280])
def test_nothing_sticks_out(stage: Stage, width: int) -> None:
    """
    No scrolling sideways, on a narrow phone or a desk, whatever the names and words; each field has a label.
    """
    stage.frames.add("wide.png", GOOD["good-0.png"])
    stage.board.workers["painter-" + "x" * 60] = {"state": "half_open", "timeout": 45.0, "budget": 3, "in_flight": 2}
    with served(stage.app()) as address:
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        stage.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        stage.driver.get(address)
        submit(stage, prompt="w" * 300, seed="1")
        stage.until(lambda: stage.seen() and stage.text("workers") and stage.text("asked"))
        assert width >= stage.js("return document.documentElement.scrollWidth")
        assert [] == stage.js(
            "return [...document.querySelectorAll('input, select, textarea')].filter((e) => !e.labels.length)"
        )
        assert [] == stage.js(
            "return [...document.querySelectorAll('button')].filter((e) => !(e.innerText || e.ariaLabel))"
        )
        stage.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def submit(stage: Stage, **fields: str) -> None:
    """
    Fill the form as somebody would who pastes, and press the button.
    """
    for name, value in fields.items():
        stage.driver.execute_script("document.getElementById(arguments[0]).value = arguments[1]", name, value)
    stage.js("document.querySelector('[type=submit]').click()")


# --- pictures of the page ---------------------------------------------------------------------------------------------


@pytest.mark.skipif(
    "SCREENSHOTS" not in os.environ, reason="SCREENSHOTS names no folder to keep pictures of the page in"
)
@pytest.mark.parametrize(
    "name, scheme, width, height",
    [("light", "light", 1200, 780), ("dark", "dark", 1200, 780), ("phone", "light", 390, 1300)],
)
def test_pictures(stage: Stage, name: str, scheme: str, width: int, height: int) -> None:
    """
    Keep a picture of the page as `images-page-<name>.png`.
    """
    from hungframe.testing.provider import picture

    for number in range(6):
        stage.frames.add(f"{number}.png", picture.picture(f"A sleeping city, {number}"))
    stage.board.workers["painter-1:4711"] = {"state": "closed", "timeout": 45.0, "budget": 4, "in_flight": 2}
    stage.board.workers["painter-2:4712"] = {"state": "half_open", "timeout": 58.5, "budget": 1, "in_flight": 1}
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    stage.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    stage.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    with served(stage.app()) as address:
        stage.driver.get(f"{address}/?every=30")
        for prompt, state in (("A harbour in fog", "done"), ("A paper kite over a sleeping city", "running")):
            before = len(stage.queue.jobs)
            submit(stage, prompt=prompt, seed="7")
            stage.until(lambda count=before: len(stage.queue.jobs) > count)  # type: ignore[misc]  # Bound in the loop.
            stage.queue.end(UUID(str(list(stage.queue.jobs.values())[-1].id)), state)
        stage.until(lambda: "done" in stage.text("asked") and stage.seen() and stage.text("workers"))
        time.sleep(2.5)
        folder = Path(os.environ["SCREENSHOTS"])
        folder.mkdir(parents=True, exist_ok=True)
        stage.driver.save_screenshot(str(folder / f"images-page-{name}.png"))
    stage.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    stage.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
