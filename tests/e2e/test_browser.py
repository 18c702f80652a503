"""A member at a real browser. `--pictures=FOLDER` keeps what he sees, for the documentation."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from member import Visit
from playwright.sync_api import Browser, Page, expect, sync_playwright
from stack import Stack

pytestmark = pytest.mark.browser

Picture = Callable[[Page, str], None]


@pytest.fixture(scope="module")
def browser(stack: Stack) -> Iterator[Browser]:
    """Start the distribution's Chromium; it trusts the stack's own key and no other unknown one."""
    flags = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
    flags.append(f"--ignore-certificate-errors-spki-list={stack.key_pin()}")
    with sync_playwright() as playwright:
        expect.set_options(timeout=60_000)  # JupyterLab's first page on a busy machine of two cores
        running = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Open a window of its own, with no cookies."""
    context = browser.new_context(viewport={"width": 1280, "height": 800})
    yield context.new_page()
    context.close()


@pytest.fixture
def stop_later(visit: Visit) -> Callable[[str], None]:
    """Have a member's lab stopped after the test."""

    def sign_in_too(login: str) -> None:
        member = visit(login)
        member.sign_in()
        member.started = True

    return sign_in_too


@pytest.fixture
def picture(request: pytest.FixtureRequest) -> Picture:
    """Keep a picture of a page where the caller asked for pictures."""
    folder: Path | None = request.config.getoption("--pictures")

    def keep(page: Page, name: str) -> None:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            page.screenshot(path=folder / f"{name}.png")

    return keep


def sign_in(page: Page, stack: Stack, login: str) -> None:
    """Sign in as a person does."""
    page.goto(stack.url)
    page.get_by_role("button", name="Sign in with GitHub").click()
    pick(page, stack, login)


def pick(page: Page, stack: Stack, login: str) -> None:
    """Be somebody at the stand-in GitHub."""
    if stack.passphrase:
        page.get_by_label("Passphrase").fill(stack.passphrase)
    page.get_by_role("button", name=login).click()


def test_from_sign_in_to_a_cell(page: Page, stack: Stack, picture: Picture, stop_later: Callable[[str], None]) -> None:
    """Sign in, pick an image, open a notebook on LSST_Stack, run a cell, and read the terminal's id."""
    page.goto(stack.url)
    expect(page.get_by_role("heading", name="Your own JupyterLab")).to_be_visible()
    picture(page, "sign-in")
    page.get_by_role("button", name="Sign in with GitHub").click()
    picture(page, "github")
    pick(page, stack, "alice")

    expect(page.get_by_text("Container Image Selector")).to_be_visible()
    picture(page, "menu")
    page.get_by_text("Experimental", exact=True).click()
    page.get_by_role("button", name="Start").click()

    notebook = page.locator(".jp-LauncherCard[data-category=Notebook]", has_text="LSST_Stack")
    expect(notebook).to_be_visible()
    notebook.click()
    expect(page.get_by_text("LSST_Stack | Idle")).to_be_visible()
    cell = page.locator(".jp-Notebook .jp-CodeCell .cm-content").first
    cell.click()
    page.keyboard.insert_text(
        "import os, lsst.sphgeom\nprint(os.getuid(), os.getgroups())\nlsst.sphgeom.LonLat.fromDegrees(30, 45)"
    )
    page.keyboard.press("Shift+Enter")
    expect(page.locator(".jp-OutputArea-output").last).to_contain_text("LonLat")
    picture(page, "lab")
    stop_later("alice")


def test_notices_are_shown(page: Page, stack: Stack, stop_later: Callable[[str], None]) -> None:
    """Carol's lab shows which of her organizations are left out."""
    sign_in(page, stack, "carol")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("left out").first).to_be_visible()
    stop_later("carol")


def test_refusal(page: Page, stack: Stack, picture: Picture) -> None:
    """Mallory reads who may enter and what to do."""
    sign_in(page, stack, "mallory")
    expect(page.get_by_role("heading", name="This account may not enter")).to_be_visible()
    picture(page, "refusal")


def test_posted_menu_with_another_image(page: Page, stack: Stack) -> None:
    """A member who edits the menu in his browser gets the menu again, with the reason."""
    sign_in(page, stack, "bob")
    page.locator("input[name=image]").first.evaluate("input => input.value = 'evil/image:1'")
    page.get_by_role("button", name="Start").click()
    expect(page.get_by_text("this image is not offered")).to_be_visible()
