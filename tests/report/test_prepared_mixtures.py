"""The data that runs of `prepare` wrote is on the page of the runs, by its manifests."""

import pytest

from teacherlm_jax.report import prepared_mixtures
from teacherlm_jax.report.blocks import Figure, Heading, Notice, Table
from teacherlm_jax.report.collect import find_runs
from teacherlm_jax.storage import files


@pytest.fixture
def section(runs, tmp_path):
    """Return a function that returns the section on the present runs."""
    return lambda: prepared_mixtures.section(find_runs(runs, tmp_path / "report"))


def test_a_mixture_has_its_size_its_mean_tokens_and_a_histogram(section):
    heading, sizes, means, figure = section()
    assert heading == Heading("Data")
    assert dict(zip(sizes.header, sizes.rows[0], strict=True)) == {
        "data": "student_data/student_CMF",
        "texts": "900",
        "dropped": "100",
        "rows": "160",
        "positions": "512",
        "tokens": "81,000",
        "filled, %": "98.9",
    }
    assert dict(zip(means.header, means.rows[0], strict=True)) == {
        "data": "student_data/student_CMF",
        "question": "41.5",
        "answer": "1.0",
        "chain of thought": "24.1",
        "fundamentals": "24.1",
        "common mistakes": "24.1",
        "author": "teacher",
    }
    shares = [(begin, end, share) for _, begin, end, share, _ in figure.drawing.rows]
    assert shares == [(1, 65, 33.333), (65, 129, 55.556), (129, 193, 11.111)]
    assert "student_data/student_CMF 90.0" in figure.description


def _change(runs, change):
    path = runs / "student_data/student_CMF/manifest.json"
    manifest = files.read_json(path)
    change(manifest)
    files.write_json(path, manifest)


def test_manifests_of_earlier_versions_have_no_means_and_no_histogram(runs, section):
    _change(runs, lambda manifest: manifest.pop("statistics"))
    _, sizes = section()
    assert isinstance(sizes, Table) and sizes.header[-1] == "filled, %"


def test_many_mixtures_are_in_the_table_alone(runs, section):
    manifest = files.read_json(runs / "student_data/student_CMF/manifest.json")
    names = [f"mixture_{number}" for number in range(13)]
    for name in names:
        files.write_json(runs / "student_data" / name / "manifest.json", manifest)
    path = runs / "student_data/result.json"
    files.write_json(path, files.read_json(path) | {"mixtures": {key: {} for key in names}})
    _, sizes, _ = section()
    assert [row[0] for row in sizes.rows] == [f"student_data/{name}" for name in names]


def test_a_missing_or_malformed_manifest_is_named(runs, section):
    _change(runs, lambda manifest: manifest.pop("texts"))
    _, notice = section()
    assert isinstance(notice, Notice)
    assert notice.lines == ("student_data/student_CMF: it lacks texts",)
    (runs / "student_data/student_CMF/manifest.json").unlink()
    _, notice = section()
    assert "has no manifest.json" in notice.lines[0]


def test_without_prepared_data_there_is_no_section(runs, section):
    assert any(isinstance(block, Figure) for block in section())
    path = runs / "student_data/result.json"
    files.write_json(path, files.read_json(path) | {"mixtures": {}})
    assert section() == []
