"""What `posttrain publish` uploads: the files that a record proves, the record itself, and the model's card.

Owns what may leave: a finished stage whose files are as recorded, with a card. The token is huggingface_hub's own
business (its login or HF_TOKEN); it is never read or shown here.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from launch.words import size
from training.model_files import CARD_NAME
from training.record import RECORD_NAME, read_record, verify_record, weights_sha256

REPOSITORY = re.compile(r"^[\w-][\w.-]*/[\w-][\w.-]*$")


@dataclass(frozen=True)
class Publication:
    """The files of one upload: place in the repository -> file here, in the order of places."""

    repo: str
    stage: str
    files: dict[str, Path]

    @property
    def text(self) -> str:
        """What would be uploaded where, a line a file."""
        sizes = {place: path.stat().st_size for place, path in self.files.items()}
        lines = [f"{self.stage} -> {self.repo} on the hub: {len(sizes)} files, {size(sum(sizes.values()))}"]
        return "\n".join([*lines, *(f"  {place}  {size(count)}" for place, count in sizes.items())])


def publication(folder: Path, repo: str) -> Publication:
    """Return what a stage's folder would upload to `repo`, every file hashed again; UserError where it may not."""
    if not REPOSITORY.match(repo):
        raise UserError(f"--repo {repo} is no hub repository; write ORG/NAME")
    record = read_record(folder)
    if record is None:
        raise UserError(f"{folder} has no {RECORD_NAME}; give the folder of a finished stage")
    if weights_sha256(record) is None:
        raise UserError(
            f"{folder} is of kind {record['kind']} and left no weights; give a stage that did, best an export"
        )
    problems = verify_record(folder)
    if problems:
        raise UserError(f"{folder} is not what its record says: {'; '.join(problems)}")
    card = folder / "model" / CARD_NAME
    if not card.is_file():
        raise UserError(f"{card} is missing; write it with posttrain card, read it, then publish")
    files = {_place(name): folder / name for name in record["files"]}
    files |= {CARD_NAME: card, RECORD_NAME: folder / RECORD_NAME}
    return Publication(repo, record["stage"], dict(sorted(files.items())))


def _place(name: str) -> str:
    """Where a file of the stage lies in the repository: the model's own at the top."""
    return name.removeprefix("model/")


def upload(planned: Publication, private: bool) -> str:
    """Upload in one commit and return its address; UserError where the hub refuses or cannot be reached."""
    if os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0"):
        raise UserError("HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it")
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError

    operations = [CommitOperationAdd(place, str(path)) for place, path in planned.files.items()]
    try:
        api = HfApi()
        api.create_repo(planned.repo, private=private, exist_ok=True)
        done = api.create_commit(planned.repo, operations, commit_message=f"posttrain: {planned.stage}")
    except (HfHubHTTPError, OSError) as error:
        raise UserError(f"the hub did not take {planned.repo}: {error}; hf auth login signs in") from error
    return str(done.commit_url)
