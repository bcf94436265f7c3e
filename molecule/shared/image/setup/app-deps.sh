#!/bin/sh
# The application's dependencies, from its lock file. Its sources arrive when a lab is created.
set -eu
export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt npm_config_update_notifier=false
cd /out/opt/app-src
[ ! -f package-lock.json ] || npm ci --no-audit --no-fund
