"""Draws journeys as SVG, from their files: what begins each, what it may do, and how it ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap

from agents.workspace import Workspace
from domain.action import Action
from domain.journey import Journey
from service.journeys import span

WIDTHS = (250, 270, 290, 250)
"""Of the columns: what begins it, the journey, its actions, its ends; in pixels."""
GAP, MARGIN, LINE, PAD = 56, 28, 17, 10
CHARACTER = 6.9  # the width of one in the fixed-width font that everything is written in, at 11.5
_COLOURS = {
    "begin": ("#e8f0fe", "#3b6fd4"),
    "journey": ("#fff6db", "#b58900"),
    "action": ("#f3eefb", "#7a52b3"),
    "goal": ("#e4f5e9", "#2e8b57"),
    "exit": ("#fdeaea", "#c0392b"),
    "window": ("#f0f0f0", "#777777"),
}
_LEGEND = ("begin", "journey", "action", "goal", "exit", "window")
_WORDS = {
    "begin": "what begins it",
    "journey": "journey",
    "action": "action",
    "goal": "goal",
    "exit": "exit",
    "window": "end of its window",
}

_TIP = (
    '<defs><marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" '
    'markerHeight="7" orient="auto"><path d="M0,0 L8,4 L0,8 z" fill="#666"/></marker></defs>'
)


@dataclass(frozen=True, slots=True)
class Box:
    """Lines of text in a frame; the first is its title."""

    kind: str
    lines: tuple[str, ...]
    x: float
    y: float
    width: float

    @property
    def height(self) -> float:
        """In pixels."""
        return len(self.lines) * LINE + 2 * PAD

    @property
    def middle(self) -> float:
        """The height at which arrows meet it."""
        return self.y + self.height / 2


def picture(workspace: Workspace, journeys: Sequence[Journey]) -> str:
    """One SVG document with a lane for each journey, in the order given."""
    body: list[str] = []
    y: float = MARGIN + 2 * LINE
    for journey in journeys:
        height, drawn = _lane(workspace, journey, y)
        body += drawn
        y += height + MARGIN
    width = sum(WIDTHS) + GAP * (len(WIDTHS) - 1) + 2 * MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y:g}" '
            f'viewBox="0 0 {width} {y:g}" font-family="monospace" font-size="11.5">',
            "<title>Journeys: what begins them, what they may do, and how they end</title>",
            _TIP,
            f'<rect width="{width}" height="{y:g}" fill="white"/>',
            *_legend(),
            *body,
            "</svg>",
        ]
    )


def _legend() -> Iterator[str]:
    x: float = MARGIN
    for kind in _LEGEND:
        fill, stroke = _COLOURS[kind]
        yield f'<rect x="{x:g}" y="18" width="14" height="14" fill="{fill}" stroke="{stroke}"/>'
        yield f'<text x="{x + 20:g}" y="29">{_WORDS[kind]}</text>'
        x += 44 + len(_WORDS[kind]) * CHARACTER


def _lane(workspace: Workspace, journey: Journey, top: float) -> tuple[float, list[str]]:
    """One journey between what begins it and its ends; its height, and what draws it."""
    said = (
        list(_begins(journey)),
        [("journey", _of_journey(journey))],
        [("action", _of_action(workspace.actions[name])) for name in journey.actions],
        list(_ends(journey)),
    )
    columns = [
        [(kind, _wrapped(lines, width)) for kind, lines in column]
        for column, width in zip(said, WIDTHS, strict=True)
    ]
    heights = [_height(column) for column in columns]
    height = max(heights)
    placed: list[list[Box]] = []
    x: float = MARGIN
    for column, own, width in zip(columns, heights, WIDTHS, strict=True):
        placed.append(_stack(column, x, top + (height - own) / 2, width))
        x += width + GAP
    begins, (centre,), actions, ends = placed
    arrows = [_arrow(box, centre) for box in begins]
    arrows += [_arrow(centre, box) for box in actions]
    arrows += [_arrow(a, b) for a, b in _pairs(actions, ends)]
    boxes = [line for column in placed for box in column for line in _drawn(box)]
    return height, [*arrows, *boxes]


def _wrapped(lines: Sequence[str], width: float) -> tuple[str, ...]:
    most = int((width - 2 * PAD) / CHARACTER)
    return tuple(part for line in lines for part in wrap(line, most) or [""])


def _begins(journey: Journey) -> Iterator[tuple[str, tuple[str, ...]]]:
    if journey.trigger is not None:
        yield "begin", (journey.trigger, f"no older than {span(journey.max_age)}")
    absence = journey.absence
    if absence is not None:
        waits = [f"and no {absence.of}", f"within {span(absence.within)}"]
        if absence.sources:
            waits.append(f"as {', '.join(absence.sources)} tells")
            waits.append(f"(+{span(absence.max_wait)}, then {absence.on_lag})")
        yield "begin", (absence.after, *waits)


def _of_journey(journey: Journey) -> tuple[str, ...]:
    said = [journey.name, journey.title]
    if journey.entry is not None:
        said.append(f"if {journey.entry}")
    if journey.instance_key is not None:
        said.append(f"one for each {journey.instance_key}")
    if journey.again_after is not None:
        said.append(f"again after {span(journey.again_after)}")
    if journey.holdout:
        said.append(f"{journey.holdout:.0%} held out")
    said.append(f"{journey.mind.replace('_', ' ')} chooses, priority {journey.priority:g}")
    said.append(f"{journey.owner}, team {journey.team}")
    return tuple(said)


def _of_action(action: Action) -> tuple[str, ...]:
    how = action.tool if action.channel is None else f"{action.kind} by {action.channel}"
    return (action.name, f"{how}, {action.purpose}")


def _ends(journey: Journey) -> Iterator[tuple[str, tuple[str, ...]]]:
    yield "goal", (journey.goal, f"goal, by {journey.metric.replace('_', ' ')}")
    if journey.exit is not None:
        yield "exit", ("exit", f"if {journey.exit}")
    yield "window", (f"after {span(journey.window)}", "it is over")


def _height(column: Sequence[tuple[str, tuple[str, ...]]]) -> float:
    lines = sum(len(lines) for _, lines in column)
    return lines * LINE + len(column) * 2 * PAD + (len(column) - 1) * PAD


def _stack(
    column: Sequence[tuple[str, tuple[str, ...]]], x: float, y: float, width: float
) -> list[Box]:
    boxes = []
    for kind, lines in column:
        boxes.append(Box(kind, lines, x, y, width))
        y += boxes[-1].height + PAD
    return boxes


def _pairs(actions: Sequence[Box], ends: Sequence[Box]) -> Iterator[tuple[Box, Box]]:
    """Every action may lead to the goal; the other ends come whatever was done."""
    middle = actions[len(actions) // 2]
    yield from ((action, ends[0]) for action in actions)
    yield from ((middle, end) for end in ends[1:])


def _arrow(one: Box, other: Box) -> str:
    x1, x2 = one.x + one.width, other.x - 1
    bend = (x1 + x2) / 2
    return (
        f'<path d="M{x1:g},{one.middle:g} C{bend:g},{one.middle:g} {bend:g},{other.middle:g} '
        f'{x2:g},{other.middle:g}" fill="none" stroke="#999" marker-end="url(#tip)"/>'
    )


def _drawn(box: Box) -> Iterator[str]:
    fill, stroke = _COLOURS[box.kind]
    yield (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{box.width:g}" height="{box.height:g}" '
        f'rx="6" fill="{fill}" stroke="{stroke}"/>'
    )
    for number, line in enumerate(box.lines):
        weight = ' font-weight="bold"' if number == 0 else ""
        y = box.y + PAD + (number + 0.75) * LINE
        yield f'<text x="{box.x + PAD:g}" y="{y:g}"{weight}>{escape(line)}</text>'
