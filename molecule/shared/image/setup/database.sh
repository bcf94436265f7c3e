#!/bin/sh
# MySQL or MariaDB as Debian packages it, its data directory initialised here so that a lab starts at once.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
database=$1

# Nothing may start while an image is being built.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d

case $database in
mysql)
  # Only unstable has MySQL. Its Release file may be past its date; the pin keeps everything else at the release.
  mirror=$(apt-get --no-release-info indextargets --format '$(SITE)' 'Created-By: Packages' | grep -v security | head -n 1)
  cat >/etc/apt/sources.list.d/unstable.sources <<END
Types: deb
URIs: $mirror
Suites: sid
Components: main
Check-Valid-Until: no
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
  printf 'Package: *\nPin: release a=unstable\nPin-Priority: 50\n' >/etc/apt/preferences.d/unstable
  apt-get -q update
  apt-get -q install -y --no-install-recommends -t sid mysql-server
  ;;
mariadb)
  apt-get -q update
  apt-get -q install -y --no-install-recommends mariadb-server
  ;;
*)
  echo "database '$database' is not known: mysql or mariadb" >&2
  exit 2
  ;;
esac
apt-get -q clean
rm -f /usr/sbin/policy-rc.d
test -n "$(ls -A /var/lib/mysql)"
