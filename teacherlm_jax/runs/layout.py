"""Names of the files and folders in a run folder, and in the folder of a prepared mixture."""

# Of every run.
CONFIG = "config.json"  # the verb and its resolved config
VERSIONS = "versions.json"  # package versions, commit, command line
LOG = "log.txt"
LOCK = ".lock"
RESULT = "result.json"  # written last: a run that has one is finished

# Of a training run.
CHECKPOINTS = "checkpoints"  # one folder per step
VOCABULARY = "vocabulary"  # also in the folder of a prepared mixture
METRICS = "metrics.jsonl"  # one object per progress line
VALIDATION = "validation.jsonl"  # one object per measurement
SUMMARY = "summary.json"  # speed, and where the time went
TENSORBOARD = "tensorboard"
PROFILE = "profile"  # traces and memory profiles

# Of `prepare`: its output holds one folder per mixture.
MANIFEST = "manifest.json"  # of one mixture, written last
THROUGHPUT = "throughput.json"  # kept apart, so that the same input gives the same bytes
CHECK = "check.json"  # what `--config.check_only` found
EVALUATION_REFUSED = "evaluation.refused.jsonl"
WORK = ".work"  # results of Beam workers, removed at the end

# Of `annotate`.
TEXTS = "texts"  # one folder per kind: the explanations as they are written
SAMPLES = "samples"  # the explained samples

# Of several verbs.
REFUSED = "refused.jsonl"  # rows that cannot be used: file, line, reason, row
REPORT_HTML = "report.html"
REPORT_MARKDOWN = "report.md"
REPORT_TEXT = "summary.txt"
FIGURES = "figures"


def refused(name: str) -> str:
    """Return the name of the side file of one benchmark's refused rows."""
    return f"{name}.{REFUSED}"


def predictions(name: str) -> str:
    """Return the name of the file of one benchmark's predictions."""
    return f"{name}.predictions.jsonl"
