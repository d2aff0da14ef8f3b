#!/bin/sh
# Sets up .venv and node_modules. Does nothing when they are up to date. `make` calls it, and so can you.
# `stack/setup.sh bench` also installs Socket.IO's own server, which only `make bench` needs, and `stack/setup.sh compiler`
# a C compiler where the machine has none, which only `make compile` needs.
#
# A stamp holds the checksum of the files that say what to install. So a fresh checkout of the same commit over an old
# .venv needs no network, whatever the times of its files are.
set -eu
cd "$(dirname "$0")/.."

packages='shared services/io-node services/app-node stack'
log=.venv/setup.log

say() { printf '%s\n' "$*" >&2; }
die() { say "set-up: $*"; exit 2; }

wanted_python() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 14))' 2>/dev/null; }

# Prints the first interpreter that can make a virtual environment. Each candidate is tried, because version managers
# leave stubs on the PATH that only print an error.
find_python() {
  found=
  for name in ${PYTHON:-python3.14 python3.13 python3.12 python3.11 python3 python}; do
    wanted_python "$name" || continue
    found=$name
    "$name" -c 'import ensurepip, venv' 2>/dev/null && { echo "$name"; return; }
  done
  [ -z "$found" ] && die "needs Python 3.11 to 3.14, and ${PYTHON:-none on the PATH} is one (PYTHON=/path/to/python3 names it)"
  die "$found has no venv module: install it (Debian and Ubuntu: apt install python3-venv)"
}

checksum() { cat "$@" | cksum; }
stamped() { [ -f "$1" ] && [ "$(cat "$1")" = "$2" ]; }

# Runs a command and writes its output to the log. Each line that matches the pattern advances a counter on the terminal.
# Usage: counted 'what' TOTAL 'pattern' command...
counted() {
  what=$1 total=$2 pattern=$3; shift 3
  tty=; [ -t 2 ] && tty=1
  { "$@" 2>&1 && echo done >"$log.ok"; } | tee -a "$log" | awk -v what="$what" -v total="$total" -v pattern="$pattern" -v tty="$tty" '
    $0 ~ pattern { n++; if (tty) { printf "\r\033[K  %s: %d of %d ", what, n, total > "/dev/stderr"; fflush() } }
    /^Installing collected/ && tty { printf "\r\033[K  %s: all here, unpacking ... ", what > "/dev/stderr"; fflush() }
    END { if (tty) printf "\r\033[K" > "/dev/stderr" }'
  if [ -f "$log.ok" ]; then rm -f "$log.ok"; return; fi
  say "----- the end of $log:"; tail -n 15 "$log" >&2
  die "$what: failed (see above)"
}

set_up_python() {
  sum=$(checksum requirements/dev.txt $(printf '%s/pyproject.toml ' $packages))
  wanted_python .venv/bin/python || rm -rf .venv
  if stamped .venv/.stamp "$sum"; then touch .venv/.stamp; return; fi
  if [ ! -x .venv/bin/python ]; then
    python=$(find_python)
    say "Setting up in .venv, once: about a minute with a good network"
    say "  $("$python" --version) ($(command -v "$python"))"
    "$python" -m venv .venv || { rm -rf .venv; die "$python cannot make a virtual environment"; }
  else
    say "Bringing .venv up to date"
  fi
  : >"$log"
  pip=".venv/bin/python -m pip --disable-pip-version-check --no-input"
  total=$(grep -c '^[a-z].*==' requirements/dev.txt)
  counted "Python packages, each checked against its hash" "$total" '^(Collecting|Requirement already satisfied)' \
    $pip install --require-hashes -r requirements/dev.txt
  set -- ; for package in $packages; do set -- "$@" -e "$package"; done
  counted "this project's own packages" 4 '^Obtaining' \
    $pip install --no-index --no-deps --no-build-isolation "$@"
  say "  Python packages: ready"
  echo "$sum" >.venv/.stamp
}

# npm comes as a Python wheel, so the machine needs no Node. Usage: set_up_npm 'what' FOLDER
set_up_npm() {
  sum=$(checksum "$2/package.json" "$2/package-lock.json")
  if stamped "$2/node_modules/.stamp" "$sum"; then touch "$2/node_modules/.stamp"; return; fi
  # so that npm trusts the certificates that the machine trusts, as pip does
  counted "the JavaScript $1" 1 '^added' \
    env NODE_USE_SYSTEM_CA=1 .venv/bin/npm --prefix "$2" ci --ignore-scripts --no-audit --no-fund
  say "  JavaScript $1: ready"
  echo "$sum" >"$2/node_modules/.stamp"
}

# The compiler comes as a Python wheel of 100 MB.
set_up_compiler() {
  for name in ${CC:-cc gcc clang}; do ! command -v "$name" >/dev/null || return 0; done
  counted "a C compiler, since this machine has none" "$(grep -c '^[a-z].*==' requirements/compile.txt)" \
    '^(Collecting|Requirement already satisfied)' \
    .venv/bin/python -m pip --disable-pip-version-check --no-input install --require-hashes -r requirements/compile.txt
}

set_up_python
set_up_npm client .
[ "${1:-}" != bench ] || set_up_npm server loadtest/bench/servers/node
[ "${1:-}" != compiler ] || set_up_compiler
