"""CSV manifests: what is understood, and one sentence with lines for everything else."""

import re
import warnings

import pytest

from tlkit import UserError
from tlkit.data import split_image_folder
from tlkit.data.manifest import read_manifest

NAMES = [f"{name}.jpg" for name in "abcdefgh"]


@pytest.fixture
def write(tmp_path):
    """Writes a table beside the empty files a.jpg to h.jpg (reading a table opens none) and more/i.png."""
    (tmp_path / "more").mkdir()
    for name in [*NAMES, "more/i.png"]:
        (tmp_path / name).touch()

    def write(text, name="table.csv", encoding="utf-8"):
        (tmp_path / name).write_bytes(text.encode(encoding))
        return tmp_path / name

    return write


def rows(*cells):
    """A table of `file,label` with one of the cells for each of a.jpg, b.jpg ..."""
    return "file,label\n" + "".join(f"{name},{cell}\n" for name, cell in zip(NAMES, cells, strict=False))


def classes(table):
    return [row.classes for row in read_manifest(table).rows]


# What is understood -------------------------------------------------------------------------------


def test_a_plain_table(write, tmp_path):
    manifest = read_manifest(write("file,label\na.jpg,bee\nmore/i.png,ant\nb.jpg,bee\n"))
    assert manifest.class_names == ["ant", "bee"] and not manifest.multi_label
    first, second, _ = manifest.rows
    assert (first.line, first.path, first.name, first.classes) == (2, tmp_path / "a.jpg", "a.jpg", ("bee",))
    assert (second.name, second.part, second.group) == ("more/i.png", None, None)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_separators_marks_and_line_ends(write, separator, encoding, newline):
    lines = ["Group, Label ,note,FILE", '7,Käfer,"well, well",a.jpg', "", "8, ant ,,b.jpg", ",,,"]
    text = newline.join(line.replace("well, well", "well; well\twell, well") for line in lines)
    text = re.sub(r'("[^"]*")|,', lambda match: match[1] or separator, text)
    manifest = read_manifest(write(text, encoding=encoding))
    assert [(row.line, row.name, row.classes, row.group) for row in manifest.rows] == [
        (2, "a.jpg", ("Käfer",), "7"),
        (4, "b.jpg", ("ant",), "8"),
    ]


def test_a_cell_of_several_lines_does_not_shift_the_line_numbers(write):
    table = write('file,label,note\na.jpg,ant,"one\ntwo\nthree"\nb.jpg,,x\n')
    with pytest.raises(UserError, match="line 5: the label is empty"):
        read_manifest(table)


def test_paths_below_the_table_have_one_name_however_they_are_written(write, tmp_path):
    table = write(f"file,label\n./a.jpg,ant\nmore/../b.jpg,bee\n{tmp_path / 'more' / 'i.png'},bee\n")
    assert [row.name for row in read_manifest(table).rows] == ["a.jpg", "b.jpg", "more/i.png"]


def test_a_file_outside_keeps_its_whole_path(write, tmp_path):
    outside = tmp_path / "c.jpg"
    table = write("file,label\ni.png,ant\n../c.jpg,bee\n", name="more/table.csv")
    assert [row.name for row in read_manifest(table).rows] == ["i.png", outside.as_posix()]


def test_split_names(write):
    table = write("file,label,split\na.jpg,x,train\nb.jpg,y,Train\nc.jpg,x,val\nd.jpg,y,valid\ne.jpg,x,validation\n")
    assert [row.part for row in read_manifest(table).rows] == ["train"] * 2 + ["validation"] * 3
    assert [row.part for row in read_manifest(write("file,label,split\na.jpg,x,\nb.jpg,y,\n")).rows] == [None, None]


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["ant|bee", "bee"], [("ant", "bee"), ("bee",)]),
        ([" bee ; ant ", "bee"], [("ant", "bee"), ("bee",)]),
        (['"[""bee"", ""ant""]"', "bee"], [("ant", "bee"), ("bee",)]),  # JSON
        ("\"['bee', 'ant']\" bee".replace("', '", "','").split(), [("ant", "bee"), ("bee",)]),  # as pandas writes it
        (['"[""ant|x"",""bee""]"', "bee"], [("ant|x", "bee"), ("bee",)]),  # a list keeps a bar in a name
        (["ant|ant|", "bee|ant"], [("ant",), ("ant", "bee")]),
        (["ant|bee", ""], [("ant", "bee"), ()]),  # once it is multi-label, nothing is none of the classes
        (["ant", "bee", "[]"], [("ant",), ("bee",), ()]),  # an explicit none makes it multi-label
        (['"[0, 1]"', "1"], [("0", "1"), ("1",)]),
    ],
)
def test_several_labels(write, cells, expected):
    manifest = read_manifest(write(rows(*cells)))
    assert manifest.multi_label and [row.classes for row in manifest.rows] == expected


def test_lists_of_one_name_are_no_multi_label_data(write):
    manifest = read_manifest(write(rows('"[""ant""]"', "bee|", "bee")))
    assert not manifest.multi_label and manifest.class_names == ["ant", "bee"]


def test_stray_spaces_and_decomposed_letters_make_no_class_of_their_own(write):
    manifest = read_manifest(write(rows("Ka\u0308fer", "K\u00e4fer ", "ant", " ant\u00a0")))
    assert manifest.class_names == ["K\u00e4fer", "ant"]


# What is warned about -----------------------------------------------------------------------------


def test_classes_that_differ_in_case_are_warned_about(write):
    with pytest.warns(UserWarning, match=re.escape("case count as different ones: 'Ant' (2 x) and 'ant' (1 x). If")):
        manifest = read_manifest(write(rows("Ant", "ant", "bee", "Ant")))
    assert manifest.class_names == ["Ant", "ant", "bee"]


@pytest.mark.parametrize(("found", "meant"), [("groups", "group"), ("patient_id", "group"), ("subset", "split")])
def test_a_column_that_seems_to_be_meant_is_warned_about(write, found, meant):
    with pytest.warns(UserWarning, match=f"the column '{found}' is not used; if it is the {meant} of each image"):
        read_manifest(write(f"file,label,{found}\na.jpg,ant,train\nb.jpg,bee,train\n"))


def test_other_columns_are_passed_over_in_silence(write):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_manifest(write("file,label,width,taken\na.jpg,ant,3,2024\nb.jpg,bee,4,2025\n"))


def test_a_class_that_a_given_part_lacks_is_warned_about(write):
    table = write("file,label,split\na.jpg,ant,train\nb.jpg,bee,train\nc.jpg,ant,test\n")
    with pytest.warns(UserWarning, match=r"no image in the split 'test' has 1 class name \('bee'\)"):
        read_manifest(table)


# What is refused ----------------------------------------------------------------------------------

MISTAKES = [
    ("", "is empty. Expected a first line such as 'file,label'"),
    ("file,label\n\n", "has no row below its first line"),
    ("image,label\na.jpg,ant\n", "has no column 'file'. Its first line names 'image', 'label': did you mean 'image'?"),
    ("file,Categories\na.jpg,ant\n", "has no column 'label'. Its first line names 'file', 'Categories': did you mean"),
    ("a.jpg,ant\nb.jpg,bee\n", "'a.jpg', 'ant': expected one such as 'file,label'"),
    ("file|label\na.jpg|ant\n", "Its first line names 'file|label'"),
    ("file,label,label\na.jpg,ant,bee\n", "has two columns 'label': keep one of them"),
    (rows("ant", "bee", "bee,big", "bee"), "table.csv, line 4: 3 cells where the first line has 2"),
    ("file,label,note\na.jpg,ant,x\nb.jpg,bee\nc.jpg\n", "lines 3 and 4: 2 cells where the first line has 3"),
    ('file,label\na.jpg,"ant\nb.jpg,bee\n', "look for a double quote without its pair"),
    (rows("ant", "", "bee", " "), "lines 3 and 5: the label is empty. Write the class there or remove the row"),
    (rows("", "", "", "", "", "bee"), "lines 2, 3, 4 and 2 more: the label is empty"),
    (rows("ant", '"[ant, bee]"'), "line 3: the label [ant, bee] begins like a list and is none of names"),
    (rows("ant", '"[[""ant""]]"'), "is none of names"),
    (rows("ant", '"[""ant"", "" ""]"'), "is none of names"),
    (rows("ant", "ant"), "has only the one class 'ant' in its column 'label'"),
    (rows("[]", "[]"), "has no class in its column 'label'"),
    ("file,label\na.jpg,ant\n,bee\n", "line 3: no file is named"),
    ("file,label\na.jpg,ant\nmore,bee\n", "line 3: this is a folder. Expected one row for each image file"),
    ("file,label\nmore\\i.png,ant\nb.jpg,bee\n", "'more\\\\i.png' is written with backslashes. Write 'more/i.png'"),
    ("file,label\na.jpg,ant\nB.JPG,bee\n", "names 1 file (B.JPG in line 3) that does not exist. Expected paths rel"),
    (
        "file,label\na.jpg,ant\n" + "".join(f"{n}.jpg,bee\n" for n in range(5)),
        "names 5 files (0.jpg in line 3, 1.jpg in line 4, 2.jpg in line 5 and 2 more) that do not exist",
    ),
    ("file,label\na.jpg,ant\ntable.csv,bee\n", "line 3: .csv is not an extension of images that are read (.jpg, "),
    ("file,label\na.jpg,ant\nb.jpg,bee\n./a.jpg,ant\n", "lines 2 and 4: a.jpg is named twice. Remove one of the rows"),
    (
        "file,label\na.jpg,ant\nb.jpg,bee\na.jpg,bee\n",
        "lines 2 and 4: a.jpg is named twice, as ant and as bee. Keep one row for each image; when it shows both "
        "classes, label it ant|bee.",
    ),
    (
        "file,label,split\na.jpg,ant,train\nb.jpg,bee,trian\n",
        "line 3: the split 'trian' is none. Did you mean 'train'?",
    ),
    ("file,label,split\na.jpg,ant,train\nb.jpg,bee,2\n", "the split '2' is none. Expected train, val or test"),
    ("file,label,split\na.jpg,ant,train\nb.jpg,bee,\n", "line 3: the split is empty while other rows have one"),
    ("file,label,split\na.jpg,ant,test\nb.jpg,bee,val\n", "has the split 'test' but no 'train'"),
    (
        "file,label,split\na.jpg,ant,train\nb.jpg,bee,test\n",
        "line 3: the class 'bee' has no image in the split 'train'",
    ),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_mistakes(write, text, message):
    table = write(text)
    with pytest.raises(UserError, match=re.escape(message)) as caught:
        read_manifest(table)
    assert "\n" not in str(caught.value) and str(caught.value).startswith(f"{table}")


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("file,label\na.jpg,ant\nb.jpg,Käfer\n".encode("latin-1"), 3),
        ("file,label\na.jpg,ant\n".encode("utf-16"), 1),
        (b"PK\x03\x04\x14\x00\x08\x08\xff\xd8", 1),  # an .xlsx file
    ],
)
def test_a_file_that_is_no_utf8_text(tmp_path, content, line):
    (tmp_path / "table.csv").write_bytes(content)
    with pytest.raises(UserError, match=f"table.csv, line {line}: this is not UTF-8 text. Expected a CSV table"):
        read_manifest(tmp_path / "table.csv")


# In the split -------------------------------------------------------------------------------------


def make_table(root, number=60, columns="file,label", row=lambda n, name: f"{name},{n % 3}"):
    """Empty images in `root` and a table of them, each row made from its number and its file's name."""
    root.mkdir(exist_ok=True)
    names = [f"{n:03d}.jpg" for n in range(number)]
    for name in names:
        (root / name).touch()
    text = "\n".join([columns, *(row(n, name) for n, name in enumerate(names))])
    (root / "table.csv").write_text(text, encoding="utf-8")
    return root / "table.csv"


def test_a_table_of_a_folder_splits_as_the_folder_does(tmp_path):
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for index in range(40):
            (tmp_path / name / f"{index}.jpg").touch()
    files = sorted(path.relative_to(tmp_path) for path in tmp_path.glob("*/*.jpg"))
    lines = [f"{path.as_posix()},{path.parent}" for path in reversed(files)]
    (tmp_path / "table.tsv").write_text("\n".join(["file,label", *lines]), encoding="utf-8")
    assert split_image_folder(tmp_path / "table.tsv", seed=4) == split_image_folder(tmp_path, seed=4)


def test_split_columns_mean_what_folders_mean(tmp_path):
    def sizes(values):
        table = make_table(tmp_path, 60, "file,label,split", lambda n, name: f"{name},{n % 2},{values[n // 2 % 3]}")
        return [len(part) for part in split_image_folder(table, seed=0)[:3]]

    assert sizes(["train", "val", "test"]) == [20, 20, 20]
    assert sizes(["train", "val", "train"]) == [40, 20, 0]  # train and val leave test empty
    train, validation, test = sizes(["train", "train", "test"])
    assert test == 20 and train + validation == 40 and train > validation > 0
    train, validation, test = sizes(["train"] * 3)
    assert train + validation + test == 60 and min(validation, test) > 0


def test_multi_label_files_have_sorted_tuples(tmp_path):
    cells = ["dog|cat", "cat", "[]", "emu|cat|dog"]
    splits = split_image_folder(make_table(tmp_path, 80, row=lambda n, name: f"{name},{cells[n % 4]}"), seed=0)
    assert splits.multi_label and splits.class_names == ["cat", "dog", "emu"]
    labels = {int(file.path.stem): file.label for part in splits[:3] for file in part}
    assert labels == {n: [(0, 1), (0,), (), (0, 1, 2)][n % 4] for n in range(80)}
    assert {file.classes for file in splits.train} == set(labels.values())
    for part in splits[:3]:
        assert {label for file in part for label in file.classes} == {0, 1, 2}


def test_what_a_table_may_not_be(tmp_path):
    def check(message, path, **options):
        with pytest.raises(UserError, match=message):
            split_image_folder(path, seed=0, **options)

    check("There is no table .*nowhere.csv", tmp_path / "nowhere.csv")
    table = make_table(tmp_path, 2, row=lambda n, name: f"{name},{n}")
    check("too little to split: no class has a second image", table)
    table = make_table(tmp_path, 9, "file,label,group", lambda n, name: f"{name},{n % 2},p1")
    check(r"its 9 images are of 1 group \(p1\), and no class is in two of them", table)
    check("has a column 'group', and a group_pattern is given as well", table, group_pattern="p")


@pytest.mark.parametrize("name", ["table", "table.txt"])
def test_any_file_is_taken_for_a_table(write, name):
    assert split_image_folder(write(rows(*"xyxyxy"), name=name), seed=0).class_names == ["x", "y"]


def test_a_folder_may_end_in_csv(tmp_path):
    for name in ("ant", "bee"):
        (tmp_path / "photos.csv" / name).mkdir(parents=True)
        for index in range(5):
            (tmp_path / "photos.csv" / name / f"{index}.jpg").touch()
    assert split_image_folder(tmp_path / "photos.csv", seed=0).class_names == ["ant", "bee"]
