# Shared by the scripts in this directory; sourced, never run. It keeps three promises: nothing of
# the machine is changed but packages that are missing, and that is said before it is done; PostgreSQL
# never runs as root; what a script prints as a failure holds the reason.
# shellcheck shell=bash disable=SC2034

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# Where cargo builds, and where everything else goes that can be made again.
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$root/$target ;; esac

# The major version of PostgreSQL that tests and demo use unless told otherwise.
default_pg_major=15

# say LINE...: to standard error.
say() { printf '%s\n' "$@" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# as_root COMMAND...: through sudo where we are not root.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    die "this needs root, and there is no sudo: $*"
  fi
}

# as_server COMMAND...: PostgreSQL refuses to run as root, so root hands over to user postgres.
as_server() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid postgres --regid postgres --init-groups env HOME=/ "$@"
  else
    "$@"
  fi
}

# install_packages NAME...: Debian packages. The package lists are only fetched where what the
# machine has does not do.
install_packages() {
  command -v apt-get >/dev/null || die "please install: $* (there is no apt-get here)"
  say "installing: $*"
  local log
  log=$(mktemp)
  local apt=(as_root env DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1 apt-get -qq -y --no-install-recommends
    -o Dpkg::Options::=--force-confold install)
  if ! "${apt[@]}" "$@" >"$log" 2>&1; then
    if ! { as_root apt-get -qq update && "${apt[@]}" "$@"; } >"$log" 2>&1; then
      tail -n 20 "$log" >&2
      rm -f "$log"
      die "could not install: $*"
    fi
  fi
  rm -f "$log"
}

# pg_bin MAJOR: where Debian puts the programs of that version.
pg_bin() { printf '/usr/lib/postgresql/%s/bin' "$1"; }

# ensure_postgres MAJOR: server and client programs of that version are there. Debian would create
# and start a cluster of its own with the package; nobody asked for one.
ensure_postgres() {
  [ -x "$(pg_bin "$1")/initdb" ] && [ -x "$(pg_bin "$1")/psql" ] && return
  local conf=/etc/postgresql-common/createcluster.conf
  if [ ! -e "$conf" ]; then
    as_root mkdir -p "${conf%/*}"
    printf '%s\n' '# Written before postgresql was installed for projh-bluegreen'"'"'s throw-away servers.' \
      'create_main_cluster = false' | as_root tee "$conf" >/dev/null
  fi
  install_packages "postgresql-$1"
}

# ensure_pooler: PgBouncer, which the tests put in the way. Debian's service is of no use to anybody here.
ensure_pooler() {
  [ -x /usr/sbin/pgbouncer ] || [ -x /usr/bin/pgbouncer ] && return
  install_packages pgbouncer
  if command -v systemctl >/dev/null; then as_root systemctl disable --now --quiet pgbouncer || true; fi
}

# ensure_build_tools: what cargo needs to link, and Rust itself.
ensure_build_tools() {
  if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  fi
  command -v cargo >/dev/null || die "cargo is missing: install Rust first (rustup)"
  command -v cc >/dev/null || install_packages gcc libc6-dev
}
