"""A real Chromium without a window, led as a person leads one: by what is written on buttons, and by keys."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

PATIENCE_S = 90.0
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--hide-scrollbars", "--enable-unsafe-swiftshader",
    "--use-gl=angle", "--use-angle=swiftshader", "--disable-background-networking", "--disable-component-update",
)  # fmt: skip


class Browser:
    """One browser at the console."""

    def __init__(self, driver: Chrome, url: str) -> None:
        self.driver, self.url = driver, url

    def go(self, path: str) -> None:
        """To a page, until it is connected."""
        self.driver.get(self.url + path)
        self.until(lambda: self.all(".nh-header"), "the page's header")

    def all(self, css: str) -> list[WebElement]:
        """The elements that can be seen."""
        from selenium.common.exceptions import StaleElementReferenceException

        found = []
        for element in self.driver.find_elements("css selector", css):
            try:
                if element.is_displayed():
                    found.append(element)
            except StaleElementReferenceException:  # the page was changed meanwhile
                continue
        return found

    def text(self, css: str = "body") -> str:
        """What can be read there."""
        script = "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText).join('\\n')"
        return str(self.driver.execute_script(script, css))

    def until(self, holds: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
        """What it gives, once that is true."""
        deadline = time.monotonic() + patience_s
        while True:
            found = holds()
            if found:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{what} did not come within {patience_s:g} s; the page says:\n{self.text()}"
                )
            time.sleep(0.05)

    def reads(self, words: str, css: str = "body", patience_s: float = PATIENCE_S) -> None:
        """Wait until these words can be read."""
        self.until(lambda: words in self.text(css), repr(words), patience_s)

    def press(self, name: str, css: str = "button, a", patience_s: float = PATIENCE_S) -> None:
        """The button or link with that text or label, once it can be pressed."""
        from selenium.common.exceptions import (
            ElementClickInterceptedException,
            ElementNotInteractableException,
            StaleElementReferenceException,
        )

        changed = (
            ElementClickInterceptedException,
            ElementNotInteractableException,
            StaleElementReferenceException,
        )

        def pressed() -> bool:
            try:
                for one in self.all(css):
                    if name in (one.text, one.get_attribute("aria-label")) and one.is_enabled():
                        self.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", one)
                        one.click()
                        return True
            except changed:  # the page was another one a moment later
                return False
            return False

        self.until(pressed, f"a button {name!r}", patience_s)

    def write(self, label: str, text: str) -> None:
        """Into the field of that label, in place of what is there."""
        from selenium.webdriver.common.keys import Keys

        field = self.until(lambda: self.all(f'input[aria-label="{label}"]'), f"a field {label!r}")[0]
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text, Keys.TAB)

    def choose(self, label: str, option: str) -> None:
        """Of a field's options the one with that text."""
        from selenium.common.exceptions import ElementClickInterceptedException

        def chosen() -> bool:
            field = next(one for one in self.all(".q-select") if label in one.text.splitlines())
            if option in field.text:
                return True
            try:
                field.click()
                self.press(option, ".q-item", patience_s=3.0)
            except (AssertionError, ElementClickInterceptedException):  # the last list is just being closed
                return False
            return False

        self.until(chosen, f"{option!r} of {label!r}")

    def keys(self, *keys: str) -> None:
        """On the keyboard, wherever the focus is."""
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()

    def focused(self) -> str:
        """What has the focus, as a person would name it."""
        script = (
            "const e = document.activeElement; "
            "return e.getAttribute('aria-label') || e.innerText || e.closest('label')?.innerText || e.tagName"
        )
        return str(self.driver.execute_script(script))

    def bones(self) -> list[list[float]]:
        """The turns of all groups of the page's scene: what a hand's posture is in the browser itself."""
        script = (
            "const out = []; for (const k in window) if (k.startsWith('scene_')) window[k].traverse(o => "
            "{ if (o.type === 'Group') out.push([o.rotation.x, o.rotation.y, o.rotation.z]) }); return out"
        )
        found: list[list[float]] = self.driver.execute_script(script)
        return found

    def requested(self) -> list[str]:
        """The addresses of all that the browser has asked for since it was opened."""
        urls = []
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                urls.append(message["params"]["request"]["url"])
            elif message["method"] == "Network.webSocketCreated":
                urls.append(message["params"]["url"])
        return urls

    def received(self) -> tuple[int, int]:
        """How many messages the page's socket has received since this was asked last, and their bytes."""
        n = n_bytes = 0
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.webSocketFrameReceived":
                n += 1
                n_bytes += len(message["params"]["response"]["payloadData"])
        return n, n_bytes

    def frames_per_s(self, seconds: float = 3.0) -> float:
        """How often the browser draws."""
        script = (
            "const [ms, done] = arguments; let n = 0; const start = performance.now(); const f = t => "
            "{ n++; t - start < ms ? requestAnimationFrame(f) : done(1000 * n / (t - start)) };"
            "requestAnimationFrame(f)"
        )
        return float(self.driver.execute_async_script(script, 1000 * seconds))

    def complaints(self) -> list[str]:
        """What the browser's console holds of errors."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def picture(self, path: Path) -> None:
        """What is seen, as a PNG of 256 colours."""
        from PIL import Image

        image = Image.open(io.BytesIO(self.driver.get_screenshot_as_png())).convert("RGB")
        image.quantize(colors=256, dither=Image.Dither.NONE).save(path, optimize=True)


@contextmanager
def open_browser(binary: str, driver_path: str, url: str, width: int, height: int) -> Iterator[Browser]:
    """A browser with a window of that size, until the block is left."""
    from selenium.webdriver import Chrome
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = binary
    for flag in (*FLAGS, f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=Service(driver_path))
    try:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        yield Browser(driver, url)
    finally:
        driver.quit()
