"""W&B workspaces made of `training.dashboards`, with wandb-workspaces; built without a network, saved with one."""

import importlib.util
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from data.errors import UserError
from training.dashboards import Board, Panel
from training.wandb_sync import require_login
from training.wandb_tracker import DEFAULT_PROJECT

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2 import LinePlot
    from wandb_workspaces.workspaces import Workspace

NO_ENTITY = "ENTITY"


@dataclass(frozen=True)
class Place:
    """Where workspaces belong: a user or team, and a project."""

    entity: str
    project: str


def where(entity: str | None, project: str | None, online: bool) -> Place:
    """The place asked for, else that of the environment; `online` asks wandb for the login's own entity.

    Raises UserError where wandb-workspaces is not installed, and with `online` where wandb is not logged in.
    """
    if importlib.util.find_spec("wandb_workspaces") is None:
        raise UserError("wandb-workspaces is not installed; pip install -c constraints.txt wandb-workspaces")
    if online:
        require_login()
    project = project or os.environ.get("WANDB_PROJECT") or DEFAULT_PROJECT
    entity = entity or os.environ.get("WANDB_ENTITY") or (_own_entity() if online else NO_ENTITY)
    return Place(entity, project)


def _own_entity() -> str:
    import wandb

    try:
        entity = wandb.Api().default_entity
    except (wandb.errors.Error, OSError) as error:
        raise UserError(f"wandb: the server does not answer ({error}); name the user or team with --entity") from error
    if not entity:
        raise UserError("wandb: the login has no default entity; name the user or team with --entity")
    return str(entity)


def workspace(board: Board, place: Place) -> "Workspace":
    """The workspace of a board: its sections open in order, over the runs of its pipeline and kind."""
    from wandb_workspaces import expr
    from wandb_workspaces import workspaces as ws

    sections = [
        ws.Section(
            name=title,
            panels=[line_plot(panel) for panel in panels],
            is_open=True,
            layout_settings=ws.SectionLayoutSettings(columns=3, rows=-(-len(panels) // 3)),
        )
        for title, panels in board.sections.items()
    ]
    runs = expr.And(expr.Metric("Group") == board.pipeline, expr.Metric("JobType") == board.kind)
    return ws.Workspace(
        entity=place.entity,
        project=place.project,
        name=board.name,
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis="step"),
        runset_settings=ws.RunsetSettings(filters=runs),
    )


def line_plot(panel: Panel) -> "LinePlot":
    """One panel over optimizer steps; parts of a whole as stacked areas."""
    from wandb_workspaces.reports import v2

    return v2.LinePlot(
        title=panel.title,
        x="step",
        y=list(panel.metrics),
        title_x="optimizer step",
        title_y=panel.unit or None,
        plot_type="stacked-area" if panel.stacked else "line",
    )


def workspaces_json(made: Sequence[Board], place: Place) -> str:
    """What would be sent, as one JSON list with an entry for each board."""
    views = [workspace(board, place)._to_model() for board in made]
    return json.dumps([view.model_dump(mode="json", by_alias=True, exclude_none=True) for view in views], indent=2)


def push(board: Board, place: Place) -> str:
    """Save a board as a new view of the project and return its address; UserError where the server refuses it."""
    import wandb

    try:
        return str(workspace(board, place).save().url)
    except (wandb.errors.Error, OSError, ValueError) as error:
        raise UserError(f"wandb: {place.entity}/{place.project} did not take {board.name}: {error}") from error
