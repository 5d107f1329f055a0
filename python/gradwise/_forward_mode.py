"""What is said where forward mode fails."""

from __future__ import annotations

import warnings

_told: set[str] = set()


def warn_of_fallback(place: str, reason: str) -> None:
    """A warning, the first time for each reason, that two backward passes made a tangent; none where there is no
    reason."""
    if reason and reason not in _told:
        _told.add(reason)
        warnings.warn(f"[{place}] made by two backward passes, for forward mode says: {reason}", stacklevel=3)
