"""The authorize page at a real browser."""

import socket
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from jld_github.server import running
from playwright.async_api import ConsoleMessage, Page, async_playwright, expect

from tests.dev.github.conftest import StandIn

pytestmark = pytest.mark.browser

PASSPHRASE = "open sesame"


@pytest.fixture
async def callback() -> AsyncIterator[str]:
    """An application that shows what the redirect brings; gives its callback URL."""

    async def show(request: web.Request) -> web.Response:
        return web.Response(text=" ".join(f"{name}={value}" for name, value in request.query.items()))

    app = web.Application()
    app.router.add_get("/hub/oauth_callback", show)
    listener = socket.create_server(("127.0.0.1", 0))
    async with running(app, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/hub/oauth_callback"


@pytest.fixture
def configuration(callback: str) -> dict[str, str]:
    """Register the application, and ask for a passphrase."""
    return {"callback_url": callback, "passphrase": PASSPHRASE}


@pytest.fixture
async def page(standin: StandIn, callback: str) -> AsyncIterator[Page]:
    """The authorize page, in the distribution's Chromium."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = await browser.new_page()
        complaints: list[str] = []

        def listen(message: ConsoleMessage) -> None:
            if message.type == "error" and message.location["url"].startswith(standin.url):
                complaints.append(message.text)

        page.on("console", listen)
        query = f"client_id=jupyterlabdemo&state=xyz&scope=read:org&redirect_uri={callback}"
        await page.goto(f"{standin.url}/login/oauth/authorize?{query}")
        yield page
        await browser.close()
        assert complaints == []


async def test_sign_in(page: Page) -> None:
    """The page is styled, and a click on a member's name leads to the application, past the page's policy."""
    await expect(page.get_by_role("banner")).to_contain_text("Stand-in for GitHub")
    await expect(page.get_by_role("main")).to_have_css("border-radius", "12px")
    await page.get_by_label("Passphrase").fill(PASSPHRASE)
    await page.get_by_role("button", name="alice", exact=True).click()
    await expect(page.locator("body")).to_contain_text("code=")
    await expect(page.locator("body")).to_contain_text("state=xyz")


async def test_cancel(page: Page) -> None:
    """Cancel leads back as well."""
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator("body")).to_contain_text("error=access_denied")


async def test_enter_chooses_nobody(page: Page) -> None:
    """Enter in the passphrase's field leaves the choice of the member open."""
    await page.get_by_label("Passphrase").fill(PASSPHRASE)
    await page.get_by_label("Passphrase").press("Enter")
    await page.get_by_role("button", name="bob", exact=True).click()
    await expect(page.locator("body")).to_contain_text("code=")
