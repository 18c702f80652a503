"""The images a member can pick, and the check of what he picked."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from .settings import Settings

_ITEM = Markup(
    '<label class="jld-image">'
    '<input type="radio" name="image" value="{name}"{checked}>'
    "<span><strong>{description}</strong><code>{name}</code></span>"
    "</label>"
)
_ITEM_NAME_ONLY = Markup(
    '<label class="jld-image">'
    '<input type="radio" name="image" value="{name}"{checked}>'
    "<span><strong>{name}</strong></span>"
    "</label>"
)
_CHECKED = Markup(" checked")
_FORM = Markup('<fieldset class="jld-images"><legend>{title}</legend>{items}</fieldset>')


class NotOnMenuError(ValueError):
    """Something else was asked for than an image of the menu."""


@dataclass(frozen=True)
class Menu:
    """Images in the order of the setting; the first is the default.

    Attributes:
        title: Text above the list.
        images: Image name to description.
    """

    title: str
    images: Mapping[str, str]

    @classmethod
    def of(cls, settings: Settings) -> "Menu":
        """Make the menu from LAB_CONTAINER_NAMES, LAB_CONTAINER_DESCS and LAB_SELECTOR_TITLE."""
        descriptions = dict(zip(settings.lab_container_names, settings.lab_container_descs, strict=False))
        images = {name: descriptions.get(name) or name for name in settings.lab_container_names}
        return cls(settings.lab_selector_title, images)

    def form(self) -> str:
        """Return the list as HTML, every text escaped; nothing where there is no choice."""
        if len(self.images) == 1:
            return ""
        items = Markup().join(
            (_ITEM if description != name else _ITEM_NAME_ONLY).format(
                name=name, description=description, checked="" if position else _CHECKED
            )
            for position, (name, description) in enumerate(self.images.items())
        )
        return _FORM.format(title=self.title, items=items)

    def read_form(self, form: Mapping[str, list[str]]) -> dict[str, Any]:
        """Turn posted fields into user options: each field once, as a text.

        Raises:
            NotOnMenuError: A field was sent more than once.
        """
        if any(len(values) != 1 for values in form.values()):
            raise NotOnMenuError("each field may be sent once")
        return {field: values[0] for field, values in form.items() if field != "_xsrf"}

    def pick(self, options: Mapping[str, Any]) -> str:
        """Return the image that user options ask for, or the default.

        Args:
            options: What a form, a query or the REST API sent, or the hub kept from the last time.

        Raises:
            NotOnMenuError: They ask for anything but an image of the menu.
        """
        unknown = set(options) - {"image"}
        if unknown:
            raise NotOnMenuError("the only option of a lab is its image")
        image = options.get("image", next(iter(self.images)))
        if not isinstance(image, str) or image not in self.images:
            raise NotOnMenuError(f"this image is not offered; choose one of {', '.join(self.images)}")
        return image
