"""Shards are claimed one by one, in a time that does not grow with their number."""

from types import SimpleNamespace

import pytest

from teacherlm_jax.annotation.job.job_files import JobFolder
from teacherlm_jax.annotation.shards.shard_queue import ShardQueue, claim_name, on_disk
from teacherlm_jax.runs import layout
from teacherlm_jax.storage import files
from teacherlm_jax.storage.paths import StoragePath


class _Claims:
    """Claims of this process and of others, in memory."""

    def __init__(self):
        self.names, self.others = set(), set()

    def held(self):
        return self.names | self.others

    def held_by_others(self):
        return self.others

    def take(self, name):
        self.names.add(name)
        return True

    def release(self, name):
        self.names.discard(name)


class _Counted(set):
    """A set of shards that counts how often it is asked."""

    asked = 0

    def __contains__(self, index):
        _Counted.asked += 1
        return super().__contains__(index)


@pytest.fixture
def make_queue(tmp_path):
    """Function that makes the queue of a job whose files are counted in `done`, by part."""

    def make(shards, kinds, done):
        folder = SimpleNamespace(
            counted=lambda part: dict.fromkeys(done.get(part, ()), 1),
            samples=lambda index: tmp_path / str(index),
        )
        record = SimpleNamespace(shards=(256,) * shards)
        queue = ShardQueue(SimpleNamespace(folder=folder, record=record, kinds=kinds), _Claims())
        queue._counted = {part: _Counted(own) for part, own in queue._counted.items()}
        _Counted.asked = 0
        return queue

    return make


def _teacher(*kinds):
    return SimpleNamespace(kinds=kinds)


@pytest.mark.parametrize("shards", [100, 1000])
@pytest.mark.parametrize("last", [True, False])
def test_the_time_of_a_claim_does_not_grow_with_the_number_of_shards(make_queue, shards, last):
    kinds = ("cot",) if last else ("cot", "mistake")  # the other kind has another teacher
    queue, teacher = make_queue(shards, kinds, {}), _teacher("cot")
    for expected in range(shards):
        assert queue.claim(teacher) == expected
        queue.release(expected, teacher, last)
        assert queue.counted_rows()["cot"] == 256 * (expected + 1)
    assert queue.claim(teacher) is None
    assert _Counted.asked < 20 * shards


def test_several_shards_in_progress_are_all_claimed_and_none_twice(make_queue):
    done = {"cot": [], layout.SAMPLES: []}
    queue, teacher = make_queue(20, ("cot",), done), _teacher("cot")
    first = [queue.claim(teacher) for _ in range(4)]
    done["cot"], done[layout.SAMPLES] = [2], [2]
    queue.release(2, teacher, True)
    others = [queue.claim(teacher) for _ in range(16)]
    assert sorted(first + others) == list(range(20))
    assert queue.claim(teacher) is None


def test_a_shard_that_lacks_only_its_samples_is_claimed_by_any_teacher(make_queue):
    done = {"cot": range(5), "mistake": (0, 1, 3), layout.SAMPLES: (0, 1)}
    queue = make_queue(5, ("cot", "mistake"), done)
    assert queue.claim(_teacher("cot")) == 3
    assert queue.claim(_teacher("cot")) is None
    assert queue.claim(_teacher("mistake")) == 2
    assert queue.unfinished() == [2, 3, 4]


def test_a_shard_that_others_finished_or_lost_is_noticed_at_the_next_listing(make_queue):
    done = {"cot": [], layout.SAMPLES: []}
    queue, teacher = make_queue(4, ("cot",), done), _teacher("cot")
    assert queue.claim(teacher) == 0
    queue.release(0, teacher, True)
    assert queue.claim(teacher) == 1
    done["cot"], done[layout.SAMPLES] = [1, 2], [1, 2]
    assert queue.unfinished() == [0, 3]
    assert queue.counted_rows() == {"cot": 512}
    assert queue.claim(teacher) == 0  # its file is gone


def test_a_shard_that_others_finished_since_the_last_listing_is_not_opened_again(
    make_queue, tmp_path
):
    done = {"cot": [], layout.SAMPLES: []}
    queue, teacher = make_queue(4, ("cot",), done), _teacher("cot")
    done["cot"], done[layout.SAMPLES] = [0, 1], [0, 1]
    for index in (0, 1, 2):  # the samples of shard 2 are damaged, so they are not counted
        (tmp_path / str(index)).touch()
    assert queue.claim(teacher) == 2
    assert queue._claims.names == {"part-00002.cot"}
    assert queue.claim(teacher) == 3


def test_a_job_is_in_progress_until_other_processes_have_released_its_shards(make_queue):
    queue = make_queue(2, ("cot",), {"cot": (0, 1), layout.SAMPLES: (0, 1)})
    queue._claims.others = {"part-00001.cot"}
    assert queue.in_progress()
    queue._claims.others = set()
    assert not queue.in_progress()
    assert make_queue(2, ("cot",), {"cot": (0, 1), layout.SAMPLES: (0,)}).in_progress()


def test_shards_of_rows_that_were_added_since_are_not_those_of_an_earlier_job(make_queue):
    done = {"cot": [0], layout.SAMPLES: [0]}
    queue, teacher = make_queue(2, ("cot",), done), _teacher("cot")
    done["cot"] += [2, 3]  # finished by a process that joined later
    done[layout.SAMPLES] += [2, 3]
    assert queue.unfinished() == [1]
    assert queue.counted_rows() == {"cot": 256}
    assert queue.claim(teacher) == 1
    done["cot"].append(1)
    done[layout.SAMPLES].append(1)
    assert queue.unfinished() == []


def test_a_shard_that_one_teacher_cannot_finish_is_left_to_the_other(make_queue):
    done = {"cot": [0], "mistake": [0], layout.SAMPLES: []}  # that of the mistakes is damaged
    queue = make_queue(1, ("cot", "mistake"), done)
    cot, mistake = _teacher("cot"), _teacher("mistake")
    assert queue.claim(cot) == 0
    queue.release(0, cot, False)
    assert queue.claim(cot) is None
    assert queue.claim(mistake) == 0
    queue.release(0, mistake, True)
    done[layout.SAMPLES].append(0)
    assert not queue.in_progress()


def test_shards_of_rows_that_were_added_since_do_not_keep_an_earlier_job_in_progress(make_queue):
    queue = make_queue(2, ("cot",), {"cot": (0, 1), layout.SAMPLES: (0, 1)})
    queue._claims.others = {claim_name(2, ["cot"]), claim_name(12, ["cot", "mistake"])}
    assert not queue.in_progress()
    queue._claims.others.add(claim_name(1, ["cot", "mistake"]))
    assert queue.in_progress()


def test_a_partial_file_that_is_completed_while_it_is_counted_has_all_its_rows(
    tmp_path, monkeypatch
):
    folder = JobFolder(StoragePath(tmp_path))
    record = SimpleNamespace(shards=(9, 13))
    job = SimpleNamespace(folder=folder, record=record, kinds=("cot",))
    for index in (0, 1):
        path = folder.texts("cot", index)
        files.write_bytes(path.with_name(f"{path.name}{files.PARTIAL}"), b"{}\n{}\n")
    assert on_disk(job) == {("cot", 0): 2, ("cot", 1): 2}
    names = files.names

    def completed_since(listed):
        found = names(listed)
        files.remove(path.with_name(f"{path.name}{files.PARTIAL}"))
        return found

    monkeypatch.setattr(files, "names", completed_since)
    assert on_disk(job) == {("cot", 0): 2, ("cot", 1): 13}
