"""The wheel as its users have it: scripts/test_wheel.sh builds and installs it, and runs this outside of the tree."""

import importlib.metadata
import os
import pathlib
import re
import subprocess
import sys
import zipfile

import pytest
import torch

import gradwise

ROOT = pathlib.Path(__file__).parents[2]
PACKAGE = pathlib.Path(gradwise.__file__).parent
NATIVE = ["_core.so", "bin/gradwise"]


def run(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_wheel_holds_the_package_and_no_library_of_torch():
    with zipfile.ZipFile(os.environ["GRADWISE_WHEEL"]) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
    package = ROOT / "python/gradwise"
    sources = [path for suffix in ("*.py", "*.pyi", "py.typed") for path in package.rglob(suffix)]
    held = [str(path.relative_to(package)) for path in sources] + ["torch_version.txt", *NATIVE]
    assert names == {f"gradwise/{name}" for name in held}


def test_python_takes_it_from_the_environment():
    assert PACKAGE.is_relative_to(sys.prefix) and not PACKAGE.is_relative_to(ROOT)
    assert importlib.metadata.version("gradwise") == gradwise.__version__
    assert (PACKAGE / "py.typed").exists(), "type checkers look for it"


@pytest.mark.parametrize("name", NATIVE)
def test_no_library_is_looked_for_where_it_was_built(name):
    found = re.search(r"R(?:UN)?PATH.*\[(.*)\]", run("readelf", "-d", PACKAGE / name).stdout)
    assert found, "there is no path at all"
    assert all(path.startswith("$ORIGIN/") for path in found[1].split(":"))


def test_the_command_finds_its_torch():
    """Here torch lies in another environment, out of reach of the program's own search path."""
    done = run(pathlib.Path(sys.prefix) / "bin/gradwise", "--version")
    assert (done.returncode, done.stdout) == (0, f"gradwise {gradwise.__version__}\n"), done.stderr


def test_a_training_is_watched():
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradwise.watch(model, optimizer) as watch:
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        assert watch.readings()["weight"].grad_norm == pytest.approx(float(model.weight.grad.norm()), rel=1e-4)


def test_another_torch_is_refused_with_the_reason():
    done = run(sys.executable, "-c", "import torch; torch.__version__ = '2.12.1+cpu'; import gradwise")
    built = torch.__version__
    assert done.returncode == 1
    assert f"ImportError: gradwise was built for torch {built}, and torch 2.12.1+cpu is running" in done.stderr
