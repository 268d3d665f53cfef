#!/usr/bin/env python3
"""make_pictures.py - pictures of every format and mode, what Pillow and transformers make of them, and hostile files.

    make_pictures.py make                    writes pictures/, hostile/ and their lists (numpy, scikit-image, tifffile, pillow-heif)
    make_pictures.py verify                  recomputes pictures.txt from the files that are there (Pillow)
    make_pictures.py random N SEED FOLDER    writes N encodings of random crops, one in five cut short or damaged
    make_pictures.py compare PROGRAM FILE... decodes them with PROGRAM (check_pictures) and with Pillow, and counts

The photographs are scikit-image's: astronaut, rocket (NASA, public domain), coffee, chelsea, camera (CC0). Everything else
follows from the seeds below. check_pictures.c says what a line of the lists holds. Beside each hash stands nothing of ours:
all numbers in pictures.txt come from Pillow, and from the rule of transformers.image_transforms.convert_to_rgb, repeated here
because it is five lines.
"""
import hashlib
import io
import os
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
from PIL import Image, ImageOps, __version__ as PILLOW

HERE = os.path.dirname(os.path.abspath(__file__))
COUNT, SEED = 240, 5
warnings.simplefilter("ignore")


# ---------------------------------------------------------------------------------------------------- the reference
def on_white(im):
    if "A" in im.getbands() or im.info.get("transparency") is not None:
        im = im.convert("RGBA")
        im = Image.alpha_composite(Image.new("RGBA", im.size, (255, 255, 255, 255)), im)
    return im.convert("RGB")


def sha(im):
    return hashlib.sha256(im.tobytes()).hexdigest()


def reference(data):
    """format, width, height, hash in RGB, hash on white; an exception where Pillow refuses"""
    im = Image.open(io.BytesIO(data))
    kind = im.format
    im = ImageOps.exif_transpose(im)
    white = on_white(im)
    return {"WEBP": "WebP", "MPO": "JPEG", "DIB": "BMP"}.get(kind, kind), im.width, im.height, sha(im.convert("RGB")), sha(white)


def reference_frame(data, frame):
    im = Image.open(io.BytesIO(data))
    im.seek(frame)
    im = ImageOps.exif_transpose(im) if im.format == "WEBP" else im
    return "WebP" if data[:4] == b"RIFF" else "GIF", im.width, im.height, sha(im.convert("RGB")), sha(im.convert("RGBA"))


# ---------------------------------------------------------------------------------------------------- photographs
class Photos:
    def __init__(self, rng, most=64):
        import skimage.data
        self.rng, self.most = rng, most
        self.all = [np.asarray(getattr(skimage.data, n)()) for n in ("astronaut", "coffee", "chelsea", "rocket")]

    def crop(self, mode="RGB", least=1):
        r = self.rng
        a = self.all[r.integers(len(self.all))]
        w, h = (int(v) for v in r.integers(least, self.most + 1, 2))
        k = int(r.integers(1, 5))  # shrunk by
        y, x = int(r.integers(0, a.shape[0] - h * k + 1)), int(r.integers(0, a.shape[1] - w * k + 1))
        im = Image.fromarray(np.ascontiguousarray(a[y:y + h * k:k, x:x + w * k:k]))
        if mode in ("RGBA", "LA", "PA", "La"):
            gy, gx = np.mgrid[0:h, 0:w]
            alpha = np.clip(gx * 300 // w - 20 + 10 * (gy % 3), 0, 255).astype(np.uint8)
            if r.random() < 0.3:
                alpha = ((gx + gy) % 5 > 1).astype(np.uint8) * 255
            im = im.convert("RGB" if mode == "RGBA" else "L")
            im.putalpha(Image.fromarray(alpha))
            return im if mode in ("RGBA", "LA") else Image.merge("PA", (im.getchannel(0), im.getchannel(1)))
        if mode == "P":
            return im.quantize(int(r.integers(2, 257)))
        if mode == "1":
            return im.convert("1")
        if mode == "I;16":
            v = np.asarray(im.convert("L")).astype(np.uint16) * int(r.integers(1, 258))
            return Image.fromarray(v)
        if mode == "I":
            return Image.fromarray(np.asarray(im.convert("L")).astype(np.int32) * 3 - 200)
        if mode == "F":
            return Image.fromarray(np.asarray(im.convert("L")).astype(np.float32) * 1.7 - 60.3)
        return im.convert(mode)


def save(im, kind, **options):
    out = io.BytesIO()
    im.save(out, kind, **options)
    return out.getvalue()


def exif(orientation, header=True):
    e = Image.Exif()
    e[0x0112] = orientation
    return e.tobytes() if header else e.tobytes()[6:]


def xmp(orientation, element):
    tag = "<tiff:Orientation>%d</tiff:Orientation>" if element else "<a tiff:Orientation=\"%d\"/>"
    return ("<x:xmpmeta>" + tag % orientation + "</x:xmpmeta>").encode()


def pick(r, *values):
    return values[int(r.integers(len(values)))]


# ---------------------------------------------------------------------------------------------------- JPEG
def make_jpeg(r, photos):
    mode = pick(r, "RGB", "RGB", "RGB", "L", "CMYK")
    options = {"quality": int(r.integers(5, 101)), "progressive": bool(r.integers(2)), "optimize": bool(r.integers(2))}
    if mode == "RGB":
        options["subsampling"] = int(r.integers(3))
        options["keep_rgb"] = r.random() < 0.1
    if r.random() < 0.3:
        options["restart_marker_blocks"] = int(r.integers(1, 5))
    where = r.random()
    if where < 0.25:
        options["exif"] = exif(int(r.integers(0, 10)))
    elif where < 0.4:
        options["xmp"] = xmp(int(r.integers(1, 9)), r.random() < 0.5)
    data = save(photos.crop(mode), "JPEG", **options)
    if mode == "CMYK" and r.random() < 0.5:  # the same planes taken for YCCK
        at = data.index(b"Adobe") + 11
        data = data[:at] + b"\2" + data[at + 1:]
    if mode == "RGB" and options["subsampling"] == 1 and not options["keep_rgb"] and r.random() < 0.7:
        data = turn_blocks(data)
    return "jpg", data


def frame_header(data):
    """where SOF0 or SOF2 begins"""
    at = 2
    while data[at + 1] not in (0xc0, 0xc2):
        at += 2 + struct.unpack(">H", data[at + 2:at + 4])[0]
    return at


def turn_blocks(data):
    """4:2:2 becomes 4:4:0: the same blocks, two luma blocks now above each other, sides exchanged"""
    at = frame_header(data)
    h, w = struct.unpack(">HH", data[at + 5:at + 9])
    w, h = -(-h // 8) * 8, -(-w // 16) * 16
    return data[:at + 5] + struct.pack(">HH", h, w) + data[at + 9:at + 11] + b"\x12" + data[at + 12:]


# ---------------------------------------------------------------------------------------------------- PNG
def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(values, depth, colour, extra=b"", interlace=False):
    """values [h, w, samples] of `depth` bits each, filters by turns"""
    h, w, s = values.shape
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)] if interlace else [(0, 0, 1, 1)]
    raw = b""
    for x0, y0, dx, dy in passes:
        part = values[y0::dy, x0::dx]
        before = None
        for number, row in enumerate(part if part.size else []):
            bits = "".join(format(int(v), "0%db" % depth) for v in row.reshape(-1))
            bits += "0" * (-len(bits) % 8)
            line = np.array([int(bits[i:i + 8], 2) for i in range(0, len(bits), 8)], np.int64)
            kind = number % 3 if depth == 8 else 0  # none, sub, up
            step = max(1, s * depth // 8)
            left = np.concatenate([np.zeros(step, np.int64), line[:-step]]) if len(line) > step else np.zeros(len(line), np.int64)
            up = before if before is not None else np.zeros(len(line), np.int64)
            before, line = line, line - (0, left, up)[kind]
            raw += bytes([kind]) + (line % 256).astype(np.uint8).tobytes()
    head = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlace))
    body = zlib.compress(raw, 9)
    half = len(body) // 2
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", body[:half]) + chunk(b"IDAT", body[half:]) +
            chunk(b"IEND", b""))


def raw_profile(orientation):
    data = exif(orientation)
    text = "\nexif\n%8d\n" % len(data) + "\n".join(data.hex()[i:i + 72] for i in range(0, 2 * len(data), 72)) + "\n"
    return text.encode()


def orientation_chunk(r):
    o = int(r.integers(1, 9))
    kind = int(r.integers(5))
    if kind == 0:
        return chunk(b"eXIf", exif(o, False))
    if kind == 1:
        return chunk(b"tEXt", b"Raw profile type exif\0" + raw_profile(o))
    if kind == 2:
        return chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(raw_profile(o)))
    text = xmp(o, bool(r.integers(2)))
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0" + (b"\1\0\0\0" + zlib.compress(text) if kind == 3 else b"\0\0\0\0" + text))


def make_png(r, photos):
    if r.random() < 0.35:  # by Pillow
        mode = pick(r, "1", "L", "LA", "P", "RGB", "RGBA", "I;16")
        im = photos.crop(mode)
        options = {}
        if mode in ("L", "P") and r.random() < 0.4:
            options["transparency"] = int(np.asarray(im)[0, 0])
        if mode == "P" and r.random() < 0.3:
            options["transparency"] = bytes(int(v) for v in r.integers(0, 256, int(r.integers(1, 40))))
        if mode == "RGB" and r.random() < 0.3:
            options["transparency"] = im.getpixel((0, 0))
        if r.random() < 0.3:
            options["exif"] = exif(int(r.integers(1, 9)))
        if mode in ("RGB", "RGBA") and r.random() < 0.2:
            options.update(save_all=True, append_images=[photos.crop(mode).resize(im.size)], default_image=bool(r.integers(2)))
        return "png", save(im, "PNG", **options)
    colour = pick(r, 0, 2, 3, 4, 6)
    depth = pick(r, *{0: (1, 2, 4, 8, 16), 3: (1, 2, 4, 8)}.get(colour, (8, 16)))
    rgb = np.asarray(photos.crop("RGBA"))
    samples = {0: rgb[..., 1:2], 2: rgb[..., :3], 3: rgb[..., 1:2], 4: rgb[..., [1, 3]], 6: rgb}[colour].astype(np.int64)
    values = samples >> (8 - depth) if depth < 8 else samples * (257 if depth == 16 else 1)
    if depth == 16 and r.random() < 0.5:
        values = values // int(r.integers(1, 300))
    extra = b""
    if colour == 3:
        extra += chunk(b"PLTE", r.integers(0, 256, 3 * int(r.integers(max(1, (1 << depth) // 2), (1 << depth) + 1)), np.uint8).tobytes())
        if r.random() < 0.5:
            extra += chunk(b"tRNS", r.integers(0, 256, min(int(r.integers(1, 17)), (len(extra) - 12) // 3), np.uint8).tobytes())
    elif colour in (0, 2) and r.random() < 0.4:
        y, x = int(r.integers(values.shape[0])), int(r.integers(values.shape[1]))
        extra += chunk(b"tRNS", values[y, x].astype(">u2").tobytes())
    if r.random() < 0.3:
        extra += orientation_chunk(r)
    return "png", png(values, depth, colour, extra, bool(r.integers(2)))


# ---------------------------------------------------------------------------------------------------- GIF
def make_gif(r, photos):
    im = photos.crop(pick(r, "P", "P", "P", "L"), 2)
    options = {"interlace": int(r.integers(2)), "optimize": bool(r.integers(2))}
    if r.random() < 0.4:
        options["transparency"] = int(np.asarray(im)[0, 0])
    if r.random() < 0.4:
        others = [photos.crop("P", 2).resize(im.size) for _ in range(int(r.integers(1, 4)))]
        options.update(save_all=True, append_images=others, duration=int(r.integers(10, 500)), disposal=int(r.integers(0, 4)))
    data = save(im, "GIF", **options)
    if r.random() < 0.4 and "append_images" not in options:  # a frame in a part of the screen, or beyond it
        at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 128 else 0)
        while data[at] == 0x21:
            at += 2
            while data[at]:
                at += data[at] + 1
            at += 1
        dx, dy = (int(v) for v in r.integers(0, 9, 2))
        grow = bool(r.integers(2))
        data = (data[:6] + struct.pack("<HH", im.width + dx * grow, im.height + dy * grow) + data[10:at + 1] + struct.pack("<HH", dx, dy) +
                data[at + 5:])
    return "gif", data


# ---------------------------------------------------------------------------------------------------- WebP
def make_webp(r, photos):
    mode = pick(r, "RGB", "RGBA", "L", "P")
    im = photos.crop(mode)
    options = {"quality": int(r.integers(0, 101)), "lossless": r.random() < 0.4, "method": int(r.integers(0, 5)), "exact": bool(r.integers(2)),
               "alpha_quality": int(r.integers(0, 101))}
    if r.random() < 0.25:
        options["exif"] = exif(int(r.integers(1, 9)))
    elif r.random() < 0.2:
        options["xmp"] = xmp(int(r.integers(1, 9)), r.random() < 0.5)
    if r.random() < 0.25:
        options.update(save_all=True, append_images=[photos.crop(mode).resize(im.size) for _ in range(int(r.integers(1, 4)))],
                       duration=int(r.integers(10, 200)), allow_mixed=bool(r.integers(2)))
    return "webp", save(im, "WEBP", **options)


# ---------------------------------------------------------------------------------------------------- BMP
def bmp(width, height, bits, rows, header=40, compression=0, palette=b"", colours=0, masks=b"", negative=False, offset=None):
    """rows: the bytes of the pixels as they lie in the file"""
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack("<IIiHHIIiiII", header, width, -height if negative else height, 1, bits, compression, len(rows), 2835, 2835, colours, 0)
        info += (masks + bytes(header))[:header - 40]
        if header < 52:
            info += masks
    start = 14 + len(info) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start if offset is None else offset) + info + palette + rows


def bmp_rows(values, bits):
    """values [h, w] of `bits` bits, or bytes [h, w, n]; each row padded to four bytes"""
    out = b""
    for row in values:
        if values.ndim == 3:
            line = row.astype(np.uint8).tobytes()
        elif bits == 16:
            line = row.astype("<u2").tobytes()
        else:
            text = "".join(format(int(v), "0%db" % bits) for v in row)
            text += "0" * (-len(text) % 8)
            line = bytes(int(text[i:i + 8], 2) for i in range(0, len(text), 8))
        out += line + bytes(-len(line) % 4)
    return out


def bmp_runs(r, values, four):
    out = b""
    for row in values:
        x = 0
        while x < len(row):
            n = 1
            while x + n < len(row) and row[x + n] == row[x] and n < 255:
                n += 1
            if n < 3 and len(row) - x > 4 and r.random() < 0.7:
                n = int(min(len(row) - x, r.integers(3, 20)))
                part = [int(v) for v in row[x:x + n]]
                if four:
                    part += [0] * (len(part) % 2)
                    body = bytes(a << 4 | b for a, b in zip(part[::2], part[1::2]))
                else:
                    body = bytes(part)
                out += bytes([0, n]) + body + bytes(len(body) % 2)
            else:
                out += bytes([n, int(row[x]) * (17 if four else 1)])
            x += n
        out += b"\0\0" if r.random() < 0.9 else b""
    return out + b"\0\1"


def make_bmp(r, photos):
    if r.random() < 0.2:
        return "bmp", save(photos.crop(pick(r, "1", "L", "P", "RGB", "RGBA")), "BMP")
    rgb = np.asarray(photos.crop("RGBA")).astype(np.int64)
    h, w = rgb.shape[:2]
    header = pick(r, 12, 40, 40, 52, 56, 64, 108, 124)
    negative = header != 12 and r.random() < 0.3
    bits = pick(r, 1, 4, 8, 8, 16, 24, 32)
    if bits <= 8:
        colours = int(r.integers(max(1, (1 << bits) // 2), (1 << bits) + 1)) if header != 12 else 1 << bits
        indices = np.minimum(rgb[..., 0] >> (8 - bits), colours - 1)
        entry = 3 if header == 12 else 4
        palette = r.integers(0, 256, (colours, entry), np.uint8)
        if r.random() < 0.25:
            palette[:] = (np.arange(colours) * (255 if colours == 2 else 1))[:, None]
        if bits > 1 and header != 12 and r.random() < 0.4:
            data = bmp(w, h, bits, bmp_runs(r, indices, bits == 4), header, 2 if bits == 4 else 1, palette.tobytes(), colours, b"", negative)
        else:
            offset = 14 + header if r.random() < 0.1 else None
            data = bmp(w, h, bits, bmp_rows(indices, bits), header, 0, palette.tobytes(), colours % (1 << bits), b"", negative, offset)
        return "bmp", data[14:] if r.random() < 0.05 else data
    masks, compression = b"", 0
    if bits == 16:
        six = header != 12 and bool(r.integers(2))
        values = (rgb[..., 0] >> 3 << 11 | rgb[..., 1] >> 2 << 5 | rgb[..., 2] >> 3) if six else \
            (rgb[..., 0] >> 3 << 10 | rgb[..., 1] >> 3 << 5 | rgb[..., 2] >> 3)
        if six or (header != 12 and r.random() < 0.5):
            compression, masks = 3, struct.pack("<IIII", *((0xf800, 0x7e0, 0x1f, 0) if six else (0x7c00, 0x3e0, 0x1f, 0)))
    elif bits == 24:
        values = rgb[..., [2, 1, 0]]
    else:
        values = rgb[..., [2, 1, 0, 3]]
        if header != 12 and r.random() < 0.7:
            order = pick(r, (0xff0000, 0xff00, 0xff, 0), (0xff000000, 0xff0000, 0xff00, 0), (0xff000000, 0xff00, 0xff, 0),
                         (0xff000000, 0xff0000, 0xff00, 0xff), (0xff, 0xff00, 0xff0000, 0xff000000), (0xff0000, 0xff00, 0xff, 0xff000000),
                         (0xff000000, 0xff00, 0xff, 0xff0000), (0, 0, 0, 0), (0xff00, 0xff, 0xff0000, 0))
            compression, masks = 3, struct.pack("<IIII", *order)
    return "bmp", bmp(w, h, bits, bmp_rows(values, bits), header, compression, b"", 0, masks if header >= 56 else masks[:12], negative)


# ---------------------------------------------------------------------------------------------------- TIFF
def make_tiff(r, photos):
    return make_tiff_by_tifffile(r, photos) if r.random() < 0.6 else make_tiff_by_pillow(r, photos)


def make_tiff_by_pillow(r, photos):
    mode = pick(r, "1", "1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "I;16", "I", "F")
    im = photos.crop("RGB" if mode == "RGBX" else mode)
    im = im.convert("RGBX") if mode == "RGBX" else im
    kinds = ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"]
    if mode == "1":
        kinds += ["group3", "group4", "tiff_ccitt"]
    if mode in ("L", "RGB", "CMYK", "YCbCr"):
        kinds += ["jpeg"]
    kind = pick(r, *kinds)
    info = {}
    if kind not in ("raw", "jpeg") and r.random() < 0.5:
        info[278] = int(r.integers(1, 33))
    if kind in ("tiff_lzw", "tiff_adobe_deflate") and mode in ("L", "RGB", "RGBA", "I;16", "CMYK") and r.random() < 0.5:
        info[317] = 2
    if r.random() < 0.3:
        info[274] = int(r.integers(1, 9))
    options = {"quality": int(r.integers(20, 101))} if kind == "jpeg" else {}
    return "tif", save(im, "TIFF", compression=kind, tiffinfo=info, big_tiff=r.random() < 0.1, **options)


def make_tiff_by_tifffile(r, photos):
    import tifffile
    form = pick(r, "L", "L", "RGB", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "I", "P", "LA", "F", "W")
    depth = pick(r, 8, 8, 8, 16)
    rgba = np.asarray(photos.crop("RGBA"))
    a = {"L": rgba[..., 0], "W": rgba[..., 0], "P": rgba[..., 0], "LA": rgba[..., [0, 3]], "I": rgba[..., 0].astype(np.int32) * 2 - 99,
         "F": rgba[..., 0].astype(np.float32) * 1.5 - 30, "RGB": rgba[..., :3]}.get(form, rgba)
    if a.dtype == np.uint8 and depth == 16 and form not in ("P", "LA"):
        a = a.astype(np.uint16) * int(r.integers(1, 258))
    if form == "I":
        a = a.astype(pick(r, np.int32, np.int16, np.uint32, np.int8))
    if a.ndim == 3 and form != "LA" and r.random() < 0.3 and not (a.dtype == np.uint16):
        planar, a = "separate", np.ascontiguousarray(np.moveaxis(a, 2, 0))
    else:
        planar = "contig"
    options = {"byteorder": pick(r, "<", ">"), "bigtiff": r.random() < 0.1, "metadata": None, "compression": pick(r, None, "lzw", "zlib", "packbits")}
    options["photometric"] = {"L": "minisblack", "W": "miniswhite", "LA": "minisblack", "I": "minisblack", "F": "minisblack", "P": "palette",
                              "CMYK": "separated"}.get(form, "rgb")
    if form in ("RGBA", "RGBX", "RGBa", "LA"):
        options["extrasamples"] = [{"RGBX": "unspecified", "RGBa": "assocalpha"}.get(form, "unassalpha")]
    if form == "P":
        options["colormap"] = r.integers(0, 65536, (3, 256), np.uint16)
    if a.ndim == 3:
        options["planarconfig"] = planar
    if options["compression"] in ("lzw", "zlib") and a.dtype in (np.uint8, np.uint16, np.float32) and form != "P" and r.random() < 0.5:
        options["predictor"] = True
    if r.random() < 0.4:
        options["tile"] = (16 * int(r.integers(1, 4)), 16 * int(r.integers(1, 4)))
    elif r.random() < 0.5:
        options["rowsperstrip"] = int(r.integers(1, 20))
    if r.random() < 0.2:
        options["extratags"] = [(274, 3, 1, int(r.integers(1, 9)), True)]
    if options["byteorder"] == ">":  # Pillow 13 refuses these, and exchanges the bytes of those twice: picture_tiff.c
        options["bigtiff"] = False
        if a.dtype.itemsize > 1 and form in "IF":
            options["compression"] = None
            options.pop("predictor", None)
    out = io.BytesIO()
    tifffile.imwrite(out, a, **options)
    return "tif", out.getvalue()


# ---------------------------------------------------------------------------------------------------- AVIF
def make_avif(r, photos):
    mode = pick(r, "RGB", "RGB", "RGBA", "L")
    options = {"quality": int(r.integers(10, 101)), "speed": 8, "subsampling": pick(r, "4:2:0", "4:2:2", "4:4:4", "4:0:0"),
               "range": pick(r, "full", "limited"), "max_threads": 1}
    if r.random() < 0.3:
        options["exif"] = exif(int(r.integers(1, 9)))
    return "avif", save(photos.crop(mode, 4), "AVIF", **options)


MAKERS = [make_jpeg, make_png, make_gif, make_webp, make_bmp, make_tiff, make_avif]
SHARES = [0.2, 0.2, 0.13, 0.14, 0.13, 0.15, 0.05]


def random_pictures(count, seed, most):
    """name, bytes; those that Pillow cannot write are left out"""
    r = np.random.default_rng(seed)
    photos = Photos(r, most)
    made = 0
    while made < count:
        maker = MAKERS[int(r.choice(len(MAKERS), p=SHARES))]
        try:
            kind, data = maker(r, photos)
        except (OSError, ValueError, KeyError, SystemError, RuntimeError):
            continue
        yield "%04d.%s" % (made, kind), data
        made += 1


# ---------------------------------------------------------------------------------------------------- commands
def list_line(name, data):
    kind, w, h, rgb, white = reference(data)
    return "%s %s %d %d %s %s\n" % (name, kind, w, h, rgb, white)


def frame_lines(name, data):
    im = Image.open(io.BytesIO(data))
    if im.format not in ("GIF", "WEBP") or getattr(im, "n_frames", 1) < 2 or im.mode == "L":  # grey at first: see picture_gif.c
        return ""
    return "".join("%s#%d %s %d %d %s %s\n" % ((name, k) + reference_frame(data, k)) for k in range(im.n_frames))


def whole_list(files):
    text = "# FILE FORMAT WIDTH HEIGHT RGB WHITE, by make_pictures.py with Pillow %s; see check_pictures.c\n" % PILLOW
    for name, data in files:
        text += list_line(name, data) + frame_lines(name, data)
    return text


def read_folder(folder):
    return [(n, open(os.path.join(folder, n), "rb").read()) for n in sorted(os.listdir(folder))]


def write_folder(folder, files):
    os.makedirs(folder, exist_ok=True)
    for n in os.listdir(folder):
        os.remove(os.path.join(folder, n))
    for n, data in files:
        open(os.path.join(folder, n), "wb").write(data)


def make():
    from hostile_pictures import hostile_list, hostile_pictures
    files = []
    for name, data in random_pictures(2 * COUNT, SEED, 64):
        try:
            reference(data)
        except Exception:  # what Pillow refuses is in the hostile list
            continue
        files.append((name, data))
    files = [("%03d%s" % (i, name[4:]), data) for i, (name, data) in enumerate(files[:COUNT])]
    write_folder(os.path.join(HERE, "pictures"), files)
    open(os.path.join(HERE, "pictures.txt"), "w").write(whole_list(files))
    hostile = list(hostile_pictures())
    write_folder(os.path.join(HERE, "hostile"), hostile)
    open(os.path.join(HERE, "hostile.txt"), "w").write(hostile_list(hostile))
    print("%d pictures of %d bytes, %d hostile of %d" % (len(files), sum(len(d) for _, d in files), len(hostile), sum(len(d) for _, d in hostile)))


def verify():
    want = open(os.path.join(HERE, "pictures.txt")).read()
    got = whole_list(read_folder(os.path.join(HERE, "pictures")))
    strip = lambda t: [line for line in t.split("\n") if not line.startswith("#")]
    wrong = sum(a != b for a, b in zip(strip(want), strip(got))) + abs(len(strip(want)) - len(strip(got)))
    print("%d lines by Pillow %s, %d differ" % (len(strip(want)) - 1, PILLOW, wrong))
    return wrong


def random_files(count, seed, folder):
    r = np.random.default_rng(seed + 1)
    os.makedirs(folder, exist_ok=True)
    for name, data in random_pictures(count, seed, 150):
        damage = r.random()
        if damage < 0.1:
            data = data[:int(r.integers(len(data)))]
        elif damage < 0.2:
            data = bytearray(data)
            for _ in range(int(r.integers(1, 4))):
                data[int(r.integers(len(data)))] = int(r.integers(256))
        open(os.path.join(folder, ("cut-" if damage < 0.1 else "hurt-" if damage < 0.2 else "") + name), "wb").write(bytes(data))


def compare(program, paths):
    """Prints where PROGRAM and Pillow disagree, and counts by format."""
    ask = subprocess.run([program, "show"], input="\n".join(paths) + "\n", capture_output=True, text=True, errors="replace")
    said, counts = ask.stdout.split("\n")[:-1], {}
    if ask.returncode or len(said) != len(paths):
        print("%s ended with %d at %s\n%s" % (program, ask.returncode, paths[min(len(said), len(paths) - 1)], ask.stderr[-3000:]))
        return 1
    for path, line in zip(paths, said):
        data, name = open(path, "rb").read(), os.path.basename(path)
        try:
            want = reference(data)
        except Exception as e:
            want = "%s: %s" % (type(e).__name__, str(e)[:90])
        words, good = line.split(), line.startswith("ok")
        if good and isinstance(want, tuple):
            verdict = "same" if (int(words[1]), int(words[2]), words[5], words[6]) == want[1:] else "DIFFERENT"
        else:
            verdict = "both refuse" if not good and isinstance(want, str) else "Pillow reads" if isinstance(want, tuple) else "Pillow refuses"
        damaged = name.split("-")[0] if "-" in name else "whole"
        key = (damaged, os.path.splitext(name)[1], verdict)
        counts[key] = counts.get(key, 0) + 1
        if verdict not in ("same", "both refuse") and not (verdict == "Pillow refuses" and "-q" in sys.argv):
            print(verdict, path, want if isinstance(want, str) else want[:3], "|", line[:200])
    for key in sorted(counts):
        print("%-8s %-6s %-14s %6d" % (key + (counts[key],)))
    return 0


if __name__ == "__main__":
    command, rest = (sys.argv + ["", ""])[1], [a for a in sys.argv[2:] if a != "-q"]
    if command == "make":
        make()
    elif command == "verify":
        sys.exit(1 if verify() else 0)
    elif command == "random" and len(rest) == 3:
        random_files(int(rest[0]), int(rest[1]), rest[2])
    elif command == "compare" and rest:
        sys.exit(compare(rest[0], rest[1:] or [line.strip() for line in sys.stdin if line.strip()]))
    else:
        sys.exit(__doc__)
