#!/usr/bin/env bash
# Builds the C++ tests with sanitizers and runs them: scripts/sanitize.sh [asan|tsan]. After scripts/setup.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf '[sanitize %4ds] %s\n' "$SECONDS" "$*"; }
preset="${1:-asan}"
[[ "$preset" == asan || "$preset" == tsan ]] || { echo "usage: scripts/sanitize.sh [asan|tsan]" >&2; exit 2; }
torch="$(sed -n 's/^GRADWISE_TORCH_ROOT:PATH=//p' build/CMakeCache.txt)"

say "configuring build-$preset/"
log="$(cmake --preset "$preset" -DCMAKE_PREFIX_PATH="$torch" -DGRADWISE_CLI=OFF 2>&1)" || {
  printf '%s\n' "$log" >&2
  exit 1
}
say "building"
BUILD_DIR="build-$preset" scripts/build.sh
say "running the C++ tests"
# LibTorch's own allocations at start-up are no leaks of ours; it is not built for ThreadSanitizer, nor is libgomp, whose
# barriers that one does not see.
[[ "$preset" == asan ]] || export OMP_NUM_THREADS=1
ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
  TSAN_OPTIONS="ignore_noninstrumented_modules=1 suppressions=$PWD/tests/tsan.supp" \
  ctest --test-dir "build-$preset" -j "$(nproc)" --output-on-failure --timeout 900
say "no complaints"
