"""The test host's `comfy_execution`."""
