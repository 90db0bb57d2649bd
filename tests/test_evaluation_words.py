"""Importances of words are those of a known rule; the page of texts is safe, whatever stands in them."""

import html.parser
import re

import numpy as np
import pytest

from tlkit import UserError
from tlkit.evaluation import word_importance, write_most_wrong_texts
from tlkit.evaluation._words import split_words

COUNTS = {"free": 2.0, "win": 1.0, "hello": -1.5, "免费": 3.0, "مجانا": 2.5, "🎁": 0.5}


def predict(texts):
    """Two classes; the log-odds of the second are -1 and what each word counts: importances must be just that."""
    log_odds = np.array([-1 + sum(count * text.count(word) for word, count in COUNTS.items()) for text in texts])
    spam = 1 / (1 + np.exp(-log_odds))
    return np.stack([1 - spam, spam], axis=1)


def words(text, **options):
    return word_importance(predict, text, **options).words


def test_in_a_linear_model_importances_are_its_weights():
    found = word_importance(predict, "hello, win a free 🎁 free!", class_number=1)
    assert found.words == [
        ("hello,", pytest.approx(-1.5)),
        ("win", pytest.approx(1)),
        ("a", pytest.approx(0)),
        ("free", pytest.approx(2)),
        ("🎁", pytest.approx(0.5)),
        ("free!", pytest.approx(2)),
    ]
    # -1 - 1.5 + 1 + 2 + .5 + 2 = 3
    assert found.probabilities == pytest.approx((1 / (1 + np.exp(3)), 1 / (1 + np.exp(-3))))
    assert str(found) == "class 1, 95.3%: free +2.00, free! +2.00, hello, -1.50, win +1.00, 🎁 +0.50"


def test_words_against_one_class_are_for_the_other():
    assert words("hello free", class_number=0) == [("hello", pytest.approx(1.5)), ("free", pytest.approx(-2))]


def test_the_class_is_the_likeliest_unless_named():
    assert word_importance(predict, "hello").class_number == 0
    assert word_importance(predict, "free").class_number == 1


def test_with_many_classes_the_odds_are_those_against_all_others():
    def three(texts):
        weights = np.array([[8.0, 1, 1] if "a" in text else [2.0, 1, 1] for text in texts])
        return weights / weights.sum(axis=1, keepdims=True)

    # 8 to 2 with the word, 2 to 2 without: ln 4.
    assert word_importance(three, "a b", 0).importances == (pytest.approx(np.log(4)), pytest.approx(0))
    # 1 to 9 and 1 to 3: ln 1/3.
    assert word_importance(three, "a b", 1).importances[0] == pytest.approx(-np.log(3))


def test_each_class_of_a_multi_label_model_has_odds_of_its_own():
    def two(texts):
        return np.array([[0.8 if "a" in text else 0.5, 0.9] for text in texts])

    assert word_importance(two, "a", 0, multi_label=True).importances[0] == pytest.approx(np.log(4))


def test_a_certain_answer_still_tells_its_words_apart():
    def certain(texts):  # in float32, 1 - p of the second class is 0 for both
        others = np.array([1e-12 if "free" in text else 1e-9 for text in texts])
        return np.stack([others, 1 - others], axis=1).astype(np.float32)

    found = word_importance(certain, "free rings")
    assert found.importances == (pytest.approx(np.log(1000), rel=1e-5), pytest.approx(0))
    assert np.isfinite(word_importance(lambda texts: np.eye(2)[[int("a" in t) for t in texts]], "a").importances[0])


def seen(text, **options):
    """All texts that the classifier is asked about, and in batches of which size."""
    batches = []

    def record(texts):
        batches.append(list(texts))
        return predict(texts)

    word_importance(record, text, **options)
    return [text for batch in batches for text in batch], [len(batch) for batch in batches]


def test_what_is_asked():
    assert seen("one  two\nthree")[0] == ["one  two\nthree", "two\nthree", "one  three", "one  two\n"]
    assert seen("one two", replacement="[MASK]")[0] == ["one two", "[MASK] two", "one [MASK]"]
    assert seen("(one)two")[0] == ["(one)two", ""]


def test_long_texts_are_asked_in_spans_and_in_batches():
    text = " ".join(["free"] + ["x"] * 199)
    texts, sizes = seen(text, max_variants=64, batch_size=32)
    # 200 words in spans of 4: 50 variants, and the text itself.
    assert sizes == [32, 19] and texts[1] == " ".join(["x"] * 196)
    found = word_importance(predict, text, 1)
    assert len(found.spans) == 50 and found.words[0] == ("free x x x", pytest.approx(2))
    assert {round(importance, 9) for _, importance in found.words[1:]} == {0}


def test_a_text_of_100_000_characters_costs_no_more_calls():
    assert len(seen("word " * 20_000)[0]) <= 65
    assert len(seen("x" * 100_000)[0]) <= 65
    assert len(seen("字" * 100_000)[0]) <= 65


@pytest.mark.parametrize("text", ["", " \n\t "])
def test_a_text_without_words(text):
    found = word_importance(predict, text)
    assert found.words == [] and str(found) == "class 0, 73.1%: no words"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't panic, 3.5 times!", ["Don't", "panic,", "3.5", "times!"]),
        ("现在免费领取iPhone 吧", ["现在", "免费", "领取", "iPhone", "吧"]),
        ("ที่นี่", ["ที่นี่"]),  # two letters, each with a vowel sign and a tone mark
        ("무료 선물", ["무료", "선물"]),
        ("شاهد مجانا", ["شاهد", "مجانا"]),
        ("👨‍👩‍👧👍🏽 ok", ["👨‍👩‍👧👍🏽", "ok"]),
        ("a" * 45, ["a" * 20, "a" * 20, "a" * 5]),
        ("e\u0301" * 41, ["e\u0301" * 20, "e\u0301" * 20, "e\u0301"]),  # accents stay with their letters
        ("👨‍👩‍👧" * 21, ["👨‍👩‍👧" * 20, "👨‍👩‍👧"]),
        ("a\u3000b\xa0c", ["a", "b", "c"]),
    ],
)
def test_words_of_many_scripts(text, expected):
    assert [text[start:end] for start, end in split_words(text)] == expected


def test_chinese_and_arabic_words_get_their_weights():
    assert dict(words("现在免费领取", class_number=1))["免费"] == pytest.approx(3)
    assert dict(words("شاهد مجانا الآن", class_number=1))["مجانا"] == pytest.approx(2.5)


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (lambda texts: np.zeros(len(texts)), r"returned an array of shape \(2,\) for 2 texts. Expected probabilities"),
        (lambda texts: np.ones((len(texts), 1)), "of at least two classes"),
        (lambda texts: np.full((len(texts), 2), np.nan), "no probabilities"),
        (lambda texts: np.array([[4.0, -3.0]] * len(texts)), "For logits, apply softmax first"),
    ],
)
def test_a_wrong_answer_is_refused(answer, sentence):
    with pytest.raises(UserError, match=sentence):
        word_importance(answer, "word")


def test_wrong_arguments_are_refused():
    with pytest.raises(UserError, match="there is no class 2. Expected a number from 0 to 1"):
        word_importance(predict, "word", 2)
    with pytest.raises(UserError, match="Received: max_variants=0, batch_size=32"):
        word_importance(predict, "word", max_variants=0)


# As HTML --------------------------------------------------------------------------------------------------------------


class Page(html.parser.HTMLParser):
    """Tags, and the text of each `<p class="text">`."""

    def __init__(self, source):
        super().__init__()
        self.tags, self.texts, self.inside = [], [], False
        self.feed(source)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag == "p":
            self.inside = dict(attributes)["class"] == "text"
            self.texts += [""] * self.inside

    def handle_data(self, data):
        if self.inside:
            self.texts[-1] += data

    def handle_endtag(self, tag):
        if tag == "p":
            self.inside = False


NASTY = [
    "free <script>alert('free')</script>",
    'win "free" <img src=x onerror=alert(1)> &amp; &lt;b&gt;',
    "</p></article><h1>free",
    "free 🎁 👨‍👩‍👧 مجانا שלום 免费",
    "hello\n\n  free\tline",
    "$articles ${title} %s {0}",
    "\u202efree win",
    "free " * 20_000,
]


def test_whatever_stands_in_a_text_is_shown_as_it_is(tmp_path):
    names = ["<i>ham</i>", "spam & co"]
    write_most_wrong_texts(tmp_path / "page.html", NASTY, [0] * len(NASTY), names, predict=predict)
    source = (tmp_path / "page.html").read_text(encoding="utf-8")
    page = Page(source)
    assert page.texts == NASTY
    assert set(page.tags) == {"html", "head", "meta", "title", "style", "body", "h1", "p", "span", "article", "bdi"}
    assert page.tags.count("article") == len(NASTY) and page.tags.count("h1") == 1
    assert "<bdi>&lt;i&gt;ham&lt;/i&gt;</bdi>" in source and source.count('dir="auto"') == len(NASTY)


def test_the_page_needs_nothing_else(tmp_path):
    write_most_wrong_texts(tmp_path / "page.html", ["free"], [0], ["ham", "spam"], predict=predict)
    source = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|src=|href=|url\(|<script|@import", source)
    assert "default-src 'none'" in source and "width=device-width" in source and "prefers-color-scheme: dark" in source


def test_the_page_says_what_was_said_and_what_is_true(tmp_path):
    texts = ["free hello", "hello", ""]
    found = write_most_wrong_texts(tmp_path / "page.html", texts, [1, 1, 0], ["ham", "spam"], predict=predict)
    source = (tmp_path / "page.html").read_text(encoding="utf-8")
    # Log-odds of spam: -1 + 2 - 1.5 = -.5, -2.5, -1.
    assert "<h1>2 of these 3 texts are misjudged</h1>" in source
    assert (
        '<p class="said wrong">said <bdi>ham</bdi> 62.2%</p>\n<p class="true">true: <bdi>spam</bdi> 37.8%</p>' in source
    )
    assert '<p class="said">rightly <bdi>ham</bdi> 73.1%</p>' in source and "(no words)" in source
    assert [one.class_number for one in found] == [0, 0, 0]
    assert found[0].importances == (pytest.approx(-2), pytest.approx(1.5))


def test_the_page_says_where_texts_come_from(tmp_path):
    places, texts = ["<m>.csv, line 12", "order/7.txt"], ["free", "hello"]
    write_most_wrong_texts(tmp_path / "page.html", texts, [0, 0], ["ham", "spam"], predict=predict, places=places)
    source = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert '<p class="true"><bdi>&lt;m&gt;.csv, line 12</bdi></p>\n<p class="text"' in source
    assert source.index("line 12") < source.index("free") < source.index("order/7.txt") < source.index("hello")
    with pytest.raises(UserError, match="expected one place for each of the 2 texts. Received: 1 `places`."):
        write_most_wrong_texts(tmp_path / "no.html", texts, [0, 0], ["ham", "spam"], predict=predict, places=places[1:])


def test_colours_are_as_full_as_words_are_important():
    shown = word_importance(predict, "free win a hello", 1)._repr_html_()
    # Of the strongest, 2: all, half, nothing, three quarters against; all of it is an opacity of .55.
    assert 'background:rgba(36,103,179,0.55);border-radius:3px" title="+2.00">free</span>' in shown
    assert re.search(r'rgba\(36,103,179,0\.2[78]\);border-radius:3px" title="\+1\.00">win</span> a <span', shown)
    line = r"text-decoration:underline 2px dotted rgba\(217,115,13,0\.8[23]\)"
    assert re.search(rf'rgba\(217,115,13,0\.41\);border-radius:3px;{line}" title="-1\.50">hello', shown)
    assert shown.startswith('<div dir="auto"')


def luminance(colour):
    """As WCAG 2.1 defines it."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in np.array(colour) / 255]
    return np.dot(linear, [0.2126, 0.7152, 0.0722])


def test_words_stay_readable_on_their_colour_in_light_and_in_dark(tmp_path):
    write_most_wrong_texts(tmp_path / "page.html", ["free hello"], [0], ["ham", "spam"], predict=predict)
    source = (tmp_path / "page.html").read_text(encoding="utf-8")
    colours = [re.findall(rf"--{name}: #(\w+);", source) for name in ("ink", "paper")]
    assert [len(of_both) for of_both in colours] == [2, 2]
    for ink, paper in zip(*colours, strict=True):
        ink, paper = (np.array(list(bytes.fromhex(colour))) for colour in (ink, paper))
        for marked in ([36, 103, 179], [217, 115, 13]):
            pair = luminance(ink), luminance(0.55 * np.array(marked) + 0.45 * paper)
            assert (max(pair) + 0.05) / (min(pair) + 0.05) > 4.5  # level AA


def test_a_text_of_weak_words_stays_pale():
    # .5 of 1, not of itself.
    assert re.search(r"rgba\(36,103,179,0\.2[78]\)", word_importance(predict, "🎁 x", 1)._repr_html_())


def test_half_a_pair_of_surrogates_does_not_stop_the_page(tmp_path):
    write_most_wrong_texts(tmp_path / "page.html", ["free \ud83d"], [0], ["ham", "spam"], predict=predict)
    assert "?" in Page((tmp_path / "page.html").read_text(encoding="utf-8")).texts[0]


def test_mistakes_of_the_page(tmp_path):
    for labels, names, sentence in (
        ([0, 1], ["ham", "spam"], "expected one label for each of the 1 texts"),
        ([0], ["ham"], "`predict` knows 2 classes. Expected one for each of the 1 `class_names`"),
    ):
        with pytest.raises(UserError, match=sentence):
            write_most_wrong_texts(tmp_path / "page.html", ["free"], labels, names, predict=predict)
    assert not list(tmp_path.iterdir())


def test_without_texts_there_is_a_page(tmp_path):
    write_most_wrong_texts(tmp_path / "page.html", [], [], ["ham", "spam"], predict=predict)
    assert "<h1>No texts</h1>" in (tmp_path / "page.html").read_text(encoding="utf-8")
