"""What a worker runs for `test_value_properties.py`."""


def echo(value):
    """The very value."""
    return value
