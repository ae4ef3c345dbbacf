"""Class labels: numbers that know their names, where a data set tells them."""

from collections.abc import Mapping
from typing import Any, TypeAlias

# Where the labels of a data set stand: the names of one, or by column what is inside of it.
Names: TypeAlias = "tuple[str, ...] | Mapping[str, Names]"


class Label(int):
    """The number of a class; it is that number to all who do not ask for more.

    Attributes:
        name: of the class; empty for numbers that have none, such as -1 where no class is known.
    """

    def __new__(cls, number: int, name: str = "") -> "Label":
        """A label of that number."""
        label = super().__new__(cls, number)
        label.name = name
        return label

    name: str


def labelled(value: Any, names: Names) -> Any:
    """A value with its numbers of classes as labels; in lists, those of each item."""
    if isinstance(value, list):
        return [labelled(item, names) for item in value]
    if isinstance(names, tuple):
        known = type(value) is int and 0 <= value < len(names)
        return Label(value, names[value] if known else "") if type(value) is int else value
    if not isinstance(value, Mapping):
        return value
    found = {key: labelled(value[key], inside) for key, inside in names.items() if key in value}
    return {**value, **found}


def names_of_datasets(feature: Any) -> Names:
    """Where the labels stand, by the features that Hugging Face's `datasets` notes of a data set.

    They are JSON: `{"names": […], "_type": "ClassLabel"}` for one column of labels.
    """
    if isinstance(feature, list):  # of one item, as older versions write lists
        return names_of_datasets(feature[0]) if feature else {}
    if not isinstance(feature, Mapping):
        return {}
    kind = feature.get("_type")
    if kind == "ClassLabel":
        names = feature.get("names")
        return tuple(map(str, names)) if isinstance(names, list) else {}
    if isinstance(kind, str):
        return names_of_datasets(feature.get("feature"))
    return inside({key: names_of_datasets(value) for key, value in feature.items()})


def inside(columns: Mapping[str, Names]) -> Mapping[str, Names]:
    """Those columns that have labels in them."""
    return {key: names for key, names in columns.items() if names}
