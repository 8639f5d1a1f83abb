"""The page in a browser: from a file to a better file, with a mouse and with keys alone."""

import re
from pathlib import Path

import numpy as np
import pytest

from exdiff.audio import decode
from exdiff.evaluation.metrics.si_sdr import si_sdr

CHROMIUM = Path("/usr/bin/chromium")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser")
if not CHROMIUM.exists():
    pytest.skip(f"there is no {CHROMIUM}", allow_module_level=True)

WAIT = 60_000  # ms
# gradio asks for the progress of an upload that has just ended, which is harmless.
HARMLESS = "upload_progress"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=str(CHROMIUM), headless=True, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, server):
    """`visit(...)` -> a page, in a browser of its own; in the end nothing came from elsewhere, no error was shown."""
    contexts, addresses, reports = [], [], []

    def call(**options):
        context = browser.new_context(**{"viewport": {"width": 1400, "height": 900}} | options)
        context.set_default_timeout(WAIT)
        contexts.append(context)
        page = context.new_page()
        page.on("request", lambda request: addresses.append(request.url))
        page.on("pageerror", lambda error: reports.append(str(error)))
        page.on("console", lambda m: m.type == "error" and HARMLESS not in m.location["url"] and reports.append(m.text))
        page.goto(server.url)
        page.wait_for_selector("#exdiff-enhance")
        return page

    yield call
    for context in contexts:
        context.close()
    elsewhere = [url for url in addresses if not url.startswith((server.url, "data:", "blob:"))]
    assert addresses and not elsewhere
    assert not reports


def give(page, file):
    page.set_input_files("#exdiff-file input[type=file]", file)
    page.get_by_label(Path(file).name).wait_for()


def enhance(page):
    page.click("#exdiff-enhance")
    page.wait_for_selector("exdiff-player[data-ready]")


def state(page):
    """Position in s, gains of the two recordings, whether it plays, the track, and the time of the audio clock."""
    return page.evaluate(
        """() => {
            const e = document.querySelector('exdiff-player').engine;
            const now = () => e.context?.currentTime;
            let clock, position;
            do { clock = now(); position = e.position; } while (clock !== now()); // it may go on between two reads
            const { gains, playing, track } = e;
            return { position, gains, playing, track, clock };
        }"""
    )


def wait_for(page, condition):
    page.wait_for_function(f"() => {{ const e = document.querySelector('exdiff-player').engine; return {condition} }}")


def saved(page, tmp_path, link="Download"):
    with page.expect_download() as download:
        page.locator(".xd-links a", has_text=link).first.click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path


def improvement(path, noisy, clean):
    """SI-SDR of a file less that of the noisy one, in dB."""
    enhanced, before, reference = (decode(each)[0][0] for each in (path, noisy, clean))
    assert len(enhanced) == len(before)
    scores = [si_sdr(each, reference, before, 16000)["si_sdr"] for each in (enhanced, before)]
    return scores[0] - scores[1]


def test_a_file_is_uploaded_heard_and_downloaded(visit, noisy, clean, tmp_path):
    page = visit()
    give(page, noisy)
    enhance(page)
    page.click(".xd-play")
    wait_for(page, "e.position > 0.3")
    before = state(page)
    assert before["playing"] and before["gains"] == [0, 1], "after comes first"
    page.get_by_role("button", name="Before", exact=True).click()
    wait_for(page, "e.gains[0] === 1 && e.gains[1] === 0")
    after = state(page)
    elapsed = after["clock"] - before["clock"]
    assert after["playing"] and abs(after["position"] - before["position"] - elapsed) < 0.001, "no gap, no jump"
    page.get_by_role("button", name="Removed", exact=True).click()
    wait_for(page, "e.gains[0] === 1 && e.gains[1] === -1")
    assert page.evaluate("() => Math.max(...document.querySelector('exdiff-player').engine.levels().flat())") > -60
    path = saved(page, tmp_path)
    assert path.name == "02_boat_0dB.enhanced.flac"
    assert improvement(path, noisy, clean) > 8


def test_a_switch_is_a_ramp_of_10_ms(visit, noisy):
    """What is heard, rendered: the switch has no silence and no step, and lies where it should."""
    page = visit()
    give(page, noisy)
    enhance(page)
    samples = page.evaluate(
        """async () => {
          const engine = document.querySelector("exdiff-player").engine;
          const context = new OfflineAudioContext(1, engine.rate, engine.rate);
          window.AudioContext = function () { return context; };
          const buffer = (value) => {
            const made = new AudioBuffer({ length: engine.rate, sampleRate: engine.rate });
            made.getChannelData(0).fill(value);
            return made;
          };
          engine.buffers = [buffer(0.5), buffer(0.25)];
          engine.connect();
          engine.start();
          context.suspend(0.5).then(() => { engine.choose(0); context.resume(); });
          return Array.from((await context.startRendering()).getChannelData(0));
        }"""
    )
    sound, rate = np.array(samples), 16000
    assert np.abs(sound[round(0.05 * rate) : round(0.49 * rate)] - 0.25).max() < 1e-4
    assert np.abs(sound[round(0.52 * rate) : round(0.9 * rate)] - 0.5).max() < 1e-4
    ramp = sound[round(0.49 * rate) : round(0.52 * rate)]
    assert (np.diff(ramp) > -1e-6).all() and np.diff(ramp).max() < 0.25 / (0.008 * rate)


def focused(page, selector):
    """Whether the focus is there, and is seen."""
    return page.evaluate(
        "s => { let e = document.activeElement; while (e.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;"
        " return e.matches(s) && getComputedStyle(e).outlineStyle !== 'none' }",
        selector,
    )


def test_keys_alone(visit, noisy, clean, tmp_path):
    page = visit()
    page.on("filechooser", lambda chooser: None)  # playwright begins to look for one some time after it is asked to

    def tab_to(selector):
        for _ in range(40):
            page.keyboard.press("Tab")
            if focused(page, selector):
                return
        raise AssertionError(f"{selector} is not reached, or its focus is not seen")

    tab_to("#exdiff-file button")
    with page.expect_file_chooser() as chooser:
        page.keyboard.press("Enter")
    chooser.value.set_files(noisy)
    page.get_by_label(noisy.name).wait_for()
    tab_to("#exdiff-enhance")
    page.keyboard.press("Enter")
    page.wait_for_selector("exdiff-player[data-ready]")
    assert focused(page, ".xd-play"), "where one goes on"
    page.keyboard.press("Space")
    wait_for(page, "e.playing && e.position > 0.1")
    for key, gains in (("1", [1, 0]), ("3", [1, -1]), ("2", [0, 1])):
        page.keyboard.press(key)
        wait_for(page, f"e.gains[0] === {gains[0]} && e.gains[1] === {gains[1]}")
    page.keyboard.press("ArrowRight")
    wait_for(page, "e.position > 2")
    page.keyboard.press("Space")
    wait_for(page, "!e.playing")
    page.keyboard.press("Home")
    assert state(page)["position"] == 0
    tab_to(".xd-slider")
    page.keyboard.press("End")
    wait_for(page, "e.position > 5")
    tab_to(".xd-links a")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    download.value.save_as(tmp_path / "x.flac")
    assert improvement(tmp_path / "x.flac", noisy, clean) > 8


def test_two_visitors_at_once(visit, noisy, noise, tmp_path):
    noise(tmp_path / "song.wav", rate=22050, channels=2, seconds=1.5)
    one, two = visit(), visit()
    give(one, noisy)
    give(two, tmp_path / "song.wav")
    two.get_by_label("Vocals").check()
    one.click("#exdiff-enhance")
    two.click("#exdiff-enhance")
    for page, title in ((one, noisy.name), (two, "song.wav")):
        page.wait_for_selector("exdiff-player[data-ready]")
        assert page.locator(".xd-head h2").inner_text() == title
    vocals = saved(two, tmp_path, "Download vocals")
    assert (vocals.name, decode(vocals)[0].shape, decode(vocals)[1]) == ("song.vocals.wav", (2, 33075), 22050)
    assert saved(two, tmp_path, "Download accompaniment").name == "song.accompaniment.wav"


def test_what_is_wrong_is_said(visit, tmp_path):
    page = visit()
    page.click("#exdiff-enhance")
    page.get_by_role("alert").get_by_text("there is no sound yet").wait_for()
    (tmp_path / "<b>bad.wav").write_text("this is no sound")
    give(page, tmp_path / "<b>bad.wav")
    page.get_by_role("alert").wait_for(state="detached")  # it was about another choice
    page.click("#exdiff-enhance")
    page.get_by_role("alert").get_by_text("bad.wav: not a readable audio or video file").wait_for()
    assert page.locator("exdiff-player").count() == 0


def test_200_mb_are_refused(visit, tmp_path):
    with (tmp_path / "big.wav").open("wb") as file:
        file.truncate(200 << 20)
    page = visit()
    page.set_input_files("#exdiff-file input[type=file]", tmp_path / "big.wav")
    page.get_by_text(re.compile("exceed the maximum allowed size of 200")).wait_for()
    assert page.locator("#exdiff-file .file-preview").count() == 0


def test_a_second_result_replaces_the_first_on_a_phone(visit):
    page = visit(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True, color_scheme="dark")
    for name, title in (("Coffee shop", "01_coffee_shop_5dB.flac"), ("Crickets", "03_crickets_0dB.flac")):
        page.get_by_role("button", name=name).tap()
        page.get_by_label(title).wait_for()
        page.locator("exdiff-player").wait_for(state="detached")  # that of the file before
        page.locator("#exdiff-enhance").tap()
        page.locator(".xd-head h2", has_text=title).wait_for()
        page.wait_for_selector("exdiff-player[data-ready]")
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, "nothing sticks out"
    page.locator(".xd-spectrogram").first.tap(position={"x": 150, "y": 40})
    assert state(page)["track"] == 0 and state(page)["position"] > 1
    page.get_by_role("button", name="Zoom in").tap()
    view = page.evaluate("document.querySelector('exdiff-player').view")
    assert view["start"] < state(page)["position"] < view["start"] + view["length"] < 4.2


@pytest.fixture
def begin(noise, tmp_path):
    """`begin(page)` has something enhanced that takes long."""

    def call(page):
        noise(tmp_path / "long.wav", seconds=11.9)
        give(page, tmp_path / "long.wav")
        page.get_by_role("button", name="Settings").click()
        page.get_by_label("Steps").click()
        page.get_by_role("option", name="30").click()
        page.get_by_label("Samples").first.fill("4")
        page.click("#exdiff-enhance")
        page.get_by_text("Enhancing - ").wait_for()

    return call


def test_stop_ends_what_is_under_way(visit, begin, noisy):
    """And then another visitor's turn has come, and this one's again."""
    page, other = visit(), visit()
    begin(page)
    give(other, noisy)
    other.click("#exdiff-enhance")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.locator("#exdiff-enhance").wait_for()
    assert page.locator("#exdiff-stop").is_hidden() and "Hear the difference" in page.inner_text("#exdiff-result")
    other.wait_for_selector("exdiff-player[data-ready]")
    assert page.locator("exdiff-player").count() == 0
    page.get_by_label("Steps").click()
    page.get_by_role("option", name="0 (extractor alone)").click()
    enhance(page)


def test_who_leaves_ends_what_is_under_way(visit, begin, noisy):
    page, other = visit(), visit()
    begin(page)
    page.close()
    give(other, noisy)
    enhance(other)
