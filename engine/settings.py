"""Settings from the environment (`EASEL_...`), `easel.toml` and a secrets directory, read once.

Precedence: environment > secrets directory > `easel.toml` > defaults. The engine process gets its
part through `Settings.engine_environment`, never the token.
"""

from __future__ import annotations

import difflib
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from engine.errors import StartError
from engine.protocol import ENGINE_FD_VARIABLE
from engine.types import MAX_PROMPT_LENGTH


class EngineSettings(BaseSettings):
    """What the engine process needs to know."""

    model_config = SettingsConfigDict(env_prefix="EASEL_", frozen=True, extra="ignore")

    model: str = Field(
        "auto",
        description="pocket | auto (SD 1.5 from the hub on a CUDA machine, else pocket) | a diffusers "
        "folder | a .safetensors checkpoint | a hub id",
    )
    model_revision: str | None = Field(None, description="Git revision of a hub model")
    device: str = Field("auto", description="auto | cpu | cuda | cuda:N")
    dtype: Literal["auto", "float16", "bfloat16", "float32"] = Field(
        "auto", description="auto is float16 on CUDA and float32 on the CPU"
    )
    threads: int | None = Field(None, ge=1, description="CPU threads; None lets torch choose")
    max_rows: int | None = Field(
        None, ge=1, le=64, description="U-Net rows of one call; None measures the knee at start"
    )
    row_buckets: str = Field(
        "auto",
        pattern=r"^(auto|off|[1-9]\d*(\s*,\s*[1-9]\d*)*)$",
        description="Rows that a U-Net call may have, others are padded, so that CUDA graphs can be "
        "recorded: numbers with commas, off, or auto (powers of two on CUDA, else off)",
    )
    compiled_blocks: str = Field(
        "off",
        pattern=r"^(off|(transformer|resnet)(\s*,\s*(transformer|resnet))*)$",
        description="Blocks of the U-Net that torch compiles before the engine is ready: transformer, "
        "resnet, both with a comma, or off; they need row buckets",
    )
    controlnets: str | None = Field(
        None,
        description="A folder with one ControlNet folder for each kind, or kind=folder-or-hub-id with "
        "commas; None is the model's own",
    )
    detectors: str | None = Field(
        None,
        description="What reads pictures for ControlNets: name=folder-or-hub-id with commas; the names "
        "are pose (ViTPose), people (RT-DETR), depth and segmentation (ADE20K). What is not named is "
        "the pocket model's own, or with other models ViTPose and Depth Anything from the hub",
    )
    upscaler: str | None = Field(
        None,
        description="A Swin2SR that makes pictures larger, a folder or a hub id; None is Lanczos",
    )
    safety_checker: str | None = Field(
        None,
        description="A StableDiffusionSafetyChecker that looks at finished pictures, a folder or a hub id; "
        "None is none",
    )
    controlnet_memory_mb: int = Field(
        3000,
        ge=0,
        description="ControlNets, and the upscaler, that are kept loaded while no job needs them",
    )
    adapter_memory_mb: int = Field(
        1000, ge=0, description="LoRAs that are kept loaded while no job needs them"
    )
    cache_dir: Path | None = Field(
        None,
        description="What the engine measured of this machine; None is cache in the data directory",
    )
    preview_interval_s: float = Field(1.5, gt=0, description="At most one preview a job each")


class Settings(EngineSettings):
    """What the bot process needs to know; every field is an `EASEL_...` variable of the same name."""

    model_config = SettingsConfigDict(env_prefix="EASEL_", frozen=True, extra="forbid")

    discord_token: SecretStr | None = Field(
        None, validation_alias=AliasChoices("DISCORD_TOKEN", "discord_token")
    )
    discord_api_base: str | None = Field(None, description="None is Discord itself")
    discord_gateway_url: str | None = Field(None, description="None is what Discord answers")
    attachment_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        ("cdn.discordapp.com", "media.discordapp.net"),
        description="The only hosts that pictures are fetched from: host or host:port, with commas",
    )
    max_upload_mb: float = Field(
        25.0, gt=0, le=500, description="Largest picture that is fetched, MiB"
    )
    max_picture_side: int = Field(
        2048, ge=64, le=8192, description="A picture that somebody sent is made smaller than that"
    )
    intake_memory_mb: int = Field(
        768, ge=128, description="Memory of a process that reads a file somebody sent, MiB"
    )
    intake_timeout_s: float = Field(
        20.0, gt=0, description="Time for one file; half of it may be CPU time"
    )
    data_dir: Path = Path("data")
    lora_dir: Path | None = Field(
        None,
        description="LoRAs that people may use; None is the folder loras in the data directory",
    )
    models: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description="Further models that the bot's owners may load by /admin model: as in `model`, with "
        "commas",
    )
    model_dir: Path | None = Field(
        None,
        description="A folder with further models, diffusers folders and .safetensors checkpoints; None "
        "is models in the data directory",
    )
    wildcard_dir: Path | None = Field(
        None,
        description="Text files for __name__ in prompts; None is wildcards in the data directory",
    )
    max_lora_mb: float = Field(1000.0, gt=0, description="Largest LoRA that is read, MiB")
    max_loras: int = Field(
        1000, ge=1, description="Styles at most, from the folder and sent by the bot's owners"
    )
    engine_command: Annotated[tuple[str, ...] | None, NoDecode] = Field(
        None, description="Command of the engine process; None is this Python's engine.worker"
    )
    log_file: Path | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    health_file: Path | None = Field(
        None, description="JSON of the bot's state, rewritten every few seconds"
    )

    backups_kept: int = Field(7, ge=1, description="Backups that are kept, the newest ones")
    backup_every_h: float = Field(
        0.0, ge=0, description="Hours between backups that are made unasked; 0 is none"
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="Where Prometheus reads the metrics; None is off"
    )
    metrics_host: str = Field("127.0.0.1", description="Address that the metrics are served at")

    max_waiting_per_person: int = Field(4, ge=1, description="Jobs waiting or running")
    max_queue_length: int = Field(500, ge=1, description="Everybody's jobs together")
    daily_allowance: float = Field(
        50.0, ge=0, description="A person's standard pictures in 24 hours; 0 is no limit"
    )
    per_minute: int = Field(10, ge=0, description="A person's jobs in 60 seconds; 0 is no limit")
    default_negative_prompt: str | None = Field(
        None, max_length=MAX_PROMPT_LENGTH, description="None is the model's own choice"
    )
    engine_start_timeout_s: float = Field(
        300.0, gt=0, description="Without progress of its start the engine counts as hung"
    )
    engine_memory_mb: int | None = Field(
        None,
        ge=1,
        description="Resident memory above which the engine is replaced between two jobs, MiB; None is "
        "no limit",
    )
    step_timeout_s: float = Field(45.0, gt=0, description="Without a step the engine is hung")

    @model_validator(mode="before")
    @classmethod
    def _leave_out_blanks(cls, values: dict[str, object]) -> dict[str, object]:
        """Takes a variable that is set to nothing for one that is not set.

        Files for containers list all of them. No default negative prompt is a choice, though.
        """
        return {
            name: value
            for name, value in values.items()
            if value != "" or name == "default_negative_prompt"
        }

    @field_validator("attachment_hosts", "models", mode="before")
    @classmethod
    def _split_list(cls, value: object) -> object:
        """Takes "a, b" as well as a TOML list."""
        if not isinstance(value, str):
            return value
        return tuple(one.strip() for one in value.split(",") if one.strip())

    @field_validator("engine_command", mode="before")
    @classmethod
    def _split_command(cls, value: object) -> object:
        """Takes a command as one types it as well as a TOML list."""
        return tuple(shlex.split(value)) if isinstance(value, str) else value

    @property
    def lora_folder(self) -> Path:
        """Where the operator puts LoRAs."""
        return self.lora_dir if self.lora_dir is not None else self.data_dir / "loras"

    @property
    def model_folder(self) -> Path:
        """Where the operator puts further models."""
        return self.model_dir if self.model_dir is not None else self.data_dir / "models"

    @property
    def wildcard_folder(self) -> Path:
        """Where the operator puts lists of words, a file each."""
        return self.wildcard_dir if self.wildcard_dir is not None else self.data_dir / "wildcards"

    def adapter_file(self, sha256: str) -> Path:
        """Returns where the file of a LoRA lies."""
        return self.data_dir / "adapters" / f"{sha256}.safetensors"

    def engine_environment(self) -> dict[str, str]:
        """Returns the `EASEL_...` variables that give the engine process this `EngineSettings`."""
        values = {name: getattr(self, name) for name in EngineSettings.model_fields}
        values["cache_dir"] = self.cache_dir or self.data_dir.absolute() / "cache"
        return {f"EASEL_{name.upper()}": str(v) for name, v in values.items() if v is not None}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Adds `easel.toml` of the working directory, last."""
        toml = TomlConfigSettingsSource(settings_cls, Path("easel.toml"))
        return init_settings, env_settings, file_secret_settings, toml


def load_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Reads the settings of this process.

    Raises:
        StartError: A value is wrong or a name is unknown; the message names it and the nearest
            known name.
    """
    environ = os.environ if environ is None else environ
    known = {f"EASEL_{name.upper()}" for name in Settings.model_fields}
    known |= {"EASEL_SECRETS_DIR", ENGINE_FD_VARIABLE}
    for name in environ:
        if name.startswith("EASEL_") and name not in known:
            nearest = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {nearest[0]}?" if nearest else ""
            raise StartError(f"The variable {name} is not a setting of Easel.{hint}")
    secrets = Path(environ.get("EASEL_SECRETS_DIR") or "secrets")
    try:
        # mypy does not know pydantic-settings' own keyword arguments.
        return Settings(_secrets_dir=secrets if secrets.is_dir() else None)  # type: ignore[call-arg]
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, p['loc']))}: {p['msg'][:1].lower()}{p['msg'][1:]}"
            for p in error.errors()
        )
        raise StartError(f"The settings cannot be used: {problems}.") from error
    except (ValueError, OSError) as error:  # a broken or unreadable easel.toml
        raise StartError(f"The settings cannot be read: {error}") from error
