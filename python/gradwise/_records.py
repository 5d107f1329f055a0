"""Results: dicts whose keys are attributes too."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import Any, TypeVar, overload

from ._optional import need


class Record(dict[str, Any]):
    """A dict whose keys can be read as attributes: ``stats["loss"]`` and ``stats.loss``."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            there_are = f"there are: {', '.join(self)}" if self else "there is nothing yet"
            raise AttributeError(f"there is no {name!r}, {there_are}") from None

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


Row = TypeVar("Row", bound=Record)


class Table(list[Row]):
    """A list of records, of which `to_dict()` makes columns and `to_pandas()` a data frame."""

    @overload  # type: ignore[override]
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Table[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Table[Row]:
        return Table(super().__getitem__(index)) if isinstance(index, slice) else super().__getitem__(index)

    def to_dict(self) -> dict[str, list[Any]]:
        """Columns by name."""
        return {key: [_plain(row[key]) for row in self] for key in (self[0] if self else {})}

    def to_pandas(self) -> Any:
        return need("to_pandas", "pandas", package="pandas").DataFrame.from_records([row.to_dict() for row in self])

    def _repr_html_(self) -> str:
        return table_of(self)


class Findings(Table[Finding]):
    """What a diagnosis has found, most likely first."""

    def __str__(self) -> str:
        return "\n".join(map(str, self)) if self else "nothing found"

    def _repr_html_(self) -> str:
        if not self:
            return "<p>nothing found</p>"
        told = (
            f"<li><b>{_escape(f.title)}</b>{f' in <code>{_escape(f.layer)}</code>' if f.layer else ''}, "
            f"{f.confidence:.0%} sure, from step {f.step}<br>{_escape(f.remedy)}"
            f"<ul>{''.join(f'<li>{_escape(issue)}</li>' for issue in f.evidence[:MOST_ROWS])}</ul></li>"
            for f in self
        )
        return f"<ol>{''.join(told)}</ol>"


class Readings(dict[str, Record]):
    """Figures by parameter."""

    def to_dict(self) -> dict[str, dict[str, Any]]:
        return {name: reading.to_dict() for name, reading in self.items()}

    def to_pandas(self) -> Any:
        """A row for each parameter."""
        return self._rows().to_pandas()

    def _rows(self) -> Table[Record]:
        return Table(Record({"parameter": name} | reading) for name, reading in self.items())

    def _repr_html_(self) -> str:
        return self._rows()._repr_html_()


MOST_ROWS = 20  # of a table that a notebook shows


def table_of(rows: Table[Any]) -> str:
    """The first rows as HTML."""
    if not rows:
        return "<p>no rows</p>"
    head = "".join(f"<th>{_escape(key)}</th>" for key in rows[0])
    body = "".join(
        f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row.values())}</tr>" for row in rows[:MOST_ROWS]
    )
    more = f"<p>the first {MOST_ROWS} of {len(rows)} rows</p>" if len(rows) > MOST_ROWS else ""
    return f"<table><tr>{head}</tr>{body}</table>{more}"


def record(value: dict[str, Any]) -> Record:
    """The core's dict with everything in it, as records; lists of issues as lists of `Issue`."""
    return Record({key: _wrapped(key, item) for key, item in value.items()})


def records(values: Iterable[dict[str, Any]]) -> Table[Record]:
    return Table(record(value) for value in values)


def issues(values: list[dict[str, Any]]) -> Table[Issue]:
    return Table(Issue(value) for value in values)


def findings(values: list[dict[str, Any]]) -> Findings:
    return Findings(
        Finding(value | {"evidence": issues(value["evidence"]), "symptoms": issues(value["symptoms"])})
        for value in values
    )


def _wrapped(key: str, value: Any) -> Any:
    if key == "issues":
        return issues(value)
    if isinstance(value, dict):
        return record(value)
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return records(value)
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def _escape(text: Any) -> str:
    return html.escape(str(text), quote=False)


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
