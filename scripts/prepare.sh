# Sourced by the scripts: makes node_modules fit package-lock.json, and puts its Node first on PATH.
if ! command -v npm >/dev/null; then
  echo "npm is missing: install Node.js 20.19 or newer with npm (Debian and Ubuntu: apt-get install npm)" >&2
  exit 69
fi
if ! cmp -s package-lock.json node_modules/.postern-lock 2>/dev/null; then
  echo "installing packages (npm ci)"
  npm ci --no-fund --no-audit --loglevel=error || { echo "npm ci failed: see the lines above" >&2; exit 69; }
  cp package-lock.json node_modules/.postern-lock
fi
PATH="$PWD/node_modules/.bin:$PATH"
export PATH
# Installs Debian packages that a command needs, where that is allowed: need COMMAND PACKAGE...
need() {
  local command=$1
  shift
  command -v "$command" >/dev/null && return 0
  local as=""
  [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && as="sudo -n"; } || { echo "$command is missing, and without root it cannot be installed: ask for the packages $*" >&2; return 1; }
  command -v apt-get >/dev/null || { echo "$command is missing, and there is no apt-get: install $*" >&2; return 1; }
  echo "installing $* (apt-get)"
  $as env DEBIAN_FRONTEND=noninteractive apt-get update -qq >/dev/null 2>&1 || true
  $as env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 ||
    { echo "apt-get could not install $*" >&2; return 1; }
}
# Installs PyPI packages into a venv of our own, and puts its commands on PATH: need_python PACKAGE==VERSION...
need_python() {
  local venv=$PWD/node_modules/.postern-venv
  if ! cmp -s <(echo "$*") "$venv/wanted" 2>/dev/null; then
    need python3 python3 || return 1
    # The module that makes it is a package of its own on Debian.
    python3 -c 'import ensurepip' 2>/dev/null || need "" python3-venv || return 1
    echo "installing $* (pip)"
    python3 -m venv "$venv" && "$venv/bin/pip" install --quiet --disable-pip-version-check "$@" ||
      { echo "pip could not install $*" >&2; return 1; }
    echo "$*" >"$venv/wanted"
  fi
  PATH="$PATH:$venv/bin"
}
