#!/usr/bin/env bash
# From a bare machine to a checklist: tools, lab, bootstrap, daily routine, service levels, reports. Prints every stage
# with its time.
set -euo pipefail
cd "$(dirname "$0")/.."
start=$SECONDS
say() { printf '\n[%3ds] %s\n' "$((SECONDS - start))" "$*"; }

say "Tools of the lab (packages)"
tools/ensure-lab-tools.sh

# The image and the Python side have nothing to do with each other, and both wait for the network.
say "Python side and image of the lab, side by side"
make venv &
venv=$!
LAB_DATABASE=${LAB_DATABASE:-mysql} molecule/shared/lab.sh build
wait "$venv"

say "Lab"
make lab

say "Bootstrap: everything a managed host needs"
ansible-playbook playbooks/setup/bootstrap.yml --vault-password-file var/lab/orquestrador-lab/vault-password

say "Daily routine"
status=0
ansible-playbook playbooks/routine/daily.yml || status=$?

say "Service levels: two cycles of the watch, then what is known by now"
for _ in 1 2; do
  ansible-playbook playbooks/monitoring/watch.yml || status=$?
done
ansible-playbook playbooks/monitoring/sla.yml || status=$?

state=${OPS_STATE_DIR:-var}
say "Done (status $status). Reports:"
for report in "$state"/reports/orquestrador-lab/latest-daily.* "$state"/reports/orquestrador-lab/sla-*.html; do
  [ ! -e "$report" ] || echo "  $report"
done
exit "$status"
