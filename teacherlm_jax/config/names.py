"""Names that config fields accept.

Other rooms implement them, which this one must not import; tests compare the two.
"""

import re

FORMS = ("text", "C", "M", "F", "CM", "CMF", "FCM", "shuffle")  # text forms, in data.prompts
# Checks of an explanation by its text alone, in annotation.gates: the teacher ended it; it is not
# blank; a chain of thought that states a conclusion states the given answer; it does not run into
# another kind or question; it does not loop; it has no broken characters; it is in the script of
# the question; it is not a placeholder; it does not only repeat the prompt; it is right by the
# rules that generated the sample.
TEXT_GATES = (
    *("finished", "not_empty", "concludes_answer", "no_other_trigger", "no_repetition"),
    *("no_garbage", "same_script", "no_placeholder", "not_copied", "synthetic"),
)
DEFAULT_GATES = TEXT_GATES[:-1]  # they judge any data; people's explanations pass each of them
MODEL_GATE = (
    "answer_check"  # in annotation.answer_check: the teacher finds the right option with it
)
SET_GATE = "not_duplicate"  # in annotation.duplicate_verdicts: no earlier one resembles it
GATES = (*TEXT_GATES, MODEL_GATE, SET_GATE)
FORMATS = (
    *("sample", "columns", "cot", "creak", "ecqa", "strategyqa", "strategyqa_without_facts"),
    *("mmlu", "p3", "muffin"),
)
# Formats that need no further settings.
PLAIN_FORMATS = tuple(name for name in FORMATS if name not in ("columns", "muffin"))
READERS = ("jsonl", "csv", "tsv", "parquet", "datasets", "tfds", "tfrecord")
# Scores of options, in evaluation.reductions.
REDUCTIONS = ("mean", "sum", "bytes", "unconditional")
# Projections of a block that LoRA can adapt: attributes of models.block.Block.
LORA_TARGETS = ("query_key_value", "attention_output", "up", "down")
ATTENTION = ("xla", "blockwise", "fused")  # models.attention
MODEL_PATHS = (  # hf.any_model
    "a run folder (its newest checkpoint), RUN/checkpoints/STEP, RUN/checkpoints/best, a Hugging "
    "Face model folder (all of these also in a bucket), or hf://org/name[@revision]"
)
ADDRESS = re.compile(r"[a-zA-Z][\w+.-]*://")  # begins the address of a bucket, a model or a site
BUCKET = "gs://"  # begins the address of a folder in a bucket
HUB = "hf://"  # begins the address of a model on the Hugging Face Hub
NAME = re.compile(r"\w[\w.-]*")  # valid names of files and folders
