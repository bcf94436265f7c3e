#!/usr/bin/env bash
# Everything CI runs, in the order in which it is quickest to fail. Each part prints its counts.
set -euo pipefail
cd "$(dirname "$0")/.."
start=$SECONDS
say() { printf '\n== [%4ds] %s\n' "$((SECONDS - start))" "$*"; }

say "Tools of the lab"
tools/ensure-lab-tools.sh
say "Static checks"
make lint
say "Unit tests"
make unit
say "Figures and rules against Prometheus"
make prometheus
say "Integration tests"
make molecule
say "All passed"
