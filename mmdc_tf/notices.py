"""What stands on everything that people may read as a result."""

RESEARCH_USE = "Research use only, not a medical device."
