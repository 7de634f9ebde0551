#!/bin/sh
# Installs, with apt-get, the compilers and the emulator that tests need and this machine lacks; says so
# where it cannot.
set -eu

packages=
need() { # command, package
    command -v "$1" >/dev/null 2>&1 || packages="$packages $2"
}
need gcc gcc
need g++ g++
need clang clang
need arm-none-eabi-gcc gcc-arm-none-eabi
case "$(arm-none-eabi-gcc -print-file-name=nano.specs 2>/dev/null)" in
/*) ;;
*) packages="$packages libnewlib-arm-none-eabi" ;;
esac
need qemu-system-arm qemu-system-arm
${PYTHON:-python3} -c 'import ensurepip' 2>/dev/null || packages="$packages python3-venv"
# Tests look at report.html with it, and say so where it is missing: it is no package of this kind on Ubuntu.
browser=
grep -q '^ID=debian' /etc/os-release 2>/dev/null && ! command -v chromium >/dev/null 2>&1 && browser=chromium
[ -n "$packages$browser" ] || exit 0

if [ "$(id -u)" = 0 ]; then
    sudo=
else
    sudo=sudo
fi
if ! command -v apt-get >/dev/null 2>&1 || { [ -n "$sudo" ] && ! command -v sudo >/dev/null 2>&1; }; then
    echo "make setup: cannot install these Debian packages here, so what needs them will not run:$packages $browser" >&2
    exit 0
fi

echo "make setup: installing$packages $browser"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -q
# shellcheck disable=SC2086  # a list of words
[ -z "$packages" ] || $sudo apt-get install -q -y --no-install-recommends $packages
[ -z "$browser" ] || $sudo apt-get install -q -y --no-install-recommends $browser ||
    echo "make setup: $browser could not be installed: tests of report.html will be skipped" >&2
