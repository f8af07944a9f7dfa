#!/usr/bin/env bash
# Makes .venv from a lock file, or brings it up to date where the lock, pyproject.toml or the folder changed.
#   PYTHON=/path/to/python3.11   the interpreter to use (default: python3.11, else python3)
#   LOCK=gpu                     requirements/gpu.lock instead of requirements/cpu.lock
#   VENV=/path/to/folder         another place than .venv
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly venv=${VENV:-.venv} lock=requirements/${LOCK:-cpu}.lock
readonly marker=$venv/setup.sha256 log=$venv/setup.log
readonly torch_index=https://download.pytorch.org/whl/cpu
[[ -f $lock ]] || { echo "LOCK=${LOCK:-}: there is no $lock; use LOCK=cpu or LOCK=gpu" >&2; exit 2; }
case $lock in
    *gpu*) needs_gib=20 fetches="several GB; ten minutes and more" ;;
    *) needs_gib=8 fetches="2 GB; a few minutes" ;;
esac
readonly needs_gib fetches
fingerprint=$({ cat "$lock" pyproject.toml; pwd; } | sha256sum | cut -d' ' -f1)
readonly fingerprint
if [[ -x $venv/bin/python && -f $marker && $(<"$marker") == "$fingerprint" ]]; then exit 0; fi

say() { printf '[set-up %3d s] %s\n' "$SECONDS" "$*"; }
die() { say "$1" >&2; exit 2; }

# Runs pip with its output in the log, and says every 10 s how many packages it has come to.
pip_install() {
    local what=$1 total=$2; shift 2
    local log_start next_report=10 started=$SECONDS pid
    log_start=$(wc -l <"$log")
    "$venv/bin/python" -m pip install --no-input --progress-bar off --disable-pip-version-check "$@" >>"$log" 2>&1 &
    pid=$!
    trap 'kill "$pid" 2>/dev/null; exit 130' INT TERM
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.5
        if ((SECONDS - started >= next_report)); then
            next_report=$((next_report + 10))
            local seen step
            seen=$(tail -n "+$((log_start + 1))" "$log" | grep -cE '^(Collecting|Requirement already)' || true)
            step="fetched $seen of $total packages"
            if tail -n "+$((log_start + 1))" "$log" | grep -q '^Installing'; then step="unpacking"; fi
            say "  $what: $step"
        fi
    done
    trap - INT TERM
    wait "$pid"
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
torch=$(grep '^torch==' "$lock")
say "installing $torch"
if ! pip_install torch 1 --no-deps "$torch"; then
    grep -q "No matching distribution found for torch" "$log" || { tail -n 20 "$log" >&2; die "pip failed; the log is $log"; }
    say "pip's sources have no $torch; taking it from $torch_index"
    pip_install torch 1 --no-deps --extra-index-url "$torch_index" "$torch" ||
        { tail -n 20 "$log" >&2; die "pip could not install $torch; the log is $log"; }
fi
say "installing the other $((total - 1)) packages of $lock (about $fetches)"
pip_install packages "$total" --no-deps -r "$lock" || { tail -n 20 "$log" >&2; die "pip failed; the log is $log"; }
say "installing rlrig itself"
pip_install rlrig 1 --no-deps --no-build-isolation -e . || { tail -n 20 "$log" >&2; die "pip failed; the log is $log"; }
echo "$fingerprint" >"$marker"
say "ready: $venv ($(du -sh "$venv" | cut -f1))"
