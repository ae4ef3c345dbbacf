"""Errors of work that is done in any case: after a block, or after other work has failed."""

import functools

import pytest

from teacherlm_jax.errors import StoreError, UserError, at_end, call_all


@pytest.mark.parametrize("later", [StoreError("later"), OSError(28, "later"), UserError("later")])
@pytest.mark.parametrize("first", [OSError(28, "first"), KeyboardInterrupt("first")])
def test_the_error_of_a_block_is_not_replaced_by_that_of_the_work_after_it(first, later):
    done = []

    def work():
        done.append(0)
        raise later

    with pytest.raises(type(first), match="first"), at_end(work):
        raise first
    assert done == [0]


def test_the_error_of_work_after_a_block_without_one_is_raised():
    def work():
        raise StoreError("later")

    with pytest.raises(StoreError, match="later"), at_end(work):
        pass


def test_a_bug_in_the_work_after_a_block_is_not_hidden():
    with pytest.raises(ZeroDivisionError), at_end(lambda: 1 / 0):
        raise UserError("first")


def test_all_work_is_done_and_the_first_error_is_raised():
    done = []

    def work(number, error=None):
        done.append(number)
        if error:
            raise error

    works = [(0, None), (1, OSError(28, "first")), (2, StoreError("second")), (3, None)]
    with pytest.raises(OSError, match="first"):
        call_all(functools.partial(work, *one) for one in works)
    assert done == [0, 1, 2, 3]


def test_a_bug_ends_the_work_at_once():
    done = []
    with pytest.raises(ZeroDivisionError):
        call_all([lambda: 1 / 0, lambda: done.append(0)])
    assert not done
