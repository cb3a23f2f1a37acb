"""Seconds of an update of each model of the study, for [seconds_per_update] of its scale.

    python benchmarks/study_rates.py SPEECH [--minutes 0.5]

SPEECH is the prepared set of speech. Each model is trained for half a minute, one after the other; the rate
is that of the second half of its log, without compilation. Nothing else may use the machine meanwhile.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from samplernn_theano.checkpoints import run_folder
from samplernn_theano.reproduction import plan
from samplernn_theano.reproduction.experiments import read_experiments


def rate(folder: Path) -> float:
    """Seconds per update in the second half of a run's log."""
    updates = [entry for entry in run_folder.read_log(run_folder.Run(folder)) if entry["event"] == "train"]
    first, last = updates[len(updates) // 2], updates[-1]
    return (last["seconds"] - first["seconds"]) / (last["iteration"] - first["iteration"])


def main() -> None:
    """Print the rates as TOML."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--minutes", type=float, default=0.5, help="of training each model")
    a = parser.parse_args()
    known = read_experiments()
    names = [n for n in known if n.startswith(("table1/blizzard", "table3", "table4")) and known[n].run == n]
    with tempfile.TemporaryDirectory() as folder:
        study = plan.Workflow(
            Path(folder),
            "study",
            dict.fromkeys(names, [plan.FIRST_SEED]),
            {"blizzard": str(a.speech.absolute())},
        )
        print("[seconds_per_update]", flush=True)
        for name in names:
            words = plan.command(study, "train", name, plan.FIRST_SEED)
            assert words is not None
            command = [sys.executable, "-m", "samplernn_theano", *words[1:], "--max-minutes", str(a.minutes)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            found = rate(plan.folder(study, "runs", name, plan.FIRST_SEED))
            print(f'"{name.replace("blizzard", "*")}" = {found:.5f}', flush=True)


if __name__ == "__main__":
    main()
