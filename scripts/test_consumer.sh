#!/usr/bin/env bash
# Installs build/ into a temporary prefix, then builds and runs tests/consumer, the samples of the documentation among
# it, against that with find_package(Gradwise).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
torch="$(sed -n 's/^GRADWISE_TORCH_ROOT:PATH=//p' build/CMakeCache.txt)"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# Runs a command; shows what it said only where it fails.
quietly() { "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }; }

quietly cmake --install build --prefix "$work/prefix"
quietly cmake -S tests/consumer -B "$work/build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
  -DCMAKE_PREFIX_PATH="$work/prefix;$torch"
cmake --build "$work/build"
"$work/build/consumer"
(cd "$work" && quietly build/samples)
"$work/prefix/bin/gradwise" --version
