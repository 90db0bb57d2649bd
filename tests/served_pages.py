"""Pages to try a model in, served by models that need no training, for the tests of `tlkit.serving`."""

import contextlib
import io
import threading
import time

import numpy as np
import uvicorn
from PIL import Image, ImageOps
from run_folders import judged, make_project, make_run

from tlkit.data import decode_image
from tlkit.serving import box_answer, build_app, class_answer, listen

CLASSES = ["dark", "<b>bright</b>"]


def brightness(file):
    """A classifier: how bright the picture is, read as a project reads it."""
    share = float(decode_image(file, 16).mean() / 255)
    return class_answer(CLASSES, [1 - share, share], [CLASSES[share > 0.5]])


def place(file):
    """A detector: a sure box left of the middle, down to the lower edge, and an unsure one around everything."""
    with Image.open(file) as image:
        width, height = ImageOps.exif_transpose(image).size
    boxes = [[0, 0, width, height], [width / 4, height / 2, width / 2, height]]
    return box_answer(boxes, [0.2, 0.9], CLASSES, size=(width, height), shown_from=0.3)


def questions(text):
    """A classifier: whether a text ends with a question mark."""
    share = 0.75 if text.rstrip().endswith("?") else 0.25
    return class_answer(["question", "statement"], [share, 1 - share], ["question" if share > 0.5 else "statement"])


def make_a_run(folder):
    """The folder of a run, which tells what it is: 80 of 100 of the first class were right, and one of the other."""
    metrics = {"test": judged(80, 20, CLASSES)}
    return make_run(make_project(folder), metrics=metrics, classes=CLASSES)


def picture(size=(32, 32), form="png", mode="RGB", colour="white", **options):
    """The bytes of a picture's file in one colour."""
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, form, **options)
    return file.getvalue()


def deep_picture():
    """A PNG of 16 bits, half as bright as can be."""
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8), 32768, np.uint16)).save(file, "png")
    return file.getvalue()


@contextlib.contextmanager
def served(predict, takes, run):
    """The address of a page that is served until the block ends."""
    door = listen(0)
    app = build_app(predict, takes=takes, run=run)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", ws="none", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        door.close()
