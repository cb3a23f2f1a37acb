#!/bin/sh
# Start a SLURM of one node on this machine, to test the profile slurm of `samplernn reproduce`.
#
#   apt-get install slurm-wlm munge
#   export SLURM_CONF=$(tests/training/cluster/start.sh)
#   samplernn reproduce table1/music/one_tier --scale smoke --out OUT --profile slurm
#   squeue; scontrol show jobs
#   tests/training/cluster/stop.sh
#
# Any user may start it; it needs neither systemd nor cgroups nor an accounting database, and it does not touch
# another SLURM on this machine. All its files are in $SLURM_TEST_FOLDER (/tmp/samplernn-slurm-USER):
# slurm.conf, logs, and jobs.txt, with a line for each job that ended. The node has one fictitious GPU,
# so that jobs that ask for one run. If it is running, the script only prints the path of its slurm.conf.
set -eu

folder=${SLURM_TEST_FOLDER:-/tmp/samplernn-slurm-$(id -un)}
export SLURM_CONF="$folder/slurm.conf"
PATH=$PATH:/usr/sbin:/sbin

fail() {
    echo "start.sh: $*" >&2
    exit 1
}

is_idle() { sinfo --noheader --format=%t 2>/dev/null | grep -Eqx 'idle|mix|alloc'; }

for program in mungekey munged slurmctld slurmd sinfo sbatch srun; do
    command -v "$program" >/dev/null || fail "$program is not installed; apt-get install slurm-wlm munge"
done
if [ -f "$SLURM_CONF" ]; then
    if is_idle; then
        echo "$SLURM_CONF"
        exit 0
    fi
    "$(dirname "$0")/stop.sh"
fi

mkdir -p "$folder/state" "$folder/spool"
chmod 755 "$folder"
host=$(hostname -s)

# munge: authenticates the users of daemons and commands.
(umask 077 && mungekey --create --force --keyfile="$folder/munge.key")
munged --force --key-file="$folder/munge.key" --socket="$folder/munge.socket" \
    --pid-file="$folder/munged.pid" --log-file="$folder/munged.log" --seed-file="$folder/munged.seed" ||
    fail "munged did not start: see $folder/munged.log"

memory=$(awk '/^MemTotal/ {print int($2 * 0.9 / 1024)}' /proc/meminfo) # MiB
# Unusual ports; 90 % of the memory; a killed job has 30 s to save, which is SLURM's default.
cat >"$SLURM_CONF" <<CONF
ClusterName=samplernn
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=26817
SlurmdPort=26818
SlurmUser=$(id -un)
SlurmdUser=$(id -un)
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket
CredType=cred/munge
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
TaskProlog=$folder/prolog
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/jobs.txt
MinJobAge=300
KillWait=30
ReturnToService=2
GresTypes=gpu
NodeName=$host NodeAddr=127.0.0.1 CPUs=$(nproc) RealMemory=$memory Gres=gpu:1
PartitionName=debug Nodes=$host Default=YES MaxTime=INFINITE State=UP
CONF
: >"$folder/gpu0" # in place of the GPU's device file
echo "Name=gpu File=$folder/gpu0" >"$folder/gres.conf"
# Snakemake's plugin takes every variable SLURM_... from its jobs, and with SLURM_CONF the way to this
# slurm.conf, so a job needs an srun that sets it. A SLURM with the usual paths does not.
mkdir "$folder/bin"
printf '#!/bin/sh\nSLURM_CONF=%s exec %s "$@"\n' "$SLURM_CONF" "$(command -v srun)" >"$folder/bin/srun"
printf '#!/bin/sh\necho "export PATH=%s/bin:$PATH"\n' "$folder" >"$folder/prolog"
chmod 755 "$folder/bin/srun" "$folder/prolog"

# No control groups. SLURM before 23.11 insists on a plugin for them; cgroup/v1 only looks for them.
version=$(slurmctld -V | grep -Eo '[0-9]+[.][0-9]+' | head -n 1)
older=$(printf '%s\n23.11\n' "$version" | sort -V | head -n 1)
plugin=cgroup/v1
[ "$older" != 23.11 ] || plugin=disabled
echo "CgroupPlugin=$plugin" >"$folder/cgroup.conf"

slurmctld -c -f "$SLURM_CONF" || fail "slurmctld did not start: see $folder/slurmctld.log"
slurmd -c -f "$SLURM_CONF" || fail "slurmd did not start: see $folder/slurmd.log"

waited=0
until is_idle; do
    [ $waited -lt 30 ] || fail "after 30 s sinfo does not say idle: see $folder/slurmctld.log and slurmd.log"
    sleep 1
    waited=$((waited + 1))
done
echo "$SLURM_CONF"
