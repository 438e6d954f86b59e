"""`/admin lora`: the styles of all servers for the bot's owners, and what of them a server takes."""

import discord
from discord import app_commands
from discord.app_commands import Choice, Range

from cogs import _answer, _lora_pages, _text
from cogs._authority import Reach, only, require_manager
from cogs._desk import Desk, desk_of
from cogs._language import N_, again, t
from engine.errors import InvalidRequestError
from engine.lora.metadata import MAX_TEXT, MAX_WORDS
from engine.style_shelf import key_of
from engine.styles import Wishes
from engine.types import MAX_ADAPTER_WEIGHT, InstalledAdapter

RESCANNED = "looked for styles"  # in the audit

ONE_FILE = N_("Attach a file, or name one inside the LoRA folder as path: one of the two.")
NO_CHANGE = N_("Say what should change: name, strength, trigger or preview.")
TOO_MANY_WORDS = N_(
    "A style takes at most {words} words that call it, each of at most {limit} characters, with "
    "commas between them. Shorten them."
)
ADDED = N_("Added: **{name}** can be used in every server now.")
PREVIEW_FOLLOWS = N_("Its preview is drawn when nobody's pictures wait.")
EDITED = N_("Changed: this is **{name}** now. Jobs that wait stay as they were asked for.")
REMOVED = N_(
    "Removed: nobody is offered **{name}** any more. Pictures that were asked for with it are still made."
)
FILE_STAYS = N_("Its file stays in the LoRA folder; /admin lora add takes it back.")
DISABLED = N_(
    "Off: nobody in this server is offered **{name}** or can draw with it. Other servers keep it."
)
ENABLED = N_("On: **{name}** can be used in this server.")
NOTHING_NEW = N_("The folders hold nothing new.")
_CHOICES = 25
_MAX_LINES = 1800


class LoraGroup(app_commands.Group):
    """The owners change what there is; managers what their own server uses of it."""

    def __init__(self) -> None:
        """Needs nothing: the desk comes with each interaction."""
        super().__init__(name="lora", description="Styles: which there are, and which count here.")

    @app_commands.command(description="Add a style from a LoRA file; for the owners of this bot.")
    @app_commands.describe(
        file="A .safetensors file",
        path="Or a file inside the LoRA folder",
        name="What people call it",
        strength="0 to 2; left out, 1",
        trigger="Words that call it, with commas; none for none",
        preview="A picture of what it does",
    )
    @only(Reach.OWNER)
    async def add(
        self,
        interaction: discord.Interaction,
        file: discord.Attachment | None = None,
        path: Range[str, 1, 300] | None = None,
        name: Range[str, 1, 50] | None = None,
        strength: Range[float, 0.0, MAX_ADAPTER_WEIGHT] | None = None,
        trigger: Range[str, 1, 300] | None = None,
        preview: discord.Attachment | None = None,
    ) -> None:
        """Fetches, checks and registers the file; answered first, since that may take minutes."""
        desk, actor_id = desk_of(interaction), interaction.user.id
        wishes = Wishes(name, strength, _words(trigger))
        if (file is None) == (path is None):
            raise InvalidRequestError(ONE_FILE)
        if file is not None:
            desk.lora_files.check(file.url, file.size)
            desk.parts.styles.check_wishes(wishes)
        _check_picture(desk, preview)
        await interaction.response.defer(ephemeral=True, thinking=True)
        picture = await _picture(desk, preview, actor_id)
        if file is not None:
            style = await desk.lora_files.add(
                file.url, file.size, wishes, called=file.filename, actor_id=actor_id
            )
        else:
            style = await desk.parts.styles.add_from_folder(path or "", wishes, actor_id=actor_id)
        if picture is not None:
            await desk.parts.styles.set_preview(style, picture)
        desk.previews.wake()
        has_preview = await desk.parts.styles.preview(style.sha256) is not None
        text = t(ADDED, name=_text.shown(style.name, 60))
        await _show(interaction, style, text if has_preview else f"{text} {t(PREVIEW_FOLLOWS)}")

    @app_commands.command(description="Take a style away; for the owners of this bot.")
    @app_commands.describe(style="Which one")
    @only(Reach.OWNER)
    async def remove(self, interaction: discord.Interaction, style: Range[str, 1, 100]) -> None:
        """Removes it at once; its file stays while jobs need it."""
        styles = desk_of(interaction).parts.styles
        found = styles.named(style)
        work = styles.remove(found, actor_id=interaction.user.id)
        await _answer.in_time(interaction, work, ephemeral=True)
        text = t(REMOVED, name=_text.shown(found.name, 60))
        await _say(interaction, f"{text} {t(FILE_STAYS)}" if found.source else text)

    @app_commands.command(description="Change a style; for the owners of this bot.")
    @app_commands.describe(
        style="Which one",
        name="What people call it from now on",
        strength="0 to 2",
        trigger="Words that call it, with commas; none for none",
        preview="A picture of what it does",
    )
    @only(Reach.OWNER)
    async def edit(
        self,
        interaction: discord.Interaction,
        style: Range[str, 1, 100],
        name: Range[str, 1, 50] | None = None,
        strength: Range[float, 0.0, MAX_ADAPTER_WEIGHT] | None = None,
        trigger: Range[str, 1, 300] | None = None,
        preview: discord.Attachment | None = None,
    ) -> None:
        """Changes what was given."""
        desk, actor_id = desk_of(interaction), interaction.user.id
        wishes = Wishes(name, strength, _words(trigger))
        if wishes == Wishes() and preview is None:
            raise InvalidRequestError(NO_CHANGE)
        found = desk.parts.styles.named(style)
        desk.parts.styles.check_wishes(wishes, but=found)
        _check_picture(desk, preview)

        async def work() -> InstalledAdapter:
            picture = await _picture(desk, preview, actor_id)
            edited = await desk.parts.styles.edit(found, wishes, actor_id=actor_id)
            if picture is not None:
                await desk.parts.styles.set_preview(edited, picture)
            return edited

        edited = await _answer.in_time(interaction, work(), ephemeral=True)
        await _show(interaction, edited, t(EDITED, name=_text.shown(edited.name, 60)))

    @app_commands.command(description="Look into the LoRA folder; for the owners of this bot.")
    @only(Reach.OWNER)
    async def rescan(self, interaction: discord.Interaction) -> None:
        """Takes in what is new, and tells what is not used and why."""
        desk = desk_of(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        scan = await desk.parts.styles.rescan()
        await desk.parts.audit.add(interaction.user.id, RESCANNED, added=scan.added, gone=scan.gone)
        desk.previews.wake()
        lines = [t("New: {names}", names=_text.shown(", ".join(scan.added), 600))] * bool(
            scan.added
        )
        lines += [t("Gone: {names}", names=_text.shown(", ".join(scan.gone), 600))] * bool(
            scan.gone
        )
        lines += [
            t(
                "Not used: {file}. {reason}",
                file=_text.shown(file, 100),
                reason=_text.shown(again(reason), 300),
            )
            for file, reason in scan.refused.items()
        ]
        await _say(interaction, _text.joined_within(lines or [t(NOTHING_NEW)], _MAX_LINES))

    @app_commands.command(name="list", description="All styles, also those that are not used here.")
    @app_commands.describe(query="A part of the name")
    @only(Reach.BOTH)
    async def list_(
        self, interaction: discord.Interaction, query: Range[str, 1, 50] | None = None
    ) -> None:
        """Answers with the first page."""
        page = _lora_pages.styles_page(
            desk_of(interaction), interaction.guild_id, _text.clean(query or "")
        )
        await _answer.answer(interaction, ephemeral=True, embed=page.embed, view=page.view)

    @app_commands.command(description="Everything about a style.")
    @app_commands.describe(style="Which one")
    @only(Reach.BOTH)
    async def info(self, interaction: discord.Interaction, style: Range[str, 1, 100]) -> None:
        """Answers with its facts and preview."""
        await _show(interaction, desk_of(interaction).parts.styles.named(style))

    @app_commands.command(description="Let people use a style in this server again.")
    @app_commands.describe(style="Which one")
    @only(Reach.SERVER)
    async def enable(self, interaction: discord.Interaction, style: Range[str, 1, 100]) -> None:
        """Switches it on for the server alone."""
        await _switch(interaction, style, hidden=False)

    @app_commands.command(description="Keep people from using a style in this server.")
    @app_commands.describe(style="Which one")
    @only(Reach.SERVER)
    async def disable(self, interaction: discord.Interaction, style: Range[str, 1, 100]) -> None:
        """Switches it off for the server alone."""
        await _switch(interaction, style, hidden=True)

    @add.autocomplete("path")
    @only(Reach.OWNER)
    async def _paths(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        wanted = current.casefold()
        found = await desk_of(interaction).parts.styles.files()
        names = [name for name in found if wanted in name.casefold() and len(name) <= 100]
        return [Choice(name=_text.plain(one, 100), value=one) for one in names[:_CHOICES]]

    @remove.autocomplete("style")
    @edit.autocomplete("style")
    @only(Reach.OWNER)
    async def _all(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return _choices(desk_of(interaction).parts.styles.registered(), current)

    @info.autocomplete("style")
    @only(Reach.BOTH)
    async def _any(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return _choices(desk_of(interaction).parts.styles.registered(), current)

    @enable.autocomplete("style")
    @only(Reach.SERVER)
    async def _off(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return _choices(_switched(interaction, hidden=True), current)

    @disable.autocomplete("style")
    @only(Reach.SERVER)
    async def _on(self, interaction: discord.Interaction, current: str) -> list[Choice[str]]:
        return _choices(_switched(interaction, hidden=False), current)


async def _switch(interaction: discord.Interaction, name: str, *, hidden: bool) -> None:
    guild_id = require_manager(interaction)
    styles = desk_of(interaction).parts.styles
    style = styles.named(name)
    if styles.is_hidden(guild_id, style) is not hidden:
        work = styles.set_hidden(guild_id, style, hidden, actor_id=interaction.user.id)
        await _answer.in_time(interaction, work, ephemeral=True)
    await _say(interaction, t(DISABLED if hidden else ENABLED, name=_text.shown(style.name, 60)))


def _switched(interaction: discord.Interaction, *, hidden: bool) -> list[InstalledAdapter]:
    guild_id, styles = require_manager(interaction), desk_of(interaction).parts.styles
    return [one for one in styles.registered() if styles.is_hidden(guild_id, one) is hidden]


def _choices(styles: list[InstalledAdapter], typed: str) -> list[Choice[str]]:
    wanted = key_of(typed)
    found = [one.name for one in styles if wanted in key_of(one.name)]
    return [Choice(name=_text.plain(name, 100), value=name) for name in found[:_CHOICES]]


def _words(text: str | None) -> tuple[str, ...] | None:
    """Returns the words that call a style; None when they were left out.

    Raises:
        InvalidRequestError: They are too many or too long.
    """
    if text is None:
        return None
    words = tuple(dict.fromkeys(word for part in text.split(",") if (word := _text.clean(part))))
    if [word.casefold() for word in words] == ["none"]:
        return ()
    if len(words) > MAX_WORDS or any(len(word) > MAX_TEXT for word in words):
        raise InvalidRequestError(TOO_MANY_WORDS, words=MAX_WORDS, limit=MAX_TEXT)
    return words


def _check_picture(desk: Desk, attachment: discord.Attachment | None) -> None:
    if attachment is not None:
        desk.arrivals.check(attachment.url, attachment.size)


async def _picture(
    desk: Desk, attachment: discord.Attachment | None, person_id: int
) -> bytes | None:
    """Returns the picture of a preview, before anything is changed: it may be refused."""
    if attachment is None:
        return None
    return (await desk.arrivals.picture(attachment.url, person_id)).png


async def _show(
    interaction: discord.Interaction, style: InstalledAdapter, text: str | None = None
) -> None:
    page = await _lora_pages.facts(desk_of(interaction), interaction.guild_id, style)
    await _answer.answer(
        interaction, text, ephemeral=True, embed=page.embed, view=page.view, files=page.files()
    )


async def _say(interaction: discord.Interaction, text: str) -> None:
    await _answer.answer(interaction, text, ephemeral=True)
