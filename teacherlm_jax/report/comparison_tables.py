"""The section on comparisons: paired differences between models, beside the training they had.

Two intervals side by side hide what two models have in common, so every pair gets the difference
of its answers to the same questions, and the training that each model had stands beside it.
"""

from collections.abc import Sequence

from teacherlm_jax.evaluation.paired import PairedComparison
from teacherlm_jax.report.blocks import (
    NO_FIGURE,
    Block,
    Cell,
    Heading,
    Notice,
    Paragraph,
    Subheading,
    Table,
    count,
    percent,
)
from teacherlm_jax.report.compared_models import ComparedModel, ComparedSet
from teacherlm_jax.report.comparisons import MINUS, Comparisons, PairOfModels
from teacherlm_jax.runs import layout
from teacherlm_jax.wording import counted

ABOUT = (
    "Differences between models on the same questions, matched by the id and the digest of each "
    "question. CI: 95% interval of the difference, from a paired bootstrap over questions and, if "
    "a model has several seeds, Student's t over seeds; a single seed beside several is assumed to "
    "vary as much as these. p: McNemar's exact test of two single runs; of equally many seeds, the "
    "lowest and the highest p of the pairs of seeds. Runs that differ only in their seed are one "
    "model. A difference between two single runs is about these "
    "two runs: other seeds of the same training may differ as much. Nothing is corrected for "
    "multiple comparisons: of 20 pairs of equally good models, about one may be told apart by "
    "chance."
)
_BY_TEST = (
    "McNemar's test at the 5% level with 80% power, Connor 1987; of several seeds, from the "
    "variance of the differences"
)
_BY_VARIANCE = "at the 5% level with 80% power, from the variance of the differences by subject"
_POOLED = (
    " p is about all questions, each of equal weight, and not about the means over subjects: the "
    "interval alone tells the models apart."
)
_SOME_PAIRS = (
    " These are not all pairs: of more than four models, each is compared with the best of its "
    "kind (students, other models), up to four students with each other, and the best of both "
    "kinds. The other pairs are in the table below, and all are in result.json."
)
_FURTHER = "All other pairs, with the columns of the table above."
_MOST_FURTHER = 1000  # rows
_HEADER = (
    *("first − second", "difference", "questions", "seeds", "only first", "only second"),
    *("McNemar p", "more questions", "tokens"),
)
_NEVER = 10.0**15  # more questions than any pair needs
_MANY = 1_000_000  # questions; more than any benchmark has
_EQUAL = 0.05  # relative difference of tokens that needs no notice


def section(compared: Comparisons) -> list[Block]:
    """Return the blocks of the section, none if there are no two models to compare."""
    if not compared.sets and not compared.problems:
        return []
    blocks: list[Block] = [Heading("Comparisons")]
    if compared.sets:
        blocks.append(Paragraph(ABOUT))
    for own, pairs in compared.sets:
        blocks += [Subheading(f"Differences on {own.benchmark}"), *of_set(own, pairs)]
        blocks += unequal_trainings(_chosen(pairs))
    if lines := compared.unknown_trainings():
        blocks.append(Notice("Training not found", tuple(lines)))
    if compared.problems:
        blocks.append(Notice("Not compared question by question", compared.problems))
    return blocks


def of_set(own: ComparedSet, pairs: Sequence[PairOfModels]) -> list[Block]:
    """Return the tables of the pairs of a set, and of the training behind its models."""
    chosen, further = _chosen(pairs), [pair for pair in pairs if pair.further]
    blocks = [_differences(own, chosen, _SOME_PAIRS if further else "")]
    if further:
        blocks.append(_further(further))
    return [*blocks, _models(own)]


def unequal_trainings(pairs: Sequence[PairOfModels]) -> list[Block]:
    """Return the notice of the pairs whose training differs in length; none if there are none."""
    lines = tuple(dict.fromkeys(line for pair in pairs if (line := unequal_training(pair))))
    return [Notice("Training of unequal length", lines)] if lines else []


def _chosen(pairs: Sequence[PairOfModels]) -> list[PairOfModels]:
    return [pair for pair in pairs if not pair.further]


def _differences(own: ComparedSet, pairs: Sequence[PairOfModels], note: str) -> Table:
    measure = "means over subjects" if own.macro else "accuracies"
    test = _BY_VARIANCE if own.macro else _BY_TEST
    caption = (
        f"Differences of {measure}, first minus second model, in percentage points, with their "
        "95% CI. Only first, only second: questions that only this model answers right, means over "
        "seeds. More questions: further questions that it would take to tell the two apart, if the "
        f"difference stays what it is ({test}); none if they are told apart already. Tokens: "
        "training tokens of the first to those of the second."
    )
    if own.macro:
        caption += _POOLED
    return Table(caption + note, _HEADER, _rows(pairs), left=(0, 7))


def _further(pairs: Sequence[PairOfModels]) -> Table:
    """Return the folded table of the pairs that were not chosen."""
    caption = _FURTHER
    if len(pairs) > _MOST_FURTHER:
        caption += f" The first {count(_MOST_FURTHER)} are shown; all are in result.json."
    folded = f"{count(len(pairs))} further pairs"
    rows = _rows(pairs[:_MOST_FURTHER])
    return Table(caption, _HEADER, rows, left=(0, 7), folded=folded)


def _rows(pairs: Sequence[PairOfModels]) -> tuple[tuple[str | Cell, ...], ...]:
    return tuple(
        (
            pair.name,
            Cell(points(pair.result.difference), beside=interval_text(pair.result)),
            count(pair.result.questions),
            seeds_text(pair),
            *map(_mean_count, (pair.result.only_first, pair.result.only_second)),
            Cell(p_text(pair.result), order=(_lowest_and_highest_p(pair.result) or (None,))[0]),
            Cell(more_text(pair.result), order=_more_order(pair.result)),
            Cell(tokens_text(pair), order=_ratio(pair)),
        )
        for pair in pairs
    )


def _models(own: ComparedSet) -> Table:
    rows = tuple((*model_cells(model), *_accuracy_cells(model)) for model in own.models)
    return Table(
        "Training behind the compared models: tokens without padding, steps and model FLOPs of the "
        "run itself, without the runs that it started from, means over seeds; up to an earlier "
        "checkpoint, scaled by its share of the steps. Accuracy (%) over all questions, with the "
        "lowest and highest seed.",
        ("model", "seeds", "tokens", "steps", "FLOPs", "accuracy", "range of seeds"),
        rows,
    )


def model_cells(model: ComparedModel) -> tuple[str, ...]:
    """Return label, seeds, tokens, steps and FLOPs of a model; – for what is not known."""
    seeds = count(model.seeds) if model.seeds else NO_FIGURE
    if model.cost is None:
        return (model.label, seeds, NO_FIGURE, NO_FIGURE, NO_FIGURE)
    cost = model.cost
    return (
        *(model.label, seeds, count(round(cost.tokens)), count(round(cost.steps))),
        f"{cost.flops:.2e}" if cost.flops else NO_FIGURE,
    )


def _accuracy_cells(model: ComparedModel) -> tuple[str, str]:
    accuracies = model.accuracies
    mean = percent(sum(accuracies) / len(accuracies))
    if len(accuracies) == 1:
        return mean, NO_FIGURE
    return mean, f"{percent(min(accuracies))} to {percent(max(accuracies))}"


def tables(compared: Comparisons) -> list[list[tuple[str, ...]]]:
    """Return tables of the console summary: a line for each pair, and one for each model.

    The training of models that were compared on several benchmarks is shown once.
    """
    text: list[list[tuple[str, ...]]] = []
    trainings: list[list[tuple[str, ...]]] = []
    for own, pairs in compared.sets:
        header = ("difference", "95% CI", "McNemar p", "more questions", "seeds", "tokens")
        rows = [
            (
                f"  {pair.name}",
                points(pair.result.difference),
                interval_text(pair.result),
                p_text(pair.result),
                more_text(pair.result),
                seeds_text(pair),
                tokens_text(pair),
            )
            for pair in _chosen(pairs)
        ]
        title = f"Differences on {own.benchmark}, in percentage points"
        if further := len(pairs) - len(rows):
            title += f"; {counted(further, 'further pair')} in {layout.REPORT_HTML}"
        text.append([(title,), ("first − second", *header), *rows])
        models = [(f"  {name}", *cells) for name, *cells in map(model_cells, own.models)]
        if models in trainings or all(model.cost is None for model in own.models):
            continue
        trainings.append(models)
        columns = ("model", "seeds", "tokens", "steps", "FLOPs")
        text.append([("Training of these models",), columns, *models])
    return text


def unequal_training(pair: PairOfModels) -> str:
    """Return a sentence if one model was trained on more tokens; empty if both are alike."""
    ratio = _ratio(pair)
    if ratio is None or 1 - _EQUAL < ratio < 1 + _EQUAL:
        return ""
    more, fewer = (pair.first, pair.second) if ratio > 1 else (pair.second, pair.first)
    steps = " and ".join(count(round(model.cost.steps)) for model in (more, fewer) if model.cost)
    return (
        f"{more.label} was trained on {max(ratio, 1 / ratio):.1f} times the tokens of "
        f"{fewer.label} ({steps} steps), so their difference may come from longer training."
    )


def _ratio(pair: PairOfModels) -> float | None:
    """Return the training tokens of the first model by those of the second; None if unknown."""
    first, second = pair.first.cost, pair.second.cost
    if first is None or second is None or not first.tokens or not second.tokens:
        return None
    return first.tokens / second.tokens


def points(share: float) -> str:
    """Return a difference in percentage points with its sign, as in +1.5."""
    return f"{100 * share:+.1f}".replace("-", MINUS)


def interval_text(result: PairedComparison) -> str:
    """Return the interval of a difference in percentage points."""
    low, high = result.interval
    return f"{points(low)} to {points(high)}"


def p_text(result: PairedComparison) -> str:
    """Return McNemar's p of two single runs; of several seeds the lowest and highest p.

    A dash for unequal numbers of seeds: no p of some of them is about the compared means.
    """
    found = _lowest_and_highest_p(result)
    if found is None:
        return NO_FIGURE
    low, high = found
    if len(result.p_values) == 1:
        return _p(low)
    return f"all {_p(low)}" if _p(low) == _p(high) else f"{_p(low)} to {_p(high)}"


def _lowest_and_highest_p(result: PairedComparison) -> tuple[float, float] | None:
    first, second = result.seeds
    return (min(result.p_values), max(result.p_values)) if first == second else None


def _mean_count(number: float) -> str:
    """Return a mean number of questions: whole numbers without decimals, as in 310.7 and 15."""
    return f"{number:,.1f}".removesuffix(".0")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def more_text(result: PairedComparison) -> str:
    """Return the number of further questions in words."""
    if result.more_questions is None:
        return "more seeds" if max(result.seeds) > 1 and result.difference else "no difference"
    if result.more_questions == 0:
        return "none"
    over = result.more_questions > _MANY
    return f"over {count(_MANY)}" if over else count(result.more_questions)


def _more_order(result: PairedComparison) -> float:
    """Return the value to sort by; pairs that no number of questions tells apart come last."""
    return _NEVER if result.more_questions is None else result.more_questions


def seeds_text(pair: PairOfModels) -> str:
    """Return the numbers of compared runs of both models, as in `3, 3`."""
    return ", ".join(map(str, pair.result.seeds))


def tokens_text(pair: PairOfModels) -> str:
    """Return the ratio of the training tokens, as in `2.8 : 1`; – if it is not known."""
    ratio = _ratio(pair)
    if ratio is None:
        return NO_FIGURE
    return f"{ratio:.1f} : 1" if ratio >= 1 else f"1 : {1 / ratio:.1f}"
