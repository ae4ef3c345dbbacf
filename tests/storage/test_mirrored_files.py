"""Files of a folder that a mirror copies, and those that it publishes."""

import pytest

from teacherlm_jax.storage.mirrored_files import MirroredFiles

PATHS = [
    *("config.json", "log.txt", "rows.array_record", "profile/trace", ".lock/1"),
    *("checkpoints/1/params", "texts/.unfinished/rows", "texts/rows.jsonl"),
    *("point-1/config.json", "point-1/log.txt", "point-10/log.txt"),
]
OTHERS = [path for path in PATHS if path[0] != "." and "/." not in path]


@pytest.mark.parametrize(
    ("files", "left_out"),
    [
        (MirroredFiles(), []),
        (MirroredFiles(apart=["checkpoints"]), ["checkpoints/1/params"]),
        (
            MirroredFiles(unread=[".array_record", "profile"]),
            ["rows.array_record", "profile/trace"],
        ),
        (MirroredFiles(nested="config.json"), ["point-1/config.json", "point-1/log.txt"]),
        (
            MirroredFiles(only=["log.txt", "profile"]),
            [path for path in OTHERS if path not in ("log.txt", "profile/trace")],
        ),
        (
            MirroredFiles(only=["log.txt", "check*"]),
            [path for path in OTHERS if path not in ("log.txt", "checkpoints/1/params")],
        ),
    ],
)
def test_all_files_are_copied_except_hidden_ones_and_those_that_are_left_out(files, left_out):
    assert files.copied(PATHS) == [path for path in OTHERS if path not in left_out]


@pytest.mark.parametrize(
    ("files", "left_out"),
    [
        (MirroredFiles(unread=[".array_record"], nested="config.json"), []),
        (MirroredFiles(apart=["checkpoints"]), ["checkpoints/1/params"]),
        (MirroredFiles(only=["point-10"]), [path for path in OTHERS if path[:9] != "point-10/"]),
    ],
)
def test_files_that_are_not_copied_may_be_published(files, left_out):
    assert [path for path in PATHS if files.published(path)] == [
        path for path in OTHERS if path not in left_out
    ]


def test_files_that_say_what_is_complete_come_last_and_in_their_order():
    files = MirroredFiles(last=["manifest.json", "result.json"])
    paths = ["result.json", "b/manifest.json", "rows", "a/manifest.json", "log.txt"]
    assert files.in_order(paths) == (
        ["rows", "log.txt"],
        ["a/manifest.json", "b/manifest.json", "result.json"],
    )
