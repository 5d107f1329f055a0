"""The commands that scripts/demo.sh ends with, where its set-up, build and training are stand-ins."""

import pathlib
import shutil
import subprocess

DEMO = pathlib.Path(__file__).parents[2] / "scripts" / "demo.sh"
# Says what it was called with; a training makes its run.
STAND_IN = """#!/usr/bin/env bash
echo "called: $*"
[[ "$1" != train ]] || { run="${4#run.dir=}"; mkdir -p "$run"; touch "$run/report.txt"; }
"""


def program(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(STAND_IN)
    path.chmod(0o755)


def test_the_commands_that_it_ends_with_work_from_the_root(tmp_path):
    for name in ("scripts/setup.sh", "scripts/build.sh", "build/bin/gradwise"):
        program(tmp_path / name)
    shutil.copy(DEMO, tmp_path / "scripts")
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        ["../scripts/demo.sh"], cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=True
    )
    (run,) = (path.relative_to(tmp_path) for path in (tmp_path / "runs").iterdir())
    before, after = done.stdout.split(f"next, from {tmp_path}:\n")
    assert "report.txt" in before.splitlines()
    commands = after.splitlines()
    assert f"  build/bin/gradwise doctor {run}" in commands
    for command in commands:
        told = subprocess.run(command.split(), cwd=tmp_path, capture_output=True, text=True, check=True).stdout
        assert told == f"called: {command.split(maxsplit=1)[1]}\n"
