"""The image menu, and what is not on it."""

from collections.abc import Mapping
from typing import Any

import pytest
from jld_hub.menu import Menu, NotOnMenuError
from jld_hub.settings import load

TWO = Menu("Pick <one>", {"img:1": "Stable & tested", "img:2": "img:2"})


def test_descriptions_by_position(environment: pytest.MonkeyPatch) -> None:
    """A missing or empty description falls back to the image's name."""
    environment.setenv("LAB_CONTAINER_NAMES", "a,b,c")
    environment.setenv("LAB_CONTAINER_DESCS", "First,,")
    environment.setenv("LAB_SELECTOR_TITLE", "Pick")
    assert Menu.of(load()) == Menu("Pick", {"a": "First", "b": "b", "c": "c"})


def test_form_is_escaped() -> None:
    """Title and descriptions are text, never markup."""
    form = TWO.form()
    assert "Pick &lt;one&gt;" in form
    assert "Stable &amp; tested" in form
    assert form.count(" checked") == 1


def test_format_fields_in_texts_stay_text() -> None:
    """Braces in a description are shown as they are."""
    assert "{title} {0}" in Menu("{title}", {"a": "{title} {0}", "b": "b"}).form()


def test_one_image_needs_no_menu() -> None:
    """With one image the form is left out."""
    assert Menu("Pick", {"only": "only"}).form() == ""


def test_first_image_is_the_default() -> None:
    """Without options the first image is taken."""
    assert TWO.pick({}) == "img:1"
    assert TWO.pick({"image": "img:2"}) == "img:2"


@pytest.mark.parametrize(
    "options",
    [
        {"image": "img:3"},
        {"image": "img:1\nimg:2"},
        {"image": ""},
        {"image": None},
        {"image": ["img:1"]},
        {"image": {"a": 1}},
        {"cmd": "sh"},
        {"image": "img:1", "environment": {}},
    ],
)
def test_anything_else_is_refused(options: Mapping[str, Any]) -> None:
    """Only an image of the menu can be picked, and nothing else be set."""
    with pytest.raises(NotOnMenuError):
        TWO.pick(options)


def test_form_fields_once() -> None:
    """A field sent twice is refused rather than guessed at."""
    assert TWO.read_form({"image": ["img:2"], "_xsrf": ["x"]}) == {"image": "img:2"}
    with pytest.raises(NotOnMenuError):
        TWO.read_form({"image": ["img:1", "img:2"]})
