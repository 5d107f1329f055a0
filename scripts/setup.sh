#!/usr/bin/env bash
# Installs what Gradwise needs and configures the release build in build/. Safe to repeat: what is there already is
# left alone, and then nothing is downloaded and no root is needed.
#   scripts/setup.sh          for the library and the command line
#   scripts/setup.sh --test   and the Python packages that the tests compare with, PyTorch among them
# GRADWISE_TORCH=<absolute path of a LibTorch or of a Python package torch> builds with that one in place of PyPI's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
GRADWISE_TORCH="${GRADWISE_TORCH:-}"
GRADWISE_TORCH="${GRADWISE_TORCH%/}"

packages=(g++ cmake ninja-build ccache git python3 python3-dev python3-venv libcli11-dev libtomlplusplus-dev nlohmann-json3-dev
  libsqlite3-dev libprotozero-dev libzip-dev libcsv-dev libhwy-dev zlib1g-dev libgtest-dev gnuplot-nox
  dataset-fashion-mnist)
tests=false
case "${1:-}" in
  "") ;;
  --test) tests=true ;;
  *)
    echo "usage: scripts/setup.sh [--test]" >&2
    exit 2
    ;;
esac

say() { printf '[setup %3ds] %s\n' "$SECONDS" "$*"; }
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

# Of the packages given, those that no package source offers.
unavailable_packages() {
  local package
  for package in "$@"; do
    apt-cache show --no-all-versions "$package" >/dev/null 2>&1 || echo "$package"
  done
}

install_packages() {
  local missing unavailable root=()
  mapfile -t missing < <(missing_packages)
  if ((${#missing[@]} == 0)); then
    say "system packages: all there"
    return
  fi
  command -v apt-get >/dev/null || die "these Debian packages are needed and there is no apt-get here: ${missing[*]}"
  if ((EUID != 0)); then
    command -v sudo >/dev/null || die "packages are missing, as root run: apt-get install ${missing[*]}"
    root=(sudo)
  fi
  say "system packages: installing ${missing[*]}"
  "${root[@]}" apt-get update -qq || die "apt-get update failed; these packages are missing: ${missing[*]}"
  mapfile -t unavailable < <(unavailable_packages "${missing[@]}")
  ((${#unavailable[@]} == 0)) || die "no package source of this machine offers: ${unavailable[*]}"
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" \
    >/dev/null || die "apt-get could not install: ${missing[*]}"
}

find_python() {
  local python
  for python in python3.11 python3 python3.12 python3.13 python3.10; do
    if command -v "$python" >/dev/null &&
      "$python" -c 'import sys, ensurepip, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
    then
      echo "$python"
      return
    fi
  done
  die "no Python from 3.10 to 3.13 with the module venv was found (Debian's package python3-venv)"
}

pip_install() { .venv/bin/python -m pip install -q --disable-pip-version-check "$@"; }

# The build without CUDA first, which some package sources offer under that name: it is far smaller.
install_torch() {
  local version
  version="$(<scripts/requirements.txt)"
  say "Python packages: installing $version into .venv (the build without CUDA takes 900 MB)"
  pip_install "$version+cpu" 2>/dev/null || pip_install "$version" || die "the Python package $version can't be had"
}

install_test_packages() {
  say "Python packages: installing those of scripts/requirements-test.txt into .venv"
  pip_install --no-compile -r scripts/requirements-test.txt ||
    die "pip could not install scripts/requirements-test.txt: $(paste -sd' ' scripts/requirements-test.txt)"
}

# Runs an installer unless it has succeeded for this very content of its requirements file: an installation that was
# interrupted left no stamp and is taken up again.
once_for() {
  local file="$1" installer="$2" stamp sum
  stamp=".venv/$(basename "$file" .txt).installed"
  sum="$(sha256sum <"$file")"
  if [[ -f "$stamp" && "$(<"$stamp")" == "$sum" ]]; then
    return
  fi
  "$installer"
  printf '%s\n' "$sum" >"$stamp"
}

install_python_packages() {
  local python
  if [[ -n "$GRADWISE_TORCH" ]] && ! $tests; then
    return
  fi
  if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    python="$(find_python)"
    "$python" -m venv --clear .venv || die "$python could not make .venv"
  fi
  once_for scripts/requirements.txt install_torch
  ! $tests || once_for scripts/requirements-test.txt install_test_packages
  say "Python packages: all there"
}

torch_folder() {
  if [[ -z "$GRADWISE_TORCH" ]]; then
    .venv/bin/python -c 'import importlib.util as u; print(u.find_spec("torch").submodule_search_locations[0])'
    return
  fi
  [[ "$GRADWISE_TORCH" == /* && -f "$GRADWISE_TORCH/share/cmake/Torch/TorchConfig.cmake" ]] ||
    die "GRADWISE_TORCH is $GRADWISE_TORCH, needed is the absolute path of a folder with share/cmake/Torch"
  echo "$GRADWISE_TORCH"
}

configure() {
  local torch="$1" options=(-DCMAKE_PREFIX_PATH="$1") log
  # What CMake found in one LibTorch must not be mixed with another.
  if [[ -f build/CMakeCache.txt ]] && ! grep -qxF "GRADWISE_TORCH_ROOT:PATH=$torch" build/CMakeCache.txt; then
    options+=(--fresh)
  fi
  if [[ -x .venv/bin/python3 ]]; then
    options+=(-DGRADWISE_PYTHON="$PWD/.venv/bin/python3")
  fi
  say "configuring build/ with LibTorch in $torch"
  if ! log="$(cmake --preset release "${options[@]}" 2>&1)"; then
    printf '%s\n' "$log" >&2
    die "cmake could not configure build/"
  fi
}

install_packages
install_python_packages
torch="$(torch_folder)"
configure "$torch"
