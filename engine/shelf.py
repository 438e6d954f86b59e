"""The models that the operator named: the configured one, further ones, and those of a folder.

Nothing else can be loaded: no path and no address comes from Discord.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ModelLoadError
from engine.model_card import (
    ModelCard,
    card_of_hub_id,
    local_path,
    provisional_info,
    read_card,
    resolve_source,
)
from engine.settings import Settings
from engine.types import EngineInfo


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A model that may be loaded.

    Attributes:
        name: What people call it; unique without regard to case.
        source: What the settings call it, see `EngineSettings.model`.
        card: What it is; None when it cannot be used.
        problem: Why it cannot, for the operator's log; "" when it can.
    """

    name: str
    source: str
    card: ModelCard | None
    problem: str = ""


def named_models(settings: Settings) -> list[NamedModel]:
    """Returns the models, the configured one first; looks at files."""
    found: dict[str, NamedModel] = {}
    seen: set[str] = set()
    for source in _sources(settings):
        path = _path(source)
        place = source if path is None else str(path.resolve())
        if place in seen:
            continue
        seen.add(place)
        model = _read(source)
        first = found.get(model.name.casefold())
        if first is None or (first.problem and not model.problem):
            found[model.name.casefold()] = model
        elif not model.problem:
            problem = f"There are two models {model.name}: {first.source} is the one."
            found[place.casefold()] = NamedModel(place.rsplit("/", 1)[-1], source, None, problem)
    return list(found.values())


def settings_for(settings: Settings, model: NamedModel) -> Settings:
    """Returns the settings of an engine with that model.

    A revision is of the configured model alone; ControlNets that the operator named are for its family.
    """
    if model.source == resolve_source(settings):
        return settings
    changes: dict[str, object] = {"model": model.source, "model_revision": None}
    configured = _read(resolve_source(settings)).card
    if configured is None or model.card is None or configured.family != model.card.family:
        changes["controlnets"] = None
    return settings.model_copy(update=changes)


def expected_info(settings: Settings, model: NamedModel) -> EngineInfo:
    """Returns what the engine will say of that model, as far as it is known.

    Raises:
        ModelLoadError: The model is not there or cannot be run.
    """
    return provisional_info(settings_for(settings, model))


def _sources(settings: Settings) -> Iterator[str]:
    yield resolve_source(settings)
    yield from settings.models
    folder = settings.model_folder
    if not folder.is_dir():
        return
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        is_checkpoint = path.suffix.lower() == ".safetensors" and path.is_file()
        # A folder beside a checkpoint of its name has what the checkpoint lacks.
        is_folder = (path / "model_index.json").is_file() and not path.with_suffix(
            ".safetensors"
        ).is_file()
        if is_checkpoint or is_folder:
            yield str(path.absolute())


def _path(source: str) -> Path | None:
    try:
        return local_path(source)
    except ModelLoadError:
        return Path(source).expanduser()


def _read(source: str) -> NamedModel:
    try:
        path = local_path(source)
        card = card_of_hub_id(source) if path is None else read_card(path)
    except (ModelLoadError, OSError) as error:
        return NamedModel(Path(source).stem or source, source, None, str(error))
    return NamedModel(card.name, source, card)
