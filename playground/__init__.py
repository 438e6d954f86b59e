"""A loopback Discord over real HTTP and websocket, to try and test the bot without an account.

    async with Playground() as discord:
        guild = discord.guild("Studio")
        channel = guild.channel("art")
        ana = guild.member("Ana")
        # start the bot with discord.env() in its environment
        await discord.ready()
        invocation = await ana.slash("imagine", prompt="a red circle")
        status = await invocation.response()
        result = await channel.wait_for(lambda m: m.attachments and m.pings(ana.user))

Pointing discord.py 2.7 at it takes two class attributes, set before the client logs in:

    discord.http.Route.BASE = discord.api_base      # "http://127.0.0.1:PORT/api/v10"
    discord.Asset.BASE = discord.cdn_base           # avatars and icons only

`Route.BASE` covers everything: requests with the token, and interaction callbacks and webhooks,
which build their URLs from it too. The gateway's address comes from `GET /gateway/bot` for an
`AutoShardedBot` without `shard_count`; a plain `Client`, or a bot with a fixed `shard_count`, starts
from `discord.gateway.DiscordWebSocket.DEFAULT_GATEWAY`, as does every fresh IDENTIFY after an
invalid session, so set that to `yarl.URL(discord.gateway_url)` as well. RESUME follows READY's
`resume_gateway_url`. Attachment links are absolute and need nothing.
"""

from playground.errors import ClientRefused, NoResponse
from playground.faults import FaultPlan, Limited, Refused, Reset, Status
from playground.invocation import Invocation
from playground.model import Message
from playground.options import File
from playground.people import Person
from playground.places import ChannelHandle, GuildHandle
from playground.server import Playground

__all__ = [
    "ChannelHandle",
    "ClientRefused",
    "FaultPlan",
    "File",
    "GuildHandle",
    "Invocation",
    "Limited",
    "Message",
    "NoResponse",
    "Person",
    "Playground",
    "Refused",
    "Reset",
    "Status",
]
