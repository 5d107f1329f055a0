#!/usr/bin/env bash
# Installs what Gradwise needs and configures the release build in build/. Safe to repeat: what is there already is
# left alone, and then nothing is downloaded and no root is needed.
#   scripts/setup.sh          for the library and the command line
#   scripts/setup.sh --test   and for the tests
# GRADWISE_TORCH=<folder of a LibTorch or of a Python package torch> uses that LibTorch in place of PyPI's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

packages=(g++ cmake ninja-build ccache git python3 python3-venv libcli11-dev libtomlplusplus-dev nlohmann-json3-dev
  libsqlite3-dev libprotozero-dev libzip-dev libcsv-dev zlib1g-dev gnuplot-nox dataset-fashion-mnist)
requirements=(scripts/requirements.txt)
if [[ "${1:-}" == --test ]]; then
  packages+=(libgtest-dev)
  requirements+=(scripts/requirements-test.txt)
fi

say() { printf '[setup] %s\n' "$*"; }
die() {
  printf '[setup] error: %s\n' "$*" >&2
  exit 1
}

missing_packages() {
  local package
  for package in "${packages[@]}"; do
    [[ "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" == "install ok installed" ]] || echo "$package"
  done
}

install_packages() {
  local missing root=()
  mapfile -t missing < <(missing_packages)
  if ((${#missing[@]} == 0)); then
    say "system packages: all there"
    return
  fi
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "these packages are missing and need root: apt-get install ${missing[*]}"
    root=(sudo)
  fi
  say "system packages: installing ${missing[*]}"
  "${root[@]}" apt-get update -qq || die "apt-get update failed"
  DEBIAN_FRONTEND=noninteractive "${root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null ||
    die "these packages can't be had: ${missing[*]}"
}

find_python() {
  local python
  for python in python3.11 python3 python3.12 python3.13 python3.10; do
    if command -v "$python" >/dev/null &&
      "$python" -c 'import sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
  die "no Python from 3.10 to 3.13 with the module venv was found"
}

# torch first asks for the build without CUDA, which some package sources offer under that name.
install_requirements() {
  local file
  for file in "${requirements[@]}"; do
    if [[ "$file" == scripts/requirements.txt ]]; then
      [[ -z "${GRADWISE_TORCH:-}" ]] || continue
      .venv/bin/pip install -q "torch==2.13.0+cpu" 2>/dev/null || .venv/bin/pip install -q -r "$file" ||
        die "the Python package torch==2.13.0 can't be had"
    else
      .venv/bin/pip install -q -r "$file" || die "the Python packages of $file can't be had"
    fi
  done
}

make_venv() {
  local stamp wanted
  stamp=.venv/gradwise-requirements
  wanted="$(cat "${requirements[@]}")${GRADWISE_TORCH:-}"
  if [[ -f "$stamp" && "$(cat "$stamp")" == "$wanted"* ]]; then
    say "Python packages: all there"
    return
  fi
  say "Python packages: installing into .venv (torch is about 900 MB)"
  [[ -x .venv/bin/pip ]] || "$(find_python)" -m venv --clear .venv
  install_requirements
  printf '%s' "$wanted" >"$stamp"
}

torch_folder() {
  if [[ -n "${GRADWISE_TORCH:-}" ]]; then
    [[ -f "$GRADWISE_TORCH/share/cmake/Torch/TorchConfig.cmake" ]] ||
      die "GRADWISE_TORCH is $GRADWISE_TORCH, which holds no share/cmake/Torch/TorchConfig.cmake"
    echo "$GRADWISE_TORCH"
  else
    .venv/bin/python -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])'
  fi
}

install_packages
make_venv
torch="$(torch_folder)"
say "configuring build/ with LibTorch in $torch"
configured="$(cmake --preset release -DCMAKE_PREFIX_PATH="$torch" 2>&1)" || die "cmake failed:"$'\n'"$configured"
