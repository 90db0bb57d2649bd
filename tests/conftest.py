"""Two logical CPU devices for every test, a fixed seed, and small SavedModels."""

import gc
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported: its C++ notes are not ours
if "TLKIT_TEST_GPU" not in os.environ:  # set by `make test-gpu`
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the tests compare numbers to 1e-6, which a card's TF32 does not keep

import keras
import pytest
import saved_models
import tensorflow as tf

if "TLKIT_TEST_GPU" in os.environ:
    for card in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(card, True)
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


@pytest.fixture(autouse=True)
def fresh_keras():
    """Names, policies and seeds of one test do not reach the next."""
    keras.utils.set_random_seed(0)
    yield
    keras.mixed_precision.set_global_policy("float32")
    keras.utils.clear_session(free_memory=False)  # a collection of garbage after each of 1,700 tests takes minutes


@pytest.fixture(scope="module", autouse=True)
def garbage():
    """What a module leaves alive is not looked through by every later collection: it grows to millions of objects."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """What tests keep of closed stages does not go where a user's is kept."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TLKIT_CACHE_DIR", str(tmp_path_factory.mktemp("features")))
        yield


@pytest.fixture(scope="session")
def image_model(tmp_path_factory):
    """Folder of a small image model with five resolutions, BatchNorm, a residual and a regularization loss."""
    folder = tmp_path_factory.mktemp("image_model")
    saved_models.save_image_model(folder)
    return folder
