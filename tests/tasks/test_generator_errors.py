"""Errors of generators that TensorFlow reads."""

import pytest
import tensorflow as tf

from teacherlm_jax.errors import UserError
from teacherlm_jax.tasks.generator_errors import GeneratorErrors


def dataset(numbers):
    return tf.data.Dataset.from_generator(lambda: numbers, output_signature=tf.TensorSpec([]))


def test_the_error_of_a_generator_comes_out_as_it_was_raised():
    def numbers():
        yield 1.0
        raise UserError("rows: cannot be read")

    errors = GeneratorErrors()
    results = errors.raising(dataset(errors.noting(numbers())).as_numpy_iterator())
    assert next(results) == 1.0
    with pytest.raises(UserError, match="^rows: cannot be read$"):
        next(results)


def test_an_error_of_tensorflow_itself_stays_as_it_is():
    errors = GeneratorErrors()
    numbers = dataset(errors.noting([1.0, float("nan")]))
    checked = numbers.map(lambda number: tf.debugging.check_numerics(number, "checked"))
    with pytest.raises(tf.errors.InvalidArgumentError, match="checked"):
        list(errors.raising(checked.as_numpy_iterator()))
