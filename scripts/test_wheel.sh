#!/usr/bin/env bash
# Builds the wheel, installs it into a fresh virtual environment that borrows the torch of .venv, and runs tests/wheel
# there, outside of the tree. After scripts/build.sh, whose objects ccache gives again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
root="$PWD"
python="$root/.venv/bin/python"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# Runs a command; shows what it said only where it fails.
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }; }
pip() { "$python" -m pip --disable-pip-version-check "$@"; }
compiler() { sed -n "s/^CMAKE_$1_COMPILER:[A-Z]*=//p" build/CMakeCache.txt; }
packages_of() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

# To ccache a compiler by another name is another one.
CC="$(compiler C)" CXX="$(compiler CXX)" CMAKE_BUILD_PARALLEL_LEVEL="$(nproc)"
export CC CXX CMAKE_BUILD_PARALLEL_LEVEL
quietly pip wheel --no-index --no-build-isolation --no-deps -w "$work" .
wheel="$(ls "$work"/gradwise-*.whl)"
printf '%s: %d KiB, built in %d s\n' "$(basename "$wheel")" $(($(stat -c %s "$wheel") / 1024)) "$SECONDS"

"$python" -m venv --without-pip "$work/venv"
packages_of "$python" >"$(packages_of "$work/venv/bin/python")/torch.pth"
# Without an index: the torch that is there is what the wheel asks for, and no second one is fetched.
quietly pip --python "$work/venv/bin/python" install --no-index "$wheel"
cd "$work"
unset PYTHONPATH LD_LIBRARY_PATH
GRADWISE_WHEEL="$wheel" venv/bin/python -m pytest -q -p no:cacheprovider "$root/tests/wheel"
