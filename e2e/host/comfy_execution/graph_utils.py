"""What a node returns to keep the nodes behind it from running."""


class ExecutionBlocker:
    """Blocks the output it stands at; with a message that is an error."""

    def __init__(self, message):
        self.message = message
