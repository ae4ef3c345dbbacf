import pytest

from teacherlm_jax.config import variants
from teacherlm_jax.errors import UserError


def test_the_text_after_the_colon_is_parsed():
    assert variants.parse("stage1,root=a/b,tiny", root="r", tiny=False) == (
        "stage1",
        {"root": "a/b", "tiny": True},
    )
    assert variants.parse("tiny", root="r", tiny=False) == ("", {"root": "r", "tiny": True})
    assert variants.parse("", steps=3) == ("", {"steps": 3})
    with pytest.raises(UserError, match="unknown setting 'rot'"):
        variants.parse("stage1,rot=a", root="r")
    with pytest.raises(UserError, match="setting steps: expected an int, got 'a'"):
        variants.parse("stage1,steps=a", steps=3)
