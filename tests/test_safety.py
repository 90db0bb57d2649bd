"""Hostile SavedModels and `.keras` files are refused before anything of them runs; ordinary ones are not."""

import base64
import json
import zipfile
import zlib

import keras
import numpy as np
import pytest
import saved_models
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

import tlkit
from tlkit.backbones.safety import find_suspicious


def write_file(folder):
    tf.io.write_file(str(folder / "owned"), "x")


def print_to_file(folder):
    tf.print("x", output_stream=f"file://{folder / 'owned'}")


def save_checkpoint(folder):
    tf.raw_ops.SaveV2(prefix=str(folder / "owned"), tensor_names=["x"], shape_and_slices=[""], tensors=[tf.zeros(1)])


def call_python(folder):
    tf.numpy_function(lambda: np.float32(0), [], tf.float32)


def read_file(folder):
    return tf.io.read_file(str(folder / "secret"))


def read_dataset(folder):
    return next(iter(tf.data.TextLineDataset(str(folder / "secret"))))


HOSTILE = {
    "WriteFile": write_file,
    "PrintV2": print_to_file,
    "SaveV2": save_checkpoint,
    "PyFunc": call_python,
    "ReadFile": read_file,
    "Dataset": read_dataset,
}


def save_hostile(act, folder, nested=False):
    kernel = saved_models.variable("kernel", 4, 3)

    def attack(x):
        result = act(folder)
        return x + 0.0 * tf.cast(tf.strings.length(result), tf.float32) if result is not None else x + 0.0

    inner = tf.function(attack) if nested else attack
    saved_models._save(folder / "model", lambda x: inner(x) @ kernel, saved_models._FEATURES, [kernel])


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_saved_model_is_refused_and_nothing_of_it_ran(name, nested, tmp_path):
    (tmp_path / "secret").write_text("password")
    save_hostile(HOSTILE[name], tmp_path, nested)
    with pytest.raises(tlkit.UserError, match=rf"would reach outside the model: .*{name}.* Load it with `trust=True`"):
        tlkit.load_backbone(str(tmp_path / "model"))
    assert not list(tmp_path.glob("owned*"))


# By hand from TensorFlow's list of operations, not from the scan's rule: what reaches outside the model, and how.
REACHING_OUTSIDE = {
    "files": "ReadFile WriteFile MatchingFiles Save SaveSlices SaveV2 DistributedSave Restore RestoreSlice RestoreV2 "
    "MergeV2Checkpoints LoadAndRemapMatrix InitializeTableFromTextFile InitializeTableFromTextFileV2 WholeFileReader "
    "WholeFileReaderV2 TextLineReader TFRecordReaderV2 FixedLengthRecordReader LMDBReader RecordInput PrintV2 "
    "FixedUnigramCandidateSampler TextLineDataset TFRecordDataset FixedLengthRecordDatasetV2 CacheDatasetV2 "
    "LoadDataset SaveDatasetV2 SnapshotDatasetV2 SqlDataset CSVDatasetV2 LMDBDataset CreateSummaryFileWriter "
    "CreateSummaryDbWriter WriteSummary WriteGraphSummary ImportEvent DecodeProtoV2 EncodeProto DebugIdentityV3 "
    "FileSystemSetConfiguration",
    "the network": "Send Recv RemoteCall CollectiveReduceV2 CollectiveGather CollectiveBcastSend NcclAllReduce "
    "CollectiveInitializeCommunicator DataServiceDatasetV4 RegisterDatasetV2 StoreMinibatchStatisticsInFdo "
    "ConfigureDistributedTPU ShutdownDistributedTPU",
    "Python": "PyFunc PyFuncStateless EagerPyFunc GeneratorDataset",
    "the process": "Abort WorkerHeartbeat GetSessionHandleV2 GetSessionTensor DeleteSessionTensor Print DebugIdentity "
    "CopyHost TPUExecute InfeedEnqueue OutfeedDequeue",
    "what no scan can look into": "XlaCallModule TRTEngineOp IfrtCall MlirPassthroughOp MadeUpOp",
}


@pytest.mark.parametrize("place", ["graph", "function"])
@pytest.mark.parametrize("kind", REACHING_OUTSIDE)
def test_every_hostile_operation_is_refused(kind, place, tmp_path):
    operations = REACHING_OUTSIDE[kind].split()
    found = []
    for operation in operations:
        saved_model = saved_model_pb2.SavedModel()
        graph = saved_model.meta_graphs.add().graph_def
        if place == "graph":
            graph.node.add(name="x", op=operation)
        else:
            graph.library.function.add().signature.name = "inner"
            graph.library.function[0].node_def.add(name="x", op=operation)
        (tmp_path / "saved_model.pb").write_bytes(saved_model.SerializeToString())
        found += find_suspicious(tmp_path)
    assert [words.split()[0] for words in found] == operations
    with pytest.raises(tlkit.UserError, match=rf"would reach outside the model: {operations[-1]}\b"):
        tlkit.load_backbone(str(tmp_path))


def model_with_saver(folder, operation, *, place="restore", in_object_graph=False):
    """A SavedModel, as far as the scan reads it, whose saver calls a function that holds one operation."""
    saved_model = saved_model_pb2.SavedModel()
    meta_graph = saved_model.meta_graphs.add()
    meta_graph.graph_def.library.function.add().signature.name = "saver"
    meta_graph.graph_def.library.function[0].node_def.add(name="x", op=operation)
    call = meta_graph.graph_def.node.add(name="call", op="StatefulPartitionedCall")
    call.attr["f"].func.name = "saver"
    if place == "restore":
        meta_graph.saver_def.restore_op_name = "call"
    else:
        meta_graph.saver_def.save_tensor_name = "call:0"
    if in_object_graph:
        meta_graph.object_graph_def.concrete_functions["saver"].SetInParent()
    (folder / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    return folder


def test_a_saver_may_save_and_restore_and_nothing_else(tmp_path):
    assert find_suspicious(model_with_saver(tmp_path, "RestoreV2")) == []
    assert find_suspicious(model_with_saver(tmp_path, "SaveV2", place="save")) == []
    assert find_suspicious(model_with_saver(tmp_path, "WriteFile")) == ["WriteFile in 'saver'"]
    assert find_suspicious(model_with_saver(tmp_path, "EagerPyFunc", place="save")) == ["EagerPyFunc in 'saver'"]


def test_what_is_called_a_saver_and_run_at_loading_is_scanned(tmp_path):
    """The object graph names what initialises tables and restores custom objects: that is run."""
    found = find_suspicious(model_with_saver(tmp_path, "SaveV2", place="save", in_object_graph=True))
    assert found == ["SaveV2 in 'saver'"]


@pytest.mark.parametrize("where", ["restore", "main op"])
def test_saving_is_no_part_of_loading(where, tmp_path):
    """In graphs of TensorFlow 1 the saver's operations stand beside the others; what restores is run at loading."""
    saved_model = saved_model_pb2.SavedModel()
    meta_graph = saved_model.meta_graphs.add()
    meta_graph.graph_def.node.add(name="save", op="SaveV2")
    meta_graph.graph_def.node.add(name="load", op="NoOp", input=["^save"])
    meta_graph.saver_def.save_tensor_name = "save:0"
    if where == "restore":
        meta_graph.saver_def.restore_op_name = "load"
    else:
        meta_graph.collection_def["saved_model_main_op"].node_list.value.append("load")
    (tmp_path / "saved_model.pb").write_bytes(saved_model.SerializeToString())
    assert find_suspicious(tmp_path) == ["SaveV2"]


def test_trust_loads_it(tmp_path):
    save_hostile(write_file, tmp_path)
    backbone = tlkit.load_backbone(str(tmp_path / "model"), trust=True)
    assert backbone(np.ones((1, 4), np.float32)).shape == (1, 3)


def test_an_asset_outside_the_folder(tmp_path):
    saved_models.save_embedding(tmp_path / "model")
    path = tmp_path / "model" / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel.FromString(path.read_bytes())
    saved_model.meta_graphs[0].asset_file_def.add(filename="../../etc/passwd")
    path.write_bytes(saved_model.SerializeToString())
    with pytest.raises(tlkit.UserError, match="the asset '../../etc/passwd' outside its folder"):
        tlkit.load_backbone(str(tmp_path / "model"))


def test_a_vocabulary_file_may_be_read(tmp_path):
    (tmp_path / "words.txt").write_text("ant\nbee\n")
    rows = saved_models.variable("embeddings", 3, 2)
    words = tf.lookup.TextFileInitializer(
        str(tmp_path / "words.txt"),
        tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER,
    )  # fmt: skip
    table = tf.lookup.StaticHashTable(words, 2)
    spec = tf.TensorSpec((None,), tf.string)
    saved_models._save(tmp_path / "model", lambda x: tf.gather(rows, table.lookup(x)), spec, [rows], table=table)
    backbone = tlkit.load_backbone(str(tmp_path / "model"))
    np.testing.assert_array_equal(backbone(tf.constant(["bee", "cat"])), rows.numpy()[[1, 2]])


def hostile_keras_file(image_model, tmp_path):
    """A `.keras` file whose graph was changed to write a file when it is called."""
    inputs = keras.Input((32, 32, 3))
    keras.Model(inputs, tlkit.load_backbone(str(image_model))(inputs)).save(tmp_path / "good.keras")
    with zipfile.ZipFile(tmp_path / "good.keras") as good, zipfile.ZipFile(tmp_path / "bad.keras", "w") as bad:
        for name in good.namelist():
            content = good.read(name)
            if name == "config.json":
                config = json.loads(content)
                [layer] = [layer for layer in config["config"]["layers"] if layer["class_name"] == "Backbone"]
                program = layer["config"]["program"]
                graph = tf.compat.v1.GraphDef.FromString(zlib.decompress(base64.b64decode(program["graph_def"])))
                graph.node.add(name="write", op="WriteFile")
                program["graph_def"] = base64.b64encode(zlib.compress(graph.SerializeToString())).decode()
                content = json.dumps(config)
            bad.writestr(name, content)
    return tmp_path / "bad.keras"


def test_a_hostile_keras_file_is_refused(image_model, tmp_path):
    path = hostile_keras_file(image_model, tmp_path)
    with pytest.raises(tlkit.UserError, match="^The model's backbone would reach outside the model: WriteFile"):
        tlkit.load_model(path)
    with pytest.raises(TypeError, match="would reach outside the model: WriteFile"):  # Keras' own words around ours
        keras.saving.load_model(path)


def test_trust_is_not_written_into_a_file(tmp_path):
    save_hostile(read_file, tmp_path)
    (tmp_path / "secret").write_text("x")
    inputs = keras.Input((4,))
    keras.Model(inputs, tlkit.load_backbone(str(tmp_path / "model"), trust=True)(inputs)).save(tmp_path / "m.keras")
    with pytest.raises(tlkit.UserError, match="ReadFile"):
        tlkit.load_model(tmp_path / "m.keras")
    assert tlkit.load_model(tmp_path / "m.keras", trust=True)(np.ones((1, 4), np.float32)).shape == (1, 3)
