#!/bin/sh
# End the SLURM that start.sh started, with the jobs that it still has, and delete its folder.
set -u

folder=${SLURM_TEST_FOLDER:-/tmp/samplernn-slurm-$(id -un)}
export SLURM_CONF="$folder/slurm.conf"
[ -f "$SLURM_CONF" ] || exit 0

end() { # the process whose number is in the file $1, and wait for it
    [ -s "$1" ] || return 0
    number=$(cat "$1")
    kill "$number" 2>/dev/null || return 0
    for _ in $(seq 100); do
        kill -0 "$number" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$number" 2>/dev/null
}

scancel --user="$(id -un)" 2>/dev/null
for _ in $(seq 40); do # the 30 s that a job has to end, and a little more
    [ -n "$(squeue --noheader 2>/dev/null)" ] || break
    sleep 1
done
end "$folder/slurmd.pid"
end "$folder/slurmctld.pid"
end "$folder/munged.pid"
rm -rf "$folder"
