"""TPU slices for which `plan` compiled the trainings of configs/teacher.py and configs/student.py.

Their memory and commands are in the docstrings of those files.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class TrainingSlice:
    """A slice on which the training of a model fits.

    Attributes:
        topology: the slice, such as v5e:8x8.
        tensor: devices along `tensor`; the rest are along `fsdp`.
        parts: parts that a batch is accumulated from.
        seconds: time of a step, the lower bound of the roofline model.
    """

    topology: str
    tensor: int
    parts: int
    seconds: float


TEACHERS = {  # by size
    "560m": TrainingSlice("v5e:4x4", 1, 1, 1.4),
    "1b1": TrainingSlice("v5e:4x4", 1, 4, 4.1),
    "3b": TrainingSlice("v5e:4x8", 1, 4, 6.1),
    "7b1": TrainingSlice("v5e:8x8", 2, 4, 7.2),
    "176b": TrainingSlice("v5p:8x8x4", 8, 8, 23.5),
}
STUDENTS = {  # by size, trained on `multi`
    "1b1": TrainingSlice("v5e:2x4", 1, 8, 3.3),
    "1.3b": TrainingSlice("v5e:2x4", 1, 8, 3.6),
    "3b": TrainingSlice("v5e:4x4", 1, 8, 3.9),
    "2.7b": TrainingSlice("v5e:4x4", 1, 4, 3.6),
    "7b1": TrainingSlice("v5e:4x8", 2, 4, 4.5),
    "6.7b": TrainingSlice("v5e:4x8", 2, 4, 4.3),
}
TASK_SECONDS = 1.1  # of a step of the student of 7b1 on a single task
