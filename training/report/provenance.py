"""What ran the stages, whether they differ in that, and how to run the whole again."""

import json
from typing import Any

from training.report.collect import RunView, StageView
from training.report.markup import Markup, element, join, section, table

PRIVATE = ("hostname", "executable")
"""Facts of the record that a page people pass on should not tell."""

BY_KIND = ("micro_batch_size",)
"""Facts that differ between kinds of stage by what they are."""

RUNNER_KEYS = ("folders", "fingerprints", "written_at", "command", "config_path", "overrides", "schema_version")


def environment_section(run: RunView) -> Markup:
    """What ran it, whether stages differ in that, and how to run it again."""
    done = [stage for stage in run.stages if stage.record]
    config = {key: value for key, value in run.pipeline.items() if key not in RUNNER_KEYS}
    resolved = element("pre", json.dumps(config, indent=2, ensure_ascii=False))
    environment = (done[-1].record or {}).get("environment") or {} if done else {}
    parts: list[Markup | None] = [
        element("h3", "To run it again"),
        element("pre", "\n".join(commands(run, environment)), class_="command"),
        _uncommitted(environment),
        element("details", element("summary", "The pipeline as it was resolved"), resolved),
    ]
    if done:
        parts = [*_environment(done, environment), *parts]
    return section("environment", "Environment and how to run it again", *parts)


def commands(run: RunView, environment: dict[str, Any]) -> list[str]:
    """The lines that run the pipeline again: the commit where it is known, then the command as it was given."""
    commit = environment.get("git_commit")
    lines = [f"git checkout {commit}"] if commit else []
    return [*lines, str(run.pipeline.get("command") or "posttrain run CONFIG")]


def _uncommitted(environment: dict[str, Any]) -> Markup | None:
    """A warning where the sources differed from the commit: it alone does not bring them back."""
    digest = environment.get("git_dirty_sha256")
    if not digest:
        return None
    text = f"The sources differed from that commit (sha256 of the difference: {digest[:12]})."
    return element("p", text, class_="banner")


def _environment(done: list[StageView], environment: dict[str, Any]) -> list[Markup | None]:
    facts = [(key, value) for key, value in environment.items() if _is_shown(key) and value is not None]
    pairs = [join(element("dt", key.replace("_", " ")), element("dd", str(value))) for key, value in facts]
    packages = environment.get("packages") or {}
    rows = [(name, str(version)) for name, version in sorted(packages.items())]
    versions = element("details", element("summary", "Packages"), table(("package", "version"), rows, "Packages"))
    return [_differences(done), element("dl", *pairs, class_="facts"), versions if rows else None]


def _is_shown(key: str) -> bool:
    return key != "packages" and key not in PRIVATE


def _differences(done: list[StageView]) -> Markup | None:
    """A warning that names what differs between the stages' environments; the base is copied, not computed."""
    values: dict[str, set[str]] = {}
    for stage in (stage for stage in done if stage.kind != "base"):
        environment = (stage.record or {}).get("environment") or {}
        flat = {**environment, **{f"package {name}": v for name, v in (environment.get("packages") or {}).items()}}
        for key, value in flat.items():
            if _is_shown(key) and key not in BY_KIND:
                values.setdefault(key, set()).add(str(value))
    differing = [
        f"{key.replace('_', ' ')} ({', '.join(sorted(found))})" for key, found in values.items() if len(found) > 1
    ]
    if not differing:
        return None
    return element("p", f"The stages did not all run in the same environment: {'; '.join(differing)}.", class_="banner")
