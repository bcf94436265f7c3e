#!/bin/sh
# The lab's life cycle: up, down, status, ssh, exec, purge, vault. `lab.sh --help` tells the rest.
set -eu
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
command -v python3 >/dev/null 2>&1 || {
  echo "lab: python3 is missing: run tools/ensure-lab-tools.sh first" >&2
  exit 1
}
PYTHONDONTWRITEBYTECODE=1 exec python3 -I "$here/lab" "$@"
