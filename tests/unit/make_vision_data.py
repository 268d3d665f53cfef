#!/usr/bin/env python3
"""make_vision_data.py - small pictures and expected values for test_picture, test_resize, test_processor, test_position_grid.

    python3 tests/unit/make_vision_data.py        from the root of the source tree

Writes tests/unit/data/vision/* (files to decode) and tests/unit/vision_expected.h (tables). The values come from Pillow,
torch, torchvision and transformers, whose versions the header then names; building and testing need none of them.
Larger results are stored as 64-bit FNV-1a hashes of their bytes, floats little-endian: equal means bit-equal.
"""
import io
import json
import os
import struct
import sys
import zlib

import numpy as np
import torch
from PIL import Image, ImageOps
import PIL

_register = torch.library.register_fake
# only torchvision's Python part is used; its compiled operators may be missing
torch.library.register_fake = lambda n, *a, **k: (lambda f: f) if str(n).startswith("torchvision::") else _register(n, *a, **k)
import torchvision
from torchvision.transforms.v2 import functional as F
torch.library.register_fake = _register
import transformers
from transformers.image_transforms import convert_to_rgb

FOLDER = "tests/unit/data/vision"
FILTERS = ["NEAREST", "LANCZOS", "BILINEAR", "BICUBIC", "BOX", "HAMMING"]
lines = []


def fnv(data):
    h = 0xCBF29CE484222325
    for b in bytes(data):
        h = (h ^ b) * 0x100000001B3 % (1 << 64)
    return "0x%016x" % h


def noise(h, w, c, seed):
    """The same bytes as fill_noise in vision_check.h."""
    out, x = np.empty(h * w * c, np.uint8), seed
    for i in range(out.size):
        x = (x * 1664525 + 1013904223) % (1 << 32)
        out[i] = x >> 24
    return out.reshape(h, w, c)


def smooth(h, w, c):
    y, x = np.mgrid[0:h, 0:w]
    return np.stack([np.clip(128 + 90 * np.sin(x / (2.0 + k) + k) + 40 * np.cos(y / (3.0 + k)), 0, 255) for k in range(c)], -1).astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values, depth, colour, extra=b"", interlace=False):
    """values [h, w, samples] of `depth` bits each, filter 0."""
    h, w, _ = values.shape
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)] if interlace else [(0, 0, 1, 1)]
    raw = b""
    for x0, y0, dx, dy in passes:
        part = values[y0::dy, x0::dx]
        for row in part if part.size else []:
            bits = "".join(format(int(v), "0%db" % depth) for v in row.reshape(-1))
            bits += "0" * (-len(bits) % 8)
            raw += b"\0" + bytes(int(bits[i:i + 8], 2) for i in range(0, len(bits), 8))
    head = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlace))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def jpeg(a, mode, **options):
    out = io.BytesIO()
    Image.fromarray(a if a.shape[2] > 1 else a[..., 0], mode).save(out, "JPEG", **options)
    return out.getvalue()


def pictures():
    exif = Image.Exif()
    exif[0x0112] = 6
    palette = chunk(b"PLTE", bytes(range(10, 10 + 30)))
    r = np.random.default_rng(3)
    sub = lambda top, h, w, c: r.integers(0, top, (h, w, c))
    grey16 = sub(600, 5, 9, 1)
    rgb = sub(256, 6, 7, 3)
    return {
        "rgb_420.jpg": jpeg(smooth(29, 37, 3), "RGB", quality=80, subsampling=2),
        "rgb_422.jpg": jpeg(smooth(20, 21, 3), "RGB", quality=70, subsampling=1),
        "progressive.jpg": jpeg(smooth(33, 26, 3), "RGB", quality=75, subsampling=2, progressive=True),
        "grey.jpg": jpeg(smooth(17, 19, 1), "L", quality=85),
        "cmyk.jpg": jpeg(smooth(16, 18, 4), "CMYK", quality=85),
        "exif6.jpg": jpeg(smooth(12, 20, 3), "RGB", quality=85, subsampling=0, exif=exif),
        "xmp3.jpg": jpeg(smooth(9, 14, 3), "RGB", quality=85, subsampling=0, xmp=b"<x tiff:Orientation=\"3\"/>"),
        "grey1.png": png(sub(2, 6, 11, 1), 1, 0),
        "grey2_key.png": png(sub(4, 5, 10, 1), 2, 0, chunk(b"tRNS", struct.pack(">H", 85))),
        "grey4.png": png(sub(16, 5, 9, 1), 4, 0),
        "grey16.png": png(grey16, 16, 0),
        "grey_alpha.png": png(sub(256, 5, 6, 2), 8, 4),
        "grey_alpha16.png": png(sub(65536, 5, 6, 2), 16, 4),
        "palette4.png": png(sub(16, 7, 9, 1), 4, 3, palette),
        "palette_alpha.png": png(sub(10, 7, 9, 1), 8, 3, palette + chunk(b"tRNS", bytes([0, 80, 160, 255]))),
        "rgb_key.png": png(rgb, 8, 2, chunk(b"tRNS", rgb[2, 3].astype(">u2").tobytes())),
        "rgb16.png": png(sub(65536, 4, 5, 3), 16, 2),
        "rgba.png": png(sub(256, 8, 5, 4), 8, 6),
        "rgba_adam7.png": png(sub(256, 11, 13, 4), 8, 6, interlace=True),
        "one.png": png(np.array([[[200, 100, 50]]]), 8, 2),
    }


def picture_table():
    lines.append("static const picture_case picture_cases[] = {\n\t/* file, width, height, mode, hash of the file's planes, hash in RGB */")
    for name, data in pictures().items():
        open(os.path.join(FOLDER, name), "wb").write(data)
        im = Image.open(io.BytesIO(data))
        im.load()
        mode, up = im.mode, ImageOps.exif_transpose(im)
        own = fnv(np.array(up).tobytes()) if mode in ("L", "LA", "RGB", "RGBA") else "0"
        rgb = fnv(convert_to_rgb(up, return_numpy=True).tobytes())
        lines.append('\t{"%s", %d, %d, "%s", %s, %s},' % (name, up.size[0], up.size[1], mode, own, rgb))
    lines.append("};\n")


def resize_table():
    lines.append("static const resize_case resize_cases[] = {\n\t/* height, width, planes, to height, to width, filter, back end, hash */")
    shapes = [(41, 53, 3, 20, 31), (41, 53, 3, 90, 100), (200, 20, 3, 33, 20), (200, 60, 1, 30, 50), (17, 130, 3, 17, 24), (3, 2, 3, 64, 80), (70, 1, 3, 5, 9), (33, 40, 1, 1, 2)]
    for h, w, c, oh, ow in shapes:
        a = noise(h, w, c, h * 1000 + w)
        for number, name in enumerate(FILTERS):
            im = Image.fromarray(a if c == 3 else a[..., 0]).resize((ow, oh), getattr(Image, name))
            lines.append("\t{%d, %d, %d, %d, %d, %d, VISION_PIL, %s}," % (h, w, c, oh, ow, number, fnv(np.array(im).tobytes())))
            if number < 4:
                mode = "NEAREST_EXACT" if name == "NEAREST" else name
                out = F.resize(torch.from_numpy(a).permute(2, 0, 1).contiguous(), [oh, ow], interpolation=getattr(F.InterpolationMode, mode), antialias=True)
                lines.append("\t{%d, %d, %d, %d, %d, %d, VISION_TORCHVISION, %s}," % (h, w, c, oh, ow, number, fnv(out.permute(1, 2, 0).contiguous().numpy().tobytes())))
    lines.append("};\n")


PROCESSORS = [
    # configuration, planes of the picture (height 45, width 62), size override
    ({"image_processor_type": "ViTImageProcessor", "size": {"height": 32, "width": 24}}, 3, None),
    ({"image_processor_type": "ViTImageProcessorFast", "size": 16, "do_rescale": False}, 3, None),
    ({"feature_extractor_type": "ViTFeatureExtractor", "size": 16, "do_normalize": False, "resample": 2}, 1, None),
    ({"image_processor_type": "ViTImageProcessor", "size": 32}, 3, (20, 28)),
    ({"image_processor_type": "CLIPImageProcessor", "size": 24, "crop_size": 24}, 3, None),
    ({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 20}, "crop_size": {"height": 27, "width": 31}}, 4, None),
    ({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 20}, "crop_size": 33, "rescale_factor": 0.0078, "resample": 1}, 1, None),
    ({"image_processor_type": "CLIPImageProcessor", "size": {"shortest_edge": 20, "longest_edge": 25}, "do_center_crop": False}, 3, None),
    ({"image_processor_type": "CLIPImageProcessor", "size": {"max_height": 30, "max_width": 30}, "do_center_crop": None}, 2, None),
    ({"image_processor_type": "LlavaImageProcessor", "do_pad": True, "size": 20, "crop_size": 20}, 3, None),
    ({"image_processor_type": "BitImageProcessor", "size": 30, "crop_size": 21}, 3, (14, 15)),
    ({"image_processor_type": "BlipImageProcessor", "size": 18}, 3, None),
    ({"image_processor_type": "DeiTImageProcessor", "size": 20, "crop_size": 13}, 3, None),
    ({"image_processor_type": "SiglipImageProcessor", "size": 18, "image_mean": 0.25, "do_pad": True, "pad_size": {"height": 20, "width": 30}}, 3, None),
]
# Every filter with every form of a size; crops of odd difference, within the picture and beyond it; pads.
SIZES = [{"height": 31, "width": 20}, {"shortest_edge": 23}, {"shortest_edge": 23, "longest_edge": 27}, {"shortest_edge": 60, "longest_edge": 71}, {"max_height": 40, "max_width": 33}]
CROPS = [None, {"height": 18, "width": 17}, {"height": 34, "width": 81}, {"height": 80, "width": 10}]
PROCESSORS += [({"image_processor_type": "CLIPImageProcessor", "size": s, "resample": f, **({"crop_size": c} if c else {"do_center_crop": False})}, 3 if (i + j) % 3 else 4, None)
               for f in range(6) for i, s in enumerate(SIZES) for j, c in enumerate(CROPS) if (f + i + j) % 2 == 0]
PROCESSORS += [({"image_processor_type": "SiglipImageProcessor", "size": {"height": h, "width": w}, "resample": f, "do_pad": True, "pad_size": {"height": 29, "width": 33}}, 3, None)
               for h, w, f in ((28, 33, 0), (29, 8, 1), (13, 32, 2), (1, 1, 3))]
PROCESSORS += [({"image_processor_type": "LlavaImageProcessor", "do_pad": True, "size": {"shortest_edge": 19}, "crop_size": {"height": h, "width": w}, "resample": f}, 3, None)
               for h, w, f in ((19, 18, 2), (24, 25, 3), (12, 19, 0))]
PROCESSORS += [({"image_processor_type": "DeiTImageProcessor", "size": {"height": 37, "width": 22}, "crop_size": {"height": 20, "width": 25}, "resample": f, "do_normalize": False,
                 "rescale_factor": r}, 3, None) for f, r in ((0, 1 / 127.5), (2, 0.5), (3, 1 / 255))]


def processor_table():
    lines.append("static const processor_case processor_cases[] = {\n\t/* configuration, planes, to height and width (0: its own), back end, channels, height, width, hash of floats */")
    for config, planes, size in PROCESSORS:
        a = noise(45, 62, planes, 77)
        im = Image.fromarray(a if planes > 1 else a[..., 0], [None, "L", "LA", "RGB", "RGBA"][planes])
        stem = config.get("image_processor_type", config.get("feature_extractor_type", "")).replace("FeatureExtractor", "ImageProcessor").replace("Fast", "")
        options = {k: v for k, v in config.items() if not k.endswith("_type")}
        call = {"size": {"height": size[0], "width": size[1]}, "crop_size": {"height": size[0], "width": size[1]}} if size else {}
        for backend, suffix in (("VISION_TORCHVISION", ""), ("VISION_PIL", "Pil")):
            try:
                out = getattr(transformers, stem + suffix)(**options)(im, return_tensors="np", **call)["pixel_values"][0]
            except Exception as e:                               # a filter or form that this back end does not have
                print(f"{backend} {config}: {str(e)[:90]}")
                continue
            out = np.ascontiguousarray(out, dtype="<f4")
            text = json.dumps(config).replace('"', '\\"')
            lines.append('\t{"%s",\n\t %d, %d, %d, %s, %d, %d, %d, %s},' % (text, planes, *(size or (0, 0)), backend, *out.shape, fnv(out.tobytes())))
    lines.append("};\n")


def grid_table():
    lines.append("static const grid_case grid_cases[] = {\n\t/* method, from, to, then the weight of each source (row-major) in the last cell but one */")
    methods = [("GRID_BICUBIC", dict(mode="bicubic", align_corners=False)), ("GRID_BILINEAR", dict(mode="bilinear", align_corners=False)),
               ("GRID_BICUBIC_WIDE", dict(mode="bicubic", align_corners=False, antialias=True)),
               ("GRID_BILINEAR_WIDE", dict(mode="bilinear", align_corners=False, antialias=True)),
               ("GRID_BILINEAR_ENDS", dict(mode="bilinear", align_corners=True))]
    for name, options in methods:
        one = ((4, 4, 9, 1), (4, 4, 1, 9)) if name == "GRID_BILINEAR_WIDE" else ()
        for gh, gw, th, tw in ((4, 3, 5, 7), (4, 4, 2, 3)) + one:
            unit = torch.eye(gh * gw).reshape(1, gh, gw, -1).permute(0, 3, 1, 2).contiguous()
            out = torch.nn.functional.interpolate(unit, size=(th, tw), **options)[0].reshape(gh * gw, -1)[:, -2]
            lines.append("\t{%s, {%d, %d}, {%d, %d},\n\t {%s}}," % (name, gh, gw, th, tw, ", ".join("%.9gf" % v if "." in "%.9g" % v or "e" in "%.9g" % v else "%d.0f" % v for v in out.tolist())))
    lines.append("};\n")


def main():
    os.makedirs(FOLDER, exist_ok=True)
    torch.set_num_threads(1)
    picture_table()
    resize_table()
    processor_table()
    grid_table()
    head = "/*\n * vision_expected.h - made by make_vision_data.py; do not edit.\n *\n * Pillow %s, torch %s, torchvision %s, transformers %s; the types are in vision_check.h.\n */\n" % (
        PIL.__version__, torch.__version__, torchvision.__version__, transformers.__version__)
    guard = "#ifndef TESTS_VISION_EXPECTED_H\n#define TESTS_VISION_EXPECTED_H\n\n#include \"vision_check.h\"\n\n"
    open("tests/unit/vision_expected.h", "w").write(head + guard + "\n".join(lines) + "\n#endif\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
