"""The lineage of a run as a graph: models down the trunk, data beside it, what was measured at each model.

Edges are the parents that the records name; a stage not yet run is drawn hollow from its config.
"""

from training.report.collect import RunView, StageView
from training.report.markup import Markup, element, join, section
from training.report.scale import percent

ROW = 68
TRUNK, SIDE, ARC = 34, 62, 14
WIDTH = 80


def lineage_section(run: RunView) -> Markup:
    """The graph with one line of facts per stage."""
    stages = [stage for stage in run.stages if stage.kind != "evaluate"]
    rows = {stage.name: number for number, stage in enumerate(stages)}
    edges = [(parent, stage.name) for stage in stages for parent in dict.fromkeys(stage.parents) if parent in rows]
    kinds = {stage.name: stage.kind for stage in stages}
    paths = [_edge(rows[parent], rows[child], kinds[parent], kinds[child]) for parent, child in edges]
    words = "Lineage: " + "; ".join(f"{child} from {parent}" for parent, child in edges) + "."
    height = ROW * len(stages)
    nodes = [_node(stage, number) for number, stage in enumerate(stages)]
    svg = element(
        "svg", *paths, *nodes, width=WIDTH, height=height, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=words
    )
    facts = element("ol", *(_facts(run, stage) for stage in stages))
    proof = element("code", "posttrain lineage")
    lead = join("Each artifact is named by the fingerprint of everything that went into it; ", proof, " proves it.")
    return section("lineage", "Lineage", element("div", svg, facts, class_="lineage"), lead=lead)


def _column(kind: str) -> int:
    return SIDE if kind in ("sample", "reward_model") else TRUNK


def _middle(row: int) -> float:
    return ROW * row + ROW / 2


def _edge(above: int, below: int, parent_kind: str, child_kind: str) -> Markup:
    """A straight line down the trunk, a curve to or from the side, an arc round models passed over."""
    x1, x2, y1, y2 = _column(parent_kind), _column(child_kind), _middle(above), _middle(below)
    if x1 != x2:
        middle = (y1 + y2) / 2
        path = f"M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}"
    elif below - above > 2:
        path = f"M{x1} {y1}C{ARC} {y1 + ROW / 2} {ARC} {y2 - ROW / 2} {x2} {y2}"
    else:
        path = f"M{x1} {y1}V{y2}"
    return element("path", d=path, class_="edge")


def _node(stage: StageView, row: int) -> Markup:
    x, y = _column(stage.kind), _middle(row)
    style = f"node {stage.state.replace(' ', '-')}"
    if stage.kind == "sample":
        return element("rect", x=x - 7, y=y - 7, width=14, height=14, rx=3, class_=style)
    return element("circle", cx=x, cy=y, r=8, class_=style)


def _facts(run: RunView, stage: StageView) -> Markup:
    digits = element("code", stage.fingerprint[:8]) if stage.fingerprint else element("em", stage.state)
    name = element(
        "p", element("b", stage.name), element("small", stage.kind) if stage.kind != stage.name else None, digits
    )
    parts = []
    for evaluation in run.evaluations(stage.name):
        metrics = (evaluation.record or {}).get("metrics", {})
        parts += [f"{suite} {percent(score['accuracy'])}" for suite, score in metrics.items()]
    data = (stage.record or {}).get("data") or {}
    if data.get("rows_kept") is not None:
        parts.insert(0, f"{data['rows_kept']:,} rows")
    if stage.kind == "base":
        parts.insert(0, str(run.pipeline.get("model", "")))
    return element("li", name, element("p", " \u00b7 ".join(parts), class_="meta"))
