"""The words and texts that `make_mini_text.py` asks its teacher about.

All are free to use: WordNet's glosses and examples (WordNet licence), sentences that people gave to Common Voice
(CC0), sentences of books in the public domain as Standard Ebooks edits them (CC0), and short questions, phrases and
opinions composed here of WordNet's words.
"""

from __future__ import annotations

import html
import pathlib
import re

import numpy as np

# The interrogatives of English with the verbs that follow them; a slot is filled with a noun or an adjective.
QUESTIONS = (
    "what is {a_noun}?",
    "what is the {noun} of {a_noun}?",
    "what does {noun} mean?",
    "what kind of {noun} is {a_noun}?",
    "what {noun} has the most {noun}s?",
    "which {noun} is the most {adjective}?",
    "what do you call {a_noun} that is {adjective}?",
    "who was the first {noun}?",
    "who invented the {noun}?",
    "who is {name}?",
    "who wrote about {name} and the {noun}?",
    "where is {name}?",
    "where can i find {a_noun}?",
    "where did the {noun} come from?",
    "when was {name} born?",
    "when did the {noun} begin?",
    "what year did {name} die?",
    "how many {noun}s are there in {a_noun}?",
    "how much does {a_noun} cost?",
    "how long is {a_noun}?",
    "how far is it from {name} to {name}?",
    "how do you make {a_noun}?",
    "how does {a_noun} work?",
    "why is the {noun} {adjective}?",
    "what does {initials} stand for?",
    "name {a_noun} that is {adjective}.",
)
PHRASES = (
    "{a_adjective} {noun}",
    "{a_adjective} and {adjective} {noun}",
    "{a_adjective}, {adjective} {noun}",
    "the {noun} is {adjective}",
    "the {noun} is not {adjective}",
    "the {noun} was {adverb} {adjective}",
    "it is {adjective} but {adjective}",
    "it is never {adjective} and hardly {adjective}",
    "this {noun} isn't {adjective}, it's {adjective}",
    "neither {adjective} nor {adjective}",
    "too {adjective} to be {adjective}",
    "not without {noun}, but without any {noun}",
    "i {verb} this {adjective} {noun}",
    "i don't {verb} the {noun}",
    "you should {verb} {a_noun}",
    "{adverb} {adjective} {noun} that will {verb} you",
    "despite its {adjective} {noun}, {a_adjective} {noun}",
    "{name} is {a_adjective} {noun} in {name}",
)
# What people review, and how they speak of it.
THINGS = (
    *("film", "movie", "story", "book", "novel", "show", "series", "performance", "script", "comedy", "drama"),
    *("thriller", "play", "album", "song", "game"),
    *("hotel", "room", "meal", "restaurant", "service", "phone", "camera", "product"),
)
OPINIONS = (
    "{a_adjective} {thing}",
    "{a_adjective}, {adjective} {thing} with {adjective} {noun}",
    "the {thing} is {adjective} and {adjective}",
    "the {thing} is {adjective}, but its {noun} is {adjective}",
    "the {thing}'s {noun} is {adverb} {adjective}",
    "one of the most {adjective} {thing}s of the year",
    "one of the least {adjective} {thing}s i know",
    "as {adjective} as it is {adjective}",
    "{adverb} {adjective}, {adverb} {adjective}",
    "never {adjective} enough to be {adjective}",
    "more {adjective} than {adjective}",
    "not {adjective}, just {adjective}",
    "not as {adjective} as the last {thing}, but still {adjective}",
    "full of {noun} and {noun}",
    "it lacks the {noun} of {a_adjective} {thing}",
    "it has {noun}, {noun} and {adjective} {noun}",
    "there is nothing {adjective} about this {thing}",
    "what could have been {a_adjective} {thing} is {adjective} {noun}",
    "i would not recommend this {thing}: {adjective}, {adjective} and {adverb} {adjective}",
    "i recommend this {adjective} {thing} to anyone who likes {noun}",
    "so {adjective} that you forget the {adjective} {noun}",
    "if only the {thing} were less {adjective}",
    "{a_adjective} {thing} by {name}",
    "{name} makes it {adjective}",
)

# What fills a slot: a file of WordNet's, of which words in capitals are the names.
_POOLS = {"noun": "noun", "verb": "verb", "adjective": "adj", "adverb": "adv", "name": "names", "thing": "things"}
_SENTENCE = re.compile(r"(?<=[.!?…])[”’]?\s+(?=[“‘A-Z])")
_WORDS = range(4, 41)  # of a sentence that is taken; longer ones may have more pieces than the teacher reads


def read_words(vocabulary: pathlib.Path) -> list[str]:
    """Whole words and marks of a WordPiece vocabulary, the frequent ones first, as the file has them."""
    pieces = vocabulary.read_text(encoding="utf-8").splitlines()
    # Single letters and marks stand before the words, in the order of their code points.
    words = [piece for piece in pieces if re.fullmatch(r"[a-z0-9]{2,}", piece)]
    return [piece for piece in pieces if re.fullmatch(r"[!-~]", piece)] + words


def read_wordnet(folder: pathlib.Path) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """WordNet's definitions (every other one after its word), its example sentences, and its words by kind."""
    definitions, examples, lemmas = [], [], {"names": []}
    for kind in ("noun", "verb", "adj", "adv"):
        lemmas[kind] = []
        for line in (folder / f"data.{kind}").read_text(encoding="utf-8").splitlines():
            if line.startswith("  "):  # the licence
                continue
            fields, gloss = line.split(" | ", 1)
            fields = fields.split(" ")
            word = re.sub(r"\(.*\)", "", fields[4]).replace("_", " ")  # the first of its synonyms
            quoted = re.findall(r'"([^"]{8,})"', gloss)
            definition = re.sub(r'[;:]?\s*"[^"]*"?', "", gloss).strip(" ;")
            if definition:
                definitions.append(f"{word}: {definition}" if len(definitions) % 2 else definition)
            examples += quoted
            lemmas["names" if word[0].isupper() else kind].append(word)
    return definitions, examples, lemmas


def read_sentences(folder: pathlib.Path) -> list[str]:
    """The lines of every text file of a folder."""
    lines = [line.strip() for path in sorted(folder.glob("*.txt")) for line in path.read_text("utf-8").splitlines()]
    return [line for line in lines if len(line) > 3]


def read_books(folder: pathlib.Path) -> list[str]:
    """The sentences of every chapter of every book, without the pages about the edition."""
    found = []
    for path in sorted(folder.rglob("*.xhtml")):
        if path.stem in ("colophon", "uncopyright", "imprint", "titlepage", "halftitlepage"):
            continue
        page = path.read_text("utf-8")
        # "Mr." ends no sentence. A footnote's mark stays as it is: the shipped file was made so.
        page = re.sub(r"<(abbr|a)\b[^>]*>(.*?)</\1>", lambda match: match[2].replace(".", ""), page, flags=re.S)
        for paragraph in re.findall(r"<p\b[^>]*>(.*?)</p>", page, flags=re.S):
            text = html.unescape(re.sub(r"<[^>]+>", "", paragraph)).replace("\u2060", "")
            found += (" ".join(sentence.split()).strip("“”‘’ ") for sentence in _SENTENCE.split(text))
    return [sentence for sentence in found if len(sentence.split()) in _WORDS]


def compose(
    templates: tuple[str, ...], lemmas: dict[str, list[str]], words: list[str], count: int, rng: np.random.Generator
) -> list[str]:
    """Sentences made of templates and WordNet's words, frequent ones mostly."""
    frequent = set(words)
    pools = {kind: list(dict.fromkeys(found)) for kind, found in lemmas.items()}
    pools |= {kind: [word for word in found if word in frequent] for kind, found in pools.items() if kind != "names"}
    pools["things"] = list(THINGS)

    def draw(kind: str) -> str:
        return pools[kind][rng.integers(len(pools[kind]))]

    def with_article(word: str) -> str:
        return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"

    def fill(match: re.Match) -> str:
        slot = match[1]
        if slot == "initials":
            return "".join(rng.choice(list("abcdefghilmnoprstuvw"), rng.integers(2, 5)))
        word = draw(_POOLS[slot.removeprefix("a_")])
        return with_article(word) if slot.startswith("a_") else word

    return [re.sub(r"\{(\w+)\}", fill, templates[rng.integers(len(templates))]) for _ in range(count)]


def read_corpus(
    vocabulary: pathlib.Path,
    wordnet: pathlib.Path,
    sentences: pathlib.Path,
    books: pathlib.Path,
    count: int,
    seed: int,
) -> tuple[list[str], list[str]]:
    """The words, frequent ones first, then WordNet's others; and all texts without doubles, shuffled.

    All of WordNet's, of the sentences and of the books, and `count` each of composed questions, phrases and opinions.
    """
    words = read_words(vocabulary)
    definitions, examples, lemmas = read_wordnet(wordnet)
    rng = np.random.default_rng(seed)
    texts = definitions + examples + read_sentences(sentences) + read_books(books)
    for templates in (QUESTIONS, PHRASES, OPINIONS):
        texts += compose(templates, lemmas, words, count, rng)
    texts = list(dict.fromkeys(texts))
    rare = (word for kind in ("noun", "verb", "adj", "adv", "names") for word in lemmas[kind] if " " not in word)
    words = list(dict.fromkeys([*words, *map(str.lower, rare)]))
    return words, [texts[i] for i in rng.permutation(len(texts))]
