#!/usr/bin/env python3
"""make_rope_cases.py - what transformers computes for every rotary scaling: writes tests/unit/rope_expected.h.

    python3 -m pip install torch==2.13.0 transformers==5.23.0
    python3 tests/unit/make_rope_cases.py        from the root of the source tree; the output is committed
"""
import os

import torch
import transformers as T
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

SHORT, LONG = [1 + 0.1 * i for i in range(8)], [2 + 0.3 * i for i in range(8)]
CASES = [  # rope_parameters, positions, length of the sequence
    (dict(rope_type="default"), 64, 40),
    (dict(rope_type="linear", factor=3.0), 64, 40),
    (dict(rope_type="dynamic", factor=3.0), 64, 64),
    (dict(rope_type="dynamic", factor=3.0), 64, 65),
    (dict(rope_type="dynamic", factor=2.5), 64, 1000),
    (dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64), 512, 40),
    (dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64), 256, 40),
    (dict(rope_type="yarn", factor=4.0), 256, 40),
    (dict(rope_type="yarn", factor=None, original_max_position_embeddings=64), 512, 40),
    (dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64, attention_factor=1.3, beta_fast=20.0, beta_slow=2.0), 256, 40),
    (dict(rope_type="yarn", factor=4.0, original_max_position_embeddings=64, mscale=0.7, mscale_all_dim=1.1, truncate=False), 256, 40),
    (dict(rope_type="longrope", short_factor=SHORT, long_factor=LONG, original_max_position_embeddings=32), 128, 32),
    (dict(rope_type="longrope", short_factor=SHORT, long_factor=LONG, original_max_position_embeddings=32), 128, 33),
    (dict(rope_type="longrope", short_factor=SHORT, long_factor=LONG, original_max_position_embeddings=32, factor=16.0), 128, 50),
    (dict(rope_type="longrope", short_factor=SHORT, long_factor=LONG, original_max_position_embeddings=32, attention_factor=1.5), 128, 5),
]
FIELDS = [("factor", "factor"), ("low", "low_freq_factor"), ("high", "high_freq_factor"), ("original", "original_max_position_embeddings"), ("attention", "attention_factor"),
          ("fast", "beta_fast"), ("slow", "beta_slow"), ("mscale", "mscale"), ("mscale_all", "mscale_all_dim")]


def main():
    out = ["/* rope_expected.h - written by make_rope_cases.py with transformers %s: heads of 16 columns, theta 10000; the angles of the last place. */" % T.__version__,
           "static const double short_factors[] = {%s};" % ", ".join("%.17g" % x for x in SHORT), "static const double long_factors[] = {%s};" % ", ".join("%.17g" % x for x in LONG),
           "static const struct {", "\tint64_t positions;", "\tint32_t length;", "\trope_config c;", "\tfloat expected[16]; /* cos, sin */", "} cases[] = {"]
    for rope, positions, length in CASES:
        config = T.LlamaConfig(hidden_size=32, num_attention_heads=2, max_position_embeddings=positions, rope_parameters=dict(rope, rope_theta=10000.0))
        cos, sin = LlamaRotaryEmbedding(config)(torch.zeros(1), torch.arange(length)[None])
        fields = [f'.type = "{rope["rope_type"]}"', ".theta = 10000", ".partial = 1"] + [f".{a} = {rope[b]!r}" for a, b in FIELDS if rope.get(b) is not None]
        fields.append(".truncate = " + str(rope.get("truncate", True)).lower())
        if "short_factor" in rope:
            fields += [".short_factor = {8, short_factors}", ".long_factor = {8, long_factors}"]
        fields[4:4] = ["\n\t\t" + fields.pop(4)] if len(fields) > 4 else []
        values = ",\n\t\t".join(", ".join("%.9g" % x + ("f" if "." in "%.9g" % x or "e" in "%.9g" % x else ".0f") for x in half.tolist()) for half in (cos[0, -1, :8], sin[0, -1, :8]))
        out.append("\t{%d, %d,\n\t\t{%s},\n\t\t{%s}}," % (positions, length, ", ".join(fields), values))
    open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "rope_expected.h"), "w").write("\n".join(out + ["};", ""]))


main()
