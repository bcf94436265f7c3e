#!/bin/sh
# Puts Debian's Prometheus, promtool and node_exporter into .cache/prometheus/bin, for the tests that ask somebody
# independent. Installs nothing and starts nothing: the packages are downloaded and unpacked, no more.
# Works as any user where apt has package lists; where it has none, fetches them as root or by sudo. Nothing when there.
# Usage: ensure-prometheus.sh; prints the directory.
set -eu
export LC_ALL=C
cd "$(dirname "$0")/.."

home=$PWD/.cache/prometheus
packages="prometheus prometheus-node-exporter"
programs="prometheus promtool prometheus-node-exporter"

whole() {
  for program in $programs; do
    [ -x "$1/bin/$program" ] || return 1
  done
}
if whole "$home"; then
  echo "$home/bin"
  exit 0
fi

for command in apt-get dpkg; do
  command -v "$command" >/dev/null 2>&1 || {
    echo "prometheus: there is no $command: this is neither Debian nor Ubuntu; put $programs into $home/bin by hand" >&2
    exit 1
  }
done
mkdir -p .cache
work=$(mktemp -d "$PWD/.cache/prometheus.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

fetch() {
  # The sandbox user of apt need not be able to enter the project.
  # shellcheck disable=SC2086 # a list of package names
  (cd "$work" && timeout 300 apt-get -q -o APT::Sandbox::User=root download $packages) >"$work/log" 2>&1
}
fetch || {
  as_root=""
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null 2>&1 || {
      cat "$work/log" >&2
      echo "prometheus: apt-get could not download $packages: run apt-get update as root, then this again" >&2
      exit 1
    }
    as_root=sudo
  fi
  $as_root timeout 600 apt-get -q update >"$work/update" 2>&1 || cat "$work/update" >&2
  fetch || {
    cat "$work/log" >&2
    echo "prometheus: apt-get could not download $packages: see above" >&2
    exit 1
  }
}
mkdir -p "$work/bin"
for package in "$work"/*.deb; do
  dpkg -x "$package" "$work/root"
done
for program in $programs; do
  mv "$work/root/usr/bin/$program" "$work/bin/"
done
whole "$work" || {
  echo "prometheus: the packages $packages do not carry $programs" >&2
  exit 1
}
rm -rf "$work/root" "$work"/*.deb "$work/log" "$work/update"
chmod 755 "$work"
# Another run may have been quicker: then its directory stands, and is whole.
whole "$home" || {
  rm -rf "$home"
  mv -T "$work" "$home" 2>/dev/null || whole "$home"
}
echo "$home/bin"
