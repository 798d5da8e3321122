"""What the shim and the worker share: values, shared memory, messages. Standard library; numpy and torch where they are."""

PROTOCOL_VERSION = 2
