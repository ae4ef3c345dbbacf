"""The rows of a batch that each process feeds."""

import jax
import pytest

from teacherlm_jax import sharding
from teacherlm_jax.config import MeshConfig
from teacherlm_jax.errors import UserError
from teacherlm_jax.training import fed_rows


def test_rows_are_fed_by_the_processes_that_hold_their_devices(monkeypatch):
    """Eight devices of one process feed all rows; of two processes, each feeds its half."""
    mesh = sharding.make_mesh(MeshConfig(2, 2, 2))
    assert sharding.batch_shards(mesh) == 4
    assert fed_rows.process_rows(mesh, 12) == (0, 1)
    held = fed_rows._rows_by_process(mesh, 12)
    assert held == {0: {0, 3, 6, 9}}
    halves = {0: {0, 3}, 1: {6, 9}}
    monkeypatch.setattr(fed_rows, "_rows_by_process", lambda mesh, rows: halves)
    assert fed_rows.process_rows(mesh, 12) == (0, 2)
    monkeypatch.setattr(jax, "process_index", lambda: 1)
    assert fed_rows.process_rows(mesh, 12) == (1, 2)


def test_processes_feed_equal_parts_of_a_batch_for_any_device_order():
    beside = {0: {0, 2}, 1: {4, 6}}
    between = {0: {0, 4}, 1: {2, 6}}
    for held in (beside, between):
        assert [fed_rows.process_part(held, process) for process in held] == [(0, 2), (1, 2)]
    along_tensor = {0: {0}, 1: {0}, 2: {4}, 3: {4}}
    assert [fed_rows.process_part(along_tensor, each)[0] for each in range(4)] == [0, 0, 1, 1]
    assert fed_rows.process_part({0: {0, 4}, 1: {4, 0}}, 1) == (0, 1)


def test_rows_are_ordered_when_the_devices_of_a_process_are_not_adjacent():
    """As on a v5e:8x8, whose first host holds the pieces 0, 1, 8 and 9 of a batch."""
    held = {0: {0, 2, 8, 10}, 1: {4, 6, 12, 14}}
    assert fed_rows.order_of(held, 16) == [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15]
    mesh = sharding.make_mesh(MeshConfig(2, 2, 2))
    assert fed_rows.fed_order(mesh, 8) == list(range(8))


@pytest.mark.parametrize("held", [{0: {0, 1}, 1: {1, 2}, 2: {2, 3}}, {0: {0, 1, 2}, 1: {3}}])
def test_uneven_process_counts_are_refused(held):
    with pytest.raises(
        UserError, match=f"config.mesh: the batch is sharded unevenly over {len(held)} pro"
    ):
        fed_rows.process_part(held, 0)
