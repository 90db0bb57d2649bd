"""The floors of the house: who may import whom, and which file alone may use which dependency.

Read from the syntax tree of every module, imports inside functions included.
"""

import ast
import importlib
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest

import tlkit

PACKAGE = Path(tlkit.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# A module imports from lower floors, and sideways only inside its own folder.
FLOORS = {
    "cli": 5,
    "scaffold": 3,  # below checkup, which asks it whether a template is newer
    "checkup": 4,  # looks at a project with what every lower floor knows
    "tuning": 4,
    "serving": 4,  # tells what the report knows of a run
    "ranking": 3,
    "report": 3,
    "runs": 0,
    "saving": 4,  # opens files that may hold a layer of any lower floor
    "callbacks": 3,
    "domain": 3,
    "detection": 3,
    "features": 2,
    "finetune": 2,
    "evaluation": 2,
    "data": 2,
    "environment": 2,  # reads the rules of caches from backbones/
    "backbones": 1,
    "distribution": 1,
    "addons": 0,
    "errors": -1,  # the ground: leaves raise it too
    "export": 0,
    "settings": 0,
}

# Each dependency has one door; a folder's door is any file in it.
DOORS = {
    **dict.fromkeys(("keras_tuner", "grpc"), ("tlkit/tuning/",)),
    "tensorflow.distribute": ("tlkit/distribution/",),
    "tensorflow_hub": ("tlkit/backbones/hub.py", "tlkit/environment/probe.py"),  # the second tries to import it
    "tensorflow_addons": ("tlkit/addons.py",),
    "tensorflow_text": ("tlkit/backbones/text_operations.py", "tlkit/backbones/kerashub.py"),
    **dict.fromkeys(("keras_hub", "safetensors"), ("tlkit/backbones/kerashub.py",)),
    "pycocotools": ("tlkit/detection/evaluate_boxes.py",),
    "yaml": ("tlkit/data/boxes/yolo.py",),
    "jinja2": ("tlkit/scaffold/rendering.py", "tlkit/report/", "tlkit/serving/"),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "anyio"), ("tlkit/serving/",)),
    **dict.fromkeys(("ai_edge_litert", "onnx", "onnxruntime", "tf2onnx"), ("tlkit/export/",)),
}

# Names that upstream may change without a word: the lift, the addons bridge, the optimizer's key of a variable.
PRIVATE = ("tensorflow.python", "keras.src", "tf_keras.src")
PRIVATE_DOORS = ("tlkit/backbones/lift.py", "tlkit/addons.py", "tlkit/finetune/layer_wise_rates.py")


def names_used(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """Every dotted name that a module imports, or reaches as an attribute of something it imported."""
    tree = ast.parse(source)
    aliases = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for name in node.names:
                aliases[name.asname or name.name.partition(".")[0]] = (
                    name.name if name.asname else name.name.partition(".")[0]
                )
                yield name.name
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")[: None if is_package else -1]
            base = base[: len(base) - node.level + 1] if node.level else []
            origin = ".".join([*base, *filter(None, [node.module])])
            for name in node.names:
                aliases[name.asname or name.name] = f"{origin}.{name.name}"
                yield f"{origin}.{name.name}"
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            if ast.unparse(node.func).endswith(("import_module", "__import__")):
                yield str(node.args[0].value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            root, _, rest = ast.unparse(node).partition(".")
            if root in aliases:
                yield f"{aliases[root]}.{rest}"


def is_under(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix}.")


def floor_faults(source: str, module: str, is_package: bool = False) -> list[str]:
    own = module.split(".")[1]
    faults = set()
    for name in names_used(source, module, is_package):
        if not name.startswith("tlkit."):
            continue
        public = name.split(".")[1]
        other = tlkit._LAZY.get(public, f"tlkit.{public}").split(".")[1]
        if other in FLOORS and other != own and FLOORS[other] >= FLOORS[own]:
            faults.add(f"{module} (floor {FLOORS[own]}) uses tlkit.{other} (floor {FLOORS[other]})")
    return sorted(faults)


def door_faults(source: str, file: str, module: str) -> list[str]:
    faults = set()
    for name in names_used(source, module, file.endswith("__init__.py")):
        for dependency, doors in DOORS.items():
            if is_under(name, dependency) and not file.startswith(doors):
                faults.add(f"{file} uses {dependency}; its door is {' and '.join(doors)}")
        if any(is_under(name, prefix) for prefix in PRIVATE) and file not in PRIVATE_DOORS:
            faults.add(f"{file} uses the private name {name}")
    return sorted(faults)


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def label(file: Path) -> str:
    return file.relative_to(PACKAGE.parent).as_posix()


def test_every_module_has_a_floor():
    units = {file.relative_to(PACKAGE).parts[0].removesuffix(".py") for file in FILES} - {"__init__"}
    assert units <= FLOORS.keys()


@pytest.mark.parametrize(
    "file", [file for file in FILES if file.parent != PACKAGE or file.stem != "__init__"], ids=label
)
def test_a_module_imports_only_from_lower_floors(file: Path):
    assert floor_faults(file.read_text(encoding="utf-8"), module_of(file), file.stem == "__init__") == []


@pytest.mark.parametrize("file", FILES, ids=label)
def test_each_dependency_has_one_door(file: Path):
    assert door_faults(file.read_text(encoding="utf-8"), label(file), module_of(file)) == []


def test_the_package_itself_imports_only_the_errors():
    used = names_used((PACKAGE / "__init__.py").read_text(encoding="utf-8"), "tlkit", is_package=True)
    lazy = {f"{module}.{name}" for name, module in tlkit._LAZY.items()}  # imported for type checkers only
    assert {name for name in used if name.startswith("tlkit")} - lazy <= {"tlkit.errors", "tlkit.errors.UserError"}


@pytest.mark.parametrize("name", ["tlkit", "tlkit.backbones", "tlkit.environment", "tlkit.features"])
def test_type_checkers_see_what_is_loaded_on_first_use(name):
    package = importlib.import_module(name)
    [block] = [node for node in ast.parse(inspect.getsource(package)).body if isinstance(node, ast.If)]
    assert ast.unparse(block.test) == "TYPE_CHECKING"
    seen = {each.name: node.module for node in block.body for each in node.names}
    full = {key: source if source.startswith("tlkit.") else f"{name}.{source}" for key, source in package._LAZY.items()}
    assert seen == full


# The check itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "from tlkit.callbacks import ProgressiveUnfreezing",
        "import tlkit.callbacks",
        "from tlkit import callbacks",
        "def f():\n    from ..callbacks.progressive_unfreezing import ProgressiveUnfreezing",
        "import importlib\nimportlib.import_module('tlkit.callbacks')",
        "import tlkit\ntlkit.callbacks.ProgressiveUnfreezing()",
    ],
)
def test_an_import_from_above_is_found_however_it_is_written(source: str):
    assert floor_faults(source, "tlkit.backbones.lift") == [
        "tlkit.backbones.lift (floor 1) uses tlkit.callbacks (floor 3)"
    ]


def test_an_import_of_a_neighbour_is_found_and_one_inside_the_folder_is_not():
    assert floor_faults("from tlkit.finetune import schedule", "tlkit.data.images") != []
    assert floor_faults("from . import split\nfrom tlkit.data.split import x", "tlkit.data.images") == []
    assert floor_faults("from .split import x", "tlkit.data", is_package=True) == []


def test_a_name_that_is_loaded_lazily_counts_as_its_module():
    assert floor_faults("import tlkit\ntlkit.load_model('x')", "tlkit.backbones.hub") == [
        "tlkit.backbones.hub (floor 1) uses tlkit.saving (floor 4)"
    ]


@pytest.mark.parametrize(
    "source",
    [
        "import tensorflow as tf\ntf.distribute.MirroredStrategy()",
        "from tensorflow import distribute",
        "import tensorflow.distribute as d",
    ],
)
def test_a_use_beside_the_door_is_found_however_it_is_written(source: str):
    assert door_faults(source, "tlkit/finetune/x.py", "tlkit.finetune.x") == [
        "tlkit/finetune/x.py uses tensorflow.distribute; its door is tlkit/distribution/"
    ]
    assert door_faults(source, "tlkit/distribution/workers.py", "tlkit.distribution.workers") == []


def test_a_private_name_is_found_outside_its_three_files():
    source = "from tensorflow.python.eager import wrap_function"
    assert door_faults(source, "tlkit/backbones/lift.py", "tlkit.backbones.lift") == []
    assert door_faults(source, "tlkit/saving.py", "tlkit.saving") == [
        "tlkit/saving.py uses the private name tensorflow.python.eager.wrap_function"
    ]
