"""`python -m benchmarks.torture`: kill the tiny pipeline at random points until enough kills were made; exit 1 where a
run was lost or ended with anything else than the untouched one."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

FOLDER_VARIABLE = "POSTTRAIN_TORTURE_FOLDER"


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torture", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="end when so many were made")
    parser.add_argument("--per-run", type=int, default=13, help="faults planned for each run: some it goes through")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--zero-stage", type=int, choices=[1, 2, 3], help="two ranks under DeepSpeed; else one process")
    parser.add_argument("--starts", choices=["forked", "real"], default="forked", help="benchmarks/torture/starts.py")
    parser.add_argument("--out", type=Path, required=True, help="folder of report.json, report.md and the logs")
    return parser.parse_args()


def main() -> int:
    """Run an untouched pipeline, then lives of killed ones; returns 0 where all ended alike."""
    from benchmarks.torture.disk import can_have_own_disk, has_own_disk, start_on_own_disk

    arguments = parse()
    if not has_own_disk():
        folder = Path(tempfile.mkdtemp(prefix="torture-"))
        os.environ[FOLDER_VARIABLE] = str(folder)
        os.environ |= {"OMP_NUM_THREADS": "1", "POSTTRAIN_CACHE": str(folder / "cache"), "WANDB_MODE": "offline"}
        os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1", "DS_ACCELERATOR": "cpu"}
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [os.getcwd(), os.environ.get("PYTHONPATH")]))
        if can_have_own_disk():
            start_on_own_disk(folder)
    folder = Path(os.environ[FOLDER_VARIABLE])
    try:
        return torture(arguments, folder)
    finally:
        logs = arguments.out / "logs"
        shutil.rmtree(logs, ignore_errors=True)
        if (folder / "notes").is_dir():
            shutil.copytree(folder / "notes", logs)
        shutil.rmtree(folder, ignore_errors=True)


def torture(arguments: argparse.Namespace, folder: Path) -> int:
    """The torture test in `folder`."""
    from benchmarks.torture.compare import untrained
    from benchmarks.torture.damage import all_is_on_disk
    from benchmarks.torture.disk import has_own_disk
    from benchmarks.torture.kinds import FILE_SIZE_LIMIT, FULL_DISK, KINDS
    from benchmarks.torture.lives import Bench, attempt, live
    from benchmarks.torture.points import COUNTS, read_lines, write_faults
    from benchmarks.torture.report import summary, verdict, write_report
    from benchmarks.torture.schedule import schedule
    from benchmarks.torture.starts import adopt_orphans, import_everything, start_as_user, start_forked
    from training.config import load_pipeline
    from training.plan import plan_run

    adopt_orphans()
    config = Path(__file__).with_name("pipeline.yaml")
    ranks = 1 if arguments.zero_stage is None else 2
    overrides = [] if ranks == 1 else ["runtime.processes=2", f"runtime.zero_stage={arguments.zero_stage}"]
    overrides += [] if ranks == 1 else ["runtime.micro_batch_size=2"]
    if arguments.starts == "forked":
        import_everything(arguments.zero_stage or 0)
    bench = Bench(
        load_pipeline(config, overrides),
        ["run", str(config), *overrides],
        start_forked if arguments.starts == "forked" else start_as_user,
        folder,
    )
    started = time.monotonic()
    notes = folder / "notes" / "untouched"
    notes.mkdir(parents=True)
    write_faults(notes, [])
    code = attempt(bench, "untouched", notes)
    if code != 0:
        print(f"the untouched run ended with {code}; its output is {arguments.out / 'logs' / 'untouched'}")
        return 1
    untouched_s = time.monotonic() - started
    idle = untrained(plan_run(bench.pipeline, bench.run_dir("untouched")))
    assert not idle, f"{idle} trained nothing: comparing their weights would say nothing"
    points = {(row["stage"], row["rank"]): row["points"] for row in read_lines(notes / COUNTS)}
    left_out = FILE_SIZE_LIMIT if has_own_disk() else FULL_DISK
    kinds = [kind for kind in KINDS if kind != left_out]
    lives, made, planned = [], 0, 0
    mode = "one process" if ranks == 1 else f"two ranks, ZeRO-{arguments.zero_stage}"
    while made < arguments.kills:
        count = arguments.per_run
        name = f"life{len(lives) + 1}"
        (folder / "notes" / name).mkdir(parents=True)
        all_is_on_disk([bench.cache], folder / "notes" / name)
        every = replace(bench, arguments=[*bench.arguments, f"runtime.checkpoint_every={1 + len(lives) % 3}"])
        faults = schedule(points, kinds, count, planned, arguments.seed + planned)
        lives.append(live(every, name, faults, "untouched", enough=arguments.kills - made))
        found = summary(mode, arguments.starts, arguments.seed, lives, untouched_s)
        planned, made = planned + count, found["kills"]
        write_report(arguments.out, found)
        print(f"{name}: {verdict(found)}", flush=True)
        if lives[-1].lost or lives[-1].differences:
            shutil.copytree(bench.run_dir(name), arguments.out / name, symlinks=True, dirs_exist_ok=True)
        shutil.rmtree(bench.run_dir(name))
    return 1 if any(life.lost or life.differences for life in lives) else 0


if __name__ == "__main__":
    sys.exit(main())
