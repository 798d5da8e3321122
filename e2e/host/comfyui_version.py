__version__ = "test-host"
