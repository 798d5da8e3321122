"""The interrupt flag, as `comfy/model_management.py` keeps it, and what nodes call to free memory: there are no models here."""

import threading

_lock = threading.RLock()
_interrupted = False


class InterruptProcessingException(BaseException):
    """Ends a prompt that the user has cancelled."""


def interrupt_current_processing(value=True):
    """Set or clear the flag."""
    global _interrupted
    with _lock:
        _interrupted = value


def processing_interrupted():
    """Whether the user has cancelled."""
    with _lock:
        return _interrupted


def throw_exception_if_processing_interrupted():
    """Raise, and clear the flag, if the user has cancelled."""
    if processing_interrupted():
        interrupt_current_processing(False)
        raise InterruptProcessingException()


def unload_all_models():
    """Models leave the GPU."""


def soft_empty_cache(force=False):
    """So does what torch keeps for later."""
