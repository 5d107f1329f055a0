"""What one row of the table compares, and how both sides take turns."""

import importlib
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


LEAST_ROUNDS = 3
MOST_SECONDS = 60


class Absent(Exception):
    """A row can't be measured here, and why."""


@dataclass
class Contest:
    """`ours` beside the fastest of `peers`, by name. `check` raises where their results differ. `notes` are told with
    the figures, `failed` are peers and why; where one in `fewer` (ours, peer) is not less, the target is missed
    whatever the time."""

    ours: Callable[[], Any]
    peers: dict[str, Callable[[], Any]]
    check: Callable[[], None]
    notes: list[str] = field(default_factory=list)
    fewer: tuple[float, float] | None = None
    failed: list[str] = field(default_factory=list)


def peer(name: str):
    """A peer's package."""
    try:
        return importlib.import_module(name)
    except Exception as error:  # what a package of another age raises as it is imported is anyone's guess
        raise Absent(f"{name}: {type(error).__name__}: {error}") from error


def those_here(
    makers: dict[str, Callable[[], Callable[..., Any]]], notes: list[str], failed: list[str]
) -> dict[str, Callable[..., Any]]:
    """The peers that can be imported and made; `notes` tells of those that can't be imported, `failed` of others."""
    found = {}
    for name, make in makers.items():
        try:
            found[name] = make()
        except Absent as absent:
            notes.append(f"without {absent}")
        except Exception as error:  # any that a peer may raise
            failed.append(f"{name}: {type(error).__name__}: {error}")
    if not found and failed:
        raise RuntimeError("; ".join(failed))
    if not found:
        raise Absent("; ".join(notes))
    return found


def require_close(ours, theirs, what, tolerance=1e-4):
    """Both are tensors or lists of them; the difference in norm, relative to the peer's."""
    pairs = list(zip(ours, theirs, strict=True)) if isinstance(ours, (list, tuple)) else [(ours, theirs)]
    difference = math.sqrt(sum(float((a.double() - b.double()).square().sum()) for a, b in pairs))
    size = math.sqrt(sum(float(b.double().square().sum()) for _, b in pairs))
    if not difference <= tolerance * size:  # NaN too
        raise ValueError(f"{what}: the sides differ by {difference / size:.2g}, allowed: {tolerance:g}")


def seconds_of(function, calls=1):
    start = time.perf_counter()
    for _ in range(calls):
        function()
    return (time.perf_counter() - start) / calls


def measure(contest: Contest, rounds: int, stretch: float) -> dict[str, Any]:
    """Seconds a call in every round; calls are repeated to fill `stretch` seconds. Slow rows have fewer rounds."""
    sides = {"ours": contest.ours} | contest.peers
    calls = {}
    for name, run in sides.items():
        run()
        calls[name] = max(1, round(stretch / seconds_of(run)))
    seconds = {name: [] for name in sides}
    begun = time.perf_counter()
    for turn in range(rounds):
        if turn >= LEAST_ROUNDS and time.perf_counter() - begun > MOST_SECONDS:
            break
        for name, run in sides.items():
            seconds[name].append(seconds_of(run, calls[name]))
    best = min(contest.peers, key=lambda name: statistics.median(seconds[name]))
    ratios = [a / b for a, b in zip(seconds["ours"], seconds[best], strict=True)]
    return {
        "peer": best,
        "seconds": seconds,
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios), "all": ratios},
        "notes": contest.notes,
        "fewer": contest.fewer,
        "failed_peers": contest.failed,
    }
