"""How a user's mistake is worded at the command line."""

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from tlkit.errors import UserError, exit_on_user_error


def test_a_sentence_and_status_1_without_traceback(capsys):
    with pytest.raises(SystemExit) as exit_info, exit_on_user_error():
        raise UserError("there is no file 'x'. Check the path.")
    assert exit_info.value.code == 1
    assert capsys.readouterr().err == "Error: there is no file 'x'. Check the path.\n"


def test_an_error_carried_by_tensorflow_is_worded_the_same(capsys):
    def read(_):
        raise UserError("cannot decode 'photo.jpg'.")

    data = tf.data.Dataset.range(1).map(lambda i: tf.numpy_function(read, [i], tf.int64))
    with pytest.raises(SystemExit), exit_on_user_error():
        list(data)
    assert capsys.readouterr().err == "Error: cannot decode 'photo.jpg'.\n"


def test_other_errors_pass():
    with pytest.raises(KeyError), exit_on_user_error():
        raise KeyError("bug")


def test_nothing_wrong():
    with exit_on_user_error():
        pass


def test_keras_adds_nothing_to_what_a_layer_raises():
    class Refusing(keras.layers.Layer):
        def call(self, inputs):
            raise UserError("Do this instead.")

    with pytest.raises(UserError) as error:
        Refusing()(np.zeros((1, 2)))
    assert str(error.value) == "Do this instead."


def test_warnings_are_shown_in_one_line(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with exit_on_user_error():
            warnings.warn("Three files are left out.", stacklevel=2)
            warnings.warn("for developers", DeprecationWarning, stacklevel=2)
    assert capsys.readouterr().err == "Warning: Three files are left out.\n"
