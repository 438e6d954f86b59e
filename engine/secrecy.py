"""What must be told to nobody: which values are secret, and texts without them.

Texts of other people's code can quote anything: a library that complains of a request quotes its headers
or its address. So whatever comes from there is blanked before it is written or shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from pydantic import SecretStr

from engine.settings import Settings

BLANK = "***"

_SECRET_NAME = re.compile(
    r"TOKEN(?!IZERS)|SECRET|PASSWORD|PASSWD|CREDENTIAL|(API|ACCESS|PRIVATE)_?KEY", re.I
)
_SHORTEST = 8  # of a secret; to blank out "1" or "true" would garble everything
_OF_ANYBODY = re.compile(
    r"(?<=://)[^\s/@:]*:[^\s/@]+(?=@)"  # name and password in an address
    r"|\bhf_[A-Za-z0-9]{16,}"  # a token of the hub
    r"|(?<=\bBearer )\S+"
)


def is_secret_name(name: str) -> bool:
    """True for names of environment variables as `AWS_SECRET_ACCESS_KEY`."""
    return _SECRET_NAME.search(name) is not None


def secrets_of(environ: Mapping[str, str], settings: Settings | None = None) -> tuple[str, ...]:
    """Returns the secret values that this process knows, longest first: one may be part of another."""
    found = {value for name, value in environ.items() if is_secret_name(name)}
    for name in Settings.model_fields if settings is not None else ():
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            found.add(value.get_secret_value())
    return tuple(sorted((s for s in found if len(s) >= _SHORTEST), key=len, reverse=True))


def blanked(text: str, secrets: Iterable[str]) -> str:
    """Returns the text without the secrets, and without what is secret wherever it stands."""
    for secret in secrets:
        text = text.replace(secret, BLANK)
    return _OF_ANYBODY.sub(BLANK, text)
