#!/usr/bin/env python3
"""make_sample_cases.py - what transformers' LogitsProcessors make of logits: writes tests/unit/sample_expected.h.

    python3 -m pip install torch==2.13.0 transformers==5.23.0
    python3 tests/unit/make_sample_cases.py      from the root of the source tree; the output is committed

The processors stand in the order generate() gives them; presence and frequency penalties, which transformers lacks, stand after
the repetition penalty and are two lines here.
"""
import os

import torch
import transformers as T
from transformers import (MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, SequenceBiasLogitsProcessor, TemperatureLogitsWarper, TopKLogitsWarper,
                          TopPLogitsWarper)

WIDTH, PROMPT, SAID = 24, [3, 5, 5, 7, 1], [7, 2, 2, 2, 9, 3]
CASES = [  # temperature, top_k, top_p, min_p, repetition, presence, frequency, bias
    (1.0, 0, 1.0, 0.0, 1.0, 0.0, 0.0, {}), (0.7, 5, 1.0, 0.0, 1.0, 0.0, 0.0, {}), (1.3, 0, 0.8, 0.0, 1.0, 0.0, 0.0, {}), (1.0, 0, 1.0, 0.2, 1.0, 0.0, 0.0, {}),
    (0.9, 12, 0.9, 0.1, 1.0, 0.0, 0.0, {}), (1.0, 0, 1.0, 0.0, 1.3, 0.0, 0.0, {}), (1.0, 0, 1.0, 0.0, 0.8, 0.0, 0.0, {}), (1.0, 0, 1.0, 0.0, 1.0, 0.7, 0.3, {}),
    (1.0, 0, 1.0, 0.0, 1.0, 0.0, 0.0, {4: 3.0, 9: -2.5, 11: float("-inf")}), (0.8, 9, 0.95, 0.05, 1.2, -0.4, 0.25, {2: 1.5, 0: float("-inf")}),
    (2.0, 1, 1.0, 0.0, 1.0, 0.0, 0.0, {}), (1.0, 0, 0.01, 0.0, 1.0, 0.0, 0.0, {}), (1.0, 0, 1.0, 1.0, 1.0, 0.0, 0.0, {}), (5.0, 20, 0.99, 0.3, 1.1, 0.0, 0.0, {}),
]


def number(x):
    return ("-INFINITY" if x == float("-inf") else "%.9g" % x + (".0" if "%.9g" % x == "%.0f" % x else "") + "f")


def main():
    out = ["/* sample_expected.h - written by make_sample_cases.py with transformers %s. */" % T.__version__, "enum { WIDTH = %d };" % WIDTH,
           "static const int32_t prompt[] = {%s}, said[] = {%s};" % (", ".join(map(str, PROMPT)), ", ".join(map(str, SAID)))]
    rows, biases = [], []
    for k, (temperature, top_k, top_p, min_p, repetition, presence, frequency, bias) in enumerate(CASES):
        logits = 3 * torch.randn(1, WIDTH, generator=torch.Generator().manual_seed(k))
        if top_k == 5:
            logits[0, 4] = logits[0, 8] = logits[0, 12] = logits.max() - 1      # equals on the edge stay
        ids, x = torch.tensor([PROMPT + SAID]), logits.clone()
        for i, v in bias.items():
            x = x + torch.nn.functional.one_hot(torch.tensor([i]), WIDTH) * v if v > float("-inf") else x.index_fill(1, torch.tensor([i]), v)
        finite = {(i,): v for i, v in bias.items() if v > float("-inf")}
        if finite:
            y = SequenceBiasLogitsProcessor(finite)(ids, logits)
            assert torch.allclose(x[x > float("-inf")], y[x > float("-inf")])
        if repetition != 1:
            x = RepetitionPenaltyLogitsProcessor(repetition)(ids, x)
        for i in set(SAID):
            x[0, i] -= presence + frequency * SAID.count(i)
        for on, p in [(True, TemperatureLogitsWarper(temperature)), (top_k, TopKLogitsWarper(max(top_k, 1))), (top_p < 1, TopPLogitsWarper(top_p)), (min_p > 0, MinPLogitsWarper(min_p))]:
            x = p(ids, x) if on else x
        values = lambda t: ",\n\t\t".join(", ".join(number(v) for v in t[i:i + 8]) for i in range(0, WIDTH, 8))
        biases.append("static const rebus_token_bias bias%d[] = {%s};" % (k, ", ".join("{%d, %s}" % (i, number(v)) for i, v in bias.items()) or "{0, 0}"))
        rows.append("\t{{%s, %s, %d, 1, %s, %s, %s, %s, bias%d, %d},\n\t\t{%s},\n\t\t{%s}}," % (number(temperature), number(top_p), top_k, number(min_p), number(repetition), number(presence),
                    number(frequency), k, len(bias), values(logits[0].tolist()), values(torch.softmax(x, -1)[0].tolist())))
    out += biases + ["static const struct {", "\tsampling how;", "\tfloat logits[WIDTH], probability[WIDTH];", "} cases[] = {"] + rows + ["};", ""]
    open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "sample_expected.h"), "w").write("\n".join(out))


main()
