"""Handles that are fetched, from a server on this machine that speaks TF-Hub's protocol; and every way that fails."""

import http.server
import io
import pathlib
import tarfile
import threading

import numpy as np
import pytest
import saved_models
import tensorflow as tf

import tlkit
from tlkit.backbones import hub
from tlkit.backbones.cache import hub_folder


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server():
    """Answers `GET path?tf-hub-format=compressed` from `server.archives`: bytes, or a status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.requests.append(self.path)
            path, _, query = self.path.partition("?")
            answer = self.server.archives.get(path, 404) if query == "tf-hub-format=compressed" else 400
            if answer == "redirect":
                self.send_response(302)
                self.send_header("Location", f"{path}.tar.gz?tf-hub-format=compressed")
                self.end_headers()
                return
            self.send_response(answer if isinstance(answer, int) else 200)
            self.end_headers()
            if isinstance(answer, bytes):
                self.wfile.write(answer)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.archives, server.requests = {}, []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    server.address = f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def archive(folder):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        tar.add(folder, arcname=".")
    return packed.getvalue()


def test_a_handle_is_fetched_once_and_works(server, cache, image_model):
    server.archives |= {"/google/model/1": "redirect", "/google/model/1.tar.gz": archive(image_model)}
    handle = f"{server.address}/google/model/1"
    images = tf.random.stateless_uniform((2, 32, 32, 3), [1, 2])
    backbone = tlkit.load_backbone(handle)
    original = tf.saved_model.load(str(image_model))
    np.testing.assert_allclose(backbone(images), original(images, training=False), atol=1e-6)
    assert backbone.handle == handle
    assert server.requests == [
        "/google/model/1?tf-hub-format=compressed",
        "/google/model/1.tar.gz?tf-hub-format=compressed",
    ]
    tlkit.load_backbone(handle)  # from the cache
    assert len(server.requests) == 2
    assert (hub_folder(handle) / "saved_model.pb").is_file()


def test_a_cache_whose_files_were_cleaned_away_is_fetched_again(server, cache, image_model):
    server.archives["/model/1"] = archive(image_model)
    handle = f"{server.address}/model/1"
    folder = hub.resolve(handle)
    for file in [file for file in folder.rglob("*") if file.is_file()]:
        file.unlink()
    assert any(folder.iterdir())  # empty folders, as a cleaner leaves them
    assert (hub.resolve(handle) / "saved_model.pb").is_file()
    assert len(server.requests) == 2


def test_what_the_catalogue_knows_is_used(cache, tmp_path):
    """A model whose page says [-1, 1], found in the cache."""
    handle = "https://tfhub.dev/sayakpaul/vit_s16_fe/1"
    kernel = saved_models.variable("kernel", 3, 3, 3, 4)

    def call(images):
        return tf.reduce_mean(tf.nn.conv2d(images, kernel, 2, "SAME"), (1, 2))

    saved_models._save(hub_folder(handle), call, tf.TensorSpec((None, None, None, 3), tf.float32), [kernel])
    backbone = tlkit.load_backbone(handle)
    assert backbone.input_range == (-1, 1) and backbone.native_shape == (224, 224, 3)
    images = tf.random.stateless_uniform((2, 16, 16, 3), [1, 2])
    np.testing.assert_allclose(backbone(images), call(images * 2 - 1), atol=1e-5)


def escaping(name):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.size = 5
        tar.addfile(member, io.BytesIO(b"owned"))
    return packed.getvalue()


def link(kind):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        member = tarfile.TarInfo("variables")
        member.type, member.linkname = kind, "../../.."
        tar.addfile(member)
    return packed.getvalue()


@pytest.mark.parametrize(
    ("hostile", "sentence"),
    [
        (escaping("../../owned"), "Relative path '../../owned' is invalid"),
        (escaping("a/../../../owned"), "Relative path 'a/../../../owned' is invalid"),
        (link(tarfile.SYMTYPE), "Unexpected object type in tar archive"),
        (link(tarfile.LNKTYPE), "Unexpected object type in tar archive"),
    ],
    ids=["parent", "roundabout", "symbolic link", "hard link"],
)
def test_paths_inside_an_archive_cannot_escape(server, cache, hostile, sentence, tmp_path):
    server.archives["/model/1"] = hostile
    with pytest.raises(tlkit.UserError, match=f"cannot be fetched: {sentence}"):
        hub.resolve(f"{server.address}/model/1")
    assert not list(tmp_path.rglob("owned"))


def test_an_absolute_path_inside_an_archive(server, cache, tmp_path):
    server.archives["/model/1"] = escaping(f"{tmp_path}/owned")
    with pytest.raises(tlkit.UserError):
        hub.resolve(f"{server.address}/model/1")
    assert not list(tmp_path.rglob("owned"))


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (404, r"the server knows no such model \(404\)\. Check its name and version"),
        (403, r"the server refuses it \(403 Forbidden\); some models on Kaggle want a consent first"),
        (500, "the server answers 500 Internal Server Error"),
        (b"<html>Not a model</html>", r"what the server sent is no complete archive of a model \(\.tar\.gz\)"),
        (b"", r"what the server sent is no complete archive of a model \(\.tar\.gz\)"),
    ],
)
def test_what_the_server_said_is_said(server, cache, answer, sentence):
    server.archives["/model/1"] = answer
    handle = f"{server.address}/model/1"
    with pytest.raises(tlkit.UserError, match=rf"'{handle}' cannot be fetched: {sentence}") as error:
        tlkit.load_backbone(handle)
    assert f"Tried {handle}?tf-hub-format=compressed; nothing is cached in '{hub_folder(handle)}'" in str(error.value)
    assert "fetch that address elsewhere, unpack it and give the folder, or take 'tlkit:mini-image'" in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(cache.glob("*.lock")) and not hub_folder(handle).exists()


def test_a_torn_download(server, cache, image_model):
    server.archives["/model/1"] = archive(image_model)[:-2000]
    with pytest.raises(tlkit.UserError, match="no complete archive of a model"):
        hub.resolve(f"{server.address}/model/1")
    server.archives["/model/1"] = archive(image_model)  # nothing half is left in the cache
    assert (hub.resolve(f"{server.address}/model/1") / "saved_model.pb").is_file()


def test_no_server(cache, server):
    server.shutdown()
    server.server_close()
    with pytest.raises(tlkit.UserError, match=r"the server cannot be reached \(.*refused.*\)"):
        hub.resolve(f"{server.address}/model/1")


def test_a_server_that_falls_silent(cache, monkeypatch):
    import socket

    monkeypatch.setattr(hub, "_TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}/model/1"
        with pytest.raises(
            tlkit.UserError, match=r"cannot be fetched: (no answer within|the server fell silent for) 0\.2"
        ):
            hub.resolve(address)
    assert socket.getdefaulttimeout() is None


def test_a_cache_that_cannot_be_written(server, image_model, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "file" / "cache"))
    server.archives["/model/1"] = archive(image_model)
    with pytest.raises(
        tlkit.UserError, match=r"cannot be kept in the cache '.*file/cache'.* Set the .* TFHUB_CACHE_DIR"
    ):
        hub.resolve(f"{server.address}/model/1")


@pytest.mark.parametrize(
    ("handle", "sentence"),
    [
        ("http://example.com/model/1", "would be fetched without encryption"),
        ("gs://bucket/model.tar.gz", "is no address that models are fetched from"),
        ("ftp://example.com/model", "is no address that models are fetched from"),
        ("file:///home/me/model", "is no address that models are fetched from"),
    ],
)
def test_other_addresses(handle, sentence):
    with pytest.raises(tlkit.UserError, match=sentence):
        tlkit.load_backbone(handle)


def test_a_model_in_the_tf1_hub_format(server, cache, tmp_path, image_model):
    old = tmp_path / "old"
    old.mkdir()
    for name in ("saved_model.pb", "tfhub_module.pb"):
        (old / name).write_bytes((image_model / "saved_model.pb").read_bytes())
    server.archives["/google/imagenet/1"] = archive(old)
    with pytest.raises(
        tlkit.UserError, match=r"holds a model in the TF1 Hub format.* whose page says 'TF2 SavedModel'"
    ):
        tlkit.load_backbone(f"{server.address}/google/imagenet/1")


def test_a_package_that_does_not_import(cache, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_hub", None)
    with pytest.raises(
        tlkit.UserError, match=r"tensorflow_hub does not import here .* `tlkit doctor` says what to mend"
    ):
        hub.resolve("https://tfhub.dev/google/model/1")


def test_a_hostile_model_is_scanned_like_any_other(server, cache, tmp_path):
    kernel = saved_models.variable("kernel", 4, 3)

    def call(x):
        tf.io.write_file(str(tmp_path / "owned"), "x")
        return x @ kernel

    saved_models._save(tmp_path / "model", call, saved_models._FEATURES, [kernel])
    server.archives["/model/1"] = archive(tmp_path / "model")
    with pytest.raises(tlkit.UserError, match="would reach outside the model: WriteFile"):
        tlkit.load_backbone(f"{server.address}/model/1")
    assert not pathlib.Path(tmp_path / "owned").exists()
