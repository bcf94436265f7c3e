#!/bin/sh
# The links that COPY between stages leaves behind, and a last look at what a lab needs.
set -eu
for tool in pm2 pm2-dev pm2-docker pm2-runtime; do
  ln -sfn "../lib/node_modules/pm2/bin/$tool" "/usr/local/bin/$tool"
done
mkdir -p /var/lib/orquestrador-lab
: >/etc/machine-id
command -v pm2 node sshd mysqld mariadbd || true
