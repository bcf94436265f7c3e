#!/usr/bin/env bash
# Create the project's virtual environment and bring it to exactly what the lock file of its Python names. Nothing goes
# into the system's Python. Usage: ensure-venv.sh DIRECTORY [LOCK-FILES]
set -euo pipefail
venv=${1:?usage: ensure-venv.sh DIRECTORY [LOCK-FILES]}
cd "$(dirname "$0")/.."
locks=${2:-requirements}
supported=$(printf '%s\n' "$locks"/py3*.txt | sed -n 's|.*/py3\([0-9]*\)\.txt$|3.\1|p' | sort -V | paste -sd ' ')

die() {
  echo "$*: supported are Python ${supported// /, } with venv; \`make upgrade\` renews their lock files" >&2
  exit 1
}

lock_of() { # the lock file of a Python that can make a virtual environment
  local name
  name=$("$1" -c 'import sys, ensurepip, venv; print("py%d%d.txt" % sys.version_info[:2])' 2>/dev/null) || return 1
  [ -f "$locks/$name" ] && echo "$locks/$name"
}

find_python() {
  local version name
  for name in python3 $(for version in $supported; do echo "python$version"; done | sort -rV); do
    if command -v "$name" >/dev/null 2>&1 && lock_of "$name" >/dev/null; then
      echo "$name"
      return 0
    fi
  done
  return 1
}

pip() {
  "$venv/bin/python" -m pip --disable-pip-version-check "$@" 2> >(grep -v 'is neither a file nor a directory' >&2)
}

names() { # of "name==version" lines, each written in one way
  sed -n 's/^\([A-Za-z0-9._-]*\).*==.*/\1/p' | tr 'A-Z_.' 'a-z--' | sort
}

if ! lock=$(lock_of "$venv/bin/python") || ! "$venv/bin/python" -c 'import pip' 2>/dev/null; then
  python=$(find_python) || {
    tools/ensure-lab-tools.sh
    python=$(find_python) || die "no Python of which there is a lock file was found"
  }
  rm -rf "$venv"
  echo "  creating $venv with $("$python" --version)"
  "$python" -m venv "$venv"
  lock=$(lock_of "$venv/bin/python")
fi
echo "  installing Ansible and the tools of $lock into $venv"
pip install --quiet --progress-bar off --only-binary :all: --require-hashes -r "$lock" ||
  die "$lock could not be installed, see above"
others=$(comm -13 <(names <"$lock") <(pip list --format freeze --exclude pip --exclude orquestrador-ops | names))
# shellcheck disable=SC2086 # a list of names
[ -z "$others" ] || pip uninstall --quiet --yes $others
# setuptools and Babel, which build it, are in the lock file too; the build compiles the catalogs.
pip install --quiet --no-index --no-deps --no-build-isolation -e .
pip check >/dev/null || die "$lock does not fit pyproject.toml"
