"""Limits that the bot's owners and the managers of servers have set, in memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any

from engine import limits
from engine.errors import InvalidRequestError
from engine.limits import NAMES, NOTHING, Kind, Rule, Target
from engine.types import EngineInfo, Limits, Submission
from storage import audit
from storage.database import Database, Transaction
from storage.rows import Clock, utc_now

SET = "set limits"
RESET = "reset limits"
MAX_RULES = 100  # for roles and people of one server: all of them are shown on one card


class Rules:
    """What holds for whom; no command waits for the disk to know it."""

    def __init__(
        self,
        db: Database,
        *,
        configured: Limits,
        info: Callable[[], EngineInfo | None],
        clock: Clock = utc_now,
    ) -> None:
        """Knows no rule before `load`.

        Args:
            db: Keeps the rules.
            configured: What holds where no rule says anything.
            info: What is known of the engine, see `Engine.info`.
            clock: For the audit.
        """
        self._db = db
        self._configured = configured
        self._info = info
        self._clock = clock
        self._rules: dict[Target, Rule] = {}

    async def load(self) -> None:
        """Reads all rules."""
        rows = await self._db.rows("SELECT * FROM limit_rules")
        self._rules = {
            Target(row["guild_id"], Kind(row["kind"]), row["target_id"]): Rule(
                **{name: row[name] for name in NAMES}
            )
            for row in rows
        }

    def of(
        self, person_id: int, guild_id: int | None = None, role_ids: Iterable[int] = ()
    ) -> Limits:
        """Returns what holds for a person, in a server with these roles or elsewhere."""
        return limits.limits_of(self._rules, self._configured, person_id, guild_id, role_ids)

    def of_submission(self, submission: Submission) -> Limits:
        """Returns what holds for a submission."""
        guild_id = submission.destination.guild_id
        return self.of(submission.owner_id, guild_id, submission.role_ids)

    async def check(self, submission: Submission) -> None:
        """Raises OverLimitError when a submission is more than its owner may ask for at a time."""
        info = self._info()
        multiple = info.size_multiple if info is not None else 1
        limits.check(submission, self.of_submission(submission), multiple)

    def rule(self, target: Target) -> Rule:
        """Returns what was set for a target."""
        return self._rules.get(target, NOTHING)

    def of_server(self, guild_id: int) -> dict[Target, Rule]:
        """Returns all rules of a server, or those of the owners: everybody, roles, people."""
        order = list(Kind)
        found = [target for target in self._rules if target.guild_id == guild_id]
        found.sort(key=lambda target: (order.index(target.kind), target.id))
        return {target: self._rules[target] for target in found}

    async def set(self, target: Target, rule: Rule, *, actor_id: int) -> None:
        """Stores a target's rule instead of the one of before.

        Raises:
            InvalidRequestError: The server has too many rules.
        """
        if rule == NOTHING:
            await self.reset([target], actor_id=actor_id)
            return
        if target not in self._rules and len(self.of_server(target.guild_id)) > MAX_RULES:
            raise InvalidRequestError(
                "There are {count} limits for roles and people already, and no more are kept. Reset some "
                "with /admin limits reset.",
                count=MAX_RULES,
            )
        names = ", ".join(NAMES)
        holes = ", ".join("?" for _ in NAMES)
        changes = ", ".join(f"{name} = excluded.{name}" for name in NAMES)
        async with self._db.transaction() as tx:
            await tx.rows(
                f"INSERT INTO limit_rules (guild_id, kind, target_id, {names})"
                f" VALUES (?, ?, ?, {holes})"
                f" ON CONFLICT (guild_id, kind, target_id) DO UPDATE SET {changes}",
                (
                    target.guild_id,
                    str(target.kind),
                    target.id,
                    *(getattr(rule, name) for name in NAMES),
                ),
            )
            await self._note(tx, actor_id, SET, target, rule)
        self._rules[target] = rule

    async def reset(self, targets: Iterable[Target], *, actor_id: int) -> int:
        """Forgets the rules of these targets; returns how many there were."""
        known = [target for target in targets if target in self._rules]
        async with self._db.transaction() as tx:
            for target in known:
                await tx.rows(
                    "DELETE FROM limit_rules WHERE guild_id = ? AND kind = ? AND target_id = ?",
                    (target.guild_id, str(target.kind), target.id),
                )
                await self._note(tx, actor_id, RESET, target, self._rules[target])
        for target in known:
            self._rules.pop(target, None)
        return len(known)

    async def _note(
        self, tx: Transaction, actor_id: int, act: str, target: Target, rule: Rule
    ) -> None:
        values = {
            name: value for name, value in dataclasses.asdict(rule).items() if value is not None
        }
        detail: dict[str, Any] = {"guild_id": target.guild_id or None, "for": str(target.kind)}
        if target.id:
            detail["id"] = target.id
        await audit.note(tx, self._clock(), actor_id, act, detail | values)
