#!/bin/sh
# MySQL or MariaDB as Debian packages it, its data directory initialised here so that a lab starts at once.
set -eu
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
database=$1
sources=/etc/apt/sources.list.d/unstable.sources
pin=/etc/apt/preferences.d/unstable

ls /var/lib/apt/lists/*_Packages* >/dev/null 2>&1 || apt-get -q update
# Nothing may start while an image is being built.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 0755 /usr/sbin/policy-rc.d

case $database in
mysql)
  # Read by molecule/shared/lab/image.py: the output of the stages that are built side by side is mixed.
  trap '[ "$?" -eq 0 ] || echo "database.sh: no MySQL from unstable" >&2' EXIT
  # Only unstable has MySQL. Its Release file may be past its date; the pin keeps everything else at the release.
  # shellcheck disable=SC2016 # apt's own variable
  mirror=$(apt-get --no-release-info indextargets --format '$(SITE)' 'Created-By: Packages' |
    grep -v security | head -n 1)
  cat >"$sources" <<END
Types: deb
URIs: $mirror
Suites: sid
Components: main
Check-Valid-Until: no
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
  printf 'Package: *\nPin: release a=unstable\nPin-Priority: 50\n' >"$pin"
  apt-get -q update -o Dir::Etc::SourceList="$sources" -o Dir::Etc::SourceParts=- -o APT::Get::List-Cleanup=0
  apt-get -q install -y --no-install-recommends -t sid mysql-server
  # Production has MySQL from its maker's archive and nothing else of unstable.
  rm -f "$sources" "$pin" /var/lib/apt/lists/*_sid_*
  ;;
mariadb)
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
