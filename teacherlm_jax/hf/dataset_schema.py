"""One Arrow schema for all rows of a dataset, and its description in a dataset card.

Loaders infer the types of JSON from the first rows, and then refuse a later file in which another
author, an option or a text occurs for the first time. So the types are collected from all rows
before the first one is written.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from teacherlm_jax.errors import UserError, one_line

BATCH = 1024  # rows converted at once

SAMPLE = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "question", "answer")),
        ("options", pa.list_(pa.string())),
        *((name, pa.string()) for name in ("subject", "source")),
    ]
)
MESSAGES = pa.schema(
    [
        ("id", pa.string()),
        ("form", pa.string()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))),
    ]
)


class SchemaUnion:
    """Smallest schema that all added rows fit, which keys of objects may differ."""

    def __init__(self, first: pa.Schema):
        """Begin with columns that every dataset has."""
        self._schema = first

    def add(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Widen the schema to some more rows; raise UserError if one value is of another type."""
        try:
            found = pa.schema(list(pa.array(list(rows)).type)) if rows else pa.schema([])
            self._schema = pa.unify_schemas([self._schema, found], promote_options="permissive")
        except (pa.ArrowException, OverflowError) as error:
            raise UserError(
                f"annotations have values of different types under one key ({one_line(error)}), "
                "which no dataset can hold; set --config.dataset.annotations=False to leave the "
                "annotations out"
            ) from error

    def schema(self) -> pa.Schema:
        """Return the schema; a value that is null in every row has the type text."""
        fields = [(field.name, _storable(field.type)) for field in self._schema]
        return pa.schema([(name, type) for name, type in fields if type is not None])


def _storable(type: pa.DataType) -> pa.DataType | None:
    """Return a type without nulls and empty objects; None for an empty object."""
    if pa.types.is_null(type):
        return pa.string()
    if pa.types.is_list(type):
        inside = _storable(type.value_type)
        return pa.list_(pa.string() if inside is None else inside)
    if pa.types.is_struct(type):
        fields = [(field.name, _storable(field.type)) for field in type]
        kept = [(name, inside) for name, inside in fields if inside is not None]
        return pa.struct(kept) if kept else None
    return type


def rows_of(batch: Iterable[Mapping[str, Any]], schema: pa.Schema) -> pa.Table:
    """Return rows as a table in which every row has every key of the schema."""
    return pa.Table.from_pylist(list(batch), schema=schema)


def features(schema: pa.Schema) -> list[dict[str, Any]]:
    """Return the columns as `datasets` describes them in the YAML of a dataset card."""
    return [{"name": field.name, **_feature(field.type)} for field in schema]


def _feature(type: pa.DataType) -> dict[str, Any]:
    if pa.types.is_struct(type):
        return {"struct": features(pa.schema(list(type)))}
    if pa.types.is_list(type):
        inside = _feature(type.value_type)
        return {"list": inside.get("dtype") or inside.get("struct") or inside}
    return {"dtype": {"double": "float64"}.get(str(type), str(type))}
