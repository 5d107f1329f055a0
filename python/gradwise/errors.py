"""The exceptions of Gradwise."""


class GradwiseError(RuntimeError):
    """The work failed: a file, a device, a computation."""


class GradwiseUsageError(GradwiseError, ValueError):
    """The call is wrong: an option, a shape or a name; the message says what is allowed."""


class GradwiseImportError(GradwiseError, ImportError):
    """A package that only this call needs is not installed; the message says how to install it."""
