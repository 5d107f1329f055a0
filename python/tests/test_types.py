"""The types that the package promises: mypy's strict mode, and a stub that fits the extension."""

import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[2]


def test_the_package_passes_mypy_strict():
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "python/gradwise"], cwd=ROOT, text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stdout


def test_the_stub_fits_the_extension():
    done = subprocess.run(
        [sys.executable, ROOT / "tools/make_stubs.py", "--check"], text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
