#!/usr/bin/env bash
# Makes .venv from a lock file, or brings it up to date where the lock, pyproject.toml or the folder changed.
#   PYTHON=/path/to/python3.11   the interpreter to use (default: python3.11, else python3)
#   LOCK=gpu                     requirements/gpu.lock instead of requirements/cpu.lock
#   VENV=/path/to/folder         another place than .venv
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv=${VENV:-.venv} lock=requirements/${LOCK:-cpu}.lock
readonly marker=$venv/setup.sha256 log=$venv/setup.log
readonly hook=rlrig/checks/torchvision_hook.py torch_index=https://download.pytorch.org/whl/cpu
[[ -f $lock ]] || { echo "LOCK=${LOCK:-}: there is no $lock; use LOCK=cpu or LOCK=gpu" >&2; exit 2; }
torch=$(grep '^torch==' "$lock") || { echo "LOCK=${LOCK:-}: $lock is no whole lock; use LOCK=cpu or LOCK=gpu" >&2; exit 2; }
readonly torch
case $lock in
    *gpu*) needs_gib=20 fetches="several GB; ten minutes and more" ;;
    *) needs_gib=8 fetches="2 GB; about a minute" ;;
esac
readonly needs_gib fetches
fingerprint=$({ cat "$lock" pyproject.toml "$hook"; pwd; } | sha256sum | cut -d' ' -f1)
readonly fingerprint
if [[ -x $venv/bin/python && -f $marker && $(<"$marker") == "$fingerprint" ]]; then exit 0; fi

say() { printf '[set-up %3d s] %s\n' "$SECONDS" "$*"; }
die() { say "$1" >&2; exit 2; }

# Runs a command with its output in the log, and says every 10 s how far it is.
logged() {
    local what=$1; shift
    local log_start next_report=10 started=$SECONDS pid
    log_start=$(wc -l <"$log")
    "$@" >>"$log" 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null; exit 130' INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        if ((SECONDS - started >= next_report)); then
            next_report=$((next_report + 10))
            say "  $what: $(tail -n "+$((log_start + 1))" "$log" | step)"
        fi
    done
    trap - INT TERM
    wait "$pid"
}

# What the lines of an installer say of its progress; uv names large packages only.
step() {
    awk '/^ *(Collecting|Requirement already|Downloaded|Built) / { n++ }
         /^(Installing|Prepared) / { state = "unpacking" }
         /^Installed / { state = "compiling" }
         END { print state ? state : "fetched " n + 0 " packages" }'
}

pip_install() { # exec: what an interrupt ends is the installer itself
    exec "$venv/bin/python" -m pip install --no-input --progress-bar off --disable-pip-version-check "$@"
}

# Not by --python: uv remembers what it was told of a path, and of one that had no pyvenv.cfg for a moment, as where an
# environment is being removed, it believes for ever that it is the Python which the environment was made with.
uv_install() {
    VIRTUAL_ENV=$(realpath "$venv") exec "$venv/bin/uv" pip install "$@"
}

# Everything, by pip_install or uv_install.
install_all() {
    local installer=$1
    say "installing $torch"
    if ! logged torch "$installer" --no-deps "$torch"; then
        grep -qE "No matching distribution found for torch|no version of torch|torch was not found" "$log" || return 1
        say "the package sources have no $torch; taking it from $torch_index"
        logged torch "$installer" --no-deps --extra-index-url "$torch_index" "$torch" || return 1
    fi
    say "installing the other $((total - 1)) packages of $lock (about $fetches)"
    logged packages "$installer" --no-deps "${compile[@]}" -r "$lock" || return 1
    say "installing rlrig itself"
    logged rlrig "$installer" --no-deps --no-build-isolation -e . || return 1
    "$venv/bin/python" -m rlrig.checks.torchvision_hook >>"$log" 2>&1
}

python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
[[ -n $python ]] || die "no python3 found; install Python 3.11 with its venv module (Debian: apt-get install python3 python3-venv)"
"$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' ||
    die "$python is $("$python" -V 2>&1); the lock file needs Python 3.11 or 3.12. Set PYTHON=/path/to/python3.11"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    die "$python has no venv module (Debian: apt-get install python3-venv)"

if [[ ! -x $venv/bin/python ]] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    place=$(dirname "$venv")
    free_gib=$(df --output=avail -BG "$place" | tail -1 | tr -dc 0-9)
    ((free_gib >= needs_gib)) || die "$free_gib GiB free in $place; the environment needs $needs_gib GiB while it is made"
    say "making $venv with $("$python" -V)"
    "$python" -m venv --clear "$venv"
fi
touch "$log"

total=$(grep -c '^[A-Za-z]' "$lock")
compile=()
# Python compiles what it imports and keeps that, unless this variable forbids it.
[[ -z ${PYTHONDONTWRITEBYTECODE:-} ]] || compile=(--compile)
done=no
if ! logged uv pip_install -r requirements/uv.txt; then
    say "pip cannot get uv; it installs the packages itself, which takes minutes longer"
elif mapfile -d '' -t sources < <("$venv/bin/python" deploy/pip_sources.py 2>>"$log") && wait "$!" &&
    export "${sources[@]}" && install_all uv_install; then
    done=yes
else
    say "uv failed, as $log tells; going on with pip"
fi
[[ $done == yes ]] || install_all pip_install || { tail -n 20 "$log" >&2; die "pip failed; the log is $log"; }
echo "$fingerprint" >"$marker"
say "ready: $venv ($(du -sh "$venv" | cut -f1))"
