"""The graph of a pipeline: its steps, and which needs which."""

import collections
import dataclasses
from collections.abc import Sequence

from teacherlm_jax.pipelines.pipeline_step import Step
from teacherlm_jax.pipelines.step_records import StepRecords

_MOST_SINGLE = 40  # steps of a graph in which each has a node of its own


@dataclasses.dataclass(frozen=True)
class StepNode:
    """A node of the graph: a step, or several of one kind with the same needs.

    Attributes:
        name: name of the step, or what the names of several have in common.
        steps: number of steps.
        finished: number of those that are finished.
        after: indices of the nodes that this one needs, none of which is needed by another of them.
        level: length of the longest way from a node that needs nothing.
    """

    name: str
    steps: int
    finished: int
    after: tuple[int, ...]
    level: int

    @property
    def label(self) -> str:
        """Name, and the number of steps if there are several."""
        return self.name if self.steps == 1 else f"{self.name} ({self.steps} steps)"

    @property
    def state(self) -> str:
        """Number of steps that are finished, for readers; empty if none is."""
        if self.steps == 1 or not self.finished:
            return "finished" if self.finished else ""
        return f"{self.finished} finished" if self.finished < self.steps else "finished"


def nodes(steps: Sequence[Step], records: StepRecords) -> list[StepNode]:
    """Return the nodes of a pipeline, each after those that it needs.

    In a large pipeline, steps that run the same command, need the same nodes, and whose names
    begin with the same word share one.
    """
    together = len(steps) > _MOST_SINGLE
    node_of: dict[str, int] = {}
    keys: dict[object, int] = {}
    members: list[list[Step]] = []
    before: list[frozenset[int]] = []
    for step in steps:
        needs = frozenset(node_of[name] for name in step.after)
        key = (step.verb, step.name.partition("/")[0], needs) if together else step.name
        if key not in keys:
            keys[key] = len(members)
            members.append([])
            before.append(needs)
        node_of[step.name] = keys[key]
        members[keys[key]].append(step)
    return _of_members(members, before, records)


def _of_members(
    members: Sequence[Sequence[Step]], before: Sequence[frozenset[int]], records: StepRecords
) -> list[StepNode]:
    reached: list[set[int]] = []  # all nodes that each one needs, also indirectly
    found: list[StepNode] = []
    for steps, needs in zip(members, before, strict=True):
        indirect = set().union(*(reached[index] for index in needs))
        reached.append(indirect | needs)
        direct = tuple(sorted(needs - indirect))
        states = [step.state(records) for step in steps]
        level = max((found[index].level + 1 for index in direct), default=0)
        name = _common([step.name for step in steps])
        found.append(StepNode(name, len(steps), states.count("finished"), direct, level))
    return found


def _common(names: Sequence[str]) -> str:
    """Return what several names have in common, with * for what they have not."""
    parts = [name.split("/") for name in names]
    shortest = min(map(len, parts))
    columns = [{one[index] for one in parts} for index in range(shortest)]
    shared = [column.pop() if len(column) == 1 else "*" for column in columns]
    return "/".join(shared + ["*"] * any(len(one) > shortest for one in parts))


def text(graph: Sequence[StepNode]) -> str:
    """Return the graph as a tree: each node is below the last of those that it needs.

    The others that it needs are named behind it.
    """
    children = collections.defaultdict(list)
    for index, node in enumerate(graph):
        children[max(node.after, default=-1, key=lambda at: (graph[at].level, at))].append(index)
    lines: list[str] = []

    def draw(parent: int, indent: str) -> None:
        for index in children[parent]:
            node, last = graph[index], index == children[parent][-1]
            others = [graph[at].name for at in node.after if at != parent]
            more = f", also needs {', '.join(others)}" if others else ""
            state = f" [{node.state}]" if node.state else ""
            branch = "" if parent < 0 else "`-- " if last else "|-- "
            lines.append(f"{indent}{branch}{node.label}{state}{more}")
            draw(index, indent if parent < 0 else indent + ("    " if last else "|   "))

    draw(-1, "")
    return "\n".join(lines)
