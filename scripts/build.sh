#!/usr/bin/env bash
# Builds targets (all of them without an argument) in build/, or in $BUILD_DIR, with as many jobs as cores and memory
# allow: scripts/build.sh [TARGET...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder="${BUILD_DIR:-build}"
memory_gib="$(awk '/MemAvailable/ {print int($2 / 1048576)}' /proc/meminfo)"
jobs="$(nproc)"
((jobs * 5 <= memory_gib * 2)) || jobs=$((memory_gib * 2 / 5)) # 2.5 GiB a compiler
((jobs >= 1)) || jobs=1
targets=()
for target in "$@"; do targets+=(--target "$target"); done
cmake --build "$folder" -j "$jobs" "${targets[@]}"
