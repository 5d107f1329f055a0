"""One source for what both languages say: the comments of the C++ headers."""

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

Wrapper = TypeVar("Wrapper", bound=Callable[..., Any])


def documented_by(core: Any, paragraph: str = "") -> Callable[[Wrapper], Wrapper]:
    """Begins the docstring of a wrapper with what the C++ comment says of `core`, a class or function of the extension:
    its first paragraph, or the first that begins with `paragraph`."""
    text = inspect.cleandoc(core.__doc__ or "")
    if not isinstance(core, type):
        text = text.partition("\n\n")[2]  # pybind11 begins with the signature
    said = next(part for part in text.split("\n\n") if part.startswith(paragraph))

    def document(wrapper: Wrapper) -> Wrapper:
        own = inspect.cleandoc(wrapper.__doc__ or "")
        wrapper.__doc__ = "\n\n".join(filter(None, [said, own]))
        return wrapper

    return document
