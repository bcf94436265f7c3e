#!/bin/sh
# Installs what the lab needs on a bare Debian or Ubuntu, and nothing when it is all there.
# Works as root without sudo and as another user with it. Changes no configuration.
set -eu
export LC_ALL=C

missing=""
need() { # need <package> <command>
  command -v "$2" >/dev/null 2>&1 || missing="$missing $1"
}
# Debian keeps these out of an ordinary user's PATH.
PATH="$PATH:/usr/sbin:/sbin"
need podman podman
need runc runc
need mmdebstrap mmdebstrap
need iptables iptables
need openssh-client ssh
need openssh-client ssh-keygen
need util-linux setpriv
need age age-keygen
need python3 python3
[ -x /usr/lib/podman/netavark ] || [ -d /usr/lib/cni ] || missing="$missing netavark"
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] || missing="$missing debian-archive-keyring"
# Debian splits ensurepip off its own Python: without it `python3 -m venv` fails half-way. Other Pythons carry it.
case $(command -v python3 || echo /usr/bin/python3) in
/usr/bin/python3 | /bin/python3)
  set -- "$(readlink -f /usr/bin/python3 | sed 's|/bin/|/lib/|')"
  [ -d "$1/ensurepip" ] || missing="$missing python3-venv"
  ;;
esac
[ -n "$missing" ] || exit 0

missing=$(echo "$missing" | tr ' ' '\n' | sort -u | tr '\n' ' ')
command -v apt-get >/dev/null 2>&1 || {
  echo "lab tools: missing: $missing; this is neither Debian nor Ubuntu: install their like by hand" >&2
  exit 1
}
as_root=""
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null 2>&1 || {
    echo "lab tools: missing: $missing; run as root, or install sudo and allow this user" >&2
    exit 1
  }
  as_root=sudo
fi
echo "lab tools: installing $missing" >&2
$as_root env DEBIAN_FRONTEND=noninteractive timeout 600 apt-get -q update >&2 ||
  echo "lab tools: apt-get update failed: trying with the package lists as they are" >&2
# shellcheck disable=SC2086 # a list of package names
$as_root env DEBIAN_FRONTEND=noninteractive timeout 900 apt-get -q install -y --no-install-recommends $missing >&2 || {
  echo "lab tools: apt-get could not install $missing: see above" >&2
  exit 1
}
