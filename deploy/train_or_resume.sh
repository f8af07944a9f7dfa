#!/usr/bin/env bash
# `rlrig train` for jobs that are started again after a failure: goes on from the last checkpoint where there is one.
#   deploy/train_or_resume.sh OUT PRESET [OPTIONS OF RLRIG TRAIN …]
# A folder that a start left without a checkpoint is kept beside it, as OUT.failed-1, -2, …
set -euo pipefail

(($# >= 2)) || { echo "usage: deploy/train_or_resume.sh OUT PRESET [options]; got $# arguments" >&2; exit 2; }
readonly out=${1%/}
shift

if compgen -G "$out/checkpoints/[0-9]*/checkpoint.json" >/dev/null; then
    echo "going on with $out" >&2
    exec rlrig train "$@" --out "$out" --resume
fi
if [[ -d $out && -n $(ls -A "$out") ]]; then
    number=1
    while [[ -e $out.failed-$number ]]; do number=$((number + 1)); done
    echo "$out holds no checkpoint; moved to $out.failed-$number" >&2
    mv "$out" "$out.failed-$number"
fi
exec rlrig train "$@" --out "$out"
