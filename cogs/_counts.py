"""So many pictures, jobs, stars, styles: "1 picture", "2,000 pictures", "3.1 GiB"."""

from cogs._language import t, tn


def pictures(number: int) -> str:
    """Returns so many pictures."""
    return tn("{number:,} picture", "{number:,} pictures", number)


def jobs(number: int) -> str:
    """Returns so many jobs."""
    return tn("{number:,} job", "{number:,} jobs", number)


def stars(number: int) -> str:
    """Returns so many stars."""
    return tn("{number:,} star", "{number:,} stars", number)


def styles(number: int) -> str:
    """Returns so many styles."""
    return tn("{number:,} style", "{number:,} styles", number)


def servers(number: int) -> str:
    """Returns so many servers."""
    return tn("{number:,} server", "{number:,} servers", number)


def size(number_bytes: int) -> str:
    """Returns so many bytes in the unit that people read them in."""
    mib = number_bytes / 2**20
    if mib < 1:
        return t("{number:,.0f} KiB", number=mib * 1024)
    if mib < 1000:
        return t("{number:,.1f} MiB", number=mib)
    return t("{number:,.1f} GiB", number=mib / 1024)


def words(number: int) -> str:
    """Returns so many words."""
    return tn("{number:,} word", "{number:,} words", number)
