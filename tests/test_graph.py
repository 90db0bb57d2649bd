"""Maps, stages and cuts found in the graph, against the layers the model was built from."""

import pytest

import tlkit
from tlkit.backbones.graph import ProgramGraph
from tlkit.backbones.savedmodel import lift_saved_model


@pytest.fixture(scope="module")
def graph(image_model):
    return ProgramGraph(lift_saved_model(image_model).program, (None, 32, 32, 3))


def layers_of(graph, stage):
    return sorted({graph.program.parameters[i].name.split("/")[0] for i in stage.parameters})


def test_a_stage_a_resolution(graph):
    stages = graph.stages(None)
    assert [(stage.name, layers_of(graph, stage)) for stage in stages] == [
        ("stride_2", ["stem"]),
        ("stride_4", ["down1", "residual"]),
        ("stride_8", ["down2"]),
        ("stride_16", ["down3", "top"]),
    ]
    # Every parameter in exactly one stage: 6 layers of kernel, gamma, beta, mean, variance.
    assert sorted(i for stage in stages for i in stage.parameters) == list(range(30))


def test_stages_by_count(graph):
    stages = graph.stages(3)
    assert [stage.name for stage in stages] == ["stage_1", "stage_2", "stage_3"]
    # Six kernels in three; down1 and its residual cannot be cut apart without leaving the skip open, but
    # stages need no cut.
    assert sum(len(stage.parameters) for stage in stages) == 30
    with pytest.raises(tlkit.UserError, match="`stages`=7 cannot be made. Expected a number from 1 to 6"):
        graph.stages(7)


def test_stages_by_name(graph):
    stages = graph.stages([("early", "^(stem|down1)"), ("late", ".*")])
    assert [layers_of(graph, stage) for stage in stages] == [
        ["down1", "stem"],
        ["down2", "down3", "residual", "top"],
    ]


def test_every_weight_needs_a_rule_and_every_rule_a_weight(graph):
    with pytest.raises(tlkit.UserError, match="the weight '.*' matches no rule of `stages`"):
        graph.stages([("early", "^stem")])
    with pytest.raises(tlkit.UserError, match=r"the rule \('none', 'dense'\) of `stages` matches no weight"):
        graph.stages([("none", "dense"), ("rest", ".*")])


def test_maps(graph):
    assert graph.last_map.shape.as_list() == [None, 2, 2, 12]
    pyramid = {name: tensor.shape.as_list()[1:] for name, tensor in graph.pyramid().items()}
    assert pyramid == {"P3": [4, 4, 8], "P4": [2, 2, 12]}  # 32 pixels: stride 8 gives 4, stride 16 gives 2


def test_the_residual_leaves_no_cut_inside_it(graph):
    shapes = [graph.graph.get_tensor_by_name(cut.tensor).shape.as_list()[1:] for cut in graph.cuts]
    kernels = [i for i, p in enumerate(graph.program.parameters) if p.name == "residual/kernel"]
    start = graph.parameter_positions[kernels[0]]
    inside = [cut for cut in graph.cuts if start <= cut.position < start + 3]
    assert inside == [] and [8, 8, 6] in shapes


def test_cut_after_a_stage_is_the_narrow_tensor(graph):
    before = [i for stage in graph.stages(None)[:2] for i in stage.parameters]
    cut = graph.cut_after(before)
    assert cut.size == 8 * 8 * 6
    assert graph.cut_after(before[:-1]) is None
