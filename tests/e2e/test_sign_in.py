"""Who gets in, and what the others see."""

from member import Visit
from stack import Stack


def test_sign_in_page_names_the_organizations(stack: Stack) -> None:
    """The first page says what this is, who may enter, and how."""
    page = stack.get("", follow_redirects=True)
    assert page.status_code == 200
    for text in ("jupyterlabdemo", "Sign in with GitHub", "lsst-sqre"):
        assert text in page.text


def test_member_sees_the_menu(visit: Visit) -> None:
    """After signing in, a member sees the image menu with title and descriptions."""
    page = visit("bob").sign_in()
    assert page.status_code == 200
    for text in ("Container Image Selector", "Recommended", "Experimental", "lsstsqre/jld-lab-py3:experimental"):
        assert text in page.text


def test_whitelisted_organization_on_the_second_page(visit: Visit) -> None:
    """Carol has 35 organizations, and the one that counts is on GitHub's second page."""
    assert "Container Image Selector" in visit("carol").sign_in().text


def test_outsider_is_told_who_may_enter(stack: Stack, visit: Visit) -> None:
    """Mallory gets a page with the organizations and what to do, and no session."""
    mallory = visit("mallory")
    page = mallory.sign_in()
    assert page.status_code == 403
    for text in ("may not enter", "lsst-sqre", "lsst", "invite you"):
        assert text in page.text
    assert "/hub/login" in str(mallory.web.get(f"{stack.url}/hub/home").url)


def test_unapproved_organization_is_named(stack: Stack, visit: Visit) -> None:
    """A member of an organization that has not approved the application reads who must approve it, and where."""
    with stack.github() as github:
        github.patch("/organizations/lsst", json={"approved": False}).raise_for_status()
        page = visit("bob").sign_in()
    assert page.status_code == 403
    assert "/organizations/lsst/settings/oauth_application_policy" in page.text


def test_an_outage_is_no_refusal(stack: Stack, visit: Visit) -> None:
    """While GitHub answers 500, a sign-in is told that GitHub does not answer."""
    with stack.github() as github:
        github.put("/outage", json={"kind": "500", "path": "/api/v3/user/orgs"}).raise_for_status()
        page = visit("bob").sign_in()
    assert page.status_code == 503
    assert "GitHub does not answer" in page.text


def test_cancelled_sign_in(stack: Stack, visit: Visit) -> None:
    """Who cancels at GitHub comes back to a page that says so, not to a failure."""
    page = visit("bob").web.get(f"{stack.url}/hub/oauth_callback?error=access_denied&state=x")
    assert page.status_code == 400
    assert "access_denied" in page.text


def test_pages_for_the_proxys_errors(stack: Stack) -> None:
    """What the proxy asks the hub to show, for a lab that does not answer or a page that is not there, is shown."""
    for status in (404, 503):
        page = stack.get(f"/hub/error/{status}")
        assert "Back to the start" in page.text
        assert "Internal Server Error" not in page.text
    assert "appears to be down" in page.text


def test_somebody_elses_code(stack: Stack, visit: Visit) -> None:
    """A code that was meant for another browser signs nobody in: its state is not this browser's."""
    attacker, victim = visit("bob"), visit("alice")
    attacker.web.follow_redirects = False
    answer = attacker.sign_in()
    assert answer.status_code == 302
    victim.web.get(f"{stack.url}/hub/oauth_login")
    assert victim.web.get(answer.headers["Location"]).status_code == 400
    assert "/hub/login" in str(victim.web.get(f"{stack.url}/hub/home").url)


def test_tokens_are_kept_encrypted(stack: Stack, visit: Visit) -> None:
    """The hub's database has no GitHub token that could be read."""
    visit("bob").sign_in()
    kept = stack.database()
    assert b"jupyterhub" in kept
    assert b"gho_" not in kept
