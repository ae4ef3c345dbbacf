"""Errors of work that is done in any case after a block, beside those of the block."""

import pytest

from teacherlm_jax.errors import StoreError, UserError, at_end


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
