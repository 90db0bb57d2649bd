"""The page to try a model in: what it answers, what it refuses and in which words, and who may ask."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import zlib

import numpy as np
import pytest
from served_pages import CLASSES, brightness, deep_picture, make_a_run, picture, place, questions, served

import tlkit.serving
from tlkit import UserError
from tlkit.serving import box_answer, class_answer, listen
from tlkit.serving.bodies import LARGEST_PICTURE, LONGEST_TEXT

testclient = pytest.importorskip("fastapi.testclient")
HERE = "http://127.0.0.1:8000"
PNG = {"Content-Type": "image/png"}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_a_run(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="module")
def client_of(run):
    def make(predict, takes="image", base_url=HERE):
        return testclient.TestClient(tlkit.serving.build_app(predict, takes=takes, run=run), base_url=base_url)

    return make


# What it answers ------------------------------------------------------------------------------------------------------


def test_a_picture_is_answered_with_its_classes_and_the_time(client_of):
    answer = client_of(brightness).post("/predict", content=picture(colour=(51, 51, 51)), headers=PNG)
    assert answer.status_code == 200
    found = answer.json()
    assert found["said"] == ["dark"]
    assert [each["class"] for each in found["classes"]] == CLASSES
    np.testing.assert_allclose([each["probability"] for each in found["classes"]], [0.8, 0.2])
    assert 0 <= found["milliseconds"]["model"] <= found["milliseconds"]["request"] < 60_000


def test_a_text_is_answered(client_of):
    found = client_of(questions, "text").post("/predict", json={"text": "Where is it?"}).json()
    assert found["said"] == ["question"]
    assert found["classes"] == [
        {"class": "question", "probability": 0.75}, {"class": "statement", "probability": 0.25}
    ]  # fmt: skip


def test_boxes_are_answered_the_surest_first(client_of):
    found = client_of(place).post("/predict", content=picture((40, 20)), headers=PNG).json()
    assert found["boxes"] == [
        {"class": CLASSES[1], "score": 0.9, "box": [10, 10, 20, 20]},
        {"class": CLASSES[0], "score": 0.2, "box": [0, 0, 40, 20]},
    ]
    assert found["size"] == [40, 20] and found["shown_from"] == 0.3


def test_answers_are_sorted_and_plain():
    answer = class_answer(["a", "b", "c"], np.array([0.25, 0.5, 0.25], "float32"), [])
    assert [each["class"] for each in answer["classes"]] == ["b", "a", "c"] and answer["said"] == []
    assert box_answer(np.zeros((0, 4)), np.zeros(0), [], size=(np.int64(4), 3), shown_from=0.5)["boxes"] == []
    json.dumps([answer, box_answer([[0, 0, 1, 1]], np.ones(1, "float32"), ["a"], size=(4, 3), shown_from=1)])


@pytest.mark.parametrize(
    ("content", "share"),
    [
        (picture(form="gif", mode="P", colour=0, save_all=True), 0),
        (picture(form="jpeg", mode="CMYK", colour=(0, 0, 0, 0)), 1),
        (picture(mode="RGBA", colour=(0, 0, 0, 0)), 1),  # transparent parts are put on white
        (picture(mode="1", colour=1), 1),
        (picture(form="tiff"), 1),
        (picture(form="webp"), 1),
        (picture(form="mpo", save_all=True), 1),  # a phone's JPEG with a second picture inside
        (deep_picture(), 0.5),
        (picture((1, 1)), 1),
        (picture((5000, 1)), 1),
    ],
    ids=["gif", "cmyk", "transparent", "1 bit", "tiff", "webp", "mpo", "16 bits", "one pixel", "one row"],
)
def test_odd_pictures_are_read_as_the_project_reads_them(client_of, content, share):
    answer = client_of(brightness).post("/predict", content=content, headers={"Content-Type": "image/whatever"})
    bright = {each["class"]: each["probability"] for each in answer.json()["classes"]}[CLASSES[1]]
    assert bright == pytest.approx(share, abs=0.01)


def test_an_odd_text_is_answered(client_of):
    heard = []

    def listen_to(text):
        heard.append(text)
        return questions(text)

    client = client_of(listen_to, "text")
    for body in (
        r'{"text": "half a pair \ud83d"}',
        '{"text": "שלום \\u0000 🌱"}',
        json.dumps({"text": "é" * LONGEST_TEXT}),
    ):
        assert client.post("/predict", content=body.encode(), headers=JSON).status_code == 200
    assert heard == ["half a pair ?", "שלום \0 🌱", "é" * LONGEST_TEXT]


# What it refuses, and in which words ----------------------------------------------------------------------------------


def huge_png(width, height):
    """A PNG that says to be of that size, with hardly any pixels behind it."""

    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    chunks = [
        chunk(b"IHDR", size + bytes([8, 2, 0, 0, 0])),
        chunk(b"IDAT", zlib.compress(bytes(99))),
        chunk(b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
TOO_LARGE = "The file is too large: at most 20 MB."
UNREADABLE = {
    "no image": (b"just some words", "not an image of a known format"),
    "nothing but zeros": (bytes(64), "its first bytes are all zero, as after a download or copy that was cut off"),
    "truncated": (picture((200, 200), "jpeg")[:-300], "truncated: the file ends before its picture does"),
    "damaged": (b"GIF89a and nothing else", "damaged: it begins like an image, and its header makes no sense"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"/>', "not an image but an SVG drawing: convert it to PNG"),
    "web page": (b"<!DOCTYPE html><p>404", "not an image but a web page, probably of a failed download"),
    "pdf": (b"%PDF-1.7", "not an image but a PDF document: convert its pages to PNG"),
    "heic": (b"\0\0\0\x18ftypheic" + bytes(20), "a HEIC photo, which is not read: convert it to JPEG"),
}
PICTURES = {
    **{name: (422, content, PNG, f"This picture cannot be read ({why}). Try another one.")
       for name, (content, why) in UNREADABLE.items()},
    "empty": (400, b"", PNG, "The file is empty."),
    "postscript": (422, EPS, PNG, "This picture cannot be read (a file of the format EPS). Convert it to PNG."),
    "many pixels": (413, huge_png(9000, 8000), PNG,
                    "The picture is too large: 9,000 x 8,000 pixels. Expected at most 64 million."),
    "very many pixels": (413, huge_png(10_000, 9_000), PNG, "The picture is too large: at most 64 million pixels."),
    "a bomb": (413, huge_png(2**31 - 1, 2**31 - 1), PNG, "The picture is too large: at most 64 million pixels."),
    "many bytes": (413, bytes(LARGEST_PICTURE + 1), PNG, TOO_LARGE),
    "a form": (415, b"x", {"Content-Type": "multipart/form-data; boundary=x"},
               "A picture is expected, sent as it is, with a content type such as image/jpeg. "
               "This came as 'multipart/form-data'."),
    "no type": (415, b"x", {}, "A picture is expected, sent as it is, with a content type such as image/jpeg. "
                               "This came without one."),
}  # fmt: skip


@pytest.mark.parametrize(("status", "content", "headers", "sentence"), PICTURES.values(), ids=PICTURES)
def test_pictures_that_are_refused(client_of, status, content, headers, sentence):
    answer = client_of(brightness).post("/predict", content=content, headers=headers)
    assert (answer.status_code, answer.json()) == (status, {"error": sentence})


NO_TEXT = 'There is no text in it. Expected {"text": "..."}.'
NO_JSON = 'This is no JSON. Expected {"text": "..."}.'
EMPTY = "The text is empty: type a few words."
TEXTS = {
    "empty": (400, b'{"text": ""}', JSON, EMPTY),
    "blanks": (400, rb'{"text": " \n\t\u3000"}', JSON, EMPTY),
    "too long": (413, json.dumps({"text": "é" * 100_001}).encode(), JSON,
                 "The text is too long: at most 100,000 characters. This one has 100,001."),
    "much too long": (413, b'{"text": "' + b"a" * 1_300_000 + b'"}', JSON,
                      "The text is too long: at most 100,000 characters."),
    "latin-1": (400, '{"text": "café"}'.encode("latin-1"), JSON, "The text is not in UTF-8."),
    "no json": (400, b"where is it?", JSON, NO_JSON),
    "nothing": (400, b"", JSON, NO_JSON),
    "nested": (400, b"[" * 100_000, JSON, NO_JSON),
    "a list": (400, b'["where is it?"]', JSON, NO_TEXT),
    "another name": (400, b'{"texts": "where is it?"}', JSON, NO_TEXT),
    "a number": (400, b'{"text": 3}', JSON, NO_TEXT),
    "plain text": (415, b"where is it?", {"Content-Type": "text/plain; charset=utf-8"},
                   "A text is expected as application/json. This came as 'text/plain'."),
}  # fmt: skip


@pytest.mark.parametrize(("status", "content", "headers", "sentence"), TEXTS.values(), ids=TEXTS)
def test_texts_that_are_refused(client_of, status, content, headers, sentence):
    answer = client_of(questions, "text").post("/predict", content=content, headers=headers)
    assert (answer.status_code, answer.json()) == (status, {"error": sentence})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/predict", 405),
        ("PUT", "/predict", 405),
        ("POST", "/", 405),
        ("GET", "/docs", 404),
        ("GET", "/../x", 404),
    ],
)
def test_other_places_and_methods(client_of, method, path, status):
    answer = client_of(brightness).request(method, path)
    assert answer.status_code == status
    assert answer.json()["error"].endswith(": there is nothing here. Expected GET / or POST /predict.")


def test_a_body_that_does_not_say_its_length_is_cut_off(client_of):
    sent = []

    def parts():
        for _ in range(100):
            sent.append(1)
            yield bytes(1_000_000)

    answer = client_of(brightness).post("/predict", content=parts(), headers=PNG)
    assert (answer.status_code, answer.json()["error"]) == (413, TOO_LARGE)


def test_what_the_model_refuses_is_told_and_what_it_breaks_on_is_not(client_of, capsys):
    def refuse(given):
        raise UserError("This model knows no such thing.")

    def fail(given):
        raise RuntimeError("secret path /home/me")

    def diverge(given):
        return {"said": [float("nan")]}

    broken = "The model failed on this. The terminal that it is served from says why."
    for predict, status, sentence in (
        (refuse, 422, "This model knows no such thing."),
        (fail, 500, broken),
        (diverge, 500, broken),
    ):
        for takes, sent in (("text", {"json": {"text": "a"}}), ("image", {"content": picture(), "headers": PNG})):
            answer = client_of(predict, takes).post("/predict", **sent)
            assert (answer.status_code, answer.json()) == (status, {"error": sentence})
    assert "RuntimeError: secret path /home/me" in capsys.readouterr().err


def test_the_picture_is_deleted(client_of):
    seen = []

    def look(file):
        seen.append(file)
        assert file.is_file()
        return brightness(file)

    client_of(look).post("/predict", content=picture(), headers=PNG)
    assert not seen[0].exists() and not seen[0].parent.exists()


# Who may ask ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.7:8000", "testserver"])
def test_other_names_of_this_machine_are_refused(client_of, host):
    for path in ("/", "/predict"):
        answer = client_of(brightness).request("GET", path, headers={"Host": host})
        assert (answer.status_code, answer.text) == (400, "Invalid host header")


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("127.0.0.1:8000", None, 200),  # curl
        ("127.0.0.1:8000", "http://127.0.0.1:8000", 200),
        ("localhost:9000", "http://localhost:9000", 200),  # by ssh -L 9000:127.0.0.1:8000
        ("127.0.0.1:8000", "http://127.0.0.1:3000", 403),
        ("127.0.0.1:8000", "https://evil.example", 403),
        ("127.0.0.1:8000", "null", 403),
    ],
)
def test_pages_of_other_sites_may_not_ask(client_of, host, origin, status):
    headers = PNG | {"Host": host} | ({"Origin": origin} if origin else {})
    answer = client_of(brightness).post("/predict", content=picture(), headers=headers)
    assert answer.status_code == status
    if status == 403:
        assert answer.json() == {"error": "Only the page of this server may ask."}
    assert not [name for name in answer.headers if name.startswith("access-control-")]


def test_every_answer_is_closed_to_others(client_of):
    client = client_of(brightness)
    answers = [client.get("/"), client.get("/nothing"), client.post("/predict"), client.get("/", headers={"Host": "x"})]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-frame-options"] == "DENY"
        assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_the_page_needs_nothing_from_elsewhere_and_names_stay_text(client_of):
    first, second = (client_of(brightness).get("/") for _ in range(2))
    nonce = re.search(r"script-src 'nonce-([\w-]+)'", first.headers["content-security-policy"])[1]
    assert first.text.count(f'nonce="{nonce}"') == 2 and nonce not in second.text
    assert not re.search(r"https?://|//[a-z]", re.sub(r"(?m)^\s*//.*| // .*", "", first.text))
    assert "<b>bright" not in first.text  # the name of a class
    # 80 of 100 of the first class and the one of the second: 81 of 101.
    assert "80.2%" in first.text and "101 test images" in first.text and "tlkit:mini-image" in first.text


def test_a_run_without_numbers_has_a_page_too(tmp_path):
    app = tlkit.serving.build_app(brightness, takes="image", run=tmp_path / "none")
    page = testclient.TestClient(app, base_url=HERE).get("/").text
    assert "<bdi>none</bdi>" in page


# Serving --------------------------------------------------------------------------------------------------------------


def ask(address, content, into):
    request = urllib.request.Request(f"{address}/predict", content, PNG)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            into.append((answer.status, json.load(answer)))
    except urllib.error.HTTPError as error:
        with error:
            into.append((error.code, json.load(error)))


def test_one_question_at_a_time_and_the_page_stays_awake(run):
    go, busy, most, answers = threading.Event(), [], [], []

    def slow(file):
        busy.append(file)
        most.append(len(busy))
        assert go.wait(30)
        busy.remove(file)
        return brightness(file)

    with served(slow, "image", run) as address:
        threads = [threading.Thread(target=ask, args=(address, picture(), answers)) for _ in range(14)]
        for thread in threads:
            thread.start()
        patience = time.monotonic() + 60
        while (
            len(answers) < 5 and time.monotonic() < patience
        ):  # one is answered and eight wait: the others are sent away at once
            time.sleep(0.02)
        with urllib.request.urlopen(address, timeout=10) as page:
            assert page.status == 200
        assert len(answers) == 5 and len(most) == 1
        go.set()
        for thread in threads:
            thread.join()
        ask(address, picture(), answers)
    assert sorted(status for status, _ in answers) == [200] * 10 + [503] * 5
    assert answers[0][1] == {"error": "Too many questions are waiting. Try again in a moment."}
    assert most == [1] * 10


def test_a_port_that_is_taken(monkeypatch, capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError) as error:
            listen(port)
        assert str(error.value) == (
            f"Port {port} is taken by another program. Choose a port with --port, or 0 for any free one."
        )
        monkeypatch.setattr(sys.modules["tlkit.serving.listen"], "FIRST_PORT", port)
        with listen() as door:
            assert door.getsockname()[0] == "127.0.0.1" and port < door.getsockname()[1] < port + 20
            said = f"Port {port} is taken, perhaps by an earlier page; this one is at port {door.getsockname()[1]}.\n"
            assert capsys.readouterr().out == said
    with pytest.raises(UserError, match="The port is 70000. Expected a number from 0 to 65535"):
        listen(70_000)


@pytest.mark.parametrize("package", ["fastapi", "uvicorn"])
def test_what_is_not_installed_is_said(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError) as error:
        listen(0)
    assert str(error.value) == (
        f"The page needs the package '{package}', which is not installed. Run `pip install 'tlkit[serve]'`, "
        "or, in a project of tlkit, `pip install -e '.[serve]'`."
    )


SERVE = """
import pathlib, webbrowser
from tlkit.serving import class_answer, listen, serve

def predict(text):
    print("asked about", text, flush=True)
    return class_answer(["a", "b"], [0.5, 0.5], ["a"])

webbrowser.open = lambda address: print("opened", address, flush=True)
serve(predict, takes="text", run=pathlib.Path("runs/one"), at=listen(0), open_browser=True)
"""


def test_it_serves_until_ctrl_c():
    with subprocess.Popen(
        [sys.executable, "-c", SERVE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "asked about warm up\n"
        told = process.stdout.readline()
        assert re.fullmatch(r"Try the model of one at http://127\.0\.0\.1:\d+/ \(Ctrl-C stops it\)\n", told)
        address = re.search(r"http://[\d.:]+/", told)[0]
        assert process.stdout.readline() == f"opened {address}\n"
        request = urllib.request.Request(f"{address}predict", b'{"text": "hello"}', JSON)
        with urllib.request.urlopen(request, timeout=60) as answer:
            assert json.load(answer)["said"] == ["a"] and "server" not in answer.headers
        process.send_signal(signal.SIGINT)
        said, errors = process.communicate(timeout=60)
    assert process.returncode == 0 and said == "asked about hello\nStopped.\n" and "Traceback" not in errors
