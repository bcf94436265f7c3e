#!/bin/sh
# Certificates, packages (only those a base image from a registry lacks), the account and the units.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
here=/usr/local/lib/orquestrador-lab

missing=""
while read -r package; do
  case $package in '' | '#'*) continue ;; esac
  dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing="$missing $package"
done <"$here/packages.txt"
if [ -n "$missing" ]; then
  apt-get -q update
  # shellcheck disable=SC2086 # a list of package names
  apt-get -q install -y --no-install-recommends $missing
fi
update-ca-certificates

id flavio >/dev/null 2>&1 || useradd --create-home --shell /bin/bash --groups adm flavio
install -d -m 0700 -o flavio -g flavio /home/flavio/.ssh
chmod 0440 /etc/sudoers.d/90-flavio
visudo -cq

# Host keys are each lab's own; the image carries none.
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub

# A privileged container must not tune, load into or mount over the machine that it runs on; and a unit that can't
# work in a container would leave the system "degraded".
cd /etc/systemd/system
for unit in systemd-modules-load.service systemd-sysctl.service systemd-udevd.service systemd-udev-trigger.service \
  systemd-udev-settle.service systemd-udevd-control.socket systemd-udevd-kernel.socket systemd-binfmt.service \
  systemd-hwdb-update.service systemd-journal-catalog-update.service ldconfig.service systemd-random-seed.service systemd-remount-fs.service systemd-firstboot.service \
  systemd-timesyncd.service systemd-networkd.service systemd-logind.service systemd-pstore.service \
  proc-sys-fs-binfmt_misc.automount proc-sys-fs-binfmt_misc.mount dev-hugepages.mount sys-kernel-config.mount \
  sys-kernel-debug.mount sys-kernel-tracing.mount sys-fs-fuse-connections.mount \
  getty.target console-getty.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer \
  dpkg-db-backup.timer systemd-tmpfiles-clean.timer \
  systemd-ask-password-console.path systemd-ask-password-wall.path; do
  ln -sfn /dev/null "$unit"
done
mkdir -p /var/lib/orquestrador-lab
: >/etc/machine-id
systemctl set-default multi-user.target
systemctl enable ssh.service cron.service lab-registry.service
