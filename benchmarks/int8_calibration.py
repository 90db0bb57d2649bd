"""How far does an int8 export differ, calibrated rightly and wrongly? What stands behind its tolerance.

    python benchmarks/int8_calibration.py

A logistic regression on the frozen features of tlkit:mini-image, on the sample textures (127 photos to learn from, the
others to ask about), exported as int8 LiteRT with several sets of calibration photos. Printed for each: the largest and
the mean difference of a probability from the Keras model's, and the share of equal answers.
"""

import os
import pathlib
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression

import tlkit
from tlkit.data import decode_image, split_image_folder, write_sample_images
from tlkit.export import export_checked

SIZE = 128


def read(files):
    return np.stack([decode_image(file.path, SIZE) for file in files]), np.array([file.label for file in files])


def make_classifier(images, labels):
    pixels = keras.Input((SIZE, SIZE, 3))
    backbone = keras.Model(pixels, tlkit.load_backbone("tlkit:mini-image")(pixels))
    features = backbone.predict(images / np.float32(255), batch_size=16, verbose=0)
    fitted = LogisticRegression(C=0.1, max_iter=5000).fit(features, labels)
    head = keras.layers.Dense(len(fitted.classes_), activation="softmax")
    model = keras.Model(pixels, head(backbone(pixels)))
    head.set_weights([fitted.coef_.T, fitted.intercept_])
    return model


def main():
    with tempfile.TemporaryDirectory() as folder:
        write_sample_images(pathlib.Path(folder) / "textures")
        parts = split_image_folder(pathlib.Path(folder) / "textures", seed=0)
        images, labels = read(parts.train)
        asked, _ = read([*parts.validation, *parts.test])
        model = make_classifier(images, labels)
        calibrations = {
            "all training photos": images,
            "every seventh": images[::7],
            "one class": images[labels == 0],
            "one photo": images[:1],
            "noise": np.random.default_rng(0).integers(0, 256, (50, SIZE, SIZE, 3), dtype=np.uint8),
            "a fifth of the light": (images * 0.2).astype(np.uint8),
            "black": np.zeros((20, SIZE, SIZE, 3), np.uint8),
        }
        for number, (name, calibration) in enumerate(calibrations.items()):
            report = export_checked(
                model,
                pathlib.Path(folder) / str(number),
                format="litert",
                class_names=parts.class_names,
                images=asked,
                quantize="int8",
                calibration=calibration,
            )
            found = report.agreement
            print(
                f"{name:22} largest {found.largest_difference:.3f}  mean {found.mean_difference:.4f}  "
                f"equal answers {found.same_answers:.1%}",
                flush=True,
            )


if __name__ == "__main__":
    main()
