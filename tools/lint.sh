#!/usr/bin/env bash
# Every static check, all of them even when one fails. The two slow ones run side by side.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
failed=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT

ansible-lint --offline --strict --profile production -q >"$log" 2>&1 &
slow=$!

run() {
  local name=$1
  shift
  if "$@"; then echo "  $name: ok"; else echo "  $name: FAILED"; failed=1; fi
}
import_rules() { # it draws a picture before it says anything
  local said
  said=$(PYTHONPATH=module_utils:. lint-imports --no-cache 2>&1) || { echo "$said"; return 1; }
}
run yamllint yamllint -s .
run "ruff check" ruff check .
run "ruff format" ruff format --check --quiet .
run mypy mypy
run "import rules" import_rules
run "generated documentation" python tools/docs.py check
run catalogs python -m orquestrador_ops.core.catalogs check
if wait "$slow"; then echo "  ansible-lint: ok"; else cat "$log"; echo "  ansible-lint: FAILED"; failed=1; fi
exit "$failed"
