"""What this bot stores about people, in words; `/privacy notice` and `/help` show it."""

from engine.words import N_

TITLE = N_("What is stored about you")
TEXT = N_(
    "Pictures are made on the machine of this bot's operator, and nothing is sent to anybody else "
    "but Discord.\n"
    "**Stored there:** your Discord id and name; every job with its prompt, options, time, cost and "
    "place; your pictures and the ones you attached; your stars, defaults and reports. It is kept until it is "
    "deleted.\n"
    "**Who sees it:** results are posted in the channel where you asked; with `private:True` only "
    "you see them. The moderators of a server see its pictures that were reported or held back, and the reasons "
    "without your name. The operator can see everything that is stored.\n"
    "**Delete** below a picture removes it from Discord and from that machine. `/privacy delete` "
    "removes everything, within a minute. What stays: what you used up in the last 24 hours, as bare "
    "amounts; your bare id with what moderators or the operator decided about it (a block, limits, extra "
    "pictures) and in the list of what they did; a note that you asked; pictures that other people made from yours "
    "and copies that they sent to their DMs are theirs. The operator's backups, if there are any, are not reached.\n"
    "`/privacy export` gives you all of it."
)
