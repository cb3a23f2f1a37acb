"""Rank, number of processes and local devices from the environment: srun, Open MPI's mpirun, or by hand."""

from collections.abc import Mapping

from samplernn_theano.errors import BackendError

_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
_OPEN_MPI = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK")
_BY_HAND = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def rank_and_size(environment: Mapping[str, str]) -> tuple[int, int]:
    """Rank of this process and number of processes.

    Taken from JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID; else from the variables of srun;
    else from those of Open MPI's mpirun.

    Raises
    ------
    BackendError
        If they are missing or invalid.
    """
    if all(name in environment for name in _BY_HAND):
        names = ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES")
    elif all(name in environment for name in _SLURM):
        names = ("SLURM_PROCID", "SLURM_NTASKS")
    elif all(name in environment for name in _OPEN_MPI):
        names = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
        if not {"JAX_COORDINATOR_ADDRESS", "OMPI_MCA_orte_hnp_uri"} & environment.keys():
            raise BackendError(
                "Open MPI 5 does not set the address of process 0; give mpirun -x "
                "JAX_COORDINATOR_ADDRESS=HOST:PORT, the first host and a free port on it."
            )
    else:
        raise BackendError(
            "--distributed found no other processes: start all with srun or mpirun, or set "
            f"{', '.join(_BY_HAND[:2])} and {_BY_HAND[2]} in each."
        )
    rank, size = (environment[name] for name in names)
    if not rank.isdecimal() or not size.isdecimal() or not int(rank) < int(size):
        raise BackendError(
            f"{names[0]}={rank} and {names[1]}={size} are not the rank of a process, from 0, and the number "
            "of processes; correct them."
        )
    return int(rank), int(size)


def local_devices(environment: Mapping[str, str]) -> list[int] | None:
    """Indices, among the visible GPUs, of those that this process uses; None: all, or JAX_LOCAL_DEVICE_IDS.

    Processes of one machine that see the same GPUs share them evenly. A process whose GPUs were chosen by the
    launcher uses all that it sees.
    """
    if "JAX_LOCAL_DEVICE_IDS" in environment:
        return None
    if all(name in environment for name in _SLURM):
        # 2(x3),1: two tasks on each of three machines, one on the fourth
        items = [w.partition("(x") for w in environment.get("SLURM_STEP_TASKS_PER_NODE", "1").split(",")]
        tasks = [int(n) for n, _, times in items for _ in range(int(times.rstrip(")") or 1))]
        n_here, here = tasks[int(environment.get("SLURM_NODEID", "0"))], int(environment["SLURM_LOCALID"])
        chosen = {"SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK"} & environment.keys()
    else:
        n_here = int(environment.get("OMPI_COMM_WORLD_LOCAL_SIZE", "1"))
        here, chosen = int(environment.get("OMPI_COMM_WORLD_LOCAL_RANK", "0")), set()
    seen = [gpu for gpu in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if gpu]
    if not seen:
        return [here] if n_here > 1 else None
    if chosen or len(seen) < n_here:
        return list(range(len(seen)))
    share = len(seen) // n_here
    return list(range(here * share, (here + 1) * share))
