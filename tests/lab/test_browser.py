"""The lab's page in a real browser."""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, async_playwright, expect

from tests.lab.conftest import TOKEN, Lab

pytestmark = pytest.mark.browser


@pytest.fixture
async def page(lab: Lab) -> AsyncIterator[Page]:
    """The lab's page in the distribution's Chromium, which complains of nothing and asks nobody else."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        context = await browser.new_context(extra_http_headers={"Authorization": f"token {TOKEN}"})
        page = await context.new_page()
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
        await page.goto(f"{lab.url}/lab")
        yield page
        await browser.close()
        assert not [complaint for complaint in complaints if not complaint.startswith(lab.url)]


async def test_page(page: Page) -> None:
    """The launcher offers LSST_Stack, and the notices are shown as plain text, in their order."""
    await expect(page.locator('.jp-LauncherCard[title="LSST_Stack"]')).to_have_count(2, timeout=20_000)
    notices = page.locator(".jp-toast-message")
    await expect(notices).to_have_count(2, timeout=20_000)
    await expect(notices.first).to_have_text("You see <b>this</b> notice.")
    await expect(notices.last).to_have_text(re.compile("It ran"))
