#!/bin/sh
# npm 10 and PM2 7 for every user, laid out under /out as `npm install --global` does.
# Debian's own npm is some 350 packages of plain JavaScript: they are unpacked rather than installed (3 s instead of
# 30), serve to fetch the real npm, and stay behind in this stage.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt npm_config_update_notifier=false
ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || apt-get -q update
apt-get -q install -y --no-install-recommends --download-only npm
for package in /var/cache/apt/archives/npm_*.deb /var/cache/apt/archives/node-*.deb; do
  dpkg-deb --extract "$package" /
done
apt-get -q clean
mkdir -p /out/usr/local
npm install --global --prefix /out/usr/local --no-audit --no-fund 'npm@^10.8.0' 'pm2@^7.0.0'
rm -rf /out/usr/local/lib/node_modules/npm/man /out/usr/local/lib/node_modules/npm/docs /out/usr/local/share
ls -l /out/usr/local/bin
