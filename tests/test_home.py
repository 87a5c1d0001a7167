"""`~` in a path: one function replaces it, and a home that nobody has is refused at the key that names it."""

from pathlib import Path

import pytest

from data.errors import UserError
from data.home import from_home
from tests.config_files import GENERATOR, changed, write
from training.config import ConfigError, load_pipeline
from training.config.sweep import load_sweep

NOBODY = "~no-such-user/x"
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder of the user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_users_own_home_is_put_in(home: Path) -> None:
    assert from_home("~/rows.jsonl") == home / "rows.jsonl"
    assert from_home("rows~.jsonl") == Path("rows~.jsonl")


def test_a_home_that_nobody_has_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"^~no-such-user/x: no user no-such-user .* write the path in full"):
        from_home(NOBODY)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("model: bundled:tiny-random", f"model: {NOBODY}", "2: model = "),
        ("name: demo", f"name: demo\nchat_template: {NOBODY}", "2: chat_template = "),
        (GENERATOR, f"path: {NOBODY}", "13: stages.sft.data.path = "),
        (
            GENERATOR,
            f"{GENERATOR}\n      decontaminate: {{against: [{NOBODY}]}}",
            "14: stages.sft.data.decontaminate.against[0] = ",
        ),
        (
            GENERATOR,
            f"{GENERATOR}\n      difficulty: {{measured_by: {NOBODY}}}",
            "14: stages.sft.data.difficulty.measured_by = ",
        ),
        ("    rewards: [answer]\n", f"    rewards: [answer]\n    model: {NOBODY}\n", "20: stages.pairs.model = "),
        ("  processes: 2", f"  processes: 2\n  runs_dir: {NOBODY}", "34: runtime.runs_dir = "),
        ("  processes: 2", f"  processes: 2\n  zero_stage: 1\n  deepspeed_config: {NOBODY}", "35: runtime.deepspeed"),
        (
            "  processes: 2",
            f"  processes: 2\n  slurm: {{time: '1:00:00', environment_file: {NOBODY}}}",
            "34: runtime.slurm.environment_file = ",
        ),
        (
            "evaluate:\n",
            f"benchmarks: {{code: {{exercises: {{path: {NOBODY}}}}}}}\nevaluate:\n",
            "6: benchmarks.code.exercises.path = ",
        ),
    ],
)
def test_every_key_with_a_path_names_its_line_and_value(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_pipeline(write(tmp_path, changed(old, new)))
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'demo.yaml'}:{told}")
    assert "no user no-such-user is known on this machine" in line


def test_a_sweep_s_base_pipeline_is_refused_too(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(f"name: demo\nconfig: {NOBODY}\ngrid: {{seed: [1, 2]}}\n")
    with pytest.raises(ConfigError, match=r"sweep.yaml:2: config = .*no user no-such-user"):
        load_sweep(path)


def test_one_place_expands_homes() -> None:
    """pathlib raises RuntimeError for an unknown home, os.path leaves it as it is: neither is what a user can read."""
    sources = (path for room in ("data", "training", "launch") for path in (ROOT / room).rglob("*.py"))
    places = [str(path.relative_to(ROOT)) for path in sources if "expanduser(" in path.read_text(encoding="utf-8")]
    assert places == ["data/home.py"]
