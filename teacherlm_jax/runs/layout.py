"""Names of the files and folders in a run folder, and in the folder of a prepared mixture."""

# Every run.
CONFIG = "config.json"  # the verb and its resolved config
INPUTS = "inputs.json"  # digests of the run's inputs, by config key
VERSIONS = "versions.json"  # package versions, commit, command line
LOG = "log.txt"
LOCK = ".lock"
RESULT = "result.json"  # written last; its presence means that the run is finished

# Training runs.
CHECKPOINTS = "checkpoints"  # one folder per step
COMMIT_MARK = "commit_success.txt"  # in a complete checkpoint in a bucket
VOCABULARY = "vocabulary"  # also in the folder of a prepared mixture
METRICS = "metrics.jsonl"  # one object per log line
VALIDATION = "validation.jsonl"  # one object per validation
SELECTION = "selection.json"  # the checkpoint that readers chose
SUMMARY = "summary.json"  # throughput, and a breakdown of the time
TENSORBOARD = "tensorboard"
WANDB = "wandb"  # files of Weights & Biases
TRACKING = "tracking.json"  # ids of the run at the services that show it
PROFILE = "profile"  # traces and memory profiles

# Runs of `prepare`, which write one folder per mixture.
MANIFEST = "manifest.json"  # describes one mixture; written last
THROUGHPUT = "throughput.json"  # a file of its own, so that the same input gives the same bytes
CHECK = "check.json"  # results of `--config.check_only`
OVERLAPS = "overlaps.jsonl"  # duplicates, and questions that evaluation sets have, too
EVALUATION_REFUSED = "evaluation.refused.jsonl"
WORK = ".work"  # results of Beam workers, removed at the end

# Runs of `annotate`.
TEXTS = "texts"  # one folder per kind, with explanations as they are generated
SAMPLES = "samples"  # the explained samples
JOB = "job.json"  # the plan: files of the source, rows of each shard, lengths of the prompts
SHARDS = "shards"  # the samples of each shard, without explanations of this run
COUNTS = "counts"  # size and figures of each complete file in TEXTS and SAMPLES
REJECTED = "rejected"  # one folder per kind, with texts that failed a gate and were tried again
SKETCHES = "sketches"  # of the explanations of complete files, to find near duplicates
CLAIMS = "claims"  # shards that a process works on
COSTS = "costs"  # time of each process, and the devices it held
WORKERS = "workers"  # processes at work in the folder, with heartbeats

# Runs of `star`, which have one folder per round, with the runs of its steps.
STEPS = "steps"  # a config file per step that is a command
FILTERED = "filtered.jsonl"  # explanations of right answers
WRONG = "wrong.jsonl"  # questions without one
KEPT = "kept.jsonl"  # all kept explanations, with their provenance
EXAMPLES = "examples.jsonl"  # training examples of the round
ROUND = "round.json"  # counts and accuracy; written last

# Pipelines.
STEP_RECORDS = "steps.json"  # command, and digests of inputs and result, of each finished step

# Folders of a run that contain no run, however many files they have.
NO_RUNS_INSIDE = (
    *(CHECKPOINTS, VOCABULARY, TENSORBOARD, WANDB, PROFILE),
    *(TEXTS, SAMPLES, SHARDS, COUNTS, REJECTED, SKETCHES, CLAIMS, WORKERS),
)

# Several verbs.
REFUSED = "refused.jsonl"  # rows that cannot be used: file, line, reason, row
REPORT_HTML = "report.html"
READING_HTML = "reading.html"  # the page of `report --samples`
REPORT_MARKDOWN = "report.md"
REPORT_TEXT = "summary.txt"
FIGURES = "figures"


def log_of(process: int | str) -> str:
    """Return the name of the log of one of several processes; the first (0 or "") writes LOG."""
    return f"log-{process}.txt" if process else LOG


def refused(name: str) -> str:
    """Return the name of the side file of one benchmark's refused rows."""
    return f"{name}.{REFUSED}"


def predictions(name: str) -> str:
    """Return the name of the file of one benchmark's predictions."""
    return f"{name}.predictions.jsonl"


def contaminated(name: str) -> str:
    """Return the name of the list of one benchmark's questions that occur in training data."""
    return f"{name}.contaminated.jsonl"
