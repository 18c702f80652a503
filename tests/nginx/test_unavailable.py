"""The proxy is away: what people and programs see, and what the log says."""

import pytest
from playwright.async_api import async_playwright, expect
from stack import until

from tests.nginx.conftest import Kit, Proxy

pytestmark = pytest.mark.nginx


def test_away_and_back(own: Kit, own_proxy: Proxy) -> None:
    """While the proxy is away there is a page that says so, and as soon as it is back all is as before."""
    edge = own.run(NGINX_UPSTREAM=f"127.0.0.1:{own_proxy.port}")
    assert edge.http.get("/").status_code == 200
    own_proxy.stop()
    for method in ("GET", "POST"):
        page = edge.http.request(method, "/hub/?code=geheim", headers={"Accept": "text/html"})
        assert page.status_code == 503
        assert page.headers["Retry-After"] == "3"
        assert page.headers["Cache-Control"] == "no-store"
        assert "Back in a moment" in page.text
    answer = edge.http.get("/hub/api", headers={"Accept": "application/json"})
    assert answer.status_code == 503
    assert "does not answer" in answer.json()["message"]
    # A dependency's trouble is no unreadiness of this service.
    assert edge.get("/readyz").status_code == 200
    own_proxy.start()
    assert edge.http.get("/").status_code == 200
    until("the requests are logged", lambda: len(edge.logged("503")) == 3)
    (trouble,) = edge.logged("connect() failed")
    assert (trouble["level"], trouble["method"], trouble["path"]) == ("ERROR", "GET", "/hub/")
    assert "geheim" not in edge.text()


@pytest.mark.browser
async def test_page_at_a_browser(own: Kit, own_proxy: Proxy) -> None:
    """The page is styled within its own policy, and gives way to the hub once that is back."""
    own_proxy.stop()
    edge = own.run(NGINX_UPSTREAM=f"127.0.0.1:{own_proxy.port}")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        page = await browser.new_page(ignore_https_errors=True)
        await page.goto(f"{edge.url}/hub/home")
        await expect(page.get_by_role("main")).to_have_css("border-radius", "16px")
        await expect(page.get_by_role("heading")).to_have_text("Back in a moment")
        own_proxy.start()
        await expect(page.locator("body")).to_contain_text('"target": "/hub/home"', timeout=10_000)
        await browser.close()
