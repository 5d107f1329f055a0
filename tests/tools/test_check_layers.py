"""tools/check_layers.py against small trees: a good one, and each violation once."""

import pathlib
import re
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).parents[2]
TOOL = REPOSITORY / "tools" / "check_layers.py"

GOOD_TREE = {
    "gradwise/core/error.h": "#pragma once\n#include <string>\n",
    "gradwise/core/state.cpp": '#include "gradwise/core/state.h"\n',
    "gradwise/data/idx.h": '#include <zlib.h>\n#include "gradwise/core/error.h"\n',
    "gradwise/train/loop.h": '#include "gradwise/optim/ema.h"\n  #  include "gradwise/data/idx.h"\n',
    "gradwise/train/loop.cpp": '// #include "gradwise/record/jsonl.h"\n#include "gradwise/train/loop.h"\n',
    "gradwise/adapters/torch_data.h": '#include <torch/torch.h>\n#include "gradwise/data/idx.h"\n',
    "cli/main.cpp": '#include <torch/torch.h>\n#include "cli/stop.h"\n#include "gradwise/report/curves.h"\n',
    "python/gradwise/autograd_utils.py": "",
}

# One file put into the good tree, and the line that must be told: file, line, words of the message.
VIOLATIONS = {
    "upwards": ("gradwise/core/model.h", '\n#include "gradwise/data/idx.h"\n', 2, "core -> data is not allowed"),
    "sideways": ("gradwise/record/jsonl.h", '#include "gradwise/train/loop.h"\n', 1, "record may include: core"),
    "angle brackets": ("gradwise/optim/ema.h", "#include <gradwise/data/idx.h>\n", 1, "optim -> data"),
    "train to monitor": ("gradwise/train/fit.cpp", '#include "gradwise/monitor/watch.h"\n', 1, "train -> monitor"),
    "adapters to train": ("gradwise/adapters/script.cpp", '#include "gradwise/train/loop.h"\n', 1, "adapters -> train"),
    "library to cli": ("gradwise/train/fit.cpp", '#include "cli/main.h"\n', 1, '"gradwise/<group>/..."'),
    "relative include": ("gradwise/data/csv.cpp", '#include "csv.h"\n', 1, '"gradwise/<group>/..."'),
    "unknown group": ("gradwise/misc/all.h", "#pragma once\n", 1, 'unknown group "misc"'),
    "include of an unknown group": ("gradwise/data/csv.h", '\n\n#include "gradwise/io/file.h"\n', 3, "no known group"),
    "no group": ("gradwise/all.h", "#pragma once\n", 1, "stands in no group"),
    "core's list": ("gradwise/core/leftover.h", "#pragma once\n", 1, "closed list"),
    "torch/torch.h": ("gradwise/train/fit.cpp", "\n#include <torch/torch.h>\n", 2, "torch/torch.h is slow"),
    "in bindings": ("python/bindings/ema.cpp", '#include "torch/torch.h"\n', 1, "torch/torch.h is slow"),
    "empty file name": ("gradwise/data/string_utils.cpp", "", 1, '"utils" in a name'),
    "empty folder name": ("tests/common/shape.h", "", 1, '"common" in a name'),
    "empty name in Python": ("python/gradwise/helpers.py", "", 1, '"helpers" in a name'),
    "empty name in cli": ("cli/run_manager.h", "", 1, '"manager" in a name'),
}


def write_tree(root, tree):
    for name, text in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def check(root):
    command = [sys.executable, str(TOOL), "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_good_tree_passes(tmp_path):
    write_tree(tmp_path, GOOD_TREE)
    done = check(tmp_path)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


@pytest.mark.parametrize("case", VIOLATIONS)
def test_each_violation_is_told_once(case, tmp_path):
    file, text, line, words = VIOLATIONS[case]
    write_tree(tmp_path, GOOD_TREE | {file: text})
    done = check(tmp_path)
    told = done.stdout.splitlines()
    assert done.returncode == 1
    assert len(told) == 2, done.stdout
    assert told[0].startswith(f"{file}:{line}: ")
    assert words in told[0]
    assert told[1] == "check_layers: 1 violation(s)"


def test_a_folder_without_gradwise_is_an_error(tmp_path):
    done = check(tmp_path)
    assert done.returncode == 2
    assert "has no folder gradwise" in done.stderr


def test_the_documented_arrows_are_those_of_the_tool(monkeypatch):
    monkeypatch.syspath_prepend(str(TOOL.parent))
    from check_layers import LAYERS

    page = (REPOSITORY / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \|.*\| (nothing|`[^|]*`) \|$", page, flags=re.MULTILINE)
    documented = {group: set(re.findall(r"`(\w+)`", allowed)) for group, allowed in rows}
    in_tree = {path.parent.name for path in (REPOSITORY / "gradwise").glob("*/CMakeLists.txt")}
    assert set(documented) == in_tree
    for group, allowed in documented.items():
        assert allowed == LAYERS[group] & in_tree, group
