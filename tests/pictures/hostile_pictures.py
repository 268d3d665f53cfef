"""hostile_pictures.py - files that want to crash, hang or fill a picture decoder; made by make_pictures.py make.

Each comes with what rebus must say: the status, and a part of its one line; or `ok` where the damage does not matter or the
format bridges over it. None takes long, none takes memory beyond the limits; check_pictures.c checks the time too.
"""
import io
import struct
import zlib

import numpy as np
import pillow_heif
from PIL import Image

from make_pictures import bmp, bmp_rows, chunk, exif, frame_header, png, save, xmp

ALL = []


def add(name, kind, status, text, data):
    ALL.append((name, kind, status, text, bytes(data)))


def small(mode="RGB", w=17, h=13):
    y, x = np.mgrid[0:h, 0:w]
    a = np.stack([x * 15, y * 19, (x + y) * 7 % 256, 255 - x * 9], -1).astype(np.uint8)
    if mode == "RGBA":
        return Image.fromarray(a)
    im = Image.fromarray(a[..., :3])
    return im if mode == "RGB" else im.quantize(16) if mode == "P" else im.convert(mode)


def cuts(name, kind, data, text="ends", places=(0.1, 0.3, 0.5, 0.7, 0.9), status="format"):
    for place in places:
        n = int(len(data) * place)
        told = kind != "WebP" or n >= 12  # its name stands in bytes 8 to 11
        add("%s_cut%02d.%s" % (name, place * 100, kind.lower()), kind if told else "-", status, text if told else "not a picture", data[:n])


def edit(data, at, new):
    return data[:at] + new + data[at + len(new):]


def not_pictures():
    add("empty.jpg", "-", "format", "is empty", b"")
    add("one_byte.png", "-", "format", "not a picture", b"\x89")
    add("page.jpg", "-", "format", "looks like HTML", b"<!DOCTYPE html><html><body>404</body></html>")
    add("drawing.svg", "-", "format", "looks like HTML, XML or SVG", b"<svg xmlns=\"http://www.w3.org/2000/svg\"/>")
    add("pointer.png", "-", "format", "Git LFS pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    add("text.gif", "-", "format", "not a picture", b"just some text, a little longer than a header")
    add("zeros.bmp", "-", "format", "not a picture", bytes(4096))
    add("document.pdf", "-", "unsupported", "PDF", b"%PDF-1.7\n")
    add("video.mp4", "-", "unsupported", "video", b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(64))
    add("wavelets.jp2", "-", "unsupported", "JPEG 2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(64))
    add("next.jxl", "-", "unsupported", "JPEG XL", b"\xff\x0a" + bytes(64))
    add("layers.psd", "-", "unsupported", "Photoshop", b"8BPS\0\1" + bytes(64))
    add("sound.webp", "-", "format", "not a picture", b"RIFF\x24\0\0\0WAVEfmt " + bytes(64))


def jpegs():
    data = save(small(), "JPEG", quality=70)
    cuts("baseline", "JPEG", data)
    add("header_only.jpg", "JPEG", "format", "ends", data[:3])
    add("no_pixels.jpg", "JPEG", "format", "cannot be decoded", b"\xff\xd8\xff\xd9")
    at = frame_header(data)
    add("bomb.jpg", "JPEG", "limit", "in all", edit(data, at + 5, struct.pack(">HH", 65500, 65500)))
    add("flat.jpg", "JPEG", "format", "cannot be decoded", edit(data, at + 5, struct.pack(">HH", 0, 17)))
    add("thin.jpg", "JPEG", "format", "cannot be decoded", edit(data, at + 5, struct.pack(">HH", 13, 0)))
    add("twelve_bits.jpg", "JPEG", "format", "cannot be decoded", edit(data, at + 4, b"\x0c"))
    add("two_planes.jpg", "JPEG", "format", "cannot be decoded", edit(data, at + 9, b"\2"))
    add("factors.jpg", "JPEG", "format", "cannot be decoded", edit(data, at + 11, b"\xff"))
    add("lossless.jpg", "JPEG", "format", "cannot be decoded", edit(data, at + 1, b"\xc3"))
    add("no_tables.jpg", "JPEG", "ok", "", data.replace(b"\xff\xc4", b"\xff\xe9"))
    add("long_segment.jpg", "JPEG", "format", "ends", edit(data, 4, b"\xff\xff"))
    add("noise.jpg", "JPEG", "ok", "", edit(data, len(data) - 60, b"\x55" * 40))
    add("wrong_exif.jpg", "JPEG", "ok", "", save(small(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\x7f"))
    add("endless_exif.jpg", "JPEG", "ok", "", save(small(), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(60)))
    many = save(small("L", 8, 8), "JPEG", progressive=True)
    last = many.rindex(b"\xff\xda")
    add("scans.jpg", "JPEG", "limit", "scans", many[:last] + many[last:-2] * 300 + b"\xff\xd9")
    add("scans_cut.jpg", "JPEG", "format", "ends", save(small(), "JPEG", progressive=True)[:-200])


def pngs():
    data = save(small("RGBA", 60, 40), "PNG")
    cuts("rgba", "PNG", data, places=(0.1, 0.3, 0.5, 0.7, 0.8))
    head = lambda w, h, d=8, c=2, i=0: chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, d, c, 0, 0, i))
    start, end = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")
    tiny = chunk(b"IDAT", zlib.compress(b"\0\1\2\3"))
    add("bomb.png", "PNG", "limit", "in all", start + head(60000, 60000) + tiny + end)
    add("wide.png", "PNG", "format", "PNG cannot be decoded", start + head(1000001, 1) + tiny + end)
    add("negative.png", "PNG", "format", "PNG cannot be decoded", start + head(0xffffffff, 0xffffffff) + tiny + end)
    add("nothing.png", "PNG", "format", "PNG cannot be decoded", start + head(0, 5) + tiny + end)
    add("depth.png", "PNG", "format", "PNG cannot be decoded", start + head(1, 1, 3) + tiny + end)
    add("colour.png", "PNG", "format", "PNG cannot be decoded", start + head(1, 1, 8, 5) + tiny + end)
    add("no_palette.png", "PNG", "format", "PNG cannot be decoded", start + head(1, 1, 8, 3) + tiny + end)
    add("no_idat.png", "PNG", "format", "PNG", start + head(1, 1) + end)
    add("no_ihdr.png", "PNG", "format", "PNG cannot be decoded", start + tiny + end)
    add("crc.png", "PNG", "format", "PNG cannot be decoded", edit(data, 29, b"\0\0\0\0"))
    add("stream.png", "PNG", "format", "PNG cannot be decoded", start + head(4, 4) + chunk(b"IDAT", b"\x78\x9c" + b"\xff" * 40) + end)
    add("few_rows.png", "PNG", "format", "PNG", start + head(9, 900) + chunk(b"IDAT", zlib.compress(bytes(28 * 3))) + end)
    add("filter.png", "PNG", "format", "PNG cannot be decoded", start + head(1, 1) + chunk(b"IDAT", zlib.compress(b"\x09\1\2\3")) + end)
    add("long_chunk.png", "PNG", "format", "PNG", start + head(1, 1) + b"\xff\xff\xff\xffIDAT" + bytes(20))
    add("text_bomb.png", "PNG", "ok", "", start + head(1, 1) + chunk(b"zTXt", b"XML:com.adobe.xmp\0\0" + zlib.compress(bytes(30 << 20), 9)) + tiny + end)
    add("many_texts.png", "PNG", "ok", "", start + head(1, 1) + chunk(b"tEXt", b"a\0b") * 3000 + tiny + end)
    add("wrong_profile.png", "PNG", "ok", "", start + head(1, 1) + chunk(b"tEXt", b"Raw profile type exif\0\n\n\nzz4d4d") + tiny + end)
    add("tail.png", "PNG", "format", "inside a chunk", start + head(1, 1) + tiny + chunk(b"tEXt", b"a\0" + b"b" * 50)[:-30])
    add("adam7_cut.png", "PNG", "format", "ends", png(np.zeros((40, 40, 3), np.int64) + np.arange(40)[:, None, None], 8, 2, b"", True)[:-60])


def gifs():
    data = save(small("P"), "GIF")
    cuts("palette", "GIF", data)
    screen = lambda w, h, flags=0x80: b"GIF89a" + struct.pack("<HHBBB", w, h, flags, 0, 0) + b"\1\2\3\4\5\6"[:6 if flags else 0]
    frame = lambda x, y, w, h, bits=2, codes=b"\2\x44\1\0": b"," + struct.pack("<HHHHB", x, y, w, h, 0) + bytes([bits]) + codes + b";"
    add("bomb.gif", "GIF", "limit", "in all", screen(65535, 65535) + frame(0, 0, 1, 1))
    add("far.gif", "GIF", "limit", "in all", screen(1, 1) + frame(65535, 65535, 65535, 65535))
    add("no_frame.gif", "GIF", "format", "without a picture", screen(3, 3) + b";")
    add("flat.gif", "GIF", "format", "at least 1 x 1", screen(3, 3) + frame(0, 0, 0, 3))
    add("bits.gif", "GIF", "format", "codes of 13 bits", screen(3, 3) + frame(0, 0, 3, 3, 13))
    add("bits255.gif", "GIF", "format", "codes of 255 bits", screen(3, 3) + frame(0, 0, 3, 3, 255))
    add("bits0.gif", "GIF", "format", "GIF", screen(3, 3) + frame(0, 0, 3, 3, 0, b"\5\xff\xff\xff\xff\xff\0"))
    add("bits12.gif", "GIF", "format", "GIF", screen(9, 9) + frame(0, 0, 9, 9, 12, b"\x08" + bytes([255, 31] * 4) + b"\0"))
    add("code.gif", "GIF", "format", "names nothing", screen(9, 9) + frame(0, 0, 9, 9, 2, b"\4\xcc\xff\xff\xff\0"))
    add("clears.gif", "GIF", "format", "ends", screen(9, 9) + frame(0, 0, 9, 9, 2, (b"\xff" + bytes([0x24, 0x49, 0x92] * 85)) * 200 + b"\0"))
    add("blocks.gif", "GIF", "format", "ends", screen(9, 9) + frame(0, 0, 9, 9, 2, b"\0" * 5000))
    add("extensions.gif", "GIF", "format", "without a picture", screen(9, 9) + b"!\xfe\1a\0" * 20000 + b";")
    add("control.gif", "GIF", "format", "control block", screen(9, 9) + b"!\xf9\1\1\0" + frame(0, 0, 9, 9))
    add("skipped.gif", "GIF", "format", "without a picture", screen(9, 9) + b"\xaa" * 50000)
    add("short_palette.gif", "GIF", "format", "ends", b"GIF89a\3\0\3\0\xf7\0\0" + bytes(100))
    add("short_header.gif", "GIF", "format", "ends", b"GIF87a\3\0")


def bmps():
    data = save(small(), "BMP")
    cuts("colour", "BMP", data)
    rows = bmp_rows(np.zeros((4, 4), np.int64), 8)
    grey = bytes(v for i in range(256) for v in (i, i, i, 0))
    add("bomb.bmp", "BMP", "limit", "in all", bmp(60000, 60000, 24, b""))
    add("wide.bmp", "BMP", "limit", "a side", edit(data, 18, b"\xff\xff\xff\xff"))
    add("flat.bmp", "BMP", "format", "at least 1 x 1", edit(data, 22, bytes(4)))
    add("header.bmp", "BMP", "unsupported", "header of 41 bytes", edit(data, 14, b"\x29\0\0\0"))
    add("bits.bmp", "BMP", "unsupported", "of 7 bits", edit(data, 28, b"\7\0"))
    add("png_inside.bmp", "BMP", "unsupported", "compression 5", edit(data, 30, b"\5\0\0\0"))
    add("masks.bmp", "BMP", "unsupported", "masks", bmp(4, 4, 32, bytes(64), 56, 3, b"", 0, struct.pack("<IIII", 1, 2, 4, 8)))
    add("colours.bmp", "BMP", "format", "colours", bmp(4, 4, 8, rows, 40, 0, grey, 70000))
    add("many_colours.bmp", "BMP", "format", "more than 256", bmp(4, 4, 8, rows, 40, 0, bytes(4 * 300), 300))
    add("grey16.bmp", "BMP", "format", "too short for bytes", bmp(9, 4, 4, bmp_rows(np.zeros((4, 9), np.int64), 4), 40, 0, grey[:64], 16))
    add("runs_end.bmp", "BMP", "format", "runs end", bmp(4, 4, 8, b"\4\1\0\1", 40, 1, bytes(8), 2))
    add("runs_far.bmp", "BMP", "ok", "", bmp(4, 4, 8, b"\xff\1\0\2\xff\xff\0\1", 40, 1, bytes(8), 2))
    add("runs_colour.bmp", "BMP", "format", "in runs", bmp(4, 4, 24, b"\4\1", 40, 1))
    add("offset.bmp", "BMP", "format", "ends", edit(data, 10, b"\xff\xff\xff\x7f"))
    add("short_masks.bmp", "BMP", "format", "ends", bmp(4, 4, 32, b"", 40, 3))


def webps():
    for name, data in (("lossy", save(small(), "WEBP", quality=60)), ("lossless", save(small("RGBA"), "WEBP", lossless=True)),
                       ("extended", save(small("RGBA"), "WEBP", quality=50, exif=exif(6)))):
        cuts(name, "WebP", data, "WebP")
        add("noise_%s.webp" % name, "WebP", "format" if name == "lossless" else "ok", "WebP" if name == "lossless" else "",
            edit(data, len(data) * 2 // 3, b"\x5a\xa5" * 6))
    data = save(small("RGBA"), "WEBP", quality=50, exif=exif(6))
    add("canvas.webp", "WebP", "format", "WebP", edit(data, 24, b"\1\0\0\1\0\0"))
    add("lossless_bomb.webp", "WebP", "limit", "in all", edit(save(small("RGBA"), "WEBP", lossless=True), 21, b"\xff\xff\xff\x0f"))
    add("size.webp", "WebP", "format", "WebP", edit(data, 16, b"\xff\xff\xff\xff"))
    moving = save(small("RGBA"), "WEBP", save_all=True, append_images=[small("RGBA").transpose(Image.Transpose.ROTATE_180)], duration=50)
    cuts("moving", "WebP", moving, "WebP", (0.2, 0.5, 0.8))
    add("bomb.webp", "WebP", "limit", "in all", edit(moving, 24, b"\x80\x3e\0\x80\x3e\0"))
    add("no_frames.webp", "WebP", "format", "WebP", moving[:moving.index(b"ANMF")])


def tiff(tags, data=b"", big=False, pixels=8):
    """tags: {number: (type, [values])}; pixels: where data lies, right after the header"""
    e = ">" if big else "<"
    ifd_at = pixels + len(data) + len(data) % 2
    body, extra = b"", b""
    after = ifd_at + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        kind, values = tags[tag]
        packed = b"".join(struct.pack(e + {1: "B", 3: "H", 4: "I", 5: "II"}[kind], *(v if kind == 5 else (v,))) for v in values)
        if len(packed) > 4:
            place, extra = struct.pack(e + "I", after + len(extra)), extra + packed + bytes(len(packed) % 2)
        else:
            place = packed + bytes(4 - len(packed))
        body += struct.pack(e + "HHI", tag, kind, len(values)) + place
    return ((b"MM\0*" if big else b"II*\0") + struct.pack(e + "I", ifd_at) + data + bytes(len(data) % 2) + struct.pack(e + "H", len(tags)) + body +
            bytes(4) + extra)


def tiffs():
    plain = {256: (3, [4]), 257: (3, [3]), 258: (3, [8]), 259: (3, [1]), 262: (3, [1]), 273: (4, [8]), 277: (3, [1]), 278: (3, [3]), 279: (4, [12])}
    make = lambda data=bytes(12), **change: tiff({**plain, **{int(k[1:]): v for k, v in change.items()}}, data)
    for kind in ("tiff_lzw", "tiff_adobe_deflate", "jpeg"):
        data = save(small("RGB", 40, 40), "TIFF", compression=kind)
        cuts(kind, "TIFF", data, "TIFF", (0.3, 0.8))
        add("noise_%s.tiff" % kind, "TIFF", "ok" if kind == "jpeg" else "format", "" if kind == "jpeg" else "TIFF", edit(data, 60, b"\xff\xfe" * 30))
    add("plain.tiff", "TIFF", "ok", "", make())
    add("header.tiff", "TIFF", "format", "TIFF", b"II*\0\x08\0\0\0")
    add("no_directory.tiff", "TIFF", "format", "TIFF", b"II*\0\xff\xff\xff\x7f" + bytes(50))
    add("entries.tiff", "TIFF", "format", "TIFF", b"II*\0\x08\0\0\0\xff\xff" + bytes(100))
    add("bomb.tiff", "TIFF", "limit", "in all", make(t256=(4, [100000]), t257=(4, [100000])))
    add("wide.tiff", "TIFF", "limit", "a side", make(t256=(4, [0x7fffffff])))
    add("flat.tiff", "TIFF", "format", "TIFF", make(t257=(3, [0])))
    add("few_bytes.tiff", "TIFF", "format", "TIFF", make(t256=(4, [5000]), t257=(4, [5000]), t278=(4, [5000])))
    add("offset.tiff", "TIFF", "format", "TIFF", make(t273=(4, [0xfffffff0])))
    add("no_strips.tiff", "TIFF", "format", "TIFF", tiff({k: v for k, v in plain.items() if k not in (273, 279)}))
    add("rows.tiff", "TIFF", "format", "TIFF", make(t278=(3, [0])))
    add("bits64.tiff", "TIFF", "unsupported", "64 bits", make(t258=(3, [64]), t278=(3, [1])))
    add("bits0.tiff", "TIFF", "format", "TIFF", make(t258=(3, [0])))
    add("samples.tiff", "TIFF", "unsupported", "samples", make(t277=(3, [999])))
    add("method.tiff", "TIFF", "format", "TIFF", make(t259=(3, [12345])))
    add("photometric.tiff", "TIFF", "unsupported", "photometric 777", make(t262=(3, [777])))
    add("lab.tiff", "TIFF", "unsupported", "CIELab", save(small().convert("LAB"), "TIFF"))
    add("palette.tiff", "TIFF", "unsupported", "photometric 3", make(t262=(3, [3])))
    add("tile_bomb.tiff", "TIFF", "limit", "more than the limit",
        tiff({**{k: v for k, v in plain.items() if k not in (273, 278, 279)}, 322: (4, [65536]), 323: (4, [32768]), 324: (4, [8]), 325: (4, [12])}, bytes(12)))
    add("tile_zero.tiff", "TIFF", "format", "TIFF",
        tiff({**{k: v for k, v in plain.items() if k not in (273, 278, 279)}, 322: (4, [0]), 323: (4, [16]), 324: (4, [8]), 325: (4, [12])}, bytes(12)))
    add("tiles_missing.tiff", "TIFF", "format", "TIFF",
        tiff({**{k: v for k, v in plain.items() if k not in (273, 278, 279)}, 256: (4, [5000]), 322: (4, [16]), 323: (4, [16]), 324: (4, [8]), 325: (4, [12])}, bytes(256)))
    add("many_strips.tiff", "TIFF", "format", "TIFF", make(t256=(4, [1]), t257=(4, [900000]), t278=(4, [1])))
    loop = make()
    at = struct.unpack("<I", loop[4:8])[0]
    n = struct.unpack("<H", loop[at:at + 2])[0]
    add("loop.tiff", "TIFF", "ok", "", edit(loop, at + 2 + 12 * n, struct.pack("<I", at)))


def boxes():
    data = save(small("RGB", 32, 32), "AVIF", quality=50, speed=10)
    cuts("still", "AVIF", data, "AVIF", (0.1, 0.5, 0.9))
    at = data.index(b"ispe") + 8
    add("bomb.avif", "AVIF", "format", "AVIF", edit(data, at, struct.pack(">II", 60000, 60000)))
    add("brand.avif", "AVIF", "format", "AVIF", data[:32])
    add("noise.avif", "AVIF", "format", "AVIF", edit(data, len(data) // 2, b"\xff" * 60))
    pillow_heif.register_heif_opener()
    data = save(small("RGB", 40, 40), "HEIF", quality=60)
    add("still.heic", "HEIC", "ok", "", data)
    cuts("still", "HEIC", data, "HEIC", (0.2, 0.6, 0.9))
    add("sides.heic", "HEIC", "ok", "", edit(data, data.index(b"ispe") + 8, struct.pack(">II", 900000, 900000)))
    add("brand.heic", "HEIC", "format", "HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40))
    add("no_items.heic", "HEIC", "format", "HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\0\0\0\x08meta")
    add("endless_box.heic", "HEIC", "format", "HEIC", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\xff\xff\xff\xffmeta" + bytes(200))


def hostile_pictures():
    del ALL[:]
    for family in (not_pictures, jpegs, pngs, gifs, bmps, webps, tiffs, boxes):
        family()
    return [(name, data) for name, _, _, _, data in ALL]


def hostile_list(files):
    assert len({n for n, _ in files}) == len(files) == len(ALL)
    text = "# FILE FORMAT STATUS TEXT, by hostile_pictures.py; see check_pictures.c\n"
    return text + "".join(("%s %s %s %s" % (name, kind, status, part)).rstrip() + "\n" for name, kind, status, part, _ in sorted(ALL))
