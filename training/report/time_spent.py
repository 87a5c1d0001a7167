"""Where the time went: one bar per stage, its phases stacked, what no phase claims in plain sight."""

from dataclasses import dataclass

from training.metric_names import describe
from training.progress import duration
from training.report.charts import legend, stacked_bar
from training.report.collect import RunView, StageView
from training.report.markup import Markup, element, section, table
from training.report.ranks import ranks_part
from training.report.scale import percent

PHASES = (
    "forward_backward",
    "generate",
    "optimizer",
    "reward",
    "ref_logprobs",
    "old_logprobs",
    "data",
    "weight_sync",
    "checkpoint",
    "evaluate",
    "log",
)
OUTSIDE = "outside steps"


@dataclass(frozen=True)
class Account:
    """The seconds of one stage; `outside` is wall time before, between and after steps (loading, saving)."""

    stage: StageView
    phases: dict[str, float]
    unaccounted: float
    outside: float
    steps_s: float
    peak_memory_gb: float | None

    @property
    def wall_s(self) -> float:
        """Everything."""
        return sum(self.phases.values()) + self.unaccounted + self.outside


def time_section(run: RunView) -> Markup | None:
    """Bars and the table of seconds; None when no stage has a ledger yet."""
    accounts = [account for stage in run.stages if (account := account_of(stage)) is not None]
    if not accounts:
        return None
    longest = max(account.wall_s for account in accounts)
    used = [phase for phase in PHASES if any(account.phases.get(phase) for account in accounts)]
    entries = [(phase, f"p-{phase}") for phase in used] + [("unaccounted", "p-unaccounted"), (OUTSIDE, "p-outside")]
    head = ("stage", "time by phase", "wall", "unaccounted", "peak memory")
    rows = [_row(account, longest) for account in accounts]
    total = duration(sum(account.wall_s for account in accounts))
    bars = element("div", table(head, rows, f"Wall time by stage, {total} in all", (2, 3, 4)), class_="panel ledger")
    details = element("details", element("summary", "Seconds by phase"), _seconds(accounts, used))
    lead = (
        "Wall time of the main thread, mean over ranks. Phases do not overlap, and with the unaccounted rest they sum "
        "to the steps. Outside steps: loading the model, tokenising, saving."
    )
    return section("time", "Where the time went", bars, legend(entries), details, ranks_part(run), lead=lead)


def account_of(stage: StageView) -> Account | None:
    """The ledger of a stage: from its record, else summed over the metrics written so far; None without either."""
    ledger = (stage.record or {}).get("ledger") or {}
    timing = dict(ledger.get("timing_s") or {})
    if stage.record is None:
        for row in stage.metrics:
            for name, seconds in row.items():
                if name.startswith("timing_s/") and seconds is not None:
                    phase = name.removeprefix("timing_s/")
                    timing[phase] = timing.get(phase, 0.0) + seconds
    phases = {phase: float(timing[phase]) for phase in PHASES if timing.get(phase)}
    unaccounted = max(0.0, float(timing.get("unaccounted", 0.0)))
    wall = float(ledger.get("wall_s") or 0.0)
    inside = sum(phases.values()) + unaccounted
    if not inside and not wall:
        return None
    memory = ledger.get("peak_memory_gb") or []
    peak = sum(memory) if memory else None
    return Account(stage, phases, unaccounted, max(0.0, wall - inside), float(timing.get("step", 0.0)), peak)


def _row(account: Account, longest: float) -> list[Markup | str]:
    parts = [(phase, account.phases[phase], f"p-{phase}") for phase in PHASES if phase in account.phases]
    parts += [("unaccounted", account.unaccounted, "p-unaccounted"), (OUTSIDE, account.outside, "p-outside")]
    largest = sorted(parts, key=lambda part: -part[1])[:3]
    label = f"{account.stage.name}: {duration(account.wall_s)}; " + ", ".join(
        f"{name} {duration(seconds)}" for name, seconds, _ in largest
    )
    unaccounted = percent(account.unaccounted / account.steps_s) if account.steps_s else ""
    memory = "" if account.peak_memory_gb is None else f"{account.peak_memory_gb:.1f} GB"
    name = account.stage.name if account.stage.state == "done" else f"{account.stage.name} (so far)"
    return [name, stacked_bar(parts, longest, label), duration(account.wall_s), unaccounted, memory]


def _seconds(accounts: list[Account], used: list[str]) -> Markup:
    names = [account.stage.name for account in accounts]
    rows: list[list[Markup | str]] = []
    for phase in used:
        metric = describe(f"timing_s/{phase}")
        name = element("span", phase, title=metric.meaning if metric else None)
        rows.append([name, *(_cell(account.phases.get(phase, 0.0)) for account in accounts)])
    rows.append(["unaccounted", *(_cell(account.unaccounted) for account in accounts)])
    rows.append([OUTSIDE, *(_cell(account.outside) for account in accounts)])
    return table(("phase", *names), rows, "Seconds by phase and stage", range(1, 1 + len(names)))


def _cell(seconds: float) -> str:
    return f"{seconds:,.1f}" if seconds else "\u2013"
