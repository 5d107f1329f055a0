"""The command line, which comes with the wheel."""

import importlib.util
import os
import pathlib
import sys


def main() -> None:
    program = pathlib.Path(__file__).parent / "bin" / "gradwise"
    if not program.exists():
        sys.exit(f"gradwise: {program} is not there; it comes with the wheel, or stands at build/bin/gradwise")
    torch = importlib.util.find_spec("torch")
    if torch is None or not torch.submodule_search_locations:
        sys.exit("gradwise: the package torch is not installed")
    # Where the program's own search path does not reach it.
    library = str(pathlib.Path(torch.submodule_search_locations[0]) / "lib")
    paths = [library, os.environ.get("LD_LIBRARY_PATH", "")]
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(path for path in paths if path)
    os.execv(program, [str(program), *sys.argv[1:]])
