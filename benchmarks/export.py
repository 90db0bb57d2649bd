"""What does an export cost and give? Size, time for one image on one core, and accuracy, format by format.

    python benchmarks/export.py PHOTOS [--backbone tlkit:mini-image:128 FOLDER:224 …] [--rounds 200] [--calibration 128]

PHOTOS holds train/ and val/ with class folders. The classifier is a logistic regression on the frozen features of the
training photos. Each model answers about every validation photo; then they take turns for one image each, so that a
busy machine slows all alike, and the median time is printed with its quartiles. Keras is `tf.function(model)` on one
thread, the SavedModel decodes a PNG of the image on top, LiteRT and ONNX Runtime get one thread.
"""

import argparse
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
import onnxruntime
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from sklearn.linear_model import LogisticRegression

import tlkit
from tlkit.data import decode_image
from tlkit.export import export_image_classifier, export_litert, export_onnx
from tlkit.export.agreement import compare


def read(folder, image_size):
    """All photos of the class folders, and their classes."""
    classes = sorted(path.name for path in folder.iterdir() if path.is_dir())
    files = [(file, label) for label, name in enumerate(classes) for file in sorted((folder / name).iterdir())]
    return np.stack([decode_image(file, image_size) for file, _ in files]), np.array([label for _, label in files])


def make_classifier(handle, image_size, images, labels):
    """A frozen backbone and a softmax layer with the weights of a logistic regression."""
    pixels = keras.Input((image_size, image_size, 3))
    backbone = keras.Model(pixels, tlkit.load_backbone(handle, image_size=image_size)(pixels))
    features = backbone.predict(images / np.float32(255), batch_size=16, verbose=0)
    fitted = LogisticRegression(C=0.1, max_iter=5000).fit(features, labels)
    head = keras.layers.Dense(2, activation="softmax")
    model = keras.Model(pixels, head(backbone(pixels)))
    # Softmax over (0, z) is the sigmoid of z.
    head.set_weights([np.hstack([0 * fitted.coef_.T, fitted.coef_.T]), np.append(0, fitted.intercept_)])
    return model


def export_all(model, folder, image_size, calibration):
    """Every format: its name, the bytes it takes on disk, and a function from one image to probabilities."""
    names = {"class_names": ["a", "b"]}
    compiled = tf.function(lambda image: model(tf.cast(image, tf.float32) / 255.0, training=False))
    yield "Keras", sum(weight.value.numpy().nbytes for weight in model.weights), lambda x: compiled(x[None]).numpy()

    export_image_classifier(model, folder / "saved", image_size=image_size, **names)
    loaded = tf.saved_model.load(str(folder / "saved"))
    serve = loaded.signatures["serving_default"]
    size = sum(file.stat().st_size for file in (folder / "saved").rglob("*") if file.is_file())
    encoded = {}

    def ask_saved_model(image):
        key = image.tobytes()
        encoded.setdefault(key, tf.constant([tf.io.encode_png(image).numpy()]))
        return serve(image_bytes=encoded[key])["probabilities"].numpy()

    ask_saved_model.model = loaded  # or its variables would go
    yield "SavedModel", size, ask_saved_model

    for quantize in (None, "float16", "int8"):
        file = folder / f"{quantize}.tflite"
        start = time.perf_counter()
        in_floats = export_litert(model, file, quantize=quantize, calibration=calibration, **names)
        print(f"  {quantize}: converted in {time.perf_counter() - start:.1f} s; in floats: {in_floats}")
        runner = Interpreter(str(file), num_threads=1).get_signature_runner()
        yield (
            f"LiteRT {quantize or 'float32'}",
            file.stat().st_size,
            lambda x, runner=runner: runner(image=x[None])["probabilities"],
        )

    start = time.perf_counter()
    export_onnx(model, folder / "model.onnx", **names)
    print(f"  onnx: converted in {time.perf_counter() - start:.1f} s")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    yield "ONNX", (folder / "model.onnx").stat().st_size, lambda x: session.run(None, {"image": x[None]})[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=pathlib.Path)
    parser.add_argument("--backbone", nargs="+", default=["tlkit:mini-image:128"], metavar="HANDLE:SIZE")
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--calibration", type=int, default=128, help="training photos for int8")
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

    for backbone in arguments.backbone:
        handle, _, size = backbone.rpartition(":")
        train, labels = read(arguments.photos / "train", int(size))
        images, truth = read(arguments.photos / "val", int(size))
        model = make_classifier(handle, int(size), train, labels)
        calibration = train[np.linspace(0, len(train) - 1, arguments.calibration).astype(int)]
        print(f"{backbone}: {len(train)} photos trained on, {len(images)} asked about")
        with tempfile.TemporaryDirectory() as folder:
            models = list(export_all(model, pathlib.Path(folder), int(size), calibration))
            answers = {name: np.concatenate([ask(image) for image in images]) for name, _, ask in models}
            times = {name: [] for name, _, _ in models}
            for number in range(arguments.rounds):
                for name, _, ask in models[:: 1 if number % 2 else -1]:
                    start = time.perf_counter()
                    ask(images[number % len(images)])
                    times[name].append(1000 * (time.perf_counter() - start))
        print("  format             KB     ms (quartiles)            accuracy  largest  mean diff.  same answer")
        for name, size_on_disk, _ in models:
            low, middle, high = np.percentile(times[name], [25, 50, 75])
            agreement = compare(answers["Keras"], answers[name], multi_label=False)
            accuracy = (answers[name].argmax(1) == truth).mean()
            print(
                f"  {name:15} {size_on_disk / 1000:8.0f}  {middle:6.2f} ({low:6.2f} to {high:6.2f}) {accuracy:9.1%}   "
                f"{agreement.largest_difference:.1e}  {agreement.mean_difference:.1e}     {agreement.same_answers:.1%}"
            )


if __name__ == "__main__":
    main()
