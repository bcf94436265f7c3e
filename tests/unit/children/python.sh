#!/bin/sh
# A Python of version $VERSION whose pip only writes down what it is asked.
case "$*" in
"-c import sys, ensurepip, venv;"*) echo "py$(echo "$VERSION" | tr -d .).txt" ;;
"-c import pip") ;;
"--version") echo "Python $VERSION" ;;
"-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
"-m pip --disable-pip-version-check list "*) printf 'ansible==1\nLeft_Over==1\n' ;;
"-m pip --disable-pip-version-check install "*" -r "*) echo "$*" >>"$LOG"; exit "${INSTALLS:-0}" ;;
"-m pip --disable-pip-version-check check") exit "${FITS:-0}" ;;
"-m pip "*) echo "$*" >>"$LOG" ;;
*) exit 64 ;;
esac
