#!/bin/sh
# PM2 7 for every user, as `npm install --global` puts it.
set -eu
export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt npm_config_update_notifier=false
npm install --global --no-audit --no-fund 'pm2@^7.0.0'
