#!/usr/bin/env python3
"""make_quant_data.py - writes tests/unit/data/quant.safetensors: blocks and their values as the Python package gguf has them.

    python3 -m pip install gguf==0.19.0 safetensors numpy
    python3 tests/unit/make_quant_data.py

For each type that the package makes: TYPE.values, f32 [512], with rows of zeros, of one value, of great and of tiny ones;
TYPE.blocks, the bytes it makes of them; TYPE.widened, what it makes of those. For the K formats blocks are drawn.
"""
import os

import numpy as np
from gguf.constants import GGMLQuantizationType as Q
from gguf.constants import GGML_QUANT_SIZES
from gguf.quants import dequantize, quantize
from safetensors.numpy import save_file

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data", "quant.safetensors")


def values(rng):
    x = rng.standard_normal((16, 32)).astype(np.float32)
    x *= np.float32(10) ** rng.integers(-3, 3, (16, 1)).astype(np.float32)
    x[1] = 0
    x[2] = np.float32(0.37)
    x[3] *= np.float32(1e-6)
    x[4] = np.abs(x[4])
    x[5] = -np.abs(x[5])
    x[6] = np.round(x[6] * 2) / 2 + 0.0  # of zeros of both signs the package takes either as the least
    return x.reshape(-1)


def drawn(rng, kind, blocks):
    size = GGML_QUANT_SIZES[kind][1]
    b = rng.integers(0, 256, (blocks, size), dtype=np.uint8)
    scales = [208] if kind == Q.Q6_K else [0, 2]
    for at in scales:
        b[:, at:at + 2] = (rng.standard_normal(blocks) * 0.01).astype(np.float16).view(np.uint8).reshape(-1, 2)
    return b.reshape(-1)


def main():
    rng = np.random.default_rng(8)
    out = {}
    for kind in (Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0):
        out[kind.name + ".values"] = values(rng)
        out[kind.name + ".blocks"] = quantize(out[kind.name + ".values"], kind)
    for kind in (Q.Q4_K, Q.Q5_K, Q.Q6_K):
        out[kind.name + ".blocks"] = drawn(rng, kind, 2)
    for name in [n for n in out if n.endswith(".blocks")]:
        out[name[:-len("blocks")] + "widened"] = dequantize(out[name], Q[name[:-len(".blocks")]])
    save_file(out, OUT)


if __name__ == "__main__":
    main()
