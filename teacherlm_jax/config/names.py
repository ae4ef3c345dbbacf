"""Names that a config may give.

What they stand for is written where it is done, in rooms that know the config and that it must not
know; tests hold the two sides together.
"""

import re

FORMS = ("text", "C", "M", "F", "CM", "CMF", "FCM", "shuffle")  # of texts: data.prompts
GATES = ("finished", "not_empty", "no_other_trigger", "no_repetition", "synthetic")
FORMATS = ("sample", "columns", "cot", "creak", "ecqa", "strategyqa", "mmlu", "p3", "muffin")
# Those that need no word beside their name, not of columns and not of prompts.
PLAIN_FORMATS = tuple(name for name in FORMATS if name not in ("columns", "muffin"))
READERS = ("jsonl", "parquet", "datasets", "tfds", "tfrecord")
ATTENTION = ("xla", "blockwise", "fused")  # models.attention
NAME = re.compile(r"\w[\w.-]*")  # what can name a file or a folder
