"""Sends what stages tracked offline to the wandb server, through wandb's own `sync`.

wandb writes a `.synced` file beside what has been sent. Runs of one stage, resumed after a crash, share an id; wandb
sends them one after the other into the same run.
"""

import subprocess
import sys
from pathlib import Path

from data.errors import UserError
from training.run_folder import RunFolder


def unsent_runs(run_dir: Path) -> list[Path]:
    """The folders of offline wandb runs under a run's stages that have not been sent, oldest first."""
    found = [
        path.parent
        for stage in RunFolder(run_dir).stages()
        for path in stage.path.glob("wandb/offline-run-*/run-*.wandb")
        if not path.with_name(f"{path.name}.synced").is_file()
    ]
    return sorted(found, key=lambda path: path.name)


def require_login() -> None:
    """Raise UserError where wandb has no key for its server, in the environment or in netrc."""
    import wandb
    from wandb.errors import AuthenticationError
    from wandb.sdk.lib import wbauth

    host = wandb.setup().settings.base_url
    try:
        known = wbauth.authenticate_session(host=host, source="posttrain", prompt=False, update_session=False)
    except AuthenticationError as error:
        raise UserError(f"wandb: the key for {host} cannot be used: {error}") from error
    if known is None:
        raise UserError(f"wandb: not logged in at {host}; set WANDB_API_KEY, or run `wandb login`")


def sync(run_dir: Path) -> tuple[list[Path], list[Path]]:
    """Send what has not been sent; returns (sent, not sent). Raises UserError where wandb is not logged in."""
    waiting = unsent_runs(run_dir)
    if not waiting:
        return [], []
    require_login()
    subprocess.run([sys.executable, "-m", "wandb", "sync", *map(str, waiting)], stdin=subprocess.DEVNULL, check=False)
    left = set(unsent_runs(run_dir))
    return [path for path in waiting if path not in left], [path for path in waiting if path in left]
