"""A pack whose files tests change."""

from .nodes import NODE_CLASS_MAPPINGS

WEB_DIRECTORY = "web"
__all__ = ["NODE_CLASS_MAPPINGS", "WEB_DIRECTORY"]
