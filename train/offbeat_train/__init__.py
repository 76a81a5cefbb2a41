"""The cloud half of offbeat: from normal history to a checked bundle."""
