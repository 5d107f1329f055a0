#!/usr/bin/env bash
# Sets up, builds everything and passes every test: GoogleTest, pytest and the include direction through ctest, a
# project outside the tree that uses an installed Gradwise, and the wheel.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf '[test %4ds] %s\n' "$SECONDS" "$*"; }

say "setting up"
scripts/setup.sh --test
say "checking the include direction"
.venv/bin/python tools/check_layers.py
say "building"
scripts/build.sh
say "running the tests"
ctest --test-dir build -j "$(nproc)" --output-on-failure --timeout 900
say "building a project outside the tree against an installed Gradwise"
scripts/test_consumer.sh
say "building the wheel and installing it outside the tree"
scripts/test_wheel.sh
say "all tests passed"
