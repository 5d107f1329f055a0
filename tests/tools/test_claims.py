"""How benchmarks/run judges its rows beside the stored ones, and goes on where a part fails."""

import importlib.machinery
import importlib.util
import json
import math
import pathlib
import sys
import types

import pytest

BENCHMARKS = pathlib.Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
import claims  # noqa: E402
import figures  # noqa: E402


def row(median, low, high, unit="ratio"):
    return {"median": median, "low": low, "high": high, "unit": unit}


@pytest.mark.parametrize(
    ("median", "stored", "wrong"),
    [
        (0.699, row(0.5, 0.4, 0.625), False),  # 0.625 + 15 % of 0.5 = 0.7
        (0.701, row(0.5, 0.4, 0.625), True),
        (0.1, row(0.5, 0.4, 0.625), False),
        (math.nan, row(0.5, 0.4, 0.625), True),
        (6.9, row(1.0, -1.0, 4.0, "points"), False),  # 4 + 3
        (7.1, row(1.0, -1.0, 4.0, "points"), True),
        (-17.1, row(-25.0, -27.0, -22.0, "µs"), False),  # -22 + 5
        (-16.9, row(-25.0, -27.0, -22.0, "µs"), True),
    ],
)
def test_a_row_is_wrong_above_the_stored_high_and_the_slack(median, stored, wrong):
    found, unknown = claims.judge({"row": stored | {"median": median}}, {"row": stored})
    assert [line.split(":")[0] for line in found] == (["row"] if wrong else [])
    assert unknown == []


def test_missing_rows_are_wrong_and_unknown_rows_are_told():
    wrong, unknown = claims.judge({"new": row(1, 1, 1)}, {"gone": row(1, 1, 1)})
    assert wrong == ["gone: not measured, stored 1.000 (1.000 to 1.000)"]
    assert unknown == ["new: 1.000 (1.000 to 1.000), not stored"]


def test_spread_is_the_middle_half_of_many_and_the_range_of_a_few():
    assert figures.spread([3, 1, 2]) == {"median": 2, "low": 1, "high": 3}
    assert figures.spread(list(range(9))) == {"median": 4, "low": 2, "high": 6}


def test_rows_of_the_optimizer():
    seconds = {"ours": [1.0, 1.0, 1.0], "ours_norm_known": [0.5, 0.5, 0.5], "aten_fused": [2.0, 4.0, 5.0]}
    whole = {"after_backward": {"seconds": [4.0], "peak_bytes": 8}, "in_backward": {"seconds": [1.0], "peak_bytes": 4}}
    found = {"C++": {"seconds": seconds, "copy": [2.0] * 3, "copied_bytes": 60, "elements": 1, "whole_step": whole,
                     "bytes_per_parameter": {"ours": 40, "ours_norm_known": 36}}}  # fmt: skip
    rows = claims.optimizer({"gpt2": found, "cnn": {}})
    assert rows["gpt2: ours / aten_fused"] == row(0.25, 0.2, 0.5)
    assert rows["gpt2: time, in backward / after"]["median"] == 0.25
    assert rows["gpt2: peak memory, in backward / after"]["median"] == 0.5
    # 40 bytes at 60 bytes in 2 seconds take 4/3 s; ours takes 1.
    assert rows["gpt2: ours / its bytes at the machine's rate"]["median"] == pytest.approx(0.75)
    assert not any(name.startswith("cnn") for name in rows)


@pytest.fixture
def run(tmp_path, monkeypatch):
    loader = importlib.machinery.SourceFileLoader("benchmarks_run", str(BENCHMARKS / "run"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("benchmarks_run", loader))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    loader.exec_module(module)
    monkeypatch.setattr(module, "STORED", tmp_path / "ratios.json")
    monkeypatch.setattr(module, "FIGURES", tmp_path)
    monkeypatch.setattr(module, "machine", lambda: {"cpu": "one"})

    def main(*words):
        monkeypatch.setattr(sys, "argv", ["run", *words])
        try:
            module.main()
        except SystemExit as end:
            return end.code
        return 0

    return types.SimpleNamespace(main=main, module=module, folder=tmp_path)


def figures_of(ratio):
    return {"row": {"ratio": {"all": [ratio] * 3}}}


def test_a_failed_part_loses_no_other_and_is_not_stored(run, monkeypatch):
    def script(part, quick):
        if part == "optimizer":
            raise RuntimeError("out of memory")
        return figures_of(0.5), False

    monkeypatch.setattr(run.module, "run_script", script)
    code = run.main("--store", "--only", "optimizer,curvature")
    assert "optimizer failed" in code
    assert "ratios.json is left as it is: optimizer: failed" in code
    assert not run.module.STORED.exists()
    kept = json.loads((run.folder / "all.json").read_text())["parts"]
    assert kept["curvature"]["rows"]["row"]["median"] == 0.5
    assert run.main("--store", "--only", "curvature", "--measured") == 0
    assert json.loads(run.module.STORED.read_text())["curvature"]["rows"]["row"]["median"] == 0.5


def test_check_fails_where_a_part_is_worse_than_stored_and_store_leaves_other_parts(run, monkeypatch):
    figures.write(run.module.STORED, {"python": {"machine": {"cpu": "one"}, "rows": {}}})
    monkeypatch.setattr(run.module, "run_script", lambda part, quick: (figures_of(0.5), False))
    assert run.main("--store", "--only", "curvature") == 0
    assert json.loads(run.module.STORED.read_text()).keys() == {"python", "curvature"}
    assert run.main("--check", "--only", "curvature") == 0
    monkeypatch.setattr(run.module, "run_script", lambda part, quick: (figures_of(0.6), False))
    assert "curvature: row: 0.600" in run.main("--check", "--only", "curvature")


def test_wrong_use_measures_nothing(run, monkeypatch):
    monkeypatch.setattr(run.module, "measure", lambda part, options: pytest.fail("measured"))
    assert run.main("--store", "--check") == 2
    assert run.main("--store", "--quick") == 2
    assert run.main("--only", "nothing") == 2
    assert "is not there" in run.main("--check")


def test_a_peer_that_fails_leaves_the_others():
    from curvature.contest import Absent, those_here

    def absent():
        raise Absent("not installed")

    notes, failed = [], []
    peers = those_here({"good": lambda: len, "absent": absent, "broken": lambda: {}["key"]}, notes, failed)
    assert peers == {"good": len}
    assert notes == ["without not installed"]
    assert failed == ["broken: KeyError: 'key'"]
    with pytest.raises(RuntimeError, match="KeyError"):
        those_here({"broken": lambda: {}["key"], "absent": absent}, [], [])
    with pytest.raises(Absent):
        those_here({"absent": absent}, [], [])
