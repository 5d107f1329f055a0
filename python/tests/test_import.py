"""What `import gradwise` says where it can't."""

import os
import pathlib
import shutil
import subprocess
import sys

import gradwise


def test_a_package_without_its_native_part_says_how_to_build_it(tmp_path):
    package = pathlib.Path(gradwise.__file__).parent
    shutil.copytree(package, tmp_path / "gradwise", ignore=shutil.ignore_patterns("_core*", "__pycache__", "bin"))
    done = subprocess.run(
        [sys.executable, "-c", "import gradwise"],
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, cwd=tmp_path, capture_output=True, text=True, check=False,
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("ImportError: the native part of gradwise is not built")
    assert "scripts/build.sh gradwise_python" in done.stderr and "circular" not in done.stderr
