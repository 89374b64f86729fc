"""What counts as an image, and how a file that is none is found out before it is decoded."""

import struct
import subprocess
import sys

import cv2
import numpy as np
import pytest
from subjects import jpeg, png_of

from reidd.errors import BackendError, ImageError
from reidd.images import MAX_PIXELS, encoded_size, pixels


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_the_size_is_read_from_the_header(image, suffix):
    encoded = cv2.imencode(suffix, image)[1].tobytes()
    assert encoded_size(encoded) == (image.shape[1], image.shape[0])


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_file_cut_short_anywhere_is_refused(image, suffix):
    encoded = cv2.imencode(suffix, image)[1].tobytes()
    assert np.asarray(pixels(encoded)).shape == image.shape
    for length in range(0, len(encoded) - 2, 7):
        with pytest.raises(ImageError):
            pixels(encoded[:length])


def test_a_png_that_lacks_only_its_end_is_refused(image):
    encoded = cv2.imencode(".png", image)[1].tobytes()
    with pytest.raises(ImageError, match="cut short"):
        pixels(encoded[:-12])


def test_a_jpeg_with_a_thumbnail_is_not_taken_for_whole_by_the_thumbnails_end(image):
    thumbnail = jpeg(cv2.resize(image, (16, 32)))
    encoded = jpeg(image)
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = encoded[:2] + segment + encoded[2:]
    assert encoded_size(whole) == (image.shape[1], image.shape[0])
    with pytest.raises(ImageError, match="cut short"):
        encoded_size(whole[:-100])


def test_a_decompression_bomb_is_refused_by_its_header():
    with pytest.raises(ImageError, match="30000x30000 px; expected at most"):
        pixels(png_of(30_000, 30_000))


def test_an_application_may_read_larger_images_than_we_do(monkeypatch):
    opencv = "import reidd, reidd.images, os, cv2; print(os.environ.get('OPENCV_IO_MAX_IMAGE_PIXELS'))"
    monkeypatch.delenv("OPENCV_IO_MAX_IMAGE_PIXELS", raising=False)
    assert subprocess.run([sys.executable, "-c", opencv], capture_output=True, text=True, check=True).stdout == "None\n"


def test_the_largest_and_the_smallest_images_are_told_what_is_expected():
    with pytest.raises(ImageError, match=str(MAX_PIXELS)):
        pixels(np.broadcast_to(np.uint8(0), (7000, 7000, 3)))
    with pytest.raises(ImageError, match="at least 4 px"):
        pixels(np.zeros((3, 100, 3), np.uint8))
    assert pixels(np.zeros((4, 4, 3), np.uint8)).shape == (4, 4, 3)


def test_grey_becomes_three_equal_channels_and_alpha_is_dropped():
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    assert np.array_equal(pixels(grey), np.dstack([grey] * 3))
    assert np.array_equal(pixels(grey[..., None]), np.dstack([grey] * 3))
    bgra = np.random.default_rng(0).integers(0, 255, (8, 8, 4), np.uint8)
    assert np.array_equal(pixels(bgra), bgra[..., :3])


def test_arrays_need_no_opencv_and_a_file_says_that_it_does(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    for shape in ((8, 8), (8, 8, 1), (8, 8, 3), (8, 8, 4)):
        assert pixels(np.zeros(shape, np.uint8)).shape == (8, 8, 3)
    with pytest.raises(BackendError, match=r"pip install 'reidd\[opencv\]'"):
        pixels(png_of(8, 8))


def test_damaged_data_behind_a_good_header_is_refused():
    with pytest.raises(ImageError, match="cannot be decoded"):
        pixels(png_of(64, 64))
