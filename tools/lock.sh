#!/usr/bin/env bash
# Write the lock files: the newest that the ranges of pyproject.toml allow, with hashes, for each supported Python,
# whichever Python runs this. Usage: lock.sh DIRECTORY
set -euo pipefail
target=${1:?usage: lock.sh DIRECTORY}
cd "$(dirname "$0")/.."
uv=.cache/uv

[ -x "$uv/bin/pip" ] || python3 -m venv "$uv"
"$uv/bin/pip" install --quiet --disable-pip-version-check --upgrade 'uv>=0.9,<1' \
  2> >(grep -v 'is neither a file nor a directory' >&2)
mkdir -p "$target"
work=$(mktemp -d .cache/lock.XXXXXX)
trap 'rm -rf "$work"' EXIT
# Those that ansible-core 2.19 runs on.
for version in 3.11 3.12 3.13; do
  file=py${version/./}.txt
  echo "  resolving $target/$file"
  echo "# Python $version; written by \`make upgrade\` from the ranges of pyproject.toml." >"$work/$file"
  # Where packages come from is the machine's affair: no address and no path goes into the file. Wheels only, because
  # building anything else would fetch what no lock file names.
  "$uv/bin/uv" --no-config --quiet pip compile pyproject.toml --extra dev --python-version "$version" \
    --python-platform linux --no-build --generate-hashes --no-header --no-emit-index-url --no-emit-find-links >>"$work/$file"
done
mv "$work"/*.txt "$target/"
