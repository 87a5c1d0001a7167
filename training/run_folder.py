"""The folder of one run, `runs/<name>/`: one folder per stage and fingerprint, a new one beside the old for a change.

Owns the names of what lies in it. Nothing here overwrites an artifact; `pipeline.resolved.json` alone follows the
present YAML.
"""

import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from training.record import RECORD_NAME, SCHEMA_VERSION, read_json, read_record, write_json

if TYPE_CHECKING:
    from training.config import Pipeline

RESOLVED_NAME = "pipeline.resolved.json"
REPORT_NAME = "report.html"
_STAGE_FOLDER = re.compile(r"(?P<index>\d{2,})-(?P<name>[a-z0-9][a-z0-9_-]*)-(?P<prefix>[0-9a-f]{8})")


@dataclass(frozen=True)
class StageFolder:
    """A stage folder as its name tells it; `prefix` is the first 8 hex digits of the fingerprint."""

    path: Path
    index: int
    name: str
    prefix: str


@dataclass(frozen=True)
class RunFolder:
    """`runs/<pipeline name>`; the folder need not exist yet."""

    path: Path

    @property
    def resolved_path(self) -> Path:
        """The present pipeline, resolved, with the folder of each stage."""
        return self.path / RESOLVED_NAME

    def log_path(self, stage: str, fingerprint: str, rank: int) -> Path:
        """Where the output of one rank of a stage is kept."""
        return self.path / "logs" / f"{stage}-{fingerprint[:8]}.rank{rank}.log"

    def stages(self) -> list[StageFolder]:
        """Every stage folder, used or not, in order of name."""
        if not self.path.is_dir():
            return []
        found = []
        for path in sorted(self.path.iterdir()):
            match = _STAGE_FOLDER.fullmatch(path.name)
            if match and path.is_dir():
                found.append(StageFolder(path, int(match["index"]), match["name"], match["prefix"]))
        return found

    def find(self, name: str, fingerprint: str) -> Path | None:
        """Return the folder of this stage and fingerprint, whatever its number, or None."""
        for folder in self.stages():
            if folder.name == name and folder.prefix == fingerprint[:8]:
                record = read_record(folder.path)
                if record is not None and record["fingerprint"] != fingerprint:
                    raise UserError(f"{folder.path} holds another experiment with the same 8 digits; move it away")
                return folder.path
        return None

    def stage_folder(self, index: int, name: str, fingerprint: str) -> Path:
        """Return the folder to use for this stage: the one found, else `<NN>-<name>-<fp8>`, which is not created."""
        return self.find(name, fingerprint) or self.path / f"{index:02d}-{name}-{fingerprint[:8]}"

    def check(self, pipeline_name: str) -> None:
        """Refuse a folder that belongs to another pipeline, to another schema version, or to something else."""
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise UserError(f"{self.path} is a file; choose another runtime.runs_dir or another name for the pipeline")
        resolved = self.read_resolved()
        if resolved is None:
            if any((folder.path / RECORD_NAME).is_file() for folder in self.stages()):
                raise UserError(
                    f"{self.path} holds artifacts but no {RESOLVED_NAME}; restore it, or choose another runs_dir"
                )
            return
        if resolved.get("schema_version") != SCHEMA_VERSION:
            raise UserError(
                f"{self.resolved_path} has schema_version {resolved.get('schema_version')!r}; this posttrain reads "
                f"{SCHEMA_VERSION}. Go on with the posttrain that wrote it, or choose another runtime.runs_dir"
            )
        if resolved.get("name") != pipeline_name:
            raise UserError(
                f"{self.path} belongs to the pipeline {resolved.get('name')!r}, not to {pipeline_name!r}; "
                "choose another name, runtime.runs_dir or --run-dir"
            )

    def read_resolved(self) -> dict[str, Any] | None:
        """Return what `pipeline.resolved.json` holds, or None if there is none."""
        if not self.resolved_path.is_file():
            return None
        return read_json(self.resolved_path, "remove it, `posttrain run CONFIG` writes it anew")

    def write_resolved(
        self,
        pipeline: "Pipeline",
        config_path: Path,
        overrides: list[str],
        fingerprints: Mapping[str, str],
        folders: Mapping[str, Path],
    ) -> None:
        """Write the pipeline as run: the expanded config and, by stage name, `fingerprints` and `folders`."""
        content = {
            **pipeline.model_dump(mode="json"),
            "schema_version": SCHEMA_VERSION,
            "config_path": str(config_path),
            "overrides": overrides,
            "command": shlex.join(["posttrain", *sys.argv[1:]]),
            "fingerprints": dict(fingerprints),
            "folders": {name: folder.name for name, folder in folders.items()},
            "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.resolved_path, content)


def run_path(pipeline: "Pipeline", run_dir: Path | None = None) -> Path:
    """Return the run folder of a pipeline: `run_dir` if given, else `<runtime.runs_dir>/<name>`."""
    return run_dir if run_dir is not None else Path(pipeline.runtime.runs_dir) / pipeline.name
