#!/usr/bin/env bash
# Runs a Slurm of one node on this machine, to test the job scripts: munge, and slurmctld and slurmd from
# Debian's slurm-wlm, as root, with all their files in one folder.
#
#   scripts/slurm.sh start FOLDER    installs what is missing, starts Slurm, prints the setting for sbatch
#   scripts/slurm.sh stop FOLDER
#
# It starts, signals, requeues and ends jobs as a cluster does. It has no accounting and no cgroups, so it
# limits nothing.
set -euo pipefail

action=${1:-} folder=${2:-}
if [[ -z $folder || ($action != start && $action != stop) ]]; then
    sed -n '2,9p' "$0" | sed 's/^# \?//' >&2
    exit 2
fi
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
conf=$folder/slurm.conf

fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 2
}

stop() {
    local name
    for name in slurmd slurmctld munged; do
        if [[ -s $folder/$name.pid ]]; then kill "$(<"$folder/$name.pid")" 2>/dev/null || true; fi
        rm -f "$folder/$name.pid"
    done
}

install_packages() {
    local missing=()
    command -v slurmctld >/dev/null && command -v slurmd >/dev/null || missing+=(slurm-wlm)
    command -v munged >/dev/null || missing+=(munge)
    ((${#missing[@]})) || return 0
    command -v apt-get >/dev/null ||
        fail "slurmctld, slurmd or munged is missing" \
            "install Slurm and munge with your system's package manager"
    echo "installing ${missing[*]}" >&2
    apt-get update -q >&2 || true
    DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" \
        >&2 </dev/null
}

# Waits until a command succeeds. If it never does, prints its output and the ends of the logs.
await() {
    local tries
    for tries in {1..60}; do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.5
    done
    "$@" >&2 || true
    tail -n 20 "$folder"/*.log >&2 || true
    fail "still failing after $((tries / 2)) s: $*" "the logs are in $folder"
}

start() {
    [[ $EUID -eq 0 ]] || fail "only root can start this Slurm" "run this as root, or use the cluster's Slurm"
    install_packages
    stop
    mkdir -p "$folder/state" "$folder/spool"
    # munge requires files that nobody else can write. The socket is in /run because its path must be short.
    local socket
    socket=$(mktemp -d /run/eqr-munge.XXXXXX)
    chmod 0755 "$socket"
    [[ -s $folder/munge.key ]] || (umask 077 && head -c 1024 /dev/urandom >"$folder/munge.key")
    munged --force --key-file="$folder/munge.key" --socket="$socket/socket" --pid-file="$folder/munged.pid" \
        --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" --num-threads=2

    local host cores memory port
    host=$(hostname -s)
    cores=$(nproc)
    memory=$(awk '/MemTotal/ {print int($2 / 1024)}' /proc/meminfo)
    port=$((20000 + RANDOM % 20000))
    cat >"$conf" <<END
ClusterName=eqr
SlurmctldHost=$host
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job starts again only after its credential has expired, by default after two minutes.
AuthInfo=socket=$socket/socket,cred_expire=5
CredType=cred/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=2,batch_sched_delay=0
MpiDefault=none
ReturnToService=2
JobRequeue=1
KillWait=10
MessageTimeout=30
SlurmctldPort=$port
SlurmdPort=$((port + 1))
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
NodeName=$host CPUs=$cores RealMemory=$memory State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
END
    export SLURM_CONF=$conf
    slurmctld -f "$conf"
    await scontrol ping
    slurmd -f "$conf"
    await srun -n 1 true
    echo "export SLURM_CONF=$conf"
}

"$action"
