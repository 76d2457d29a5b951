"""The page in a real browser: it plays, draws regions where they are, takes a review, and asks nobody for anything."""

import csv
import io
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fsar_cli.data.annotations.labelled import LabelledSegment, labelled_segments
from fsar_cli.recognise.events import Event
from fsar_cli.recognise.report import ReportVideo, write_report
from recognise.report.browsing import OPEN, Page, chromium, wait
from recognise.report.scans import NASTY, SIDE, scan_of, scored, square, square_event, square_video

WIDE, TALL, STREAM = range(3)
SIZES = {WIDE: (320, 180), TALL: (181, 321)}

PIXELS = """
const video = document.getElementById("video"), canvas = document.createElement("canvas");
const [w, h] = [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
const context = canvas.getContext("2d");
context.drawImage(video, 0, 0);
const { data } = context.getImageData(0, 0, w, h);
let [x0, y0, x1, y1] = [w, h, 0, 0];
for (let y = 0; y < h; y++) for (let x = 0; x < w; x++) {
  if (data[4 * (y * w + x)] < 140) continue;
  [x0, y0, x1, y1] = [Math.min(x0, x), Math.min(y0, y), Math.max(x1, x + 1), Math.max(y1, y + 1)];
}
return [x0, y0, x1, y1];
"""
OVERLAY = """
const video = document.getElementById("video"), frame = video.getBoundingClientRect();
const scale = Math.min(frame.width / video.videoWidth, frame.height / video.videoHeight);
const left = frame.left + (frame.width - video.videoWidth * scale) / 2;
const top = frame.top + (frame.height - video.videoHeight * scale) / 2;
const box = document.querySelector(".box:not([hidden])").getBoundingClientRect();
return [(box.left - left) / scale, (box.top - top) / scale, (box.right - left) / scale, (box.bottom - top) / scale];
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with chromium(tmp_path_factory.mktemp("browser"), OPEN) as page:
        yield page


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wide video, a tall one that has to be encoded, and a stream."""
    folder = tmp_path_factory.mktemp("scan")
    wide = square_video(folder / "wide 'a' #1 [50%].mp4")
    tall = square_video(folder / "tall.mkv", *SIZES[TALL])
    spans = ((1.0, 3.0, "kick"), (4.0, 6.0, "push"), (6.4, 7.6, NASTY))
    videos = [
        ReportVideo(f"wide {NASTY}", wide, scored(8), [square_event(*span) for span in spans], (0.2, 0, 0.8, 1)),
        ReportVideo("tall", tall, scored(8), [square_event(0.4, 7.6, "push", 181 / 321)]),
        ReportVideo("rtsp://***@camera", None, scored(60), [Event(10, 12, "kick", 0.6, 1, wall=1e9)],
                    gaps=((20.0, 30.0, NASTY),)),
    ]  # fmt: skip
    return write_report(scan_of(*videos), folder / "out #1 [a]")


@pytest.fixture(autouse=True)
def fresh(page: Page, report: Path) -> Iterator[None]:
    """Every test starts with nothing reviewed; none leaves a complaint of the browser or asks any address."""
    page.show(1280, 800)
    page.open(report)
    page.js("localStorage.clear()")
    page.open(report)
    yield
    assert page.complaints() == []
    assert {address.split(":")[0] for address in page.addresses()} <= {"file", "blob", "data"}


def in_the_screenshot(page: Page) -> list[int]:
    """Edges of the bright square on the screen."""
    picture = np.asarray(Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")).astype(int)
    rows, columns = np.nonzero((picture[..., 0] > 200) & (picture[..., 1] > 190) & (picture[..., 2] < 150))
    return [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]


def test_the_video_plays_at_its_size(page: Page) -> None:
    assert page.js("return [player.video.videoWidth, player.video.videoHeight]") == [320, 180]
    page.click("#play")
    page.until("player.video.currentTime > 0.4 && player.frameTime > 0.3")
    assert page.js("return document.getElementById('play').textContent") == "Pause"
    page.press("p")
    page.until("player.video.paused")


def test_a_click_on_an_event_seeks_and_enter_plays_it_to_its_end(page: Page) -> None:
    page.click('[data-event="1"]')
    page.until("!player.video.seeking")
    assert page.js("return player.video.currentTime") == pytest.approx(4.0)
    assert page.js("return player.video.paused")
    page.press("\ue007")
    page.until("!player.video.paused && player.video.currentTime > 4.2")
    page.js("player.video.currentTime = 5.8")
    page.until("player.video.paused")
    assert 5.9 < page.js("return player.video.currentTime") < 6.4


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("video", [WIDE, TALL])
def test_the_region_is_where_the_pixels_are(page: Page, video: int, width: int) -> None:
    page.show(width, 800)
    page.js("openVideo(arguments[0])", video)
    page.until("player.video.readyState >= 2 && player.video.videoHeight > 0")
    across, down = SIZES[video]
    for seconds in (1.01, 2.63, 4.5, 5.99, 7.1):
        page.seek(seconds)
        pixels, overlay = page.js(PIXELS), page.js(OVERLAY)
        assert np.abs(np.subtract(pixels, overlay)).max() < 1.5, f"pixels of the video, at {seconds} s"
        true = np.multiply(square(seconds, across / down), (across, down, across, down))
        assert np.abs(true - overlay).max() < 1.5
    aspect = page.js("const r = player.picture.getBoundingClientRect(); return r.width / r.height")
    assert aspect == pytest.approx(across / down, rel=5e-4), "without the column and row that odd sizes are padded by"
    page.js("player.picture.style.visibility = 'hidden'; window.scrollTo(0, 0)")
    drawn = page.js("const b = document.querySelector('.box:not([hidden])').getBoundingClientRect();"
                    "return [b.left, b.top, b.right, b.bottom]")  # fmt: skip
    scale = (drawn[3] - drawn[1]) / (SIDE * down)
    assert np.abs(np.subtract(in_the_screenshot(page), drawn)).max() < 1.5 * scale + 1.5, "pixels of the screen"
    page.js("player.picture.style.visibility = ''")


def test_the_region_follows_while_the_video_plays(page: Page) -> None:
    page.js("player.seek(1.2); player.play()")
    page.until("player.video.currentTime > 1.7")
    page.js("player.video.pause()")
    page.until("Math.abs(player.frameTime - player.video.currentTime) < 0.1")
    assert np.abs(np.subtract(page.js(PIXELS), page.js(OVERLAY))).max() < 1.5


def test_browsers_that_tell_no_frames_have_regions_too(page: Page, report: Path) -> None:
    code = "delete HTMLVideoElement.prototype.requestVideoFrameCallback"
    added = page.driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": code})
    page.open(report)
    page.driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    page.js("player.seek(2.02)")
    page.until("!player.video.seeking")
    assert np.abs(np.subtract(page.js(PIXELS), page.js(OVERLAY))).max() < 2
    page.press("p")
    page.until("player.video.currentTime > 2.3")
    page.press("p")
    page.until("player.video.paused")
    assert np.abs(np.subtract(page.js(PIXELS), page.js(OVERLAY))).max() < 3


def test_a_browser_as_users_have_it_plays_and_keeps_verdicts(report: Path, tmp_path: Path) -> None:
    with chromium(tmp_path) as page:
        page.open(report)
        page.press("jc")
        page.open(report)
        assert page.js("return [review.count, review.keeps]") == [1, True]
        page.press("p")
        page.until("player.video.currentTime > 0.2")
        assert page.complaints() == []


def test_there_is_a_region_only_within_an_event_and_only_where_it_is_wanted(page: Page) -> None:
    boxes = "document.querySelectorAll('.box:not([hidden])').length"
    page.seek(3.5)
    assert page.js(f"return {boxes}") == 0
    page.seek(2.0)
    assert page.js(f"return {boxes}") == 1
    page.press("b")
    assert page.js(f"return {boxes}") == 0


def test_a_click_on_the_timeline_seeks(page: Page) -> None:
    page.js("document.getElementById('timeline').scrollIntoView()")
    page.click("#chart")
    page.until("Math.abs(player.video.currentTime - timeline.length / 2) < 0.05")
    page.click("#zoom-in")
    assert page.js("return [timeline.from, timeline.to]") == pytest.approx([2.0, 6.0], abs=0.1)
    page.press("0")
    assert page.js("return timeline.from") == 0


def test_a_review_by_keyboard_is_saved_kept_and_read(page: Page, report: Path) -> None:
    page.press("jc")
    page.press("jr")
    page.press("u")
    page.press("r")
    page.press("j")
    page.press("1")
    page.js("player.seek(7.25)")
    page.press("]")
    page.press("j")
    page.js("player.seek(1.5)")
    page.press("[")
    page.until("document.getElementById('live').textContent.includes('retimed')")
    page.press("j")
    page.driver.find_element("id", "other-class").send_keys('a "new", one\ue007')
    assert page.js("return document.getElementById('progress').textContent") == "5 of 5 reviewed · not saved"
    page.press("s")
    file = page.downloads / "review.csv"
    wait(file.exists, "review.csv")
    folder = report.parent.parent
    wide, tall = str(folder / "wide 'a' #1 [50%].mp4"), str(folder / "tall.mkv")
    assert labelled_segments(file) == [
        LabelledSegment(wide, 1.0, 3.0, "kick"),
        LabelledSegment(wide, 4.0, 6.0, "normal"),
        LabelledSegment(wide, 6.4, 7.25, "kick"),
        LabelledSegment(tall, 1.5, 7.6, "push"),
        LabelledSegment("rtsp://***@camera", 10.0, 12.0, 'a "new", one'),
    ]
    verdicts = [row["verdict"] for row in csv.DictReader(file.open(encoding="utf-8", newline=""))]
    assert verdicts == ["confirmed", "rejected", "changed", "retimed", "changed"]
    assert file.read_bytes().startswith(b"video,start,end,class,verdict\r\n")
    page.open(report)
    assert page.js("return document.getElementById('progress').textContent") == "5 of 5 reviewed · saved"
    states = "return [...document.querySelectorAll('.event .state')].map((state) => state.textContent)"
    assert page.js(states) == ["✓ confirmed", "✕ rejected", "✓ changed"]


def test_a_start_behind_the_end_is_refused(page: Page) -> None:
    page.press("j")
    page.js("player.seek(5)")
    page.press("[")
    page.until("document.getElementById('live').textContent === 'The start must lie before the end.'")
    assert page.js("return review.count") == 0


def test_a_stream_has_a_timeline_and_no_player(page: Page) -> None:
    page.js("openVideo(arguments[0])", STREAM)
    assert "nothing to play" in page.js("return document.getElementById('note').innerText")
    page.press("j")
    assert page.js("return player.time") == 10
    assert page.js("return document.getElementById('video').hidden")
    assert NASTY in page.js("return document.getElementById('legend').textContent")


def test_names_that_look_like_code_are_shown_as_text(page: Page) -> None:
    page.press("jjj")
    assert page.js("return document.getElementById('chosen').textContent") == NASTY
    assert page.js("return document.querySelector('#videos button span').textContent") == f"wide {NASTY}"
    assert page.js("return document.querySelectorAll('img[src=x]').length") == 0
    assert page.driver.title == f"Scan {NASTY}"


def test_a_phone_shows_it_without_scrolling_sideways(page: Page) -> None:
    page.show(390, 844)
    for video in (WIDE, TALL, STREAM):
        page.js("openVideo(arguments[0])", video)
        page.press("j")
        assert page.js("return document.documentElement.scrollWidth") == 390
    page.press("?")
    assert page.js("return document.getElementById('help').getBoundingClientRect().right") <= 390
    page.press("\ue00c")
    assert not page.js("return document.getElementById('help').open")


def test_dark_mode_is_dark_and_both_have_enough_contrast(page: Page) -> None:
    colours = """
      const of = (name) => getComputedStyle(document.body).getPropertyValue(name).trim();
      return [getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,
              ...["--muted", "--card", "--c0", "--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7"].map(of)]"""
    grounds = []
    for dark in (False, True):
        page.show(1280, 800, dark)
        ground, ink, muted, card, *classes = map(luminance, page.js(colours))
        grounds.append(ground)
        assert contrast(ground, ink) > 7
        assert min(contrast(card, each) for each in (muted, *classes)) > 4
    assert grounds[0] > 0.9 > 0.05 > grounds[1]


def luminance(colour: str) -> float:
    """Relative luminance by WCAG of `#rgb`, `#rrggbb` or `rgb(...)`."""
    if colour.startswith("#"):
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        channels = np.array([int(digits[i : i + 2], 16) for i in (0, 2, 4)]) / 255
    else:
        channels = np.array([float(part) for part in colour.partition("(")[2].rstrip(")").split(",")[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ (0.2126, 0.7152, 0.0722))


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


def test_every_control_can_be_reached_by_keyboard_and_has_a_name(page: Page) -> None:
    page.press("j")
    seen = """
      const focusable = [...document.querySelectorAll("button, input, [tabindex='0']")].filter((e) => e.offsetParent);
      return focusable.filter((e) => e.tabIndex < 0 ||
        !(e.getAttribute("aria-label") || e.textContent.trim())).map((e) => e.outerHTML)"""
    assert page.js(seen) == []
    assert page.js("return document.activeElement.getAttribute('aria-current')") == "true"
    assert page.js("return document.activeElement.matches(':focus-visible')")


def test_an_hour_of_windows_is_drawn_at_once(page: Page, tmp_path: Path) -> None:
    events = [Event(float(t), t + 3.0, "kick", 0.7, 0) for t in range(5, 3500, 30)]
    video = ReportVideo("hour", None, scored(3600, 0.2), events)
    page.open(write_report(scan_of(video), tmp_path))
    begun = time.monotonic()
    page.js("for (let i = 0; i < 10; i++) timeline.draw()")
    assert (time.monotonic() - begun) / 10 < 0.15
    page.js("timeline.zoom(200, 1805)")
    page.press("j")
    assert page.js("return timeline.from <= 5 && timeline.to >= 8"), "the view goes to the event"
