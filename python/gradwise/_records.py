"""Results: dicts whose keys are attributes too."""

from __future__ import annotations

from typing import Any


class Record(dict[str, Any]):
    """A dict whose keys can be read as attributes: ``stats["loss"]`` and ``stats.loss``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"there is no {name!r}, there are: {', '.join(self)}") from None

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self]

    def to_dict(self) -> dict[str, Any]:
        """Plain dicts and lists, all the way down."""
        return {key: _plain(value) for key, value in self.items()}

    def _repr_html_(self) -> str:
        rows = "".join(f"<tr><th>{_escape(key)}</th><td>{_cell(value)}</td></tr>" for key, value in self.items())
        return f"<table>{rows}</table>"


class Issue(Record):
    """Something that deserves attention: `severity`, `rule`, `layer`, `step`, `value`, `threshold`, `message`,
    `advice`."""

    def __str__(self) -> str:
        where = f" in {self['layer']}" if self["layer"] else ""
        return f"[{self['severity']}] step {self['step']}: {self['rule']}{where}: {self['message']}; {self['advice']}"


class Finding(Record):
    """A cause of what a training suffers from: `cause`, `title`, `layer`, `step`, `confidence`, `evidence`, `symptoms`,
    `remedy`."""

    def __str__(self) -> str:
        where = f" ({self['layer']})" if self["layer"] else ""
        return f"{self['title']}{where}, {self['confidence']:.0%} sure, from step {self['step']}: {self['remedy']}"


def record(value: dict[str, Any]) -> Record:
    """The core's dict with everything in it, as records; lists of issues as lists of `Issue`."""
    return Record({key: _wrapped(key, item) for key, item in value.items()})


def issues(values: list[dict[str, Any]]) -> list[Issue]:
    return [Issue(value) for value in values]


def findings(values: list[dict[str, Any]]) -> list[Finding]:
    return [
        Finding(value | {"evidence": issues(value["evidence"]), "symptoms": issues(value["symptoms"])})
        for value in values
    ]


def _wrapped(key: str, value: Any) -> Any:
    if key == "issues":
        return issues(value)
    if isinstance(value, dict):
        return record(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [record(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _escape(text: Any) -> str:
    return str(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cell(value: Any) -> str:
    if isinstance(value, Record):
        return value._repr_html_()
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list) and len(value) > 20:
        return f"{len(value)} values"
    if isinstance(value, list) and value and isinstance(value[0], Record):
        return "<br>".join(item._repr_html_() for item in value)
    return _escape(value)
