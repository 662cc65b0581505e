"""The picture reader, on every kind of file that people have, against Pillow."""

import io
import os
import struct
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps, features

from persondet import images
from persondet.data.picture_size import displayed_size_hw
from persondet.errors import InputError
from persondet.image_header import read_image_header
from persondet.images import (
    MAX_PIXELS,
    MAX_PIXELS_JPEG,
    list_images,
    read_image_rgb,
    write_image_rgb,
)


@pytest.fixture(scope="module")
def image_rgb():
    """A smooth picture, not square, whose channels and corners all differ."""
    rows, columns = np.mgrid[0:48, 0:80]
    channels = (rows * 5, columns * 3, 255 - rows * 2 - columns)
    return np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8)


def saved(image, file_format, **options):
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def read(tmp_path, data, name="picture"):
    path = tmp_path / name
    path.write_bytes(data)
    return read_image_rgb(path)


@pytest.mark.parametrize("file_format", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_give_the_very_pixels(tmp_path, image_rgb, file_format):
    found = read(tmp_path, saved(Image.fromarray(image_rgb), file_format))
    assert found.dtype == np.uint8
    assert found.flags.c_contiguous
    assert found.flags.owndata
    np.testing.assert_array_equal(found, image_rgb)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
def test_the_exif_orientation_is_applied(tmp_path, image_rgb, file_format, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(image_rgb), file_format, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    found = read(tmp_path, data)
    assert found.shape == ((48, 80, 3) if orientation < 5 else (80, 48, 3))
    np.testing.assert_allclose(found.astype(int), expected, atol=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_rotation_and_mirror_of_avif_are_applied(tmp_path, image_rgb, orientation):
    """Pillow writes an orientation as the boxes irot and imir, and reads them as one."""
    if not features.check("avif") or not cv2.haveImageWriter(".avif"):
        pytest.skip("needs a Pillow and an OpenCV with AVIF")
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = saved(Image.fromarray(image_rgb), "AVIF", exif=exif, quality=95)
    assert (b"irot" in data or b"imir" in data) == (orientation > 1)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    found = read(tmp_path, data)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.astype(int), expected, atol=16)
    assert np.abs(found.astype(int) - expected).mean() < 3


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", [2, 5, 6, 8])
def test_exif_that_begins_with_its_own_header_turns_as_well(
    tmp_path, image_rgb, file_format, times, orientation
):
    exif = Image.Exif()
    exif[0x0112] = orientation
    directory = exif.tobytes().removeprefix(b"Exif\0\0")
    given = b"Exif\0\0" * times + directory
    picture = Image.fromarray(image_rgb)
    if file_format == "PNG":  # Pillow leaves the header out
        data = with_png_chunk(saved(picture, "PNG"), b"eXIf", given)
    else:  # and of WebP one of them
        first = b"Exif\0\0" if file_format == "WEBP" else b""
        data = saved(picture, file_format, exif=first + given, quality=95)
    assert given in data
    picture.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(picture))
    found = read(tmp_path, data, "turned")
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).mean() < 3
    assert displayed_size_hw(tmp_path / "turned") == expected.shape[:2]


def png_chunk(kind, content):
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def with_png_chunk(data, kind, content):
    """The chunk behind IHDR."""
    return data[:33] + png_chunk(kind, content) + data[33:]


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK", "YCbCr"])
def test_other_colour_models_become_rgb(tmp_path, image_rgb, mode):
    picture = Image.fromarray(image_rgb).convert(mode)
    data = saved(picture, "JPEG" if mode in ("CMYK", "YCbCr") else "PNG")
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    np.testing.assert_allclose(read(tmp_path, data).astype(int), expected, atol=2)


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("grey", [False, True])
def test_16_bit_pictures_keep_their_high_byte(tmp_path, image_rgb, suffix, grey):
    expected = image_rgb[..., :1].repeat(3, axis=2) if grey else image_rgb
    pixels = expected[..., 0] if grey else expected[..., ::-1]
    low_byte = 201
    _, data = cv2.imencode(suffix, pixels.astype(np.uint16) * 256 + low_byte)
    np.testing.assert_allclose(read(tmp_path, data.tobytes()).astype(int), expected, atol=1)


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
@pytest.mark.parametrize(
    ("peak", "words"),
    [
        (0, None),
        ((1 << 10) - 1, "uses 10 "),
        ((1 << 12) - 1, "uses 12 (values up to 4095)"),
        ((1 << 14) - 1, "uses 14 "),
        (1 << 14, None),
    ],
)
def test_low_bits_in_a_16_bit_file_are_noted(tmp_path, caplog, suffix, peak, words):
    pixels = np.zeros((30, 41), np.uint16)
    pixels[11, 7] = peak
    found = read(tmp_path, cv2.imencode(suffix, pixels)[1].tobytes(), f"dark{suffix}")
    assert found[11, 7].tolist() == [peak >> 8] * 3
    noted = [record.getMessage() for record in caplog.records]
    assert len(noted) == (words is not None)
    assert all(words in text and f"dark{suffix}" in text for text in noted)


def test_alpha_is_dropped_not_blended(tmp_path, image_rgb):
    alpha = np.zeros((48, 80, 1), np.uint8)
    data = saved(Image.fromarray(np.concatenate([image_rgb, alpha], axis=2)), "PNG")
    np.testing.assert_array_equal(read(tmp_path, data), image_rgb)


def test_the_first_frame_of_an_animation(tmp_path, image_rgb):
    first, second = (
        Image.fromarray(pixels).quantize(64) for pixels in (image_rgb, 255 - image_rgb)
    )
    data = saved(first, "GIF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(read(tmp_path, data), np.asarray(first.convert("RGB")))


@pytest.mark.parametrize("size_wh", [(1, 1), (1, 300), (301, 1)])
def test_thin_pictures(tmp_path, size_wh):
    assert read(tmp_path, saved(Image.new("RGB", size_wh), "PNG")).shape == (*size_wh[::-1], 3)


def test_any_name_will_do(tmp_path, image_rgb):
    data = saved(Image.fromarray(image_rgb), "PNG")
    for name in ("фото 雪.png", "no_suffix", "wrong.jpg", "-v", "a\nb"):
        np.testing.assert_array_equal(read(tmp_path, data, name), image_rgb)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("fraction", [0.1, 0.6, 0.97])
def test_a_truncated_picture_is_refused(tmp_path, capfd, image_rgb, file_format, fraction):
    data = saved(Image.fromarray(image_rgb), file_format)
    with pytest.raises(InputError, match=r"cannot read the picture .*cut\.jpg"):
        read(tmp_path, data[: int(len(data) * fraction)], "cut.jpg")
    assert capfd.readouterr().err == ""


def test_a_truncated_jpeg_with_a_whole_thumbnail_is_refused(tmp_path, capfd, image_rgb):
    """The thumbnail's end mark is not the picture's."""
    whole = with_thumbnail(saved(Image.fromarray(image_rgb), "JPEG"))
    assert read(tmp_path, whole).shape == (48, 80, 3)
    assert displayed_size_hw(tmp_path / "picture") == (48, 80)
    for lost in (2, 100, len(whole) // 4):
        cut = whole[:-lost]
        assert b"\xff\xd9" in cut
        with pytest.raises(InputError, match=r"the JPEG file is cut off after \d+ bytes"):
            read(tmp_path, cut)
        with pytest.raises(InputError, match=r"the JPEG file is cut off after \d+ bytes"):
            displayed_size_hw(tmp_path / "picture")
    assert capfd.readouterr().err == ""


def test_damage_amid_a_jpeg_is_noted(tmp_path, capfd, caplog, image_rgb):
    """libjpeg decodes on, and names no file; the same words for a small and a large hole."""
    noise = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
    whole = saved(Image.fromarray(noise), "JPEG")
    assert read(tmp_path, whole).shape == (120, 160, 3)
    assert caplog.messages == []
    for length in (50, 4000):
        begin = len(whole) // 2
        data = whole[:begin] + b"\0\xff\x01" + b"\0" * length + whole[begin + length + 3 :]
        assert read(tmp_path, data, "hole.jpg").shape == (120, 160, 3)
        assert len(caplog.messages) == 1
        assert "hole.jpg is damaged: Corrupt JPEG data: " in caplog.messages[0]
        caplog.clear()
    assert capfd.readouterr().err == ""


def with_thumbnail(data):
    """The JPEG with a segment that holds a JPEG of its own, as cameras write it."""
    thumbnail = b"Exif\0\0" + saved(Image.new("RGB", (16, 12), "red"), "JPEG")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail + data[2:]


@pytest.mark.parametrize("home", ["cv2", "cv2.utils.logging", "nowhere"])
def test_any_opencv_is_silenced_as_it_can_be(monkeypatch, home) -> None:
    """Before 4.13 the function is in cv2 itself; a build may lack it."""
    levels: list[int] = []
    has_it = SimpleNamespace(setLogLevel=levels.append)
    of_home = {
        "cv2": SimpleNamespace(utils=SimpleNamespace(), setLogLevel=levels.append),
        "cv2.utils.logging": SimpleNamespace(utils=SimpleNamespace(logging=has_it)),
        "nowhere": SimpleNamespace(),
    }
    monkeypatch.setattr(images, "cv2", of_home[home])
    images.quiet_opencv.__wrapped__()
    assert levels == ([] if home == "nowhere" else [0])


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("fraction", [0.5, 0.9])
def test_the_end_of_a_thumbnail_is_not_the_end(tmp_path, image_rgb, progressive, fraction) -> None:
    """OpenCV 4.10 gives such a file as a picture that is grey below."""
    picture = Image.fromarray(image_rgb)
    thumbnail = saved(picture.resize((16, 10)), "JPEG")
    assert thumbnail.endswith(b"\xff\xd9")
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(thumbnail)) + thumbnail
    data = saved(picture, "JPEG", progressive=progressive)
    whole = data[:2] + segment + data[2:]
    assert read(tmp_path, whole + b"appended by a phone").shape == image_rgb.shape
    cut = whole[: 2 + len(segment) + int(fraction * len(data))]
    with pytest.raises(InputError, match=rf"the JPEG file is cut off after {len(cut)} bytes"):
        read(tmp_path, cut)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"hello", "5 bytes that begin b'hello'"),
        (b"\xff\xd8\xff\xe0", "the JPEG file is cut off after 4 bytes"),
        (b"\x89PNG\r\n\x1a\n", "the PNG file is cut off"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer.*git lfs pull"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC picture; convert it to JPEG"),
        (b"\0\0\0\x18ftypisom\0\0\0\0", "a video; `persondet live` reads videos"),
        (b"\x1a\x45\xdf\xa3\1\0\0", "a video"),
        (b"%PDF-1.7", "PDF"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"PK\x03\x04", "zip"),
        (b"BM" + bytes(60), "damaged, or of a kind"),
        (b"P6 100000 100000 255\n", "at most 67 million in a PNM file; scale it down"),
    ],
)
def test_what_is_no_picture_is_named(tmp_path, capfd, data, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, data)
    assert capfd.readouterr().err == ""


FORMATS = ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "GIF", "BMP", "PPM", "JPEG2000"]


@pytest.mark.parametrize("file_format", FORMATS)
def test_the_header_says_the_size(image_rgb, file_format):
    if file_format == "AVIF" and not features.check("avif"):
        pytest.skip("needs a Pillow with AVIF")
    header = read_image_header(io.BytesIO(saved(Image.fromarray(image_rgb), file_format)))
    assert header is not None
    assert header.size_hw == header.displayed_size_hw == (48, 80)
    assert header.is_whole
    assert (header.bits, header.orientation) == (8, 1)


@pytest.mark.parametrize("options", [{"lossless": True}, {"exif": b"Exif\0\0"}])
def test_the_header_of_other_webp_says_the_size(image_rgb, options):
    data = saved(Image.fromarray(image_rgb), "WEBP", **options)
    header = read_image_header(io.BytesIO(data))
    assert header is not None and header.size_hw == (48, 80)


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_header_that_is_cut_off_is_no_failure(image_rgb, file_format):
    if file_format == "AVIF" and not features.check("avif"):
        pytest.skip("needs a Pillow with AVIF")
    data = saved(Image.fromarray(image_rgb), file_format)
    for length in range(min(len(data), 400)):
        header = read_image_header(io.BytesIO(data[:length]))
        assert header is None or file_format == "PPM" or header.size_hw in (None, (48, 80))


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    """100 million pixels in 100 kB; also where the file claims to be an animation."""
    row = bytes(1 + 10_000 // 8)
    packed = zlib.compress(row * 10_000, 9)
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 10_000, 10_000, 1, 0, 0, 0, 0))
    data = b"\x89PNG\r\n\x1a\n" + header + png_chunk(b"IDAT", packed) + png_chunk(b"IEND", b"")
    monkeypatch.setattr(cv2, "imdecode", None)  # not even called
    for content in (data, with_png_chunk(data, b"acTL", struct.pack(">II", 2, 0))):
        with pytest.raises(InputError, match=r"has 10000 x 10000 pixels, expected at most 67 mill"):
            read(tmp_path, content)


def test_the_largest_pictures(tmp_path):
    """A JPEG may be larger than others, as phones write such."""
    assert MAX_PIXELS < 12_032 * 9_024 < 16_320 * 12_240 < MAX_PIXELS_JPEG
    side = int(MAX_PIXELS**0.5)
    for header_hw, refused in (((side, side), False), ((side + 1, side), True)):
        path = tmp_path / "large.pbm"
        path.write_bytes(b"P4\n# a remark\n%d %d\n" % header_hw[::-1] + b"\0" * 10)
        words = "expected at most 67 million" if refused else "OpenCV refuses it|expected a whole"
        with pytest.raises(InputError, match=words):
            read_image_rgb(path)


def test_a_file_too_large_is_not_even_read(tmp_path):
    path = tmp_path / "film.png"
    with path.open("wb") as file:
        file.truncate(1 << 30)  # sparse
    with pytest.raises(InputError, match=r"too large, 1073741824 bytes.*is it a video"):
        read_image_rgb(path)


def test_missing_folder_and_odd_paths(tmp_path):
    with pytest.raises(InputError, match=r"none\.png: no such file"):
        read_image_rgb(tmp_path / "none.png")
    with pytest.raises(InputError, match="it is a folder"):
        read_image_rgb(tmp_path)
    with pytest.raises(InputError, match="null"):
        read_image_rgb("a\0b.png")
    with pytest.raises(InputError, match="expected a regular file"):
        read_image_rgb(os.devnull)
    with pytest.raises(InputError, match="too long"):
        read_image_rgb(tmp_path / ("x" * 300))


def test_a_file_without_permission(tmp_path, monkeypatch, image_rgb):
    path = tmp_path / "secret.png"
    path.write_bytes(saved(Image.fromarray(image_rgb), "PNG"))

    def refused(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "read_bytes", refused)  # root may read everything
    with pytest.raises(InputError, match=r"secret\.png: Permission denied; check the file"):
        read_image_rgb(path)


def test_listing_folders(tmp_path):
    for name in ("b.JPG", "a.png", "sub/deep/c.TIFF", "notes.txt", ".hidden.png", ".git/d.png"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    expected = [tmp_path / name for name in ("a.png", "b.JPG", "sub/deep/c.TIFF")]
    assert list_images([tmp_path]) == expected
    assert list_images([str(tmp_path / "notes.txt"), tmp_path]) == [
        tmp_path / "notes.txt",
        *expected,
    ]
    assert list_images([tmp_path / "b.JPG", tmp_path]) == [expected[1], expected[0], expected[2]]
    assert list_images([]) == []


def test_what_a_folder_scan_passes_over_is_said_once(tmp_path, caplog):
    kept = ["a.jfif", "b.JFI", "c.apng", "d.dib", "e.j2k", "f.jpg"]
    left = ["a.HEIC", "b.heic", "c.txt", "README", ".DS_Store", ".git/x.png", "sub/d.heic"]
    for name in kept + left:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "link").symlink_to(tmp_path / "sub")
    assert list_images([tmp_path]) == [tmp_path / name for name in kept]
    (note,) = caplog.messages
    words, _, kinds = note.partition(": ")
    assert words == "passed over beside 6 pictures"
    assert kinds.startswith("3 .heic, 2 hidden, ")
    assert set(kinds.split(", ")[2:]) == {"1 .txt", "1 without a suffix", "1 linked folder"}
    caplog.clear()
    list_images([tmp_path / name for name in kept])
    assert caplog.messages == []


def test_a_link_that_leads_back_is_not_followed(tmp_path):
    (tmp_path / "a.png").touch()
    (tmp_path / "loop").symlink_to(tmp_path)
    assert list_images([tmp_path]) == [tmp_path / "a.png"]


def test_folders_without_pictures_and_missing_paths(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"no pictures in the folder .*expected files that end in"):
        list_images([tmp_path])
    with pytest.raises(InputError, match=r"no such picture or folder: .*none"):
        list_images([tmp_path / "none"])


def test_a_folder_without_permission(tmp_path, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(InputError, match=r"cannot read the folder .*Permission denied"):
        list_images([tmp_path])


def test_writing_and_reading_again(tmp_path, image_rgb):
    write_image_rgb(tmp_path / "new" / "ünï.png", image_rgb)
    np.testing.assert_array_equal(read_image_rgb(tmp_path / "new" / "ünï.png"), image_rgb)
    with pytest.raises(InputError, match=r"cannot write the picture .*a\.txt: .*\.png or \.jpg"):
        write_image_rgb(tmp_path / "a.txt", image_rgb)
    assert list(tmp_path.iterdir()) == [tmp_path / "new"]
