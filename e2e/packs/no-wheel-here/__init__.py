"""A sample pack whose compiled package has no wheel for this machine."""

import nvdiffrast  # noqa: F401

NODE_CLASS_MAPPINGS = {}
