"""What stands on everything that people may read as a result, and how its numbers stand in a sentence."""

RESEARCH_USE = "Research use only, not a medical device."


def counted(count: int, noun: str) -> str:
    """``1 row``, ``1,234 rows``; the noun as of one."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
