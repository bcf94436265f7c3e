#!/usr/bin/env bash
# Integration tests on real machines: molecule.sh [SCENARIO...]   (without any: all of them)
# Each scenario has a container and ports of its own; what an interrupted run left of it is removed first. Two run side by
# side (MOLECULE_JOBS=1: one after another, its output shown as it comes).
# Fails when a test fails, when one is skipped, and when none ran.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
root=$PWD
# The longest first, so that two side by side end at about the same time; `default` among them needs no prepared image,
# which is made meanwhile.
[ "$#" -gt 0 ] || set -- emergency default backup monitoring routines mariadb

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

# One scenario from nothing to nothing; its output goes where its caller says, its summary into a file.
one() {
  local scenario=$1 result="var/molecule/$1.xml" start=$SECONDS status=0 settings tests word
  rm -f "$result"
  echo "== Scenario $scenario"
  # Beforehand, because Molecule shows a task's output only when the task has ended, and an image takes minutes.
  settings=$(sed -nE 's/^ +(LAB_[A-Z_]+): *"?([a-z0-9]+)"?$/\1=\2/p' .config/molecule/config.yml "molecule/$scenario/molecule.yml")
  # shellcheck disable=SC2086 # one word each; of two the scenario's, which comes last
  env $settings LAB_NAME="orquestrador-test-$scenario" molecule/shared/lab.sh build || status=$?
  if [ "$status" -eq 0 ]; then molecule test -s "$scenario" || status=$?; fi
  tests=$(counts "$result") || status=$((status == 0 ? 1 : status))
  if [ "$status" -eq 0 ]; then word=ok; else word=FAILED; fi
  printf '%-10s %s: %s, %d s\n' "$scenario" "$word" "$tests" "$((SECONDS - start))" >"var/molecule/$scenario.summary"
  return "$status"
}

# They wait more than they compute, so two run side by side; each shows its output whole, when it has ended.
aside() {
  local scenario=$1 status=0
  one "$scenario" >"var/molecule/$scenario.log" 2>&1 || status=$?
  flock var/molecule/.output cat "var/molecule/$scenario.log"
  return "$status"
}

jobs_wanted=${MOLECULE_JOBS:-2}
[[ $jobs_wanted =~ ^[1-9][0-9]*$ ]] || {
  echo "MOLECULE_JOBS is '$jobs_wanted': give the number of scenarios to run side by side" >&2
  exit 2
}
trap 'kill $(jobs -p) 2>/dev/null' INT TERM
failed=0
running=0
for scenario in "$@"; do
  rm -f "var/molecule/$scenario.summary"
  if [ "$jobs_wanted" -eq 1 ] || [ "$#" -eq 1 ]; then
    one "$scenario" || failed=1
    continue
  fi
  if [ "$running" -ge "$jobs_wanted" ]; then
    wait -n || failed=1
    running=$((running - 1))
  fi
  echo "== Scenario $scenario begins: var/molecule/$scenario.log"
  aside "$scenario" &
  running=$((running + 1))
done
while [ "$running" -gt 0 ]; do
  wait -n || failed=1
  running=$((running - 1))
done
printf '\n== Integration tests\n'
for scenario in "$@"; do
  sed 's/^/   /' "var/molecule/$scenario.summary" 2>/dev/null || {
    printf '   %-10s FAILED: it was interrupted\n' "$scenario"
    failed=1
  }
done
exit "$failed"
