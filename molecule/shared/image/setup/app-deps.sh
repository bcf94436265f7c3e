#!/bin/sh
# The application's dependencies, from its lock file. Sources arrive when a lab is created.
set -eu
export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt npm_config_update_notifier=false
cd /opt/app-src
if [ -f package-lock.json ]; then
  npm ci --no-audit --no-fund
fi
