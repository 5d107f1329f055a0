#!/usr/bin/env bash
# The long form of tests/cli/test_kill_resume.py: at least 300 kills, about fifteen minutes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
GRADWISE_KILLS="${GRADWISE_KILLS:-300}" .venv/bin/python -m pytest -q -s -p no:cacheprovider tests/cli/test_kill_resume.py
