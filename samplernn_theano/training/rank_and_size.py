"""What the launcher of several processes says in the environment: srun, Open MPI's mpirun, or a person."""

from collections.abc import Mapping

from samplernn_theano.errors import BackendError

_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
_OPEN_MPI = ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK")
_BY_HAND = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def place(environment: Mapping[str, str]) -> tuple[int, int]:
    """The number of this process, and how many there are, as the launcher says.

    Read are, in this order: JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID; the variables that
    srun sets; those that Open MPI's mpirun sets.

    Raises
    ------
    BackendError
        If there are none, or they make no sense.
    """
    if all(name in environment for name in _BY_HAND):
        names = ("JAX_PROCESS_ID", "JAX_NUM_PROCESSES")
    elif all(name in environment for name in _SLURM):
        names = ("SLURM_PROCID", "SLURM_NTASKS")
    elif all(name in environment for name in _OPEN_MPI):
        names = ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE")
        if not {"JAX_COORDINATOR_ADDRESS", "OMPI_MCA_orte_hnp_uri"} & environment.keys():
            raise BackendError(
                "Open MPI 5 does not say where process 0 is; give mpirun -x "
                "JAX_COORDINATOR_ADDRESS=HOST:PORT, the first host and a free port on it."
            )
    else:
        raise BackendError(
            "--distributed found no other processes: start all by srun or mpirun, or set "
            f"{', '.join(_BY_HAND[:2])} and {_BY_HAND[2]} in each."
        )
    words = [environment[name] for name in names]
    if not all(word.isdecimal() for word in words) or not int(words[0]) < int(words[1]):
        raise BackendError(
            f"{names[0]}={words[0]} and {names[1]}={words[1]} are no number of a process, from 0, and "
            "number of processes; set them right."
        )
    return int(words[0]), int(words[1])


def local_devices(environment: Mapping[str, str]) -> list[int] | None:
    """Which of the GPUs that this process sees it takes; None: all, or those that JAX_LOCAL_DEVICE_IDS names.

    The processes of one machine that all see the same GPUs share them evenly: one process takes all, and of
    as many as there are GPUs each takes one. A process for which the launcher has chosen takes what it sees.
    """
    if "JAX_LOCAL_DEVICE_IDS" in environment:
        return None
    if all(name in environment for name in _SLURM):
        # 2(x3),1: two tasks on each of three machines, one on the fourth
        words = [w.partition("(x") for w in environment.get("SLURM_STEP_TASKS_PER_NODE", "1").split(",")]
        tasks = [int(n) for n, _, times in words for _ in range(int(times.rstrip(")") or 1))]
        n_here, here = tasks[int(environment.get("SLURM_NODEID", "0"))], int(environment["SLURM_LOCALID"])
        chosen = {"SLURM_GPUS_PER_TASK", "SLURM_TRES_PER_TASK"} & environment.keys()
    else:
        n_here = int(environment.get("OMPI_COMM_WORLD_LOCAL_SIZE", "1"))
        here, chosen = int(environment.get("OMPI_COMM_WORLD_LOCAL_RANK", "0")), set()
    seen = [word for word in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if word]
    if not seen:
        return [here] if n_here > 1 else None
    if chosen or len(seen) < n_here:
        return list(range(len(seen)))
    share = len(seen) // n_here
    return list(range(here * share, (here + 1) * share))
