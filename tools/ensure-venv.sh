#!/usr/bin/env bash
# Create the project's virtual environment and install it with its development extras. Nothing goes into the system's
# Python. Usage: ensure-venv.sh DIRECTORY
set -euo pipefail
venv=${1:?usage: ensure-venv.sh DIRECTORY}
cd "$(dirname "$0")/.."

usable() { "$1" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
  local name
  for name in python3 python3.13 python3.12 python3.11; do
    if command -v "$name" >/dev/null 2>&1 && usable "$name"; then
      echo "$name"
      return 0
    fi
  done
  return 1
}

python=$(find_python) || {
  tools/ensure-lab-tools.sh
  python=$(find_python) || {
    echo "No Python 3.11 or newer with venv was found: install python3 and python3-venv (Debian 12, Ubuntu 24.04 or newer have them)" >&2
    exit 1
  }
}
if ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
  rm -rf "$venv"
  echo "  creating $venv with $("$python" --version)"
  "$python" -m venv "$venv"
fi
echo "  installing Ansible and the tools into $venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --progress-bar off -e '.[dev]' \
  2> >(grep -v 'is neither a file nor a directory' >&2)
