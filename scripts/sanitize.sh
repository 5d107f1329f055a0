#!/usr/bin/env bash
# Builds the C++ tests with sanitizers and runs them: scripts/sanitize.sh [asan|tsan]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
preset="${1:-asan}"
[[ "$preset" == asan || "$preset" == tsan ]] || { echo "usage: scripts/sanitize.sh [asan|tsan]" >&2; exit 2; }
torch="$(sed -n 's/^Torch_DIR:PATH=\(.*\)\/share\/cmake\/Torch$/\1/p' build/CMakeCache.txt)"
cmake --preset "$preset" -DCMAKE_PREFIX_PATH="$torch" -DGRADWISE_CLI=OFF >/dev/null 2>&1
BUILD_DIR="build-$preset" scripts/build.sh
# LibTorch's own allocations at start-up are no leaks of ours.
ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS="suppressions=$PWD/tests/tsan.supp" \
  ctest --test-dir "build-$preset" --output-on-failure -LE python
