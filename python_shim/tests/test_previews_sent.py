"""Which previews ComfyUI is given: those that it can send. What sends them (`server.py`, send_image) ends with the first that it cannot."""

import io
import itertools

import pytest
from PIL import Image, ImageOps

from python_shim.shim.host_events import _shown

MODES = ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV", "I", "I;16", "F")
SIZES = ((1, 1), (64, 48), (5000, 1), (1, 5000), (70_000, 1), (65_500, 1), (0, 3))
LARGEST = (None, 1, 2, 64, 512, 0, -5, True, 1.5, "64", 1 << 40, 70_000)


def send(kind, image, largest):
    """As ComfyUI does it."""
    if largest is not None:
        image = ImageOps.contain(image, (largest, largest), Image.Resampling.BILINEAR)
    image.save(io.BytesIO(), format=kind, quality=95, compress_level=1)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "nothing", None, 7])
def test_whatever_is_passed_on_can_be_sent(kind, mode):
    for size, largest in itertools.product(SIZES, LARGEST):
        found = _shown((kind, Image.new(mode, size), largest))
        if found is not None and max(size) * (largest if isinstance(largest, int) else 1) < 1 << 22:
            send(*found)


@pytest.mark.parametrize(
    ("size", "largest"), [((64, 48), 1 << 40), ((70_000, 1), None), ((65_500, 1), None), ((5000, 1), 64), ((70_000, 1), 70_000)]
)
def test_one_of_an_extreme_size_can_be_sent_or_is_left_out(size, largest):
    found = _shown(("JPEG", Image.new("RGB", size), largest))
    if found is not None:
        send(*found)


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "CMYK"])
def test_usual_ones_are_passed_on_as_they_are(mode):
    picture = Image.new(mode, (512, 384))
    for largest in (None, 256, 512, 1024):
        assert _shown(("JPEG", picture, largest)) == ("JPEG", picture, largest)
    assert _shown(["PNG", Image.new("RGBA", (8, 8)), 512])[0] == "PNG"


@pytest.mark.parametrize(
    "strange", [None, "preview", 7, (), ("JPEG",), ("JPEG", None, 64), ("JPEG", "x", 64), ("JPEG", object(), 1), (1, 2, 3, 4), {}]
)
def test_what_is_no_preview_is_left_out(strange):
    assert _shown(strange) is None
