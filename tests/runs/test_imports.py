import gc

import pytest

from teacherlm_jax.runs import imports


@pytest.fixture
def frozen(monkeypatch):
    """The calls of `gc.freeze`, which would change the collections of this process."""
    calls = []
    monkeypatch.setattr("gc.freeze", lambda: calls.append(gc.isenabled()))
    monkeypatch.setattr(imports, "_of_one_command", False)
    return calls


def test_the_collector_is_off_during_imports_and_on_again_after_an_error(frozen):
    were_enabled = []

    def fail():
        with imports.without_collection():
            were_enabled.append(gc.isenabled())
            raise ImportError

    with pytest.raises(ImportError):
        fail()
    assert were_enabled == [False] and gc.isenabled() and not frozen


def test_a_process_of_one_command_leaves_what_it_imported_out_of_collections(frozen):
    imports.leave_out_of_collections()
    with imports.without_collection():
        assert not frozen
    assert frozen == [False] and gc.isenabled()
