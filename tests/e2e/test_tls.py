"""What browsers see of TLS, at the running system."""

import re
import subprocess
import sys

import httpx
from member import Visit
from stack import CHECKOUT, Stack

GUIDELINE = CHECKOUT / "tests/nginx/mozilla-6.0.json"


def test_guideline(stack: Stack) -> None:
    """The scanner sslyze finds nothing that Mozilla's guideline 6.0 does not allow, but who vouches for it."""
    port = httpx.URL(stack.url).port
    scan = subprocess.run(
        [sys.executable, "-m", "sslyze", "--custom_tls_config", GUIDELINE, "--sni", "localhost", f"127.0.0.1:{port}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    reasons = re.findall(r"^ +\* (\w+): ", scan.stdout.partition("COMPLIANCE AGAINST")[2], re.MULTILINE)
    assert reasons == ["certificate_path_validation"], scan.stdout + scan.stderr


def test_fingerprint_is_told(stack: Stack) -> None:
    """`make up` prints the fingerprint of the certificate that browsers get."""
    told = re.search(r"(?:[0-9A-F]{2}:){31}[0-9A-F]{2}", stack.told)
    address = f"localhost:{httpx.URL(stack.url).port}"
    shown = subprocess.run(
        ["openssl", "s_client", "-connect", address], stdin=subprocess.DEVNULL, capture_output=True, check=True
    )
    command = ["openssl", "x509", "-noout", "-fingerprint", "-sha256"]
    seen = subprocess.run(command, input=shown.stdout, capture_output=True, check=True).stdout.decode()
    assert told
    assert told[0] in seen


def test_plain_http_is_led_to_https(stack: Stack) -> None:
    """Who asks the HTTPS port in plain HTTP is sent to the same page by HTTPS."""
    answer = httpx.get(f"{stack.url.replace('https:', 'http:')}/hub/login")
    assert answer.status_code == 308
    assert answer.headers["Location"] == f"{stack.url}/hub/login"


def test_cookies_are_for_https_only(visit: Visit) -> None:
    """Every cookie of the hub and the lab is for HTTPS only."""
    bob = visit("bob")
    bob.sign_in()
    bob.start_lab()
    cookies = [cookie for cookie in bob.web.cookies.jar if cookie.path != "/login"]
    named = {cookie.name for cookie in cookies if cookie.domain.startswith("localhost")}
    assert {"jupyterhub-session-id", "jupyterhub-hub-login", "_xsrf"} <= named
    assert [cookie.name for cookie in cookies if not cookie.secure and "standin" not in cookie.name] == []


def test_client_cannot_say_where_it_comes_from(stack: Stack) -> None:
    """Forwarded headers that a client makes up change neither the scheme nor the host that the hub sends it to."""
    lies = {
        "X-Forwarded-Proto": "http",
        "X-Forwarded-Host": "evil.example",
        "X-Scheme": "http",
        "Forwarded": "proto=http",
    }
    answer = stack.get("/hub/oauth_login", headers=lies)
    assert answer.status_code == 302
    assert f"redirect_uri={stack.url.replace(':', '%3A').replace('/', '%2F')}%2Fhub" in answer.headers["Location"]
    assert all("Secure" in cookie for cookie in answer.headers.get_list("Set-Cookie"))
