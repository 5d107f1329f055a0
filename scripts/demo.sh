#!/usr/bin/env bash
# Sets up, builds, and trains a small convolutional network on Fashion-MNIST: the whole of Gradwise's main job on real
# data, in one command. Safe to repeat; each time makes a new run under runs/.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
say() { printf '[demo %4ds] %s\n' "$SECONDS" "$*"; }

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
say "done; gradwise is build/bin/gradwise, the run's files are:"
ls -1 "$run"
