"""The test host's `comfy`: only what node packs and the shim of the tests touch."""
