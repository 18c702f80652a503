"""Pages for people: each names itself a stand-in, and loads nothing from elsewhere."""

from pathlib import Path
from typing import Any

from aiohttp import web
from jinja2 import Environment, FileSystemLoader, StrictUndefined

_FOLDER = Path(__file__).parent

_templates = Environment(loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined)

_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def render(template: str, status: int, *, form_targets: str = "'none'", **values: Any) -> web.Response:
    """Make a page.

    Args:
        template: name of the template.
        status: HTTP status of the answer.
        form_targets: where a form may lead, as the source list of CSP's form-action.
        **values: what the template shows.
    """
    rules = {
        "default-src": "'none'",
        "style-src": "'self'",
        "img-src": "data:",  # the empty icon
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "form-action": form_targets,
    }
    policy = "; ".join(f"{name} {sources}" for name, sources in rules.items())
    return web.Response(
        status=status,
        text=_templates.get_template(template).render(values),
        content_type="text/html",
        headers={**_HEADERS, "Content-Security-Policy": policy},
    )


async def style(_: web.Request) -> web.StreamResponse:
    """Serve the style sheet of all pages."""
    return web.FileResponse(_FOLDER / "style.css", headers={"X-Content-Type-Options": "nosniff"})
