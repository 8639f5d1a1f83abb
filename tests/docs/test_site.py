"""The documentation as a site: it builds without a warning and without a network, and holds together."""

from __future__ import annotations

import doctest
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
from functools import cache, partial
from html import unescape
from importlib import import_module
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import site_pages
from commands import all_commands

import exdiff
from exdiff.core.recipe import names

ROOT = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Whatever asks for something from elsewhere is refused.
NOWHERE = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = os.environ | NOWHERE | {"NO_MKDOCS_2_WARNING": "1", "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert not re.search("warning|error", said, re.IGNORECASE), said
    return folder


@cache
def text_of(page):
    return page.read_text(encoding="utf-8")


@cache
def anchors(page):
    return {unescape(found) for found in re.findall(r'\s(?:id|name)="?([^"\s>]+)', text_of(page))}


def references(page):
    """What a page refers to, beside code that shows such references."""
    shown = re.sub(r"<code>.*?</code>", "", text_of(page), flags=re.DOTALL)
    return {unescape(found) for found in re.findall(r'\s(?:href|src)="?([^"\s>]+)', shown)}


def test_every_reference_leads_somewhere(site):
    lost = []
    for page in site.rglob("*.html"):
        if page.name == "404.html":  # shown at any path, so it has absolute ones
            continue
        for reference in references(page):
            parts = urlsplit(reference)
            if parts.scheme:
                continue
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (parts.fragment and parts.fragment not in anchors(target)):
                lost.append(f"{page.relative_to(site)}: {reference}")
    assert not lost


def test_nothing_is_loaded_from_elsewhere(site):
    for page in site.rglob("*.html"):
        tags = re.findall(r"<(?:script|link|img|audio|source|iframe)\b[^>]*>", text_of(page))
        assert [tag for tag in tags if re.search(r'(?:src|href)="?(?:https?:)?//', tag)] == [], page
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(?:https?:)?//", text_of(sheet)), sheet


def test_every_command_and_option_is_there(site):
    page = text_of(site / "reference" / "commands" / "index.html")
    for command in all_commands():
        section = page.split(f'id="{command.name.replace(" ", "-")}"')[1].split("<h2")[0]
        for parameter in command.parameters:
            assert all(f"<code>{name}</code>" in section for name in parameter.names), (command.name, parameter)


def test_every_public_name_is_there(site):
    known = anchors(site / "reference" / "python" / "index.html")
    last = {name.rsplit(".", 1)[-1] for name in known}
    assert set(exdiff.__all__) - {"__version__"} <= last


def test_every_recipe_and_every_part_is_there(site):
    assert set(names()) <= anchors(site / "reference" / "recipes" / "index.html")
    for name, family in site_pages.FAMILIES.items():
        page = text_of(site / "reference" / name / "index.html")
        headings = re.findall(r"<h2 [^>]*doc-heading[^>]*>(.*?)<a ", page, re.DOTALL)
        parts = {part for heading in headings for part in re.findall(r"\w+", re.sub("<[^>]+>", "", heading))}
        assert set(getattr(import_module(family.module), family.table)) <= parts


def test_examples_in_docstrings():
    done = doctest.testmod(site_pages)
    assert done.attempted > 0
    assert done.failed == 0


def test_formulas_are_mathml(site):
    page = text_of(site / "mathematics" / "index.html")
    assert page.count("<math") > 60
    assert "arithmatex" not in page
    for other in site.rglob("*.html"):
        assert "<math" not in text_of(other) or other.parent.name == "mathematics", "a dollar was read as a formula"


@pytest.fixture
def page(site):
    """A page of a browser at the site, which notes what is asked from elsewhere and every error."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    handler = partial(Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        home = f"http://127.0.0.1:{server.server_port}/"
        try:
            with playwright.sync_playwright() as program:
                browser = program.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                page = browser.new_page(base_url=home)
                wrong: list[str] = []
                page.on(
                    "request", lambda r: None if r.url.startswith((home, "data:", "blob:")) else wrong.append(r.url)
                )
                page.on("pageerror", lambda error: wrong.append(str(error)))
                yield page
                browser.close()
                assert wrong == []
        finally:
            server.shutdown()
            thread.join()


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format, *args):
        pass


def test_sounds_play_and_switch_in_place(page):
    page.goto("listen/")
    player = page.locator(".listen").first
    player.get_by_role("button", name="Play").click()
    page.wait_for_function("document.querySelector('.listen input').value > 0.1", timeout=20_000)
    before = float(player.locator("input").input_value())
    player.get_by_role("button", name="After").click()
    assert player.get_by_role("button", name="After").get_attribute("aria-pressed") == "true"
    assert "SI-SDR" in player.locator(".listen-note").inner_text()
    after = float(player.locator("input").input_value())
    assert before <= after < before + 0.3, "the position stays"
    page.locator(".listen").nth(1).get_by_role("button", name="Play").click()
    player.get_by_role("button", name="Play").wait_for()  # the first one has stopped


def test_search_finds_an_option(page):
    page.goto("")
    search = page.get_by_role("textbox", name="Search")
    search.click()
    page.get_by_text("Type to start searching").wait_for(timeout=20_000)  # the index is there
    search.press_sequentially("keep-video")
    page.locator(".md-search-result__item").first.wait_for(timeout=20_000)
