#!/usr/bin/env bash
# Sets up, builds, and trains a small convolutional network on Fashion-MNIST: the whole of Gradwise's main job on real
# data, in one command. Safe to repeat; each time makes a new run under runs/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf '[demo %4ds] %s\n' "$SECONDS" "$*"; }

# Before the build, which is load too. Spinning threads of OpenMP take the cores from those that they wait for.
read -r load _ </proc/loadavg
if [[ -z "${OMP_WAIT_POLICY:-}" ]] && awk -v load="$load" -v cores="$(nproc)" 'BEGIN { exit !(load >= cores) }'; then
  say "the machine is busy (load $load on $(nproc) cores): OMP_WAIT_POLICY=passive"
  export OMP_WAIT_POLICY=passive
fi

say "setting up"
scripts/setup.sh
say "building build/bin/gradwise"
scripts/build.sh gradwise_cli
first="runs/demo-$(date +%Y%m%d-%H%M%S)"
run="$first"
for ((n = 2; ; ++n)); do
  [[ -e "$run" ]] || break
  run="$first-$n"
done
say "training on Fashion-MNIST; the run goes to $run"
build/bin/gradwise train examples/configs/fashion_mnist_cnn.toml --set "run.dir=$run"
say "done; the run's files are:"
ls -1 "$run"
say "next, from $PWD:"
printf '  build/bin/gradwise %s\n' "doctor $run" "plot $run" "report $run" "--help"
