#!/usr/bin/env bash
# Integration tests on real machines: molecule.sh [SCENARIO...]   (default mariadb backup routines emergency)
# Each scenario has a container and ports of its own; what an interrupted run left of it is removed first.
# Fails when a test fails, when one is skipped, and when none ran.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
root=$PWD
[ "$#" -gt 0 ] || set -- default mariadb backup routines emergency

export PATH="$root/.venv/bin:$PATH"
export ANSIBLE_HOME="${ANSIBLE_HOME:-$root/.cache/ansible}"
# Borders would wrap every line of Ansible's output.
export MOLECULE_COMMAND_BORDERS=false
export PYTHONDONTWRITEBYTECODE=1

command -v molecule >/dev/null || {
  echo "molecule is missing: \`make venv\` installs it into .venv" >&2
  exit 1
}
for scenario in "$@"; do
  [ -f "molecule/$scenario/molecule.yml" ] || {
    echo "no scenario '$scenario': there are $(cd molecule && echo */molecule.yml | sed 's|/molecule.yml||g')" >&2
    exit 2
  }
done
tools/ensure-lab-tools.sh || exit 1
mkdir -p var/molecule

# Prints "N passed, N failed" of a JUnit file; fails unless at least one test passed and no other end was met.
counts() {
  python3 - "$1" <<'END'
import sys
import xml.etree.ElementTree as tree
try:
    suites = list(tree.parse(sys.argv[1]).iter("testsuite"))
except (OSError, tree.ParseError):
    print("0 passed, 0 failed (no test ran)")
    sys.exit(1)
total, failed, skipped = (sum(int(s.get(n, 0)) for s in suites) for n in ("tests", "failures", "skipped"))
failed += sum(int(s.get("errors", 0)) for s in suites)
passed = total - failed - skipped
print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
sys.exit(0 if passed > 0 and failed == skipped == 0 else 1)
END
}

failed=0
summary=()
for scenario in "$@"; do
  echo "== Scenario $scenario"
  result="var/molecule/$scenario.xml"
  rm -f "$result"
  start=$SECONDS
  status=0
  # Beforehand, because Molecule shows a task's output only when the task has ended, and an image takes minutes.
  database=$(sed -n 's/^ *LAB_DATABASE: *//p' "molecule/$scenario/molecule.yml")
  LAB_NAME="orquestrador-test-$scenario" LAB_DATABASE=$database molecule/shared/lab.sh build || status=$?
  if [ "$status" -eq 0 ]; then molecule test -s "$scenario" || status=$?; fi
  tests=$(counts "$result") || status=$((status == 0 ? 1 : status))
  took=$((SECONDS - start))
  if [ "$status" -eq 0 ]; then word=ok; else word=FAILED failed=1; fi
  summary+=("$(printf '%-10s %s: %s, %d s' "$scenario" "$word" "$tests" "$took")")
done
printf '\n== Integration tests\n'
printf '   %s\n' "${summary[@]}"
exit "$failed"
