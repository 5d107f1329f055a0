#!/usr/bin/env bash
# What shows in long processes alone, at its full counts: 10,000 watches attached and detached, 1,000 analyses, and, with
# --kills, 300 trainings killed and resumed. After scripts/build.sh.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf '[soak %4ds] %s\n' "$SECONDS" "$*"; }
[[ "${1:-}" == "" || "$1" == --kills ]] || { echo "usage: scripts/soak.sh [--kills]" >&2; exit 2; }

say "attaching, detaching and analysing in one process"
GRADWISE_SOAK=1 .venv/bin/python -m pytest -q -p no:cacheprovider python/tests/test_trust.py
if [[ "${1:-}" == --kills ]]; then
  say "killing and resuming"
  tests/soak/kill_resume.sh
fi
say "nothing has grown or gone"
