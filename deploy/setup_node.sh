#!/usr/bin/env bash
# Makes a bare Debian or Ubuntu machine a node of a cluster: system packages, the folder for results, the Python
# environment of a lock file, and what a login shell needs to find both. Running it again changes nothing.
#   deploy/setup_node.sh LOCK RESULTS
#     LOCK      cpu or gpu: requirements/LOCK.lock. Every node of a cluster takes the same one.
#     RESULTS   where runs are written: HOST:/PATH, a share that is mounted by NFS 4.1 (EFS, FSx, any server), or the
#               absolute path of a folder that is there on every node already
#   VENV=~/rlrig-venv               the Python environment
#   RLRIG_RESULTS=/mnt/rlrig        where the share is mounted
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '[node %3d s] %s\n' "$SECONDS" "$*"; }
die() { say "$1" >&2; exit 2; }

(($# == 2)) || die "usage: deploy/setup_node.sh cpu|gpu RESULTS; got $# arguments"
readonly lock=$1 results=$2
readonly venv=${VENV:-$HOME/rlrig-venv} environment=$HOME/.rlrig_environment
[[ -f requirements/$lock.lock ]] || die "LOCK $lock: there is no requirements/$lock.lock; give cpu or gpu"
[[ $results != *CHANGE* ]] || die "RESULTS $results: put the address of your own share here, for example that of an EFS"
case $results in
    /*) folder=$results ;;
    *://*) die "RESULTS $results: an object store is not a file system; give HOST:/PATH of an NFS share" ;;
    ?*:/*) folder=${RLRIG_RESULTS:-/mnt/rlrig} ;;
    *) die "RESULTS $results: give HOST:/PATH of an NFS share, or the absolute path of a shared folder" ;;
esac
readonly folder
root=()
((EUID == 0)) || root=(sudo)
readonly root

# A machine that has just started installs its own packages first, and holds the lock of the package system meanwhile.
if command -v cloud-init >/dev/null; then
    timeout 600 cloud-init status --wait >/dev/null || say "cloud-init has not finished well; going on"
fi

missing=()
command -v g++ >/dev/null || missing+=(g++) # Triton and PyTorch's compiler call it
command -v rsync >/dev/null || missing+=(rsync)
python=${PYTHON:-$(command -v python3.11 || command -v python3 || true)}
if [[ -z $python ]]; then
    missing+=(python3 python3-venv python3-dev)
else
    "$python" -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
    "$python" -c 'import os, sysconfig; os.stat(os.path.join(sysconfig.get_paths()["include"], "Python.h"))' \
        2>/dev/null || missing+=(python3-dev)
fi
if [[ $results != /* ]] && ! command -v mount.nfs4 >/dev/null; then missing+=(nfs-common); fi
if ((${#missing[@]})); then
    say "installing ${missing[*]}"
    apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3)
    "${root[@]}" "${apt[@]}" update >/dev/null || die "apt-get update failed; does the machine reach its package sources?"
    "${root[@]}" "${apt[@]}" install --no-install-recommends "${missing[@]}" >/dev/null ||
        die "apt-get could not install ${missing[*]}"
fi

if grep -qsi 0x10de /sys/bus/pci/devices/*/vendor && ! command -v nvidia-smi >/dev/null; then
    die "the machine has an NVIDIA GPU and no driver; start it from an image that has one"
fi

# `ray up` mounts nothing, and a stopped machine that starts again mounts what /etc/fstab says.
if [[ $results != /* ]] && ! mountpoint -q "$folder"; then
    readonly options=nfsvers=4.1,rsize=1048576,wsize=1048576,hard,timeo=600,retrans=2,noresvport,_netdev
    say "mounting $results on $folder"
    "${root[@]}" mkdir -p "$folder"
    grep -qs "^[^ ]* $folder " /etc/fstab ||
        echo "$results $folder nfs4 $options 0 0" | "${root[@]}" tee -a /etc/fstab >/dev/null
    timeout -k 5 60 "${root[@]}" mount "$folder" ||
        die "$results: not mounted within 60 s; does its security group let this cluster's nodes in on port 2049?"
fi
if [[ ! -w $folder ]]; then
    "${root[@]}" mkdir -p "$folder"
    "${root[@]}" chown "$(id -u):$(id -g)" "$folder"
fi
probe=$(timeout -k 5 60 mktemp "$folder/.writable.XXXXXX") || die "$folder: cannot be written to by $(id -un)"
rm "$probe"

LOCK=$lock VENV=$venv deploy/setup_venv.sh

{
    echo "export PATH=\"$venv/bin:\$PATH\""
    echo "export RLRIG_RESULTS=\"$folder\""
    echo "export RAY_AUTH_MODE=token"
} >"$environment"
touch "$HOME/.bashrc"
grep -qsF "$environment" "$HOME/.bashrc" || echo ". \"$environment\"" >>"$HOME/.bashrc"
say "ready: $("$venv/bin/python" -V), results in $folder"
