"""Where fetched models lie, compared with where tensorflow_hub and Keras really put them."""

import http.server
import importlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import threading
import warnings
from pathlib import Path

import pytest

from tlkit.backbones.cache import holds_model, hub_folder, keras_models_folder, where_cached

HANDLE = "https://tfhub.dev/google/nnlm-en-dim50/2"


@pytest.fixture
def hub_cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "hub"))
    monkeypatch.delenv("TFHUB_MODEL_LOAD_FORMAT", raising=False)
    return tmp_path / "hub"


@pytest.fixture(scope="module")
def tensorflow_hub():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it imports pkg_resources, which says that it is deprecated
        return importlib.import_module("tensorflow_hub")


@pytest.fixture
def server():
    """The address of a server that answers every request with the archive of a model, as tfhub.dev does."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        file = tarfile.TarInfo("saved_model.pb")
        file.size = 1
        archive.addfile(file, io.BytesIO(b"x"))

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(packed.getvalue())

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


# tensorflow_hub -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/google/nnlm-en-dim50/2", "/models/google/nnlm/tensorFlow2/en-dim50/1?x=1"])
def test_a_model_is_found_where_tensorflow_hub_put_it(path: str, server: str, hub_cache: Path, tensorflow_hub):
    handle = server + path
    assert where_cached(handle) is None

    folder = Path(tensorflow_hub.resolve(handle))

    assert folder.parent == hub_cache
    assert hub_folder(handle) == folder
    assert where_cached(handle) == folder
    assert where_cached(f"{handle}/other") is None


def test_without_a_setting_the_folder_for_temporary_files_is_looked_at(monkeypatch, tmp_path, tensorflow_hub):
    monkeypatch.delenv("TFHUB_CACHE_DIR", raising=False)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    module = importlib.import_module("tensorflow_hub.compressed_module_resolver")
    assert str(hub_folder(HANDLE)) == module._module_dir(HANDLE)
    assert hub_folder(HANDLE).parent == tmp_path / "tfhub_modules"


def test_an_empty_setting_counts_as_none(monkeypatch, tmp_path):
    monkeypatch.setenv("TFHUB_CACHE_DIR", "")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert hub_folder(HANDLE).parent == tmp_path / "tfhub_modules"


def test_what_a_cleaner_left_of_a_model_is_no_model(hub_cache: Path):
    folder = hub_folder(HANDLE)
    (folder / "variables").mkdir(parents=True)
    assert where_cached(HANDLE) is None
    (folder / "saved_model.pb").touch()
    assert where_cached(HANDLE) == folder


def test_nothing_is_cached_where_models_are_read_from_the_bucket(hub_cache: Path, monkeypatch):
    hub_folder(HANDLE).mkdir(parents=True)
    (hub_folder(HANDLE) / "saved_model.pb").touch()
    monkeypatch.setenv("TFHUB_MODEL_LOAD_FORMAT", "UNCOMPRESSED")
    assert where_cached(HANDLE) is None


# Keras --------------------------------------------------------------------------------------------

KERAS_FETCHES = """
import keras, sys
print("FETCHED", keras.utils.get_file(sys.argv[1], "file://" + sys.argv[2], cache_subdir="models"))
"""
WEIGHTS_FILE = "efficientnetv2-b0_notop.h5"


@pytest.mark.parametrize("setting", ["HOME", "KERAS_HOME"])
def test_weights_are_found_where_keras_put_them(setting: str, tmp_path: Path, monkeypatch):
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv(setting, str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "weights").touch()
    assert where_cached("keras:EfficientNetV2B0") is None

    command = [sys.executable, "-c", KERAS_FETCHES, WEIGHTS_FILE, str(tmp_path / "weights")]
    result = subprocess.run(command, capture_output=True, text=True)

    assert result.returncode == 0, result.stderr
    fetched = Path(result.stdout.split("FETCHED ")[1].strip())
    assert keras_models_folder() == fetched.parent
    assert where_cached("keras:EfficientNetV2B0") == fetched


def test_where_keras_may_not_write_it_goes_to_the_folder_for_temporary_files(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert keras_models_folder() == Path("/tmp/.keras/models")


def test_a_network_that_is_in_no_catalogue_is_not_cached():
    assert where_cached("keras:Nothing") is None


# Others -------------------------------------------------------------------------------------------


def test_the_embedded_backbone_needs_no_fetching():
    folder = where_cached("tlkit:mini-image")
    assert folder is not None and holds_model(folder)
    assert where_cached("tlkit:maxi-image") is None


def test_a_folder_is_looked_at_as_it_is(tmp_path: Path):
    assert where_cached(str(tmp_path)) is None
    (tmp_path / "saved_model.pb").touch()
    assert where_cached(str(tmp_path)) == tmp_path
