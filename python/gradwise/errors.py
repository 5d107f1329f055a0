"""The exceptions of Gradwise."""


class GradwiseError(RuntimeError):
    """The work failed: a file, a device, a computation."""


class GradwiseUsageError(GradwiseError, ValueError):
    """The call is wrong: an option, a shape or a name; the message says what is allowed."""
