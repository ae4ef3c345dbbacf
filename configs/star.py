"""STaR on generated data: explanations grown from questions with answers, in three rounds.

    teacherlm quickstart --config=configs/quickstart.py --until=teacher_data
    teacherlm star --config=configs/star.py

The first command generates samples. Then a model of 0.9M parameters learns from 300 explained
samples to explain and to answer. In each round the model explains 1,500 questions whose answers are
known but not their explanations, and a new model is trained, from the same random weights, on the
explanations that lead to the right answer.

Variants:

    rationalize  (default) also explain questions of which no explanation was kept, given the
                 right answer
    filter       keep only explanations that led to the right answer by themselves

Settings after the variant, as in `filter,root=runs/other`, or alone, as in `:tiny`:

    root     run folder (default: runs/star)
    samples  folder of the generated samples (default: runs/quickstart/samples)
    seed     seed of the weights and of the sampling (default: 0)
    tiny     a few samples and steps of everything, as a smoke test; the models learn nothing
"""

from teacherlm_jax import config
from teacherlm_jax.config import variants
from teacherlm_jax.data import synthetic
from teacherlm_jax.errors import UserError

VARIANTS = ("rationalize", "filter")
MODEL = config.ModelConfig(layers=4, width=128, heads=4, dtype="float32", initializer_range=0.08)


def get_config(argument: str = "") -> config.StarConfig:
    """Return the config of a variant."""
    variant, settings = variants.parse(
        argument, root="runs/star", samples="runs/quickstart/samples", seed=0, tiny=False
    )
    if (variant or VARIANTS[0]) not in VARIANTS:
        raise UserError(f"unknown variant {variant!r}; known: {', '.join(VARIANTS)}")
    tiny = settings["tiny"]
    source = config.SourceConfig
    return config.StarConfig(
        output=settings["root"],
        root=settings["samples"],
        explained=source("explained", "train.jsonl", limit=30 if tiny else 300),
        author=synthetic.AUTHOR,
        questions=source("questions", "unlabelled.jsonl"),
        test=source("test", "test.jsonl"),
        rounds=1 if tiny else 3,
        rationalize=variant != "filter",
        vocabulary=config.VocabularyConfig(f"{settings['root']}/vocabulary", size=1024),
        length=256,
        model=MODEL,
        optimizer=config.OptimizerConfig(
            learning_rate=1.5e-3,
            warmup_steps=1 if tiny else 60,
            schedule="linear",
            final_fraction=0.1,
            b2=0.99,
        ),
        batch_size=2,
        steps=4 if tiny else 1500,
        seed_steps=4 if tiny else 600,
        # A model of four steps would end every text at once at a low temperature.
        sampling=config.SamplingConfig(
            temperature=1.0 if tiny else 0.5, max_new_tokens=8 if tiny else 64
        ),
        gates=("finished", "not_empty", "concludes_answer"),
        seed=settings["seed"],
    )
