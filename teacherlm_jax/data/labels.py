"""Class labels: numbers with the names that a dataset records for them."""

from collections.abc import Mapping
from typing import Any, TypeAlias

# Names of class labels: those of one label, or by column the names of labels inside it.
Names: TypeAlias = "tuple[str, ...] | Mapping[str, Names]"


class Label(int):
    """The number of a class, which behaves like a plain integer and has a name.

    Attributes:
        name: name of the class; empty for numbers without one, such as -1 for an unknown class.
    """

    def __new__(cls, number: int, name: str = "") -> "Label":
        """Return a label with this number."""
        label = super().__new__(cls, number)
        label.name = name
        return label

    name: str


def labelled(value: Any, names: Names) -> Any:
    """Return a value with its class numbers as labels, also inside lists and objects."""
    if isinstance(value, list):
        return [labelled(item, names) for item in value]
    if isinstance(names, tuple):
        known = type(value) is int and 0 <= value < len(names)
        return Label(value, names[value] if known else "") if type(value) is int else value
    if not isinstance(value, Mapping):
        return value
    labels = {key: labelled(value[key], inside) for key, inside in names.items() if key in value}
    return {**value, **labels}


def names_of_datasets(feature: Any) -> Names:
    """Return the names of labels from the features that Hugging Face's `datasets` records.

    Features are JSON: `{"names": […], "_type": "ClassLabel"}` for one column of labels.
    """
    if isinstance(feature, list):  # a list of one item, in features of older versions
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
    """Return the columns that contain labels."""
    return {key: names for key, names in columns.items() if names}
