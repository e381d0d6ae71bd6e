"""What all HTML pages share: templates, which escape every value by themselves, and pictures inside the page.

A room's templates are in its folder `templates`; ``report/templates/page.html`` is the page that others build on, and
lets nothing in from elsewhere.
"""

import base64
import io
from functools import cache
from typing import TYPE_CHECKING, Any

from PIL import Image

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["data_uri", "displayable", "render"]

# What a page cannot hold: control characters, halves of characters.
_UNFIT = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(9), 11, 12, *range(14, 32), *range(0xD800, 0xE000))}


def displayable(text: str) -> str:
    """The text without what a page cannot hold; not escaped."""
    return text if text.isprintable() else text.translate(_UNFIT)  # the first is quick


def data_uri(picture: Image.Image) -> str:
    """A picture as an address that holds it, JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("fex", ""), autoescape=True, undefined=StrictUndefined, auto_reload=False,
        finalize=lambda value: displayable(value) if isinstance(value, str) else value,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["data_uri"] = data_uri
    return environment


def render(template: str, **values: Any) -> str:
    """HTML of a template; every value is escaped, but for what `render` made itself.

    Args:
        template: its path inside the package, as ``report/templates/page.html``.
        values: all that it names.

    Raises:
        jinja2.UndefinedError: a value that it names is missing.
    """
    from markupsafe import Markup

    return Markup(_environment().get_template(template).render(values))
