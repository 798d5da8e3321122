"""Progress bars, as `comfy/utils.py` offers them to node packs."""

PROGRESS_BAR_HOOK = None


def set_progress_bar_global_hook(function):
    """`function(value, total, preview, node_id=None)` is told of each step."""
    global PROGRESS_BAR_HOOK
    PROGRESS_BAR_HOOK = function


class ProgressBar:
    """Counts up to `total`."""

    def __init__(self, total, node_id=None):
        self.total, self.current, self.node_id = total, 0, node_id

    def update_absolute(self, value, total=None, preview=None):
        """Set the count."""
        self.total = self.total if total is None else total
        self.current = min(value, self.total)
        if PROGRESS_BAR_HOOK is not None:
            PROGRESS_BAR_HOOK(self.current, self.total, preview, node_id=self.node_id)

    def update(self, value):
        """Add to the count."""
        self.update_absolute(self.current + value)
