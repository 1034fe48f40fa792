"""How the pages of this room are rendered: from templates/, with every value escaped."""

import jinja2


def environment() -> jinja2.Environment:
    """Return an environment that escapes HTML and raises on a name that a template uses without a value."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("lrmil.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
