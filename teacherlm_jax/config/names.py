"""Names that config fields accept.

The code that each name stands for is in other rooms, which this one must not import; tests compare
the two sides.
"""

import re

FORMS = ("text", "C", "M", "F", "CM", "CMF", "FCM", "shuffle")  # text forms, in data.prompts
GATES = ("finished", "not_empty", "no_other_trigger", "no_repetition", "synthetic")
FORMATS = ("sample", "columns", "cot", "creak", "ecqa", "strategyqa", "mmlu", "p3", "muffin")
# Formats that need no further settings.
PLAIN_FORMATS = tuple(name for name in FORMATS if name not in ("columns", "muffin"))
READERS = ("jsonl", "parquet", "datasets", "tfds", "tfrecord")
ATTENTION = ("xla", "blockwise", "fused")  # models.attention
NAME = re.compile(r"\w[\w.-]*")  # valid names of files and folders
