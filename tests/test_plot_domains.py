"""Pictures of both domains and of a comparison hold what they should."""

import types

import numpy as np
import pytest
from matplotlib.colors import to_hex

from tlkit import UserError
from tlkit.evaluation import plot_adaptation, plot_domains
from tlkit.evaluation._figure import BLUE, ORANGE
from tlkit.evaluation.plot_domains import separate

random = np.random.default_rng(0)
SOURCE, TARGET = random.normal(size=(30, 6)), random.normal(size=(40, 6)) + 3
CLASSES = np.arange(30) % 3


def texts(figure):
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")) if text.get_text()]


def points(axes):
    """Domain -> where its rows are drawn."""
    drawn = axes.collections[0]
    colours = np.array([to_hex(colour) for colour in drawn.get_facecolors()])
    return {name: drawn.get_offsets()[colours == colour] for name, colour in (("source", BLUE), ("target", ORANGE))}


def test_colours_are_domains_and_panels_are_before_and_after():
    figure = plot_domains((SOURCE, TARGET), (SOURCE, TARGET - 3))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["Before adaptation", "After adaptation"]
    before, after = map(points, figure.axes)
    assert (len(before["source"]), len(before["target"])) == (30, 40)
    apart = [np.linalg.norm(p["source"].mean(axis=0) - p["target"].mean(axis=0)) for p in (before, after)]
    assert apart[0] > 3 * apart[1]  # PCA shows the shift of every feature, and that it is gone
    assert {"source", "target", "PCA"} <= set(texts(figure))


def test_pca_keeps_the_plane_of_features_that_lie_in_one():
    plane = np.array([[1.0, 1, 1, 1], [1, -1, 1, -1]])
    rows = random.normal(size=(20, 2)) @ plane
    figure = plot_domains((rows[:10], rows[10:]))
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0)
    drawn = np.concatenate(list(points(figure.axes[0]).values()))
    # All distances are there, in whatever order the rows were drawn.
    between = [
        np.sort(np.linalg.norm(p[:, None] - p[None], axis=2), axis=None).round(6) for p in (scaled, np.asarray(drawn))
    ]
    np.testing.assert_allclose(*between, atol=1e-5)


def test_names_stand_in_the_middle_of_their_classes():
    names = ["ant", "bee", "a name that is too long to be shown"]
    figure = plot_domains((SOURCE, TARGET), source_labels=CLASSES, class_names=names)
    drawn = {text.get_text(): text for text in figure.axes[0].texts}
    assert list(drawn) == ["ant", "bee", "a name … shown"] or len(drawn) == 3
    assert "PCA; a name stands in the middle of its class" in texts(figure)
    both = plot_domains((SOURCE, TARGET), source_labels=CLASSES, target_labels=np.arange(40) % 2)
    assert [text.get_text() for text in both.axes[0].texts] == ["0", "1", "2", "0", "1"]
    x, y = both.axes[0].texts[0].get_position()
    of_source = points(both.axes[0])["source"]
    assert of_source[:, 0].min() < x < of_source[:, 0].max() and of_source[:, 1].min() < y < of_source[:, 1].max()


def test_names_do_not_overprint_each_other():
    alike = np.tile(SOURCE, (2, 1))  # all classes in one place
    figure = plot_domains((alike, alike), source_labels=np.arange(60) % 12, target_labels=np.arange(60) % 12)
    figure.canvas.draw()
    names = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(names) == 24
    for number, one in enumerate(names):
        for other in names[:number]:
            width = min(one.x1, other.x1) - max(one.x0, other.x0)
            height = min(one.y1, other.y1) - max(one.y0, other.y0)
            assert min(width, height) < 1  # pixels


def test_rectangles_are_pushed_apart_the_shorter_way():
    # 10 wide and 4 high: the first two overlap by 2 in height, so each goes 1 up or down; the third is far away.
    found = separate(
        np.array([[50.0, 50], [52, 52], [90, 50]]), np.array([[10.0, 4]] * 3), np.zeros((3, 2)), np.full((3, 2), 100.0)
    )
    np.testing.assert_allclose(found, [[50, 49], [52, 53], [90, 50]], atol=0.3)  # half a pixel may remain


def test_tsne_and_fewer_rows():
    wide = random.normal(size=(60, 80)), random.normal(size=(60, 80)) + 1
    figure = plot_domains(wide, projection="tsne", num_rows=12)
    assert [len(rows) for rows in points(figure.axes[0]).values()] == [12, 12] and "t-SNE" in texts(figure)


@pytest.mark.parametrize(
    ("arguments", "options", "sentence"),
    [
        (((SOURCE, TARGET[:, :5]),), {}, r"do not match.*Received: \[\(30, 6\), \(40, 5\)\]"),
        (((SOURCE, TARGET), (SOURCE[:9], TARGET)), {}, "the same rows before and after"),
        (((SOURCE, TARGET * np.nan),), {}, "the training diverged"),
        (((SOURCE, TARGET),), {"projection": "umap"}, "Expected 'pca' or 'tsne'. Received: projection='umap'"),
        (((SOURCE, TARGET),), {"num_rows": 1}, "Received: num_rows=1"),
        (((SOURCE, TARGET),), {"target_labels": CLASSES}, r"`target_labels` does not match.*Expected shape \(40,\)"),
    ],
)
def test_bad_input(arguments, options, sentence):
    with pytest.raises(UserError, match=sentence):
        plot_domains(*arguments, **options)


def comparison(with_labels=True):
    """Two methods, two seeds, two epochs."""
    measure = "target_accuracy" if with_labels else "target_information"
    truth = {"source only": [(0.5, 0.6), (0.6, 0.7)], "cdan": [(0.9, 0.8), (0.7, 0.9)]}
    chosen = {"source only": (1, 1), "cdan": (1, 0)}
    summaries = {
        name: types.SimpleNamespace(
            chosen=tuple(values[epoch] for values, epoch in zip(runs, chosen[name], strict=True)),
            best=tuple(map(max, runs)) if with_labels else (),
            chosen_epochs=chosen[name],
        )
        for name, runs in truth.items()
    }
    runs = [{"method": name, "epochs": [{measure: v} for v in values]} for name, of in truth.items() for values in of]
    return types.SimpleNamespace(summaries=summaries, runs=runs, measure=measure, validator="target_information")


def values(axes, filled):
    lines = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata())]
    return [list(map(float, line.get_ydata())) for line in lines if (line.get_markerfacecolor() != "white") == filled]


def test_every_seed_is_a_point_and_the_choice_by_labels_a_hollow_one():
    figure = plot_adaptation(comparison())
    methods, epochs = figure.axes
    assert values(methods, filled=True) == [[0.6, 0.7], [0.8, 0.7]]
    assert values(methods, filled=False) == [[0.6, 0.7], [0.9, 0.9]]
    assert {"source only", "cdan", "65.0 %", "75.0 %", "by target labels: not to be had"} <= set(texts(figure))
    assert methods.get_xlabel() == "chosen by target_information\nsource only: source_score"
    curves = [line for line in epochs.lines if line.get_marker() != "o"]
    assert [list(map(float, c.get_ydata())) for c in curves] == [[0.5, 0.6], [0.6, 0.7], [0.9, 0.8], [0.7, 0.9]]
    assert [float(line.get_xdata()[0]) for line in epochs.lines if line.get_marker() == "o"] == [2, 2, 2, 1]


def test_without_target_labels_the_validator_is_drawn():
    written = set(texts(plot_adaptation(comparison(with_labels=False))))
    assert "target_information by epoch" in written and "0.650" in written
    assert "by target labels: not to be had" not in written


def test_small_differences_do_not_fill_the_panel():
    found = comparison()
    for summary in found.summaries.values():
        summary.chosen = summary.best = (0.75, 0.752)
    low, high = plot_adaptation(found).axes[0].get_ylim()
    assert high - low == pytest.approx(0.1)
