"""The report on a folder: what is counted, what is printed and saved, and that it holds up on large and small data."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from tlkit import UserError
from tlkit.data import Finding, ImageReport, inspect_images, split_image_folder
from tlkit.data.inspection import facts


@pytest.fixture(autouse=True)
def fresh_keras():
    """Nothing of Keras is used here."""


def noise(number, size=(40, 40), mode="RGB"):
    pixels = np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)
    return Image.fromarray(pixels).convert(mode)


@pytest.fixture
def folder(tmp_path):
    """12 ants and 15 bees; every other bee is a grey JPEG of twice the width."""
    for name, count in {"ant": 12, "bee": 15}.items():
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(count):
            path = tmp_path / "photos" / name / f"{index:02d}"
            if name == "bee" and index % 2:
                noise(100 + index, (80, 40), "L").save(path.with_suffix(".jpg"))
            else:
                noise(index + 50 * (name == "bee")).save(path.with_suffix(".png"))
    return tmp_path / "photos"


def printed(report, width=100, **options):
    console = Console(width=width, record=True, file=open(os.devnull, "w"))
    with console.file:
        report.print(console, **options)
        return console.export_text()


# What is counted ----------------------------------------------------------------------------------


def test_the_counts(folder):
    report = inspect_images(folder, seed=3, split=(0.6, 0.2, 0.2))
    splits = split_image_folder(folder, seed=3, split=(0.6, 0.2, 0.2))
    assert report.parts == {part: len(getattr(splits, part)) for part in ("train", "validation", "test")}
    assert report.num_images == 27 and report.num_without_class == 0
    for label, name in enumerate(("ant", "bee")):
        for part, count in report.classes[name].items():
            assert count == sum(file.label == label for file in getattr(splits, part))
    assert report.formats == {"PNG": 20, "JPEG": 7}
    assert report.modes == {"RGB": 20, "L": 7}
    assert report.sizes == {"smallest": (40, 40), "median": (40, 40), "largest": (80, 40)}
    assert (report.source, report.seed, report.split) == (str(folder), 3, (0.6, 0.2, 0.2))
    assert report.findings == ()


def test_sizes_are_those_that_a_viewer_shows(folder):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    noise(500, (300, 200)).save(folder / "ant" / "turned.jpg", exif=exif)
    report = inspect_images(folder)
    assert report.sizes["largest"] == (200, 300) and report.num_turned == 1


def test_large_jpegs_are_counted_at_their_full_size(folder):
    """Though they are decoded at a fraction of it."""
    noise(500, (2000, 1500)).save(folder / "ant" / "large.jpg")
    assert inspect_images(folder).sizes["largest"] == (2000, 1500)


def test_transparency_is_counted_apart(folder):
    noise(500).convert("RGBA").save(folder / "ant" / "clear.png")
    noise(501).quantize(8).save(folder / "ant" / "palette.png", transparency=0)
    noise(502).quantize(8).save(folder / "ant" / "opaque.png")
    modes = inspect_images(folder).modes
    assert (modes["RGBA+alpha"], modes["P+alpha"], modes["P"]) == (1, 1, 1)


def test_an_image_counts_in_each_of_its_classes(folder):
    labels = ["cat", "cat|dog", "[]"]
    lines = [f"{path.relative_to(folder)},{labels[n % 3]}" for n, path in enumerate(sorted(folder.rglob("*.*")))]
    (folder / "table.csv").write_text("\n".join(["file,label", *lines]))
    report = inspect_images(folder / "table.csv")
    assert report.num_images == 27 and report.num_without_class == 9
    assert {name: sum(counts.values()) for name, counts in report.classes.items()} == {"cat": 18, "dog": 9}
    assert [finding.details for finding in report.findings] == [("dog: 9",)]  # fewer than 10
    assert "none of them" in printed(report)


def test_the_split_is_the_one_that_training_will_use(folder):
    """A picture and its copy: a leak under the seeds that part them, and a note under the others."""
    (folder / "ant" / "copy.png").write_bytes((folder / "ant" / "00.png").read_bytes())
    kinds = set()
    for seed in range(8):
        splits = split_image_folder(folder, seed=seed)
        places = [
            any(file.path.name in ("00.png", "copy.png") and not file.label for file in part) for part in splits[:3]
        ]
        (finding,) = inspect_images(folder, seed=seed).findings
        assert finding.severity == ("note" if sum(places) == 1 else "warning")
        assert finding.files == ("ant/00.png", "ant/copy.png")
        kinds.add(finding.severity)
    assert kinds == {"note", "warning"}


def test_groups_keep_copies_together(folder):
    for path in [*folder.glob("*/*.png")]:
        (path.with_name(f"{path.stem}_2.png")).write_bytes(path.read_bytes())
    pattern = r"(\w+/\d+)"
    leaks = [f for f in inspect_images(folder, seed=1).findings if "in more than one of the parts" in f.sentence]
    assert leaks
    grouped = inspect_images(folder, seed=1, group_pattern=pattern)
    assert [f.severity for f in grouped.findings] == ["note"]
    assert "20 pictures are stored more than once" in grouped.findings[0].sentence
    assert grouped.group_pattern == pattern


def test_warnings_of_the_split_are_findings(folder):
    lines = [
        f"{path.relative_to(folder)},{path.parent.name},{'val' if n % 3 == 0 else 'train'},g{n // 2}"
        for n, path in enumerate(sorted(folder.rglob("*.*")))
    ]
    (folder / "table.csv").write_text("\n".join(["file,label,split,group", *lines]))
    (finding,) = inspect_images(folder / "table.csv").findings
    assert finding.severity == "warning" and "in several of its given parts" in finding.sentence


def test_nothing_to_inspect_is_an_error(tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        inspect_images(tmp_path / "nowhere")


def test_a_bomb_is_not_decoded_and_a_large_picture_only_alone(folder, monkeypatch):
    """Of pictures above the limit one is in memory at a time; the others wait."""
    monkeypatch.setattr(facts, "LARGE_PICTURE", 1000)  # all of these: 1,600 pixels
    monkeypatch.setattr(facts, "_CHUNK", 1)
    inside, most = 0, 0
    load = facts.load_pixels

    def count(image, draft_side):
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.001)
        load(image, draft_side)
        inside -= 1

    monkeypatch.setattr(facts, "load_pixels", count)
    assert inspect_images(folder).num_images == 27
    assert most == 1


# What is printed and saved ------------------------------------------------------------------------


def report_of(num_classes, *findings):
    return ImageReport(
        source="photos",
        split=(0.7, 0.15, 0.15),
        seed=0,
        group_pattern=None,
        parts={"train": 3 * num_classes, "validation": 0, "test": 0},
        classes={f"class {n:04d}": {"train": n + 1, "validation": 0, "test": 0} for n in range(num_classes)},
        num_without_class=0,
        formats={"PNG": 3},
        modes={"RGB": 1, "I;16": 1, "RGBA+alpha": 1},
        sizes={"smallest": (1, 1), "median": (2, 2), "largest": (3, 3)},
        num_turned=2,
        findings=findings,
    )


def test_what_is_printed():
    finding = Finding("warning", "Two files are odd. Mend them.", ("a.png", "b.png", "c.png", "d.png", "e.png"))
    lines = [line.rstrip() for line in printed(report_of(2, finding)).splitlines()]
    assert lines == [
        "photos: 6 images of 2 classes",
        "class       train  all",
        "class 0000      1    1",
        "class 0001      2    2",
        "images          6    6",
        "",
        "pixels    smallest 1 x 1, median 2 x 2, largest 3 x 3",
        "formats   3 PNG",
        "colours   1 RGB",
        "          1 grey, 16 bits: divided by 257 to 8 bits, the same value in red, green and blue",
        "          1 RGBA with transparency: converted to RGB; transparent parts are put on white",
        "rotation  2 turned upright, as their EXIF data says",
        "",
        "warning  Two files are odd. Mend them.",
        "           a.png",
        "           b.png",
        "           c.png",
        "           and 2 more",
    ]


def test_details_are_printed_in_place_of_names():
    text = printed(report_of(2, Finding("error", "Bad.", ("a.png",), ("a.png: the file is empty",))))
    assert "a.png: the file is empty" in text and text.count("a.png") == 1


def test_of_a_thousand_classes_the_ends_are_printed():
    lines = printed(report_of(1000)).splitlines()
    assert len(lines) < 50
    assert lines[2].startswith("class 0999")
    assert [line for line in lines if line.startswith("class 00")][-1].split()[1:] == ["0000", "1", "1"]
    assert sum("970 classes" in line for line in lines) == 1
    assert len(json.loads(json.dumps(report_of(1000).classes))) == 1000


def test_compact_leaves_out_classes_and_notes():
    text = printed(report_of(2, Finding("error", "Bad."), Finding("note", "Odd.")), compact=True)
    assert "Bad." in text and "Odd." not in text and "class 0000" not in text
    assert "And 1 note." in text
    assert "Nothing to mend; 1 note." in printed(report_of(2, Finding("note", "Odd.")), compact=True)
    assert "Nothing to mend was found." in printed(report_of(2))


def test_names_that_look_like_markup_are_printed_as_they_are():
    text = printed(report_of(2, Finding("error", "[red]Bad.", ("[/bold].png",))))
    assert "[red]Bad." in text and "[/bold].png" in text


def test_it_prints_to_standard_output(capsys):
    report_of(2).print()
    assert "6 images of 2 classes" in capsys.readouterr().out


def test_what_is_saved(folder, tmp_path):
    for number in range(5):
        (folder / "ant" / f"bad{number}.jpg").touch()
    report = inspect_images(folder)
    report.save(tmp_path / "new" / "place")
    assert sorted(os.listdir(tmp_path / "new" / "place")) == ["data_report.json", "data_report.txt"]
    saved = json.loads((tmp_path / "new" / "place" / "data_report.json").read_text())
    assert saved["findings"][0]["files"] == [f"ant/bad{number}.jpg" for number in range(5)]
    assert saved["classes"] == report.classes and saved["sizes"]["median"] == [40, 40]
    text = (tmp_path / "new" / "place" / "data_report.txt").read_text()
    assert "5 images do not decode" in text and "\x1b" not in text


def test_the_same_folder_gives_the_same_report(folder):
    assert inspect_images(folder) == inspect_images(folder)


# How it runs --------------------------------------------------------------------------------------


def test_in_parallel_keeps_the_order_and_counts():
    moved = []
    assert [*facts.in_parallel(lambda n: n * n, range(100), moved.append)] == [n * n for n in range(100)]
    assert sum(moved) == 100


def test_what_has_not_begun_is_dropped_when_the_caller_stops():
    done, gate = [], threading.Event()

    def slow(number):
        gate.wait(0.01)
        done.append(number)

    results = facts.in_parallel(slow, range(100_000), lambda number: None)
    next(results)
    results.close()
    assert len(done) < 50_000  # all of them, if they were not dropped; how many a busy machine has begun varies


def run(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_needs_no_tensorflow_and_shows_its_progress(folder):
    code = """
        import sys
        from tlkit.data import inspect_images
        from tlkit.data.inspection import inspect_images as module
        inspect_images(sys.argv[1], progress=True).print()
        print("HEAVY", [name for name in ("tensorflow", "keras", "sklearn", "matplotlib") if name in sys.modules])
    """
    process = run(code, folder)
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "HEAVY []" in out and "27 images of 2 classes" in out
    assert "Looking at images" not in out


def test_ctrl_c_stops_it_at_once(folder):
    code = """
        import signal, sys, time
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has it switched off
        from tlkit.data import inspect_images
        from tlkit.data.inspection import facts

        def slow(image, draft_side):
            sys.stdout.write("begun\\n")  # in one piece: other threads write, too
            sys.stdout.flush()
            time.sleep(0.2)

        facts.load_pixels, facts._CHUNK = slow, 1
        try:
            inspect_images(sys.argv[1])
        except KeyboardInterrupt:
            sys.stdout.write("stopped\\n")  # print() writes the end of the line by itself
    """
    process = run(code, folder)
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert "stopped" in out.splitlines() and err == ""  # a thread that had begun may write after it
    assert out.count("begun") < 20  # of 27
