"""SeqIO tasks and mixtures over raw data sets: the only room that imports TensorFlow."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # it reports every GPU library it cannot find

import tensorflow as tf
from absl import logging

tf.config.set_visible_devices([], "GPU")  # TensorFlow reads data here; the memory is for models
logging.set_verbosity(logging.ERROR)  # SeqIO warns of every source that is not cached
