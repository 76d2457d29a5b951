"""A real browser for the tests of the page: Debian's Chromium, without a window and without a network."""

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars",
    "--force-device-scale-factor=1",
)  # fmt: skip
OPEN = "--allow-file-access-from-files"
"""Or a test could not look at a video's pixels; users have it off."""


class Page:
    """The one page that is open."""

    def __init__(self, driver, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)})

    def open(self, file: Path) -> None:
        """Load a page and wait for its first video, if it has one."""
        self.driver.get(file.as_uri())
        self.until("!player.source.src || player.video.readyState >= 2")

    def js(self, code: str, *arguments: object):
        """What a body of JavaScript returns."""
        return self.driver.execute_script(code, *arguments)

    def until(self, condition: str, seconds: float = 8.0) -> None:
        """Wait until an expression of JavaScript is true."""
        wait(lambda: self.js(f"return Boolean({condition})"), condition, seconds)

    def press(self, keys: str) -> None:
        """Type where the focus is."""
        self.driver.switch_to.active_element.send_keys(keys)

    def click(self, selector: str) -> None:
        """Click on the first element of a selector."""
        self.driver.find_element("css selector", selector).click()

    def seek(self, seconds: float) -> None:
        """Move the video, and wait until it is there."""
        self.js("player.seek(arguments[0])", seconds)
        old_frame = f"player.frameTime !== null && Math.abs(player.frameTime - {seconds}) > 0.06"
        self.until(f"player.pending === null && !player.video.seeking && !({old_frame})")

    def show(self, width: int, height: int, dark: bool = False) -> None:
        """Size of the window, and the scheme that the user prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.js("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def addresses(self) -> set[str]:
        """Whatever was asked for since the last call."""
        messages = [json.loads(line["message"])["message"] for line in self.driver.get_log("performance")]
        return {m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"}

    def complaints(self) -> list[str]:
        """What the browser's console holds since the last call."""
        return [line["message"] for line in self.driver.get_log("browser")]


def wait(done: Callable[[], object], what: str, seconds: float = 8.0) -> None:
    """Wait until something is true; fails the test with its name where it does not come."""
    end = time.monotonic() + seconds
    while not done():
        if time.monotonic() > end:
            pytest.fail(f"waited {seconds:g} s for: {what}")
        time.sleep(0.03)


@contextmanager
def chromium(folder: Path, *flags: str) -> Iterator[Page]:
    """A browser with a profile of its own; the test is skipped where there is none."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not chromedriver:
        pytest.skip(f"no {'chromedriver' if program else 'chromium'} on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for flag in (*FLAGS, *flags, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(chromedriver))
    try:
        downloads = folder / "downloads"
        downloads.mkdir()
        page = Page(driver, downloads)
        wait(page.addresses, "the browser's own first page")
        yield page
    finally:
        driver.quit()
