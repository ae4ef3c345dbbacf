"""Steps of a STaR run, and the configs of those that are commands."""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

from etils import epath

from teacherlm_jax import config as configs
from teacherlm_jax.config import StarConfig
from teacherlm_jax.pipelines import star_files, star_rows
from teacherlm_jax.pipelines.pipeline_step import Step
from teacherlm_jax.pipelines.star_files import StarFolder
from teacherlm_jax.runs import layout
from teacherlm_jax.runs.run import Run
from teacherlm_jax.storage import files


def steps_of(config: StarConfig) -> list[Step]:
    """Return all steps of a run, round by round; each needs the one before it."""
    folder = StarFolder(config.output)
    read = Step(
        name="samples",
        title="read the three datasets",
        output=folder.samples("test"),
        work=functools.partial(star_files.read_datasets, config),
    )
    rounds = (_round(config, folder, number) for number in range(config.rounds + 1))
    steps = [read, *(step for steps in rounds for step in steps)]
    pairs = zip(steps[1:], steps, strict=False)
    return [read, *(dataclasses.replace(step, after=(before.name,)) for step, before in pairs)]


def _round(config: StarConfig, folder: StarFolder, number: int) -> Iterator[Step]:
    """Yield the steps of a round; round 0 has no explanations by a model."""
    command = functools.partial(_command, folder, number)
    if number:
        yield command("attempts", "explain all questions", "annotate", _attempts(config, number))
        yield _files(
            *(folder, number, layout.WRONG, "filter", "keep explanations of right answers"),
            functools.partial(star_files.filter_attempts, config, number),
        )
        if config.rationalize:
            yield dataclasses.replace(
                command(
                    *("rationalizations", "explain the others, given the right answer"),
                    *("annotate", _rationalizations(config, number)),
                ),
                needed=lambda: files.size(folder.of_round(number) / layout.WRONG) > 0,
            )
    yield _files(
        *(folder, number, layout.EXAMPLES, "examples", "write the training examples"),
        functools.partial(star_files.write_examples, config, number),
    )
    yield command("data", "prepare the training examples", "prepare", _prepare(config, number))
    yield command("model", "train from the original weights", "train", _train(config, number))
    yield command("test", "answer the held-out questions", "annotate", _test(config, number))
    yield _files(
        *(folder, number, layout.ROUND, "accuracy", "count and measure the accuracy"),
        functools.partial(star_files.write_round, config, number),
    )


def _command(
    folder: StarFolder, number: int, name: str, title: str, verb: str, settings: Any
) -> Step:
    """Return a step that runs a command with these settings."""
    full = f"round-{number}/{name}"

    def words(run: Run) -> list[str]:
        file = run.path / layout.STEPS / f"{full.replace('/', '-')}.py"
        files.write_text(file, _config_file(full, settings))
        return [verb, f"--config={file}"]

    return Step(
        name=full,
        title=f"round {number}: {title}",
        output=folder.of_round(number) / name / layout.RESULT,
        words=words,
    )


def _config_file(step: str, settings: Any) -> str:
    """Return a config file that returns these settings."""
    return (
        f'"""Config of the step {step}, written by `teacherlm star`."""\n\n'
        f"from teacherlm_jax.config import *\n\n\n"
        f"def get_config(variant):\n    return {settings!r}\n"
    )


def _files(
    folder: StarFolder,
    number: int,
    file: str,
    name: str,
    title: str,
    work: Callable[[Run], None],
) -> Step:
    """Return a step that writes a file of a round."""
    return Step(
        name=f"round-{number}/{name}",
        title=f"round {number}: {title}",
        output=folder.of_round(number) / file,
        work=work,
    )


def _attempts(config: StarConfig, number: int) -> configs.AnnotateConfig:
    source = configs.SourceConfig("questions", str(StarFolder(config.output).masked("questions")))
    return _annotate(config, number, "attempts", number - 1, source, config.sampling)


def _rationalizations(config: StarConfig, number: int) -> configs.AnnotateConfig:
    path = StarFolder(config.output).of_round(number) / layout.WRONG
    source = configs.SourceConfig("wrong", str(path))
    return _annotate(config, number, "rationalizations", number - 1, source, config.sampling)


def _test(config: StarConfig, number: int) -> configs.AnnotateConfig:
    greedy = dataclasses.replace(config.sampling, temperature=0.0)
    source = configs.SourceConfig("test", str(StarFolder(config.output).masked("test")))
    return _annotate(config, number, "test", number, source, greedy)


def _annotate(
    config: StarConfig,
    number: int,
    name: str,
    model: int,
    source: configs.SourceConfig,
    sampling: configs.SamplingConfig,
) -> configs.AnnotateConfig:
    """Return the config of explanations by the model of a round; `star_rows.judge` checks them."""
    folder = StarFolder(config.output)
    return configs.AnnotateConfig(
        output=str(folder.of_round(number) / name),
        source=source,
        teachers=configs.TeachersConfig(cot=str(folder.of_round(model) / "model")),
        author=star_rows.AUTHOR,
        sampling=sampling,
        gates=(),
        seed=config.seed + number,
        slots=config.slots,
        dtype=config.dtype,
        mesh=config.mesh,
    )


def _prepare(config: StarConfig, number: int) -> configs.PrepareConfig:
    """Return the config of a round's data; round 0 may train the vocabulary, on all questions."""
    folder = StarFolder(config.output)
    examples = folder.of_round(number) / layout.EXAMPLES
    sources = [configs.SourceConfig("examples", str(examples))]
    if not number:
        sources.append(configs.SourceConfig("questions", str(folder.masked("questions"))))
    return configs.PrepareConfig(
        output=str(folder.of_round(number) / "data"),
        sources=tuple(sources),
        mixtures=(
            configs.MixtureConfig(
                *("star", ("examples",), ("C",)),
                author=star_rows.AUTHOR,
                loss="answer_and_explanations",
            ),
        ),
        vocabulary=config.vocabulary,
        length=config.length,
        seed=config.seed,
    )


def _train(config: StarConfig, number: int) -> configs.TrainConfig:
    folder: epath.Path = StarFolder(config.output).of_round(number)
    return configs.TrainConfig(
        output=str(folder / "model"),
        data=str(folder / "data" / "star"),
        init_from=config.init_from,
        model=config.model,
        optimizer=config.optimizer,
        mesh=config.mesh,
        batch_size=config.batch_size,
        steps=(config.seed_steps or config.steps) if not number else config.steps,
        seed=config.seed,
        log_every=100,
    )
