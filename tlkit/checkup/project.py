"""Everything that is known of a project, gathered by running its own modules once; and what that comes to."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from tlkit.checkup.attempts import Attempts, Failure, judge_attempts, one_line
from tlkit.checkup.classes import ClassFacts, judge_classes, look_at_classes, newest_run
from tlkit.checkup.kept_features import KeptFacts, judge_kept_features, look_at_kept_features
from tlkit.checkup.leakage import LeakageFacts, judge_leakage, look_at_pictures, look_at_text_rows
from tlkit.checkup.pixels import PixelFacts, judge_pixels, look_at_pixels
from tlkit.checkup.place import Place, find_project, load_settings, project_modules
from tlkit.checkup.replicas import ReplicaFacts, judge_replicas, look_at_replicas
from tlkit.checkup.run_data import RunDataFacts, judge_run_data, look_at_run_data
from tlkit.checkup.texts import TextFacts, judge_texts, look_at_texts
from tlkit.checkup.training import TrainingFacts, judge_training, look_at_training
from tlkit.checkup.versions import VersionFacts, judge_versions, look_at_versions
from tlkit.data.stable_cut import PARTS
from tlkit.environment import Finding
from tlkit.errors import UserError

# What cannot be looked at where these fail.
_WITHOUT_MODEL = ("what trains", "what comes to the backbone")
_WITHOUT_DATA = ("class order", "parts of the data", *_WITHOUT_MODEL, "the devices", "kept features")
_SEVERAL_MACHINES = ("multi-worker", "tpu")  # strategies that would wait for others, or take what others use


@dataclass(frozen=True)
class ProjectFacts:
    """The facts, by where they come from; None is what could not be looked at, because of one of the `failures`."""

    folder: str
    name: str
    versions: VersionFacts
    training: TrainingFacts | None = None
    pixels: PixelFacts | None = None
    texts: TextFacts | None = None
    classes: ClassFacts | None = None
    leakage: tuple[LeakageFacts, ...] = ()
    run_data: RunDataFacts | None = None
    replicas: ReplicaFacts | None = None
    kept_features: KeptFacts | None = None
    failures: tuple[Failure, ...] = ()
    warnings: tuple[str, ...] = ()


def look_at_project(folder: Path, *, inspect: bool = True) -> ProjectFacts:
    """Gather the facts about a project: its config, data and model are imported and run, nothing is trained.

    Args:
        folder: As `tlkit new` made it.
        inspect: Whether every picture is decoded, to find those that are in several parts.

    Raises:
        UserError: When it is no project, its config.py does not import or is refused, or Keras cannot be imported.
    """
    place = find_project(folder)
    # Standard output is the report's, which another program may read.
    with contextlib.redirect_stdout(sys.stderr), project_modules(place) as load:
        config = load_settings(place, load)
        with _own_policy():
            return _Look(place, config, inspect).run(load)


@contextlib.contextmanager
def _own_policy() -> Iterator[None]:
    """Precision is a setting of the process, which a project changes."""
    try:
        import keras
    except Exception as error:  # whatever a broken installation raises
        raise UserError(
            f"Keras cannot be imported: {one_line(error)}. Expected TensorFlow and Keras as tlkit needs them. Run "
            f"'tlkit doctor', which says what is wrong and what to type."
        ) from error
    policy = keras.config.dtype_policy()
    try:
        yield
    finally:
        keras.config.set_dtype_policy(policy)


class _Look:
    """One look at a project, step by step; what a step fails at does not stop those that do not need it."""

    def __init__(self, place: Place, config: Any, inspect: bool) -> None:
        self.place, self.inspect = place, inspect
        # What needs other machines is tried on one device of this one.
        strategy = getattr(config, "strategy", "auto")
        self.not_tried = strategy if strategy in _SEVERAL_MACHINES else ""
        self.config = dataclasses.replace(config, strategy="one-device") if self.not_tried else config
        said = ("received pixels", *(("the same text in several",) if inspect else ()))
        self.attempts = Attempts(place.folder, said)
        self.facts: dict[str, Any] = {}

    def run(self, load: Callable[[str], ModuleType]) -> ProjectFacts:
        folder, made = self.place.folder, self.place.made_with
        versions = look_at_versions(folder, made, newest_run(folder))
        module = self.attempts.run("data.py", lambda: load("data"), lost=_WITHOUT_DATA)
        if module is not None:
            data = self.attempts.run("load_datasets", lambda: module.load_datasets(self.config), lost=_WITHOUT_DATA)
            if data is not None:
                self._look_at_data(data)
                self._look_at_model(load, data)
                self._look_at_devices(module, data)
        return ProjectFacts(
            folder=str(folder),
            name=self.place.name,
            versions=versions,
            failures=tuple(self.attempts.failures),
            warnings=tuple(self.attempts.warnings),
            **self.facts,
        )

    def _keep(self, field: str, what: str, look: Callable[[], Any]) -> None:
        found = self.attempts.run(what, look, is_look=True)
        if found is not None:
            self.facts[field] = found

    def _look_at_data(self, data: Any) -> None:
        self._keep("classes", "class names", lambda: look_at_classes(self.place.folder, data.class_names))
        if self.inspect:
            self._keep("leakage", "parts of the data", lambda: (self._leakage(data, PARTS),))
        self._keep("run_data", "data of the newest run", lambda: self._run_data(data))
        self._keep("kept_features", "kept features", lambda: self._kept_features(data))

    def _leakage(self, data: Any, parts: tuple[str, ...], is_target: bool = False) -> LeakageFacts:
        files = data.files if _kind(data) == "images" else data.rows
        by_name = {part: getattr(files, part) for part in parts}
        if _kind(data) == "texts":
            found = look_at_text_rows(by_name)
        else:
            paths = {part: [file.path for file in its] for part, its in by_name.items()}
            found = look_at_pictures(paths, self.place.folder)
        return dataclasses.replace(found, is_target=is_target)

    def _run_data(self, data: Any) -> RunDataFacts:
        folder = self.place.folder
        return look_at_run_data(folder, newest_run(folder), _fingerprint(data))

    def _kept_features(self, data: Any) -> KeptFacts | None:
        if not getattr(self.config, "keep_features", False):  # a detector's new augmented images are not kept
            return None
        return look_at_kept_features(_fingerprint(data, times=True), self.config.backbone)

    def _look_at_model(self, load: Callable[[str], ModuleType], data: Any) -> None:
        module = self.attempts.run("model.py", lambda: load("model"), lost=_WITHOUT_MODEL)
        if module is None:
            return
        model = self.attempts.run("compile_model", lambda: module.compile_model(self.config, data), lost=_WITHOUT_MODEL)
        if model is None:
            return
        self._keep("training", "what trains", lambda: look_at_training(self.config, model))
        if _kind(data) == "texts":
            self._keep("texts", "the first texts", lambda: look_at_texts(self.config, data, model))
        else:
            self._keep("pixels", "the first batches", lambda: look_at_pixels(self.config, data, model))

    def _look_at_devices(self, module: ModuleType, data: Any) -> None:
        pairs, lost = None, ("the devices",)
        if getattr(self.config, "adapts", False):  # as the project's own train.py makes these batches
            target = self.attempts.run("load_target", lambda: module.load_target(self.config, data), lost=lost)
            if target is None:
                return
            if self.inspect:
                self._look_at_target(target)
            pairs = self.attempts.run(
                "both_domains",
                lambda: module.both_domains(
                    self.config, data, target, module.training_class_weights(self.config, data)
                ),
                lost=lost,
            )
            if pairs is None:
                return
        what = "both_domains" if pairs else "devices"
        self._keep("replicas", what, lambda: look_at_replicas(self.config, self.not_tried, pairs))

    def _look_at_target(self, target: Any) -> None:
        parts = ("train", "test")
        found = self.attempts.run(
            "parts of the target", lambda: self._leakage(target, parts, is_target=True), is_look=True
        )
        if found is not None:
            self.facts["leakage"] = (*self.facts.get("leakage", ()), found)


def _kind(data: Any) -> str:
    if hasattr(data, "files"):
        return "images"
    return "boxes" if hasattr(data, "max_boxes") else "texts"


def _fingerprint(data: Any, **options: bool) -> dict[str, str]:
    from tlkit.data import fingerprint_boxes, fingerprint_images, fingerprint_texts

    if _kind(data) == "images":
        return fingerprint_images(data.files, **options)
    return fingerprint_texts(data.rows, **options) if _kind(data) == "texts" else fingerprint_boxes(data.rows)


def judge_project(facts: ProjectFacts) -> dict[str, list[Finding]]:
    """Judge everything, in the groups that a reader looks for."""
    name = facts.name
    groups = {
        "Project": [
            *judge_attempts(facts.failures, facts.warnings, name),
            *judge_versions(facts.versions),
        ],
        "Training": judge_training(facts.training, name) if facts.training else [],
        "Input": [
            *(judge_pixels(facts.pixels, name) if facts.pixels else []),
            *(judge_texts(facts.texts, name) if facts.texts else []),
        ],
        "Data": [
            *(judge_classes(facts.classes, name) if facts.classes else []),
            *(finding for one in facts.leakage for finding in judge_leakage(one, name)),
            *(judge_run_data(facts.run_data, name) if facts.run_data else []),
        ],
        "Devices and caches": [
            *(judge_replicas(facts.replicas, name) if facts.replicas else []),
            *(judge_kept_features(facts.kept_features) if facts.kept_features else []),
        ],
    }
    return {group: findings for group, findings in groups.items() if findings}
