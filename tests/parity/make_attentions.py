#!/usr/bin/env python3
"""make_attentions.py - what transformers' output_attentions gives for one picture, beside the fixtures that are compared with it.

    make_attentions.py [FIXTURE...]

Writes fixtures/NAME/attentions.safetensors: attentions.N [1, heads, rows, rows] of each layer for the picture shapes.png, through
the fixture's own processor. Run after make_fixtures.py, with the same packages.
"""
import os, sys
import torch
from PIL import Image
from safetensors.torch import save_file
import transformers

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = ["vit-hub", "deit-hub", "dinov2-registers-v5", "clip-hub", "siglip-hub"]


def tower(folder):
    config = transformers.AutoConfig.from_pretrained(folder)
    name = (config.architectures or ["AutoModel"])[0]
    model = getattr(transformers, name).from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    return model.vision_model if hasattr(model, "vision_model") else model


for name in sys.argv[1:] or NAMES:
    folder = os.path.join(HERE, "fixtures", name)
    picture = Image.open(os.path.join(HERE, "pictures", "shapes.png")).convert("RGB")
    processor = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    with torch.no_grad():
        model = tower(folder)
        out = model(pixel_values=processor(images=picture, return_tensors="pt")["pixel_values"], output_attentions=True)
    save_file({f"attentions.{i}": a.contiguous() for i, a in enumerate(out.attentions)}, os.path.join(folder, "attentions.safetensors"))
    print(name, len(out.attentions), tuple(out.attentions[0].shape))
