"""A complete set of settings, which tests vary."""

import pytest

REQUIRED = {
    "GITHUB_CLIENT_ID": "jupyterlabdemo",
    "GITHUB_CLIENT_SECRET": "client-secret",
    "OAUTH_CALLBACK_URL": "http://localhost:8000/hub/oauth_callback",
    "GITHUB_ORGANIZATION_WHITELIST": "lsst-sqre,lsst",
    "HUB_PROXY_TOKEN": "proxy-token",
    "HUB_COOKIE_SECRET": "a" * 64,
    "HUB_CRYPT_KEY": "b" * 64,
    "HUB_FILESERVER_TOKEN": "fileserver-token",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Set what must be set."""
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch
