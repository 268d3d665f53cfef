#!/usr/bin/env python3
"""make_fixtures.py - the small golden checkpoints that the parity tests read.

    python3 -m pip install torch==2.13.0 torchvision==0.28.0 transformers==5.23.0 timm==1.0.31 tokenizers safetensors pillow numpy
    python3 tests/parity/make_fixtures.py            from the root of the source tree; names after it: only those

Building and testing need none of this: what it writes is committed.

    tests/parity/pictures/*                  drawn here: RGB, RGBA and grey PNG, JPEG
    tests/parity/fixtures/NAME/              a checkpoint folder in one of the two published forms
        config.json model*.safetensors ...   random weights, hidden size 32, scales at which nothing is degenerate
        golden.json                          made_with, patch_size the model is opened with, cases: prompt (a line of --batch), options, max_tokens, answer
        golden.safetensors                   CASE.NAME: what a call of the reference takes and gives, as `rebus trace` names it;
                                             of the logits of a prompt the last rows only
        train.safetensors                    where there is one: targets, gradients, losses of ten steps of plain SGD

hub: config.json with rope_theta, rope_scaling, torch_dtype; preprocessor_config.json; the chat template in
tokenizer_config.json or chat_template.json; a tower under vision_tower.vision_model. v5: as transformers 5 writes it. timm: as timm's push_to_hf_hub
writes it.

The reference runs in float32, eager attention, one thread; its image processors are torchvision's, and Pillow's where a
case says `pil`. Greedy answers never stop at the end token, and no step's choice is close.
"""
import collections
import copy
import functools
import inspect
import json
import math
import os
import re
import shutil
import sys
import warnings

os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", TRANSFORMERS_VERBOSITY="error")
warnings.filterwarnings("ignore")
import numpy as np
import torch

_register = torch.library.register_fake
# only torchvision's Python part is used; its compiled operators may be missing
torch.library.register_fake = lambda n, *a, **k: (lambda f: f) if str(n).startswith("torchvision::") else _register(n, *a, **k)
import torchvision
torch.library.register_fake = _register
import timm
import timm.layers
from timm.models._hub import save_config_for_hf
import transformers as T
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers.utils import logging

logging.disable_progress_bar()
torch.set_num_threads(1)
HERE = os.path.dirname(os.path.abspath(__file__))
STEPS = 6
SGD_STEPS = 10


# ------------------------------------------------------------------------------------------------ pictures
def make_pictures(folder):
    """Shapes on a slope of colour, with a little noise; deterministic."""
    os.makedirs(folder, exist_ok=True)
    kinds = [("shapes.png", 61, 43, "RGB"), ("tall.png", 37, 71, "RGB"), ("photo.jpg", 83, 54, "RGB"), ("clear.png", 45, 52, "RGBA"),
             ("grey.png", 50, 40, "L"), ("wide.png", 90, 31, "RGB")]
    for k, (name, w, h, mode) in enumerate(kinds):
        rng = np.random.default_rng(100 + k)
        y, x = np.mgrid[0:h, 0:w]
        base = np.stack([x * 255 / w, y * 255 / h, (x + 2 * y) * 85 / max(w, h) * (1 + k % 2)], -1)
        im = Image.fromarray(np.clip(base + rng.normal(0, 12, base.shape), 0, 255).astype(np.uint8))
        d = ImageDraw.Draw(im)
        for _ in range(4):
            cx, cy, r = rng.integers(0, w), rng.integers(0, h), int(rng.integers(4, 14))
            getattr(d, rng.choice(["ellipse", "rectangle"]))([int(cx) - r, int(cy) - r, int(cx) + r, int(cy) + r], fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
        if mode == "RGBA":
            im.putalpha(Image.fromarray(((x * 7 + y * 5) % 256).astype(np.uint8)))
        elif mode == "L":
            im = im.convert("L")
        if name.endswith(".jpg"):
            im.save(os.path.join(folder, name), quality=85, subsampling=2)
        else:
            im.save(os.path.join(folder, name), optimize=True)


def picture(name):
    im = Image.open(os.path.join(HERE, "pictures", name))
    im.load()
    return im


# ------------------------------------------------------------------------------------------------ weights and folders
def randomise(model, seed, gain=1.3, table=0.5):
    gen = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            r = torch.randn(p.shape, generator=gen)
            if p.ndim == 0:
                continue
            if p.ndim == 1:
                p.copy_(0.6 + 0.2 * r if re.search("lambda|gamma$", name) else 1 + 0.2 * r if name.endswith("norm.weight") or re.search(r"norm\w*\.weight$", name) else 0.15 * r)
            elif "embed_tokens" in name or "token_embedding" in name or "wte" in name or "shared" in name:
                p.copy_(table * r)
            elif re.search(r"_tokens?$|^pos_embed$|latent$", name) or "position" in name or "wpe" in name:
                p.copy_(0.4 * r)
            else:
                p.copy_(gain / math.sqrt(int(np.prod(p.shape[1:]))) * r)
    return model.eval()


def hub_config(folder):
    path = os.path.join(folder, "config.json")
    config = json.load(open(path))

    def walk(d):
        rope = d.pop("rope_parameters", None)
        if rope and "full_attention" in rope:                # Gemma 3: a base for each kind of layer
            d["rope_local_base_freq"] = rope["sliding_attention"]["rope_theta"]
            rope = rope["full_attention"]
        if rope:
            d["rope_theta"] = rope.pop("rope_theta")
            kind = rope.get("rope_type", "default")
            if kind == "linear" and "rope_local_base_freq" not in d:
                rope["type"] = rope.pop("rope_type")        # the oldest spelling
            d["rope_scaling"] = None if kind == "default" else rope
        if "dtype" in d:
            d["torch_dtype"] = d.pop("dtype")
        for v in d.values():
            if isinstance(v, dict):
                walk(v)

    walk(config)
    json.dump(config, open(path, "w"), indent=1)


HUB_NAMES = [(r"^((?:model\.)?vision_tower\.)(?!vision_model\.)", r"\1vision_model."), (r"^decoder\.decoder_encoder\.layer\.", "decoder.decoder_layers.")]


def save_model(model, folder, form, dtype=torch.float32, shards=None):
    """Returns what the folder gives back, in float32."""
    shutil.rmtree(folder, ignore_errors=True)
    model = model.to(dtype)
    model.config.dtype = dtype
    model.save_pretrained(folder, **({"max_shard_size": shards} if shards else {}))
    if form == "hub":
        hub_config(folder)
        path = os.path.join(folder, "model.safetensors")
        if os.path.exists(path):
            save_file({functools.reduce(lambda name, change: re.sub(*change, name), HUB_NAMES, k): v for k, v in load_file(path).items()}, path,
                      metadata={"format": "pt"})
    again, info = type(model).from_pretrained(folder, output_loading_info=True, dtype=torch.float32)
    a, b = model.state_dict(), again.state_dict()
    lost = [k for k in a if not torch.equal(a[k].float(), b[k])]
    if lost or info["missing_keys"] or info["unexpected_keys"]:
        raise SystemExit(f"{folder}: does not survive saving: {lost[:3]} {info}")
    again.set_attn_implementation("eager")
    return again.eval()


def save_words(folder, form, tok, pictures=None, processor=None, template="config"):
    (processor or tok).save_pretrained(folder)
    if form != "hub":
        return
    if pictures is not None:
        pictures.save_pretrained(folder)
    path = os.path.join(folder, "processor_config.json")
    if os.path.exists(path):
        d = json.load(open(path))
        for k in ("image_processor", "tokenizer"):
            d.pop(k, None)
        json.dump(d, open(path, "w"), indent=1)
    jinja = os.path.join(folder, "chat_template.jinja")
    if os.path.exists(jinja):
        text = open(jinja).read()
        os.remove(jinja)
        to = os.path.join(folder, "chat_template.json" if template == "file" else "tokenizer_config.json")
        d = json.load(open(to)) if os.path.exists(to) else {}
        json.dump(dict(d, chat_template=text), open(to, "w"), indent=1)


class Golden:
    def __init__(self, name, form):
        self.name, self.form, self.folder = name, form, os.path.join(HERE, "fixtures", name)
        self.t, self.train, self.cases, self.patch = {}, {}, [], 0

    def case(self, name, pieces=None, messages=None, answer=None, max_tokens=0, tensors=None, **options):
        pieces = pieces and [{k: f"../../pictures/{v}" if k == "image" else v for k, v in p.items()} for p in pieces]
        line = json.dumps({"content": pieces} if pieces else {"messages": messages}, ensure_ascii=False)
        c = {"name": name, "prompt": line, "options": options, "max_tokens": max_tokens}
        if answer is not None:
            c["answer"] = answer
        self.cases.append(c)
        tensors = dict(tensors)                              # to save room: every layer in the first case only, no stage twice
        if "generated_ids" in tensors:
            tensors["logits"] = tensors["logits"][:, -2:]
            for k in [k for k in tensors if k.endswith("hidden_states")]:
                tensors[k] = tensors[k][:-1]
        for k in [k for k in tensors if k.endswith("hidden_states") and len(self.cases) > 1]:
            del tensors[k]
        for k, v in tensors.items():
            for n, x in [(k, v)] if torch.is_tensor(v) else [(f"{k}.{i}", x) for i, x in enumerate(v)]:
                x = x.detach().contiguous().clone()
                if x.is_floating_point() and not torch.isfinite(x).all():
                    raise SystemExit(f"{self.name} {name}: {n} is not finite")
                self.t[f"{name}.{n}"] = x.float() if x.is_floating_point() else x.long()

    def save(self):
        made = {"transformers": T.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__}
        more = {"patch_size": self.patch} if self.patch else {}
        if self.form == "timm":
            made["timm"] = timm.__version__
        json.dump({"made_with": made, "form": self.form, **more, "cases": self.cases}, open(os.path.join(self.folder, "golden.json"), "w"), indent=1, ensure_ascii=False)
        save_file(self.t, os.path.join(self.folder, "golden.safetensors"))
        if self.train:
            save_file({k: v.contiguous() for k, v in self.train.items()}, os.path.join(self.folder, "train.safetensors"))


# ------------------------------------------------------------------------------------------------ tokenizers
CORPUS = """A red circle stands beside a small blue square on a yellow ground.
What shape is in the picture? What colour is the triangle? Is there a green shape?
USER: ASSISTANT: system user assistant. Compare the pictures and describe what they show.
The photograph shows a shirt, a coat, a pair of trousers and an ankle boot; 12 of 34, 3.14 and 2048.
a photo of a circle. a photo of a dog. a picture of the sea at night. un café très chaud. größer als schön.
It's what they'll say: "we've seen it", isn't it?  Two  spaces,   three.	A tab; and (brackets) [too] {here}.
if x == 1 then return 0 else continue; for i in range(10): print(i * 2 + 1)
""".split("\n")


def train_bpe(pre, size):
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre
    t.train_from_iterator([l for l in CORPUS if l] * 3, trainers.BpeTrainer(vocab_size=size, show_progress=False, min_frequency=2,
                          initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    m = json.loads(t.to_str())["model"]
    return m["vocab"], [tuple(x) if not isinstance(x, str) else tuple(x.split(" ")) for x in m["merges"]]


def merge_words(words, count, suffix):
    """The most frequent pairs of neighbours, one after the other; the library's trainer breaks ties by chance where there is a suffix."""
    words, merges = [list(w[:-1]) + [w[-1] + suffix] for w in words], []
    for _ in range(count):
        pairs = collections.Counter(p for w in words for p in zip(w, w[1:]))
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        for w in words:
            i = 0
            while i + 1 < len(w):
                if (w[i], w[i + 1]) == best:
                    w[i:i + 2] = ["".join(best)]
                i += 1
    return merges


def special(text):
    return AddedToken(text, normalized=False, special=True)


LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CLIP = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def byte_words(*more):
    """Llama 3's form: a regular expression, then bytes."""
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    vocab, merges = train_bpe(pre, 300)
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, ignore_merges=True))
    t.pre_tokenizer, t.decoder = pre, decoders.ByteLevel()
    names = ("<|begin_of_text|>", "<|end_of_text|>", "<|pad|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>") + more
    t.add_special_tokens([special(x) for x in names])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=True), processors.TemplateProcessing(single="<|begin_of_text|> $A",
        pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1", special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))])])
    return T.PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<|begin_of_text|>", eos_token="<|eot_id|>", pad_token="<|pad|>", clean_up_tokenization_spaces=False)


def piece_words(*more):
    """Llama 2's form: blanks as U+2581, bytes as <0xNN> where no piece fits."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Replace(" ", "\u2581")
    t.pre_tokenizer = pre_tokenizers.Split(Regex(r"\u2581*[^\u2581]+|\u2581+"), "isolated")
    t.train_from_iterator([l + " " + l for l in CORPUS if l] * 2, trainers.BpeTrainer(vocab_size=150, show_progress=False, min_frequency=2))
    m = json.loads(t.to_str())["model"]
    vocab = {}
    for w in ["<unk>", "<s>", "</s>"] + [f"<0x{b:02X}>" for b in range(256)] + sorted(m["vocab"], key=m["vocab"].get):
        vocab.setdefault(w, len(vocab))
    merges = [tuple(x) if not isinstance(x, str) else tuple(x.split(" ")) for x in m["merges"]]
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    t.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_special_tokens([special(x) for x in ("<unk>", "<s>", "</s>", "<pad>") + more])
    t.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    return T.PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>", clean_up_tokenization_spaces=False)


def clip_words(length):
    norm = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(CLIP), "removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    merges = merge_words([w for l in CORPUS for w, _ in pre.pre_tokenize_str(norm.normalize_str(l))], 90, "</w>")
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {}
    for w in letters + [a + "</w>" for a in letters] + ["".join(m) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]:
        vocab.setdefault(w, len(vocab))
    t = T.CLIPTokenizer(vocab=vocab, merges=merges)
    t.model_max_length = length
    return t


def unigram_words(length):
    """SigLIP's form: lower case, no punctuation, pieces by their likelihood, the end token is the padding too."""
    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"), ""),
        normalizers.Replace(Regex(r"\s+"), " "), normalizers.Strip()])
    t.pre_tokenizer, t.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    t.train_from_iterator([l for l in CORPUS if l] * 2, trainers.UnigramTrainer(vocab_size=160, show_progress=False, special_tokens=["<unk>", "</s>"], unk_token="<unk>"))
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B:1 </s>:1", special_tokens=[("</s>", 1)])
    return T.PreTrainedTokenizerFast(tokenizer_object=t, eos_token="</s>", unk_token="<unk>", pad_token="</s>", model_max_length=length, clean_up_tokenization_spaces=False)


def word_pieces(lower=True):
    """BERT's form: words, then the ends of words; counted here, since the library's trainer breaks ties by chance."""
    norm, pre = normalizers.BertNormalizer(lowercase=lower), pre_tokenizers.BertPreTokenizer()
    words = collections.Counter(w for l in CORPUS for w, _ in pre.pre_tokenize_str(norm.normalize_str(l)))
    ends = collections.Counter({})
    for w, n in words.items():
        for i in range(1, len(w)):
            ends["##" + w[i:]] += n
    letters = sorted({c for w in words for c in w})
    best = lambda c, k: [w for w, _ in sorted(c.items(), key=lambda x: (-x[1], x[0]))[:k]]
    vocab = {}
    for w in ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"] + letters + ["##" + c for c in letters if c.isalnum()] + best(words, 40) + best(ends, 30):
        vocab.setdefault(w, len(vocab))
    return T.BertTokenizer(vocab=vocab, do_lower_case=lower)


def lower_pieces(length, side="right"):
    """SigLIP 2's form: lower case, blanks as U+2581, Gemma's BPE, an end token, padding to the full length."""
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(" ", "\u2581")])
    t.pre_tokenizer = pre_tokenizers.Split(Regex(r"\u2581*[^\u2581]+|\u2581+"), "isolated")
    t.train_from_iterator([l + " " + l for l in CORPUS if l] * 2, trainers.BpeTrainer(vocab_size=140, show_progress=False, min_frequency=2))
    m = json.loads(t.to_str())["model"]
    vocab = {}
    for w in ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>"] + [f"<0x{b:02X}>" for b in range(256)] + sorted(m["vocab"], key=m["vocab"].get):
        vocab.setdefault(w, len(vocab))
    merges = [tuple(x) if not isinstance(x, str) else tuple(x.split(" ")) for x in m["merges"]]
    return T.Siglip2Tokenizer(vocab=vocab, merges=merges, add_eos_token=True, add_bos_token=False, padding_side=side, model_max_length=length)


# ------------------------------------------------------------------------------------------------ picture encoders
def asked(model, big):
    """The argument that asks for interpolated positions, of classes that do not always do it."""
    takes = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters or isinstance(model, T.CLIPForImageClassification)
    return {"interpolate_pos_encoding": True} if big and takes else {}


def see(model, px, big=False):
    model = copy.deepcopy(model)                             # Swin's blocks keep the window of the smallest picture they have seen
    o = model(pixel_values=px, output_hidden_states=True, **asked(model, big))
    base = getattr(model, "vision_model", model.base_model)(px, **asked(model, big))
    out = {"pixel_values": px, "hidden_states": o.hidden_states, "last_hidden_state": base.last_hidden_state}
    pooled = [] if hasattr(model, "vision_model") else [("pooler_output", base.pooler_output)]
    for k, v in pooled + [(k, getattr(o, k, None)) for k in ("logits", "cls_logits", "distillation_logits", "image_embeds")]:
        if v is not None:
            out[k] = v
    return out


def pixels(kind, kw, names, pil=False):
    return getattr(T, kind + ("Pil" if pil else ""))(**kw)([picture(n) for n in names], return_tensors="pt")["pixel_values"]


def encoder(name, form, seed, model, kind, kw, dtype=torch.float32, shards=None, big=None, names=("shapes.png", "photo.jpg", "tall.png")):
    """The pictures as the processor has them, one as Pillow has it, and some of other sizes."""
    g = Golden(name, form)
    model = save_model(randomise(model, seed), g.folder, form, dtype, shards)
    kw = dict(kw, **({"do_convert_rgb": True} if "grey.png" in names else {}))
    getattr(T, kind)(**kw).save_pretrained(g.folder)
    pieces = [{"image": n} for n in names]
    with torch.no_grad():
        g.case("plain", pieces, tensors=see(model, pixels(kind, kw, names)))
        g.case("pil", pieces[:1], pil=True, tensors=see(model, pixels(kind, kw, names[:1], True)))
        for b in big or []:
            side = {"height": b[0], "width": b[1]}
            kb = dict(kw, size=side, **({"crop_size": side} if "crop_size" in kw else {}))
            g.case(f"{b[0]}x{b[1]}", pieces[:2], height=b[0], width=b[1], tensors=see(model, pixels(kind, kb, names[:2]), True))
    return g, model


def vit(name, form, seed, classes, *more, image=None, big=None, names=("shapes.png", "photo.jpg", "tall.png"), family="ViT", head="ForImageClassification", **config):
    h, w = image if isinstance(image, (list, tuple)) else (image, image)
    cfg = getattr(T, family + "Config")(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, image_size=image, num_labels=classes or 2, **config)
    crop = dict(size={"height": h + 8, "width": w + 5}, crop_size={"height": h, "width": w}) if family == "DeiT" else dict(size={"height": h, "width": w})
    return encoder(name, form, seed, getattr(T, family + (head if classes else "Model"))(cfg), family + "ImageProcessor", crop, *more, big=big, names=names)


def dinov2(name, form, seed, classes, *more, crop=35, big=None, names=("shapes.png", "photo.jpg", "tall.png"), registers=0, **config):
    family = "Dinov2WithRegisters" if registers else "Dinov2"
    config = dict(dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, image_size=28, patch_size=7, mlp_ratio=2, num_labels=classes or 2), **config)
    cfg = getattr(T, family + "Config")(**config, **({"num_register_tokens": registers} if registers else {}))
    kw = dict(size={"shortest_edge": crop + 5}, crop_size={"height": crop, "width": crop})
    return encoder(name, form, seed, getattr(T, family + ("ForImageClassification" if classes else "Model"))(cfg), "BitImageProcessor", kw, *more, big=big, names=names)


def swin(name, form, seed, classes, *more, image=32, big=None, names=("shapes.png", "photo.jpg", "tall.png"), family="Swin", **config):
    config = dict(dict(embed_dim=8, depths=[2, 2], num_heads=[1, 2], patch_size=4, window_size=3, mlp_ratio=2.0, image_size=image, num_labels=classes or 2), **config)
    kw = dict(size={"height": image, "width": image}, resample=3)
    model = getattr(T, family + ("ForImageClassification" if classes else "Model"))(getattr(T, family + "Config")(**config))
    return encoder(name, form, seed, model, "ViTImageProcessor", kw, *more, big=big, names=names)


def logits(model, px, big):
    return model(pixel_values=px, **asked(model, big)).logits if isinstance(model, T.PreTrainedModel) else model(px)


def encoder_train(name, form, seed, make, big, rate=0.05, **kw):
    """Pictures of two sizes, the second with interpolated positions."""
    g, model = make(name, form, seed, 5, big=[big], **kw)
    groups = [(g.t["plain.pixel_values"], False), (g.t[f"{big[0]}x{big[1]}.pixel_values"], True)]
    g.cases = [c for c in g.cases if c["name"] != "pil"]
    g.t = {k: v for k, v in g.t.items() if not k.startswith("pil.")}
    targets = torch.tensor([3, 0, 2, 1, 4])
    loss = lambda: torch.nn.functional.cross_entropy(torch.cat([logits(model, p, b) for p, b in groups]), targets)
    g.train["targets"] = targets
    descend(g, model, loss, rate)
    return g


def descend(g, model, loss, rate):
    """Gradients at the start, and the loss before each step of plain SGD."""
    losses, names = [], saved_names(g, model)
    for step in range(SGD_STEPS):
        model.zero_grad()
        l = loss()
        l.backward()
        losses.append(l.item())
        for k, p in model.named_parameters():
            if p.grad is None:
                continue
            if step == 0:
                g.train["gradient." + names[k]] = p.grad.detach().clone()
            with torch.no_grad():
                p -= rate * p.grad
    print("    losses", " ".join(f"{x:.4f}" for x in losses))
    g.train["losses"], g.train["rate"] = torch.tensor(losses), torch.tensor([rate])


def saved_names(g, model):
    """How the folder calls each parameter: found by its values, since classes and files name them differently."""
    saved = load_file(os.path.join(g.folder, "model.safetensors"))
    return {k: next(n for n, v in saved.items() if v.shape == p.shape and torch.equal(v, p)) for k, p in model.named_parameters()}


# ------------------------------------------------------------------------------------------------ ViTMAE
def mix(x):
    """SplitMix64; the noise of src/tokens/noise.c."""
    x = (x + 0x9E3779B97F4A7C15) % 2**64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
    return x ^ x >> 31


def noise(seed, pictures, patches):
    return torch.tensor([[(mix(mix(mix(seed) ^ i) ^ j) >> 40) / 2**24 for j in range(patches)] for i in range(pictures)])


def masked(name, form, seed, cls, dtype=torch.float32, big=None, names=("shapes.png", "photo.jpg", "tall.png"), **config):
    """The reference is given the noise that we draw."""
    return masked_model(name, form, seed, cls, dtype, big, names, **config)[0]


def masked_model(name, form, seed, cls, dtype=torch.float32, big=None, names=("shapes.png", "photo.jpg", "tall.png"), **config):
    g = Golden(name, form)
    cfg = T.ViTMAEConfig(**dict(dict(hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, image_size=32, patch_size=4, mask_ratio=0.6,
        decoder_num_attention_heads=2, decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_intermediate_size=24), **config))
    model = save_model(randomise(getattr(T, cls)(cfg), seed), g.folder, form, dtype)
    size = dict(height=cfg.image_size, width=cfg.image_size)
    T.ViTImageProcessor(size=size, resample=3).save_pretrained(g.folder)
    base, pieces = getattr(model, "vit", model), [{"image": n} for n in names]

    def see(h, w, draw, count):
        px = pixels("ViTImageProcessor", dict(size=dict(height=h, width=w), resample=3), names[:count])
        n = noise(draw, count, (h // cfg.patch_size) * (w // cfg.patch_size))
        x = dict(pixel_values=px, noise=n, interpolate_pos_encoding=(h, w) != (cfg.image_size,) * 2)
        o = base(**x)
        out = {"pixel_values": px, "noise": n, "mask": o.mask, "ids_restore": o.ids_restore, "last_hidden_state": o.last_hidden_state}
        if base is not model:
            p = model(**x)
            out.update({"logits": p.logits}, **({"loss": p.loss} if o.mask.sum() else {}))
        return out

    with torch.no_grad():
        g.case("plain", pieces, tensors=see(cfg.image_size, cfg.image_size, 0, len(names)))
        g.case("seeded", pieces[:1], mask_seed=77, tensors=see(cfg.image_size, cfg.image_size, 77, 1))
        for h, w in big or []:
            g.case(f"{h}x{w}", pieces[:2], height=h, width=w, tensors=see(h, w, 0, 2))
        mask_ratio, base.embeddings.config.mask_ratio = cfg.mask_ratio, 0.0
        g.case("whole", pieces[:1], mask_ratio=0.0, tensors=see(cfg.image_size, cfg.image_size, 0, 1))
        base.embeddings.config.mask_ratio = cfg.mask_ratio = mask_ratio
    return g, model


def masked_train(name, form, seed, **config):
    """Pictures of two sizes; the loss is the mean over all dropped patches of both. from_pretrained forgets that the class fixes its positions."""
    g, model = masked_model(name, form, seed, "ViTMAEForPreTraining", big=[(20, 36)], **config)
    for p in (model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed):
        p.requires_grad_(False)
    g.cases = [c for c in g.cases if c["name"] in ("plain", "20x36")]
    g.t = {k: v for k, v in g.t.items() if k.startswith(("plain.", "20x36."))}
    seen = [dict(pixel_values=g.t[f"{c}.pixel_values"], noise=g.t[f"{c}.noise"], interpolate_pos_encoding=c != "plain") for c in ("plain", "20x36")]

    def loss():
        o = [model(**x) for x in seen]
        dropped = [x.mask.sum() for x in o]
        return sum(x.loss * n for x, n in zip(o, dropped)) / sum(dropped)

    descend(g, model, loss, 0.05)
    return g


# ------------------------------------------------------------------------------------------------ timm
def timm_see(model, px):
    hidden, keep = [], lambda m, i, o: hidden.append(o)
    hooks = [m.register_forward_hook(keep) for m in ([model.norm_pre] + list(model.blocks) if hasattr(model, "norm_pre") else [])]
    x = model.forward_features(px)
    for h in hooks:
        h.remove()
    out = {"pixel_values": px, "last_hidden_state": x, "pooler_output": model.forward_head(x, pre_logits=True)}
    if hidden:
        out["hidden_states"] = hidden
    return dict(out, logits=model(px)) if model.num_classes else out


def timm_folder(g, seed, architecture, dtype, about, labels, args):
    shutil.rmtree(g.folder, ignore_errors=True)
    os.makedirs(g.folder)
    model = randomise(timm.create_model(architecture, **args), seed)
    save_file({k: v.to(dtype).contiguous() for k, v in model.state_dict().items()}, os.path.join(g.folder, "model.safetensors"), metadata={"format": "pt"})
    save_config_for_hf(model, os.path.join(g.folder, "config.json"), model_config={"pretrained_cfg": about, **({"label_names": labels} if labels else {})})
    return {k: v.float() for k, v in load_file(os.path.join(g.folder, "model.safetensors")).items()}


def timm_pixels(g, names, **data):
    about = json.load(open(os.path.join(g.folder, "config.json")))["pretrained_cfg"]
    pipe = timm.data.create_transform(**timm.data.resolve_data_config(data, pretrained_cfg=about))
    return torch.stack([pipe(picture(n).convert("RGB")) for n in names])


WAYS = {"bicubic": dict(interpolation="bicubic", antialias=False), "bilinear": dict(interpolation="bilinear", antialias=False),
        "antialias": dict(interpolation="bicubic", antialias=True)}


def timm_vit(name, form, seed, architecture, big=(), patch=0, ways=None, dtype=torch.float32, about={}, labels=None, names=("shapes.png", "photo.jpg", "clear.png"), **args):
    """Sizes that the class takes only when told so (dynamic_img_size), patches that timm resamples before loading."""
    g = Golden(name, form)
    args = dict(dict(embed_dim=32, depth=2, num_heads=2), **args)
    state = timm_folder(g, seed, architecture, dtype, about, labels, args)
    size, old = timm.layers.to_2tuple(args["img_size"]), timm.layers.to_2tuple(args["patch_size"])
    g.patch, new = patch, (patch, patch) if patch else old
    model = timm.create_model(architecture, **dict(args, img_size=size, patch_size=new, dynamic_img_size=True)).eval()
    state["patch_embed.proj.weight"] = timm.layers.resample_patch_embed(state["patch_embed.proj.weight"], new)
    own, stored, learned = [size[i] // old[i] for i in (0, 1)], state["pos_embed"], 0 if model.no_embed_class else model.num_prefix_tokens
    place = lambda h, w, **how: timm.layers.resample_abs_pos_embed(stored, [h // new[0], w // new[1]], own, learned, **how)
    model.load_state_dict(dict(state, pos_embed=place(*size)))
    pieces = [{"image": n} for n in names]
    with torch.no_grad():
        g.case("plain", pieces, tensors=timm_see(model, timm_pixels(g, names)))
        for h, w in big:                                     # from the table as it is stored, once
            other = timm.create_model(architecture, **dict(args, img_size=(h, w), patch_size=new)).eval()
            other.load_state_dict(dict(state, pos_embed=place(h, w)))
            g.case(f"{h}x{w}", pieces[:2], height=h, width=w, tensors=timm_see(other, timm_pixels(g, names[:2], input_size=(3, h, w))))
        for way, how in (WAYS if ways else {}).items():
            h, w = ways
            other = timm.create_model(architecture, **dict(args, img_size=(h, w), patch_size=new)).eval()
            other.load_state_dict(dict(state, pos_embed=place(h, w, **how)))
            seen = timm_see(other, timm_pixels(g, names[:1], input_size=(3, h, w)))
            g.case(way, pieces[:1], height=h, width=w, positions=way, tensors={"last_hidden_state": seen["last_hidden_state"]})
    return g, model


def timm_swin(name, form, seed, architecture, big=(), dtype=torch.float32, names=("shapes.png", "photo.jpg", "grey.png"), **args):
    """Other sizes as with dynamic_img_size: windows stay those of the configured one."""
    g = Golden(name, form)
    args = dict(dict(embed_dim=8, depths=[2, 2], num_heads=[1, 2], patch_size=4, mlp_ratio=2.0), **args)
    state = timm_folder(g, seed, architecture, dtype, {}, None, args)
    model = timm.create_model(architecture, **args, dynamic_img_size=True).eval()
    model.load_state_dict(state)
    pieces = [{"image": n} for n in names]
    with torch.no_grad():
        g.case("plain", pieces, tensors=timm_see(model, timm_pixels(g, names)))
        for h, w in big:
            g.case(f"{h}x{w}", pieces[:2], height=h, width=w, tensors=timm_see(model, timm_pixels(g, names[:2], input_size=(3, h, w))))
    return g, model


def swin_of_timm(name, form, seed, classes, big):
    return timm_swin(name, form, seed, "swin_tiny_patch4_window7_224", big, img_size=[24, 40], window_size=3, num_classes=classes)


def swinv2_of_timm(name, form, seed, classes, big):
    return timm_swin(name, form, seed, "swinv2_tiny_window8_256", big, img_size=24, window_size=3, num_heads=[1, 2], embed_dim=16, pretrained_window_sizes=[2, 0], num_classes=classes)


def flexivit(name, form, seed, classes, big):
    return timm_vit(name, form, seed, "flexivit_small", big, img_size=24, patch_size=6, num_classes=classes, mlp_ratio=2)


# ------------------------------------------------------------------------------------------------ CLIP
def clip(name, form, seed, act, real_eos, dtype, text_length=14, big=None):
    g = Golden(name, form)
    tok = clip_words(text_length)
    cfg = T.CLIPConfig(projection_dim=24,
        text_config=dict(vocab_size=len(tok), hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=text_length,
                         hidden_act=act, eos_token_id=tok.eos_token_id if real_eos else 2, bos_token_id=tok.bos_token_id, pad_token_id=1),
        vision_config=dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=24, patch_size=8, hidden_act=act))
    model = save_model(randomise(T.CLIPModel(cfg), seed), g.folder, form, dtype)
    kw = dict(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    save_words(g.folder, form, tok, T.CLIPImageProcessor(**kw), T.CLIPProcessor(image_processor=T.CLIPImageProcessor(**kw), tokenizer=tok))
    names = ["clear.png", "grey.png", "photo.jpg", "tall.png"]
    texts = ["a photo of a circle.", "A picture of the SEA at night, größer!", "the triangle", "it's a very long text that is cut because the model has few positions, so few"]

    def both(px, big=False):
        x = tok(texts, padding=True, truncation=True, return_tensors="pt")
        o = model(pixel_values=px, **x, output_hidden_states=True, interpolate_pos_encoding=big)
        v, t, mask = o.vision_model_output, o.text_model_output, x["attention_mask"].bool()
        blank = lambda y: torch.where(mask[..., None], y, torch.zeros(()))
        return {"pixel_values": px, "input_ids": x["input_ids"], "attention_mask": x["attention_mask"], "vision.hidden_states": v.hidden_states,
                "vision.last_hidden_state": v.last_hidden_state, "vision.pooler_output": v.pooler_output, "image_embeds": o.image_embeds,
                "text.hidden_states": [blank(h) for h in t.hidden_states], "text.last_hidden_state": blank(t.last_hidden_state),
                "text.pooler_output": t.pooler_output, "text_embeds": o.text_embeds, "logits_per_image": o.logits_per_image, "logits_per_text": o.logits_per_text}

    pieces = [{"image": n} for n in names] + [{"text": t} for t in texts]
    with torch.no_grad():
        g.case("both", pieces, tensors=both(pixels("CLIPImageProcessor", kw, names)))
        if not big:
            g.case("pil", pieces[:2] + pieces[4:], pil=True, tensors=both(pixels("CLIPImageProcessor", kw, names[:2], True)))
        for b in big or []:
            kb = dict(size={"height": b[0], "width": b[1]}, crop_size={"height": b[0], "width": b[1]})
            g.case(f"{b[0]}x{b[1]}", pieces[2:], height=b[0], width=b[1], tensors=both(pixels("CLIPImageProcessor", kb, names[2:]), True))
    return g


# ------------------------------------------------------------------------------------------------ SigLIP
def siglip_model(tok, length, seed, **vision):
    cfg = T.SiglipConfig(
        text_config=dict(vocab_size=len(tok), hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=length,
                         projection_size=24, eos_token_id=1, bos_token_id=1, pad_token_id=1),
        vision_config=dict(dict(hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=24, patch_size=8), **vision))
    model = randomise(T.SiglipModel(cfg), seed)
    with torch.no_grad():
        model.logit_scale.fill_(1.1)
        model.logit_bias.fill_(-0.7)
    return model


def siglip(name, form, seed, dtype, length=14, big=None, second=None, **vision):
    """second: SigLIP 2 of one size, which is SigLIP with Gemma's words: the tokenizer class its folders name."""
    g = Golden(name, form)
    tok = lower_pieces(length) if second else unigram_words(length)
    model = save_model(siglip_model(tok, length, seed, **vision), g.folder, form, dtype)
    kw = dict(size={"height": 24, "width": 24})
    save_words(g.folder, form, tok, T.SiglipImageProcessor(**kw), None if second else T.SiglipProcessor(image_processor=T.SiglipImageProcessor(**kw), tokenizer=tok))
    if second:
        path = os.path.join(g.folder, "tokenizer_config.json")
        d = json.load(open(path))
        json.dump(dict(d, tokenizer_class=second, processor_class="SiglipProcessor"), open(path, "w"), indent=1)
        T.SiglipImageProcessor(**kw).save_pretrained(g.folder)
        tok = T.AutoTokenizer.from_pretrained(g.folder)
    names = ["clear.png", "grey.png", "photo.jpg", "tall.png"]
    texts = ["a photo of a circle.", "A picture of the SEA, at (night), größer!", "the triangle", "it's a very long text that is cut because the model has few positions, so few"]

    def both(px, big=False):
        x = tok(texts, padding="max_length", truncation=True, return_tensors="pt")["input_ids"]
        o = model(pixel_values=px, input_ids=x, interpolate_pos_encoding=big)
        out = {"pixel_values": px, "input_ids": x, "image_embeds": o.image_embeds, "text_embeds": o.text_embeds,
               "logits_per_image": o.logits_per_image, "logits_per_text": o.logits_per_text}
        for k, m, args in (("vision", model.vision_model, dict(pixel_values=px, interpolate_pos_encoding=big)), ("text", model.text_model, dict(input_ids=x))):
            y = m(**args, output_hidden_states=True)
            out.update({k + ".hidden_states": y.hidden_states, k + ".last_hidden_state": y.last_hidden_state, k + ".pooler_output": y.pooler_output})
        return out

    pieces = [{"image": n} for n in names] + [{"text": t} for t in texts]
    with torch.no_grad():
        g.case("both", pieces, tensors=both(pixels("SiglipImageProcessor", kw, names)))
        g.case("pil", pieces[:2] + pieces[4:], pil=True, tensors=both(pixels("SiglipImageProcessor", kw, names[:2], True)))
        for b in big or []:
            g.case(f"{b[0]}x{b[1]}", pieces[2:], height=b[0], width=b[1], tensors=both(pixels("SiglipImageProcessor", dict(size={"height": b[0], "width": b[1]}), names[2:]), True))
    return g, model


def siglip_train(name, form, seed):
    """The picture tower alone: the pooled row taken for logits."""
    g, model = siglip(name, form, seed, torch.float32, big=[(16, 32)])
    g.cases = [c for c in g.cases if c["name"] != "pil"]
    for c in g.cases:
        c["prompt"] = json.dumps({"content": [p for p in json.loads(c["prompt"])["content"] if "image" in p]})
    g.t = {k: v for k, v in g.t.items() if k.split(".", 1)[1].startswith(("pixel", "vision", "image")) and not k.startswith("pil.")}
    groups = [(g.t["both.pixel_values"], False), (g.t["16x32.pixel_values"], True)]
    targets = g.train["targets"] = torch.tensor([3, 0, 20, 11, 7, 23])
    loss = lambda: torch.nn.functional.cross_entropy(torch.cat([model.vision_model(pixel_values=p, interpolate_pos_encoding=b).pooler_output for p, b in groups]), targets)
    descend(g, model, loss, 0.005)
    return g


# ------------------------------------------------------------------------------------------------ towers alone, classifiers
SMALL = dict(hidden_size=32, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4)


def clip_pictures(name, form, seed, cls, dtype, **config):
    vision = dict(SMALL, image_size=24, patch_size=8)
    cfg = T.CLIPConfig(vision_config=vision, text_config=SMALL, num_labels=5) if cls.startswith("CLIPFor") else T.CLIPVisionConfig(projection_dim=20, **vision)
    kw = dict(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
    return encoder(name, form, seed, getattr(T, cls)(cfg), "CLIPImageProcessor", kw, dtype, big=[(16, 32)])


def clip_texts(name, form, seed, cls, dtype):
    g, tok = Golden(name, form), clip_words(14)
    cfg = T.CLIPTextConfig(projection_dim=20, vocab_size=len(tok), max_position_embeddings=14, eos_token_id=tok.eos_token_id, bos_token_id=tok.bos_token_id, pad_token_id=1, **SMALL)
    model = save_model(randomise(getattr(T, cls)(cfg), seed), g.folder, form, dtype)
    save_words(g.folder, form, tok)
    texts = ["a photo of a circle.", "It's THE triangle, größer!", "yes"]
    x = tok(texts, padding=True, truncation=True, return_tensors="pt")
    with torch.no_grad():
        o = model(**x, output_hidden_states=True)
    blank = lambda y: torch.where(x["attention_mask"].bool()[..., None], y, torch.zeros(()))
    out = dict(x, hidden_states=[blank(h) for h in o.hidden_states], last_hidden_state=blank(o.last_hidden_state))
    g.case("texts", [{"text": t} for t in texts], tensors=dict(out, **{k: o[k] for k in ("text_embeds", "pooler_output") if k in o}))
    return g


def siglip_pictures(name, form, seed, dtype):
    cfg = T.SiglipConfig(vision_config=dict(SMALL, image_size=24, patch_size=8), text_config=SMALL, num_labels=5)
    return encoder(name, form, seed, T.SiglipForImageClassification(cfg), "SiglipImageProcessor", dict(size={"height": 24, "width": 24}), dtype, big=[(16, 32)])


def siglip2_pictures(name, form, seed, dtype):
    """Pictures of their own ratios, whose means leave out what is filled up."""
    g = Golden(name, form)
    cfg = T.Siglip2Config(vision_config=dict(SMALL, patch_size=6, num_patches=16), text_config=SMALL, num_labels=5)
    model = save_model(randomise(T.Siglip2ForImageClassification(cfg), seed), g.folder, form, dtype)
    kw, names = dict(patch_size=6, max_num_patches=24, do_convert_rgb=True), ["clear.png", "wide.png", "photo.jpg"]
    T.Siglip2ImageProcessor(**kw).save_pretrained(g.folder)
    for case, pil in ("plain", False), ("pil", True):
        px = getattr(T, "Siglip2ImageProcessor" + ("Pil" if pil else ""))(**kw)([picture(n) for n in names], return_tensors="pt")
        px = {k: v if v.is_floating_point() else v.long() for k, v in px.items()}
        with torch.no_grad():
            g.case(case, [{"image": n} for n in names], tensors=dict(px, logits=model(**px).logits), **({"pil": True} if pil else {}))
    return g


# ------------------------------------------------------------------------------------------------ SigLIP 2 NaFlex
def siglip2(name, form, seed, dtype, length=16, budget=24, side="right", asked=12, words=24, **vision):
    """Pictures at their own ratio of sides, within the processor's budget of patches and within another one."""
    g = Golden(name, form)
    tok = lower_pieces(length, side)
    cfg = T.Siglip2Config(
        text_config=dict(vocab_size=len(tok), hidden_size=words, intermediate_size=28, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=length, projection_size=24,
                         eos_token_id=1, bos_token_id=2, pad_token_id=0),
        vision_config=dict(dict(hidden_size=24, intermediate_size=36, num_hidden_layers=2, num_attention_heads=2, patch_size=6, num_patches=16), **vision))
    model = randomise(T.Siglip2Model(cfg), seed)
    with torch.no_grad():
        model.logit_scale.fill_(1.1)
        model.logit_bias.fill_(-0.7)
    model = save_model(model, g.folder, form, dtype)
    kw = dict(patch_size=cfg.vision_config.patch_size, max_num_patches=budget, do_convert_rgb=True)
    save_words(g.folder, form, tok, T.Siglip2ImageProcessor(**kw), T.Siglip2Processor(image_processor=T.Siglip2ImageProcessor(**kw), tokenizer=tok))
    names = ["clear.png", "wide.png", "photo.jpg", "tall.png"]
    texts = ["a photo of a CIRCLE.", "A picture of the SEA, at (night), größer!", "the triangle 猫", "it's a very long text that is cut because the model has few positions, so few"]

    def both(x):
        px = {k: v if v.is_floating_point() else v.long() for k, v in x.items()}
        blank = lambda y: torch.where(px["pixel_attention_mask"].bool()[..., None], y, torch.zeros(()))
        ids = tok(texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")["input_ids"]
        o = model(**px, input_ids=ids)
        out = dict(px, input_ids=ids, image_embeds=o.image_embeds, text_embeds=o.text_embeds, logits_per_image=o.logits_per_image, logits_per_text=o.logits_per_text)
        for k, m, args in (("vision", model.vision_model, px), ("text", model.text_model, dict(input_ids=ids))):
            y, see = m(**args, output_hidden_states=True), blank if k == "vision" else lambda y: y
            out.update({k + ".hidden_states": [see(h) for h in y.hidden_states], k + ".last_hidden_state": see(y.last_hidden_state), k + ".pooler_output": y.pooler_output})
        return out

    pieces = [{"image": n} for n in names] + [{"text": t} for t in texts]
    processed = lambda names, pil=False, **k: getattr(T, "Siglip2ImageProcessor" + ("Pil" if pil else ""))(**dict(kw, **k))([picture(n) for n in names], return_tensors="pt")
    with torch.no_grad():
        g.case("both", pieces, tensors=both(processed(names)))
        g.case("pil", pieces[:2] + pieces[4:], pil=True, tensors=both(processed(names[:2], True)))
        g.case("budget", pieces[1:], max_patches=asked, tensors=both(processed(names[1:], max_num_patches=asked)))
    return g, model


def siglip2_train(name, form, seed):
    """Both towers, the pooled rows taken for logits; pictures of two budgets."""
    g, model = siglip2(name, form, seed, torch.float32, asked=20, words=16, patch_size=5)
    g.cases = [c for c in g.cases if c["name"] != "pil"]
    g.cases[1]["prompt"] = json.dumps({"content": [p for p in json.loads(g.cases[1]["prompt"])["content"] if "image" in p]})
    g.t = {k: v for k, v in g.t.items() if not k.startswith("pil.") and not re.match(r"budget\.(text|input|logits)|.*hidden_states", k)}
    groups = [{k: g.t[f"{c}.{k}"] for k in ("pixel_values", "pixel_attention_mask", "spatial_shapes")} for c in ("both", "budget")]
    targets = g.train["targets"] = torch.tensor([3, 0, 20, 11, 7, 23, 1])
    words = g.train["text_targets"] = torch.tensor([5, 22, 0, 13])
    loss = lambda: torch.nn.functional.cross_entropy(torch.cat([model.vision_model(**p).pooler_output for p in groups]), targets) + \
        torch.nn.functional.cross_entropy(model.text_model(input_ids=g.t["both.input_ids"]).pooler_output, words)
    descend(g, model, loss, 0.005)
    return g


# ------------------------------------------------------------------------------------------------ BERT
LINES = [("A red circle stands [MASK] a small blue square.", None), ("What shape is in the picture?", "The photograph [MASK] a shirt, größer, 3.14 and 猫"), ("yes", "no"),
         ("It's what they'll say", "")]


def bert(name, form, seed, head, dtype=torch.float32, tok=None, old_names=False, alone=True, **config):
    """Texts of several lengths in one call, alone and in pairs; old_names: norms as files of 2018 call them."""
    g = Golden(name, form)
    tok = tok or word_pieces()
    cfg = T.BertConfig(**dict(dict(vocab_size=len(tok) + 3, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=44, max_position_embeddings=48), **config))
    model = save_model(randomise(getattr(T, "Bert" + head)(cfg), seed), g.folder, form, dtype)
    tok.save_pretrained(g.folder)
    if old_names:
        path = os.path.join(g.folder, "model.safetensors")
        save_file({k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v for k, v in load_file(path).items()}, path, metadata={"format": "pt"})

    def call(lines):
        x = tok.pad([dict(tok(a, b or None, truncation=tok.model_max_length < 1000)) for a, b in lines], padding=True, return_tensors="pt")
        o = model(**({k: v[None] for k, v in x.items()} if head == "ForMultipleChoice" else x), output_hidden_states=True)
        blank = lambda y: torch.where(x["attention_mask"].bool()[..., None], y, torch.zeros(()))
        out = dict(x, hidden_states=[blank(h) for h in o.hidden_states], last_hidden_state=blank(o.hidden_states[-1]))
        scores = [k for k in o if k.endswith("logits")]
        for k in scores:
            rows, single = o[k].shape[:2] == x["input_ids"].shape, o[k].ndim == 2
            out[k] = o[k] if not rows else torch.where(x["attention_mask"].bool(), o[k], torch.zeros(())) if single else blank(o[k])
        if not scores and o.pooler_output is not None:
            out["pooler_output"] = o.pooler_output
        return out

    pieces = [[{"text": a}] + ([{"pair": b}] if b is not None else []) for a, b in LINES]
    with torch.no_grad():
        for i, l in enumerate(LINES[:3 if alone else 0]):
            g.case(f"text{i}", pieces[i], tensors=call([l]))
        g.case("all", sum(pieces, []), tensors=call(LINES))
    return g, model, tok


def bert_train(name, form, seed):
    """Words that are hidden are to be found: the mean over masked rows, and the end tokens, of texts of several lengths."""
    g, model, tok = bert(name, form, seed, "ForMaskedLM")
    rows, targets = [], []
    for c in g.cases[:3]:
        x = {k: g.t[f"{c['name']}.{k}"] for k in ("input_ids", "token_type_ids", "attention_mask")}
        hidden = (x["input_ids"] == tok.mask_token_id) | (x["input_ids"] == tok.sep_token_id)
        rows.append(x)
        targets.append(torch.where(hidden, (x["input_ids"] * 7 + torch.arange(hidden.shape[1])) % len(tok), torch.full_like(x["input_ids"], -100))[0])
    g.cases, targets = g.cases[:3], torch.cat(targets)
    g.t = {k: v for k, v in g.t.items() if not k.startswith("all.")}
    g.train["targets"] = targets
    loss = lambda: torch.nn.functional.cross_entropy(torch.cat([model(**x).logits[0] for x in rows]), targets, ignore_index=-100)
    descend(g, model, loss, 0.3)
    return g


def bert_class_train(name, form, seed):
    """The class of each text, through the pooler."""
    g, model, _ = bert(name, form, seed, "ForSequenceClassification", num_labels=5, num_hidden_layers=1)
    g.cases = g.cases[:3]
    g.t = {k: v for k, v in g.t.items() if not k.startswith("all.")}
    rows = [{k: g.t[f"{c['name']}.{k}"] for k in ("input_ids", "token_type_ids", "attention_mask")} for c in g.cases]
    targets = g.train["targets"] = torch.tensor([3, 0, 2])
    descend(g, model, lambda: torch.nn.functional.cross_entropy(torch.cat([model(**x).logits for x in rows]), targets), 0.05)
    return g


# ------------------------------------------------------------------------------------------------ text that grows
class TooClose(Exception):
    pass


def grow(model, tok, x):
    """Every named stage of the prompt, and STEPS greedy tokens with their logits; whoever wins a step must win it clearly."""
    o = model(**x, output_hidden_states=True)
    hidden = o.hidden_states
    out = dict(x, hidden_states=hidden, last_hidden_state=hidden[-1], logits=o.logits)
    return out, answer_of(model, tok, x, out)


def answer_of(model, tok, x, out):
    config = model.generation_config
    config.eos_token_id, config.pad_token_id = None, 0
    r = model.generate(**x, max_new_tokens=STEPS, do_sample=False, return_dict_in_generate=True, output_logits=True)
    logits = torch.stack(r.logits, 1)
    top = logits.topk(2, -1).values
    if ((top[..., 0] - top[..., 1]) / logits.std(-1)).min() < 0.01:
        raise TooClose
    out["generated_ids"], out["generated_logits"] = r.sequences[:, -STEPS:], logits
    if "\0" in tok.decode(out["generated_ids"][0]):         # the tests read C strings
        raise TooClose
    return tok.decode(out["generated_ids"][0], skip_special_tokens=True)


LLAMA_CHAT = ("{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] | trim }}<|eot_id|>"
              "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}")
PLAIN_CHAT = ("{% for message in messages %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + message['content'] | trim + ' [/INST]' }}"
              "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}")
LLAVA_CHAT = ("{% for message in messages %}{% if message['role'] != 'system' %}{{ message['role'].upper() + ': '}}{% endif %}"
              "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
              "{% if message['role'] != 'assistant' %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' '}}{% endfor %}"
              "{% else %}{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}{% endfor %}"
              "{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}")
PROMPTS = ["A red circle", "It's 2048 cafés, größer:  two\nlines", "What shape is in the picture? " * 3 + "猫 😀"]


def llama(name, form, seed, tok, chat, rope, dtype=torch.float32, shards=None, **config):
    g = Golden(name, form)
    tok.chat_template = chat
    cfg = T.LlamaConfig(vocab_size=len(tok) + 3, hidden_size=32, intermediate_size=44, num_hidden_layers=2, max_position_embeddings=160, rope_parameters=rope,
                        bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id, pad_token_id=tok.pad_token_id, **config)
    model = save_model(randomise(T.LlamaForCausalLM(cfg), seed), g.folder, form, dtype, shards)
    save_words(g.folder, form, tok)
    chat = [{"role": "user", "content": " What colour? "}, {"role": "assistant", "content": "Red."}, {"role": "user", "content": "Is it?"}]
    with torch.no_grad():
        for i, p in enumerate(PROMPTS):
            t, answer = grow(model, tok, dict(tok(p, return_tensors="pt", return_token_type_ids=False)))
            g.case(f"raw{i}", [{"text": p}], raw=True, max_tokens=STEPS, answer=answer, tensors=t)
        text = tok.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        t, answer = grow(model, tok, dict(tok(text, add_special_tokens=False, return_tensors="pt", return_token_type_ids=False)))
        g.case("chat", messages=chat, max_tokens=STEPS, answer=answer, tensors=t)
    return g


# ------------------------------------------------------------------------------------------------ other text families
def text_folder(name, form, seed, tok, kind, dtype=torch.float32, shards=None, shift=0.0, **config):
    """shift: what is taken off the norms' weights, of families that add 1; the table gets smaller where it is scaled."""
    g = Golden(name, form)
    cls = {"GPT2": "GPT2LMHeadModel", "Gemma3Text": "Gemma3ForCausalLM"}.get(kind, kind + "ForCausalLM")
    cfg = getattr(T, kind + "Config")(vocab_size=len(tok) + 1, bos_token_id=tok.bos_token_id, eos_token_id=tok.eos_token_id, **config)
    model = randomise(getattr(T, cls)(cfg), seed, table=0.1 if shift else 0.5)
    with torch.no_grad():
        for n, p in model.named_parameters():
            if "norm" in n and n.endswith("weight"):
                p -= shift
    return g, save_model(model, g.folder, form, dtype, shards)


def text(name, form, seed, tok, kind, *more, prompts=PROMPTS[:2], **config):
    g, model = text_folder(name, form, seed, tok, kind, *more, **config)
    save_words(g.folder, form, tok)
    with torch.no_grad():
        for i, p in enumerate(prompts):
            t, answer = grow(model, tok, dict(tok(p, return_tensors="pt", return_token_type_ids=False)))
            g.case(f"raw{i}", [{"text": p}], raw=True, max_tokens=STEPS, answer=answer, tensors=t)
    return g, model, tok


SAID = [("What shape is it?", " a circle"), ("Is it?", " yes, it is red and yellow"), ("What colour is the small square? A", " blue.")]


def text_train(name, form, seed, tok, kind, rate=0.02, **config):
    """Three sequences of different lengths; the prompts are masked."""
    g, model, tok = text(name, form, seed, tok, kind, prompts=[q for q, _ in SAID], **config)
    rows = []
    for i, (q, said) in enumerate(SAID):
        before = g.t[f"raw{i}.input_ids"][0]
        after = torch.tensor(tok(said, add_special_tokens=False)["input_ids"] + [tok.eos_token_id])
        ids, labels = torch.cat([before, after]), torch.cat([torch.full_like(before, -100), after])
        g.train[f"raw{i}.input_ids"], g.train[f"raw{i}.labels"] = ids[None], labels[None]
        rows.append((ids, labels))

    def loss():
        logits = [model(input_ids=i[None]).logits[0, :-1] for i, _ in rows]
        return torch.nn.functional.cross_entropy(torch.cat(logits), torch.cat([l[1:] for _, l in rows]), ignore_index=-100)
    descend(g, model, loss, rate)
    g.t = {k: v for k, v in g.t.items() if not k.endswith("generated_logits")}
    return g


def t5(name, form, seed, rates=None, dtype=torch.float32, own_head=False, **config):
    """The encoder reads the prompt; the answer begins with the padding. own_head: T5 1.1's, not scaled."""
    g, tok = Golden(name, form), plain_words(True)
    cfg = T.T5Config(vocab_size=len(tok) + 1, d_model=24, d_kv=10, d_ff=40, num_layers=2, num_heads=2, relative_attention_num_buckets=8, relative_attention_max_distance=20,
                     decoder_start_token_id=0, eos_token_id=tok.eos_token_id, tie_word_embeddings=not own_head, **config)
    model = T.T5ForConditionalGeneration(cfg)
    if own_head:
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model = save_model(randomise(model, seed, gain=0.8), g.folder, form, dtype)
    if form == "hub" and own_head:                           # as the Hub's files say it
        path = os.path.join(g.folder, "config.json")
        c = json.load(open(path))
        c.pop("scale_decoder_outputs")
        json.dump(dict(c, tie_word_embeddings=False), open(path, "w"), indent=1)
        model = T.T5ForConditionalGeneration.from_pretrained(g.folder, dtype=torch.float32, attn_implementation="eager").eval()
    save_words(g.folder, form, tok)
    rows = []
    for i, (q, said) in enumerate(SAID):
        x = dict(tok(q, return_tensors="pt", return_token_type_ids=False))
        with torch.no_grad():
            o = model(**x, decoder_input_ids=torch.zeros(1, 1, dtype=torch.long), output_hidden_states=True)
            t = dict(x, encoder_hidden_states=o.encoder_hidden_states, encoder_last_hidden_state=o.encoder_last_hidden_state, decoder_hidden_states=o.decoder_hidden_states,
                     decoder_last_hidden_state=o.decoder_hidden_states[-1], logits=o.logits)
            answer = answer_of(model, tok, x, t)
            g.case(f"raw{i}", [{"text": q}], raw=True, max_tokens=STEPS, answer=answer, tensors=t)
        ids = torch.tensor(tok(said)["input_ids"])
        g.train[f"raw{i}.input_ids"], g.train[f"raw{i}.labels"] = torch.cat([torch.zeros(1, dtype=torch.long), ids[:-1]])[None], ids[None]
        rows.append((x, ids))
    if rates is None:
        g.train = {}
        return g

    def loss():
        logits = [model(**x, decoder_input_ids=torch.cat([torch.zeros(1, dtype=torch.long), y[:-1]])[None]).logits[0] for x, y in rows]
        return torch.nn.functional.cross_entropy(torch.cat(logits), torch.cat([y for _, y in rows]))
    descend(g, model, loss, rates)
    g.t = {k: v for k, v in g.t.items() if not k.endswith("generated_logits")}
    return g


def plain_words(end=False):
    """GPT-2's form: bytes; end: the last token is put after every text."""
    pre = pre_tokenizers.ByteLevel(add_prefix_space=False)
    vocab, merges = train_bpe(pre, 290)
    t = Tokenizer(models.BPE(vocab=vocab, merges=merges))
    t.pre_tokenizer, t.decoder = pre, decoders.ByteLevel()
    t.add_special_tokens([special("<|endoftext|>")])
    if end:                                                  # T5's: every text ends so
        t.post_processor = processors.TemplateProcessing(single="$A <|endoftext|>", pair="$A <|endoftext|> $B:1 <|endoftext|>:1", special_tokens=[("<|endoftext|>", t.token_to_id("<|endoftext|>"))])
    return T.PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<|endoftext|>", eos_token="<|endoftext|>", clean_up_tokenization_spaces=False)


# ------------------------------------------------------------------------------------------------ LLaVA
def llava_model(tok, seed, layer, strategy, text, tower, **config):
    cfg = T.LlavaConfig(vision_feature_layer=layer, vision_feature_select_strategy=strategy, image_token_index=tok.convert_tokens_to_ids("<image>"),
        text_config=dict(dict(model_type="llama", vocab_size=len(tok) + 2, hidden_size=32, intermediate_size=44, num_hidden_layers=2, max_position_embeddings=200), **text),
        vision_config=dict(dict(model_type="clip_vision_model", hidden_size=32, intermediate_size=40, num_hidden_layers=3, num_attention_heads=4, image_size=24, patch_size=8), **tower), **config)
    return randomise(T.LlavaForConditionalGeneration(cfg), seed)


def llava_processor(tok, strategy, kw):
    return T.LlavaProcessor(image_processor=T.CLIPImageProcessor(**kw), tokenizer=tok, patch_size=8, vision_feature_select_strategy=strategy, image_token="<image>",
                            num_additional_image_tokens=1, chat_template=LLAVA_CHAT)


CROP = dict(size={"shortest_edge": 24}, crop_size={"height": 24, "width": 24})
QUESTIONS = [(["photo.jpg"], "What shape is in the picture?"), (["clear.png", "tall.png"], "Compare the pictures: größer?"), ([], "What colour is the sea?")]


def llava_case(g, model, proc, name, pictures, chat=None, raw=None, pil=False):
    tok = proc.tokenizer
    text = raw if raw is not None else proc.apply_chat_template([{"role": "user", "content": [{"type": "image"}] * len(pictures) + [{"type": "text", "text": chat}]}], add_generation_prompt=True)
    images = [picture(n) for n in pictures]
    x = dict(proc(images=images or None, text=[text], return_tensors="pt"))
    if pil:
        x["pixel_values"] = T.CLIPImageProcessorPil(**CROP)(images, return_tensors="pt")["pixel_values"]
    x = {k: v for k, v in x.items() if torch.is_tensor(v)}
    t, answer = grow(model, tok, x)
    t["inputs_embeds"] = t["hidden_states"][0]
    if pictures:
        f = model.model.get_image_features(pixel_values=x["pixel_values"], return_dict=True).pooler_output
        t["image_features"] = torch.cat([y.reshape(-1, y.shape[-1]) for y in f])
        t["vision.hidden_states"] = model.model.vision_tower(x["pixel_values"], output_hidden_states=True).hidden_states
    pieces = [{"image": n} for n in pictures] + ([{"text": raw if raw is not None else chat}])
    g.case(name, pieces, max_tokens=STEPS, answer=answer, tensors=t, **({"raw": True} if raw is not None else {}), **({"pil": True} if pil else {}))


def llava(name, form, seed, tok, layer, strategy, text, tower, dtype=torch.float32, **config):
    g = Golden(name, form)
    model = save_model(llava_model(tok, seed, layer, strategy, text, tower, **config), g.folder, form, dtype)
    proc = llava_processor(tok, strategy, CROP)
    save_words(g.folder, form, tok, T.CLIPImageProcessor(**CROP), proc, template="file")
    with torch.no_grad():
        for i, (p, q) in enumerate(QUESTIONS):
            llava_case(g, model, proc, f"chat{i}", p, **({"chat": q} if p else {"raw": f"USER: {q} ASSISTANT:"}))
        llava_case(g, model, proc, "raw", ["shapes.png", "grey.png"], raw="USER: <image> and <image>\nCompare. ASSISTANT:")
        llava_case(g, model, proc, "pil", ["wide.png"], chat="What is it?", pil=True)
    return g


def llava_train(name, form, seed):
    tok = byte_words("<image>")
    g = Golden(name, form)
    text = dict(num_attention_heads=4, num_key_value_heads=2, tie_word_embeddings=True, attention_bias=True)
    model = save_model(llava_model(tok, seed, -2, "default", text, {}, tie_word_embeddings=True), g.folder, form)
    proc = llava_processor(tok, "default", CROP)
    save_words(g.folder, form, tok, T.CLIPImageProcessor(**CROP), proc)
    rows = []
    for i, (pictures, question, said) in enumerate([(["photo.jpg"], "What shape is it?", " a circle"), ([], "Is it?", " yes, it is"), (["tall.png"], "What colour is the small square?", " blue.")]):
        with torch.no_grad():
            llava_case(g, model, proc, f"chat{i}", pictures, **({"chat": question} if pictures else {"raw": f"USER: {question} ASSISTANT:"}))
        before = g.t[f"chat{i}.input_ids"][0]
        after = torch.tensor(tok(said, add_special_tokens=False)["input_ids"] + [tok.eos_token_id])
        ids = torch.cat([before, after])
        labels = torch.cat([torch.full_like(before, -100), after])
        g.train[f"chat{i}.input_ids"], g.train[f"chat{i}.labels"] = ids[None], labels[None]
        rows.append((ids, labels, g.t.get(f"chat{i}.pixel_values")))

    def loss():
        logits = [model(input_ids=i[None], attention_mask=torch.ones_like(i)[None], **({"pixel_values": p} if p is not None else {})).logits[0, :-1] for i, _, p in rows]
        return torch.nn.functional.cross_entropy(torch.cat(logits), torch.cat([l[1:] for _, l, _ in rows]), ignore_index=-100)
    descend(g, model, loss, 0.02)
    g.t = {k: v for k, v in g.t.items() if not k.endswith("generated_logits")}
    return g


# ------------------------------------------------------------------------------------------------ all of them
GQA = dict(num_attention_heads=4, num_key_value_heads=2)
TINY = dict(hidden_size=24, intermediate_size=40, num_hidden_layers=2, max_position_embeddings=96, **GQA)
THETA = dict(rope_type="default", rope_theta=10000.0)
OPT = dict(hidden_size=24, ffn_dim=40, num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=160)
FIXTURES = {
    "vit-hub": lambda n, s: vit(n, "hub", s, 5, image=[24, 40], patch_size=[6, 10], qkv_bias=False)[0],
    "vit-v5": lambda n, s: vit(n, "v5", s, 7, torch.bfloat16, image=24, patch_size=6, hidden_act="quick_gelu", big=[(24, 36), (30, 18)], names=("grey.png", "shapes.png", "wide.png"))[0],
    "vit-bare-hub": lambda n, s: vit(n, "hub", s, 0, torch.float16, "30KB", image=30, patch_size=7, big=[(42, 28)])[0],
    "vit-bare-v5": lambda n, s: vit(n, "v5", s, 0, image=[20, 12], patch_size=4, pooler_output_size=20, pooler_act="gelu")[0],
    "vit-train": lambda n, s: encoder_train(n, "v5", s, vit, (30, 18), image=24, patch_size=6),
    "clip-hub": lambda n, s: clip(n, "hub", s, "quick_gelu", False, torch.bfloat16),
    "clip-v5": lambda n, s: clip(n, "v5", s, "gelu", True, torch.float16, big=[(32, 24)]),
    "llama-hub": lambda n, s: llama(n, "hub", s, byte_words(), LLAMA_CHAT, dict(rope_type="llama3", rope_theta=10000.0, factor=8.0, low_freq_factor=1.0,
        high_freq_factor=4.0, original_max_position_embeddings=64), tie_word_embeddings=True, head_dim=12, **GQA),
    "llama-v5": lambda n, s: llama(n, "v5", s, piece_words(), PLAIN_CHAT, dict(rope_type="default", rope_theta=500000.0), torch.bfloat16, "40KB",
        tie_word_embeddings=False, attention_bias=True, mlp_bias=True, num_attention_heads=4, num_key_value_heads=1),
    "llava-hub": lambda n, s: llava(n, "hub", s, piece_words("<image>"), -2, "default", dict(GQA, rope_parameters=dict(rope_type="linear", rope_theta=10000.0, factor=2.0)),
        dict(hidden_act="quick_gelu"), torch.float16),
    "llava-v5": lambda n, s: llava(n, "v5", s, byte_words("<image>"), [1, -1], "full", dict(GQA, head_dim=10, tie_word_embeddings=True), dict(hidden_act="gelu"),
        torch.bfloat16, tie_word_embeddings=True, multimodal_projector_bias=False, projector_hidden_act="gelu"),
    "llava-train": lambda n, s: llava_train(n, "hub", s),
    "gpt2-train": lambda n, s: text_train(n, "hub", s, plain_words(), "GPT2", n_positions=160, n_embd=24, n_layer=2, n_head=3),
    "gpt2-v5": lambda n, s: text(n, "v5", s, plain_words(), "GPT2", torch.bfloat16, "20KB", n_positions=160, n_embd=24, n_layer=3, n_head=2, n_inner=40,
        scale_attn_by_inverse_layer_idx=True, activation_function="gelu")[0],
    "mistral-train": lambda n, s: text_train(n, "hub", s, plain_words(), "Mistral", sliding_window=4, rope_parameters=dict(rope_type="yarn", rope_theta=10000.0, factor=4.0,
        original_max_position_embeddings=16), head_dim=10, **TINY),
    "mistral-v5": lambda n, s: text(n, "v5", s, piece_words(), "Mistral", torch.float16, sliding_window=None, tie_word_embeddings=True,
        rope_parameters=dict(THETA, rope_theta=1e6), **TINY)[0],
    "qwen2-train": lambda n, s: text_train(n, "v5", s, plain_words(), "Qwen2", rope_parameters=THETA, **TINY),
    "qwen2-hub": lambda n, s: text(n, "hub", s, plain_words(), "Qwen2", torch.bfloat16, use_sliding_window=True, sliding_window=5, max_window_layers=1, tie_word_embeddings=True,
        rope_parameters=dict(rope_type="yarn", rope_theta=1e6, factor=4.0, original_max_position_embeddings=32, attention_factor=1.2, beta_fast=20.0), **TINY)[0],
    "qwen3-train": lambda n, s: text_train(n, "hub", s, plain_words(), "Qwen3", rope_parameters=THETA, head_dim=14, **TINY),
    "gemma-train": lambda n, s: text_train(n, "v5", s, plain_words(), "Gemma", shift=1.0, rope_parameters=THETA, head_dim=12, **TINY),
    "gemma2-train": lambda n, s: text_train(n, "hub", s, plain_words(), "Gemma2", shift=1.0, rope_parameters=THETA, head_dim=12, sliding_window=4, query_pre_attn_scalar=20,
        attn_logit_softcapping=2.0, final_logit_softcapping=3.0, **TINY),
    "gemma3-train": lambda n, s: text_train(n, "hub", s, plain_words(), "Gemma3Text", shift=1.0, head_dim=12, sliding_window=4, query_pre_attn_scalar=20, layer_types=["sliding_attention", "full_attention"],
        rope_parameters=dict(full_attention=dict(rope_type="linear", factor=8.0, rope_theta=1e6), sliding_attention=dict(rope_type="default", rope_theta=1e4)), **TINY),
    "phi3-train": lambda n, s: text_train(n, "hub", s, plain_words(), "Phi3", rope_parameters=dict(THETA, partial_rotary_factor=0.5), head_dim=12, pad_token_id=0, original_max_position_embeddings=64, **TINY),
    "phi3-v5": lambda n, s: text(n, "v5", s, plain_words(), "Phi3", torch.bfloat16, prompts=[PROMPTS[0], PROMPTS[2]], pad_token_id=0, sliding_window=40, original_max_position_embeddings=12,
        rope_parameters=dict(rope_type="longrope", rope_theta=1e4, short_factor=[1 + .1 * i for i in range(6)], long_factor=[2 + .3 * i for i in range(6)]), **dict(TINY, num_attention_heads=2, num_key_value_heads=1))[0],
    "t5-train": lambda n, s: t5(n, "v5", s, 0.05),
    "t5-hub": lambda n, s: t5(n, "hub", s, None, torch.bfloat16, True, feed_forward_proj="gated-gelu", num_decoder_layers=2),
    "opt-train": lambda n, s: text_train(n, "v5", s, plain_words(), "OPT", **OPT),
    "opt-hub": lambda n, s: text(n, "hub", s, plain_words(), "OPT", torch.float16, do_layer_norm_before=False, word_embed_proj_dim=16, **OPT)[0],
    "deit-hub": lambda n, s: vit(n, "hub", s, 5, torch.float16, family="DeiT", head="ForImageClassificationWithTeacher", image=24, patch_size=6, big=[(30, 18)])[0],
    "deit-v5": lambda n, s: vit(n, "v5", s, 6, torch.bfloat16, family="DeiT", image=[20, 36], patch_size=[5, 9], qkv_bias=False, names=("wide.png", "photo.jpg"))[0],
    "deit-bare-v5": lambda n, s: vit(n, "v5", s, 0, torch.float32, "30KB", family="DeiT", image=30, patch_size=7, pooler_output_size=20, big=[(42, 28)])[0],
    "deit-train": lambda n, s: encoder_train(n, "v5", s, vit, (30, 18), family="DeiT", head="ForImageClassificationWithTeacher", image=24, patch_size=6),
    "dinov2-hub": lambda n, s: dinov2(n, "hub", s, 5, torch.bfloat16, use_swiglu_ffn=True, big=[(28, 28), (30, 45)], names=("clear.png", "grey.png", "tall.png"))[0],
    "dinov2-bare-v5": lambda n, s: dinov2(n, "v5", s, 0, torch.float16, "30KB", crop=28, qkv_bias=False, hidden_act="gelu_pytorch_tanh", big=[(50, 20)])[0],
    "dinov2-registers-v5": lambda n, s: dinov2(n, "v5", s, 4, torch.bfloat16, crop=40, registers=3, big=[(28, 28), (15, 45)])[0],
    "dinov2-registers-bare-hub": lambda n, s: dinov2(n, "hub", s, 0, registers=4, crop=21, use_swiglu_ffn=True, mlp_ratio=3, big=[(63, 28)])[0],
    "swin-hub": lambda n, s: swin(n, "hub", s, 5, torch.bfloat16, image=30, depths=[2, 1, 3], num_heads=[2, 2, 4], window_size=2, big=[(42, 34), (17, 50)], names=("grey.png", "tall.png", "photo.jpg"))[0],
    "swin-v5": lambda n, s: swin(n, "v5", s, 0, torch.float16, "30KB", image=28, use_absolute_embeddings=True, qkv_bias=False, hidden_act="gelu_new", layer_norm_eps=1e-3, big=[(44, 24)])[0],
    "swin-train": lambda n, s: encoder_train(n, "v5", s, swin, (30, 37)),
    "swinv2-hub": lambda n, s: swin(n, "hub", s, 5, torch.float16, family="Swinv2", image=28, pretrained_window_sizes=[2, 0], big=[(42, 34), (17, 50)])[0],
    "swinv2-v5": lambda n, s: swin(n, "v5", s, 0, family="Swinv2", image=20, depths=[2, 2, 2], num_heads=[2, 2, 4], window_size=4, qkv_bias=False, layer_norm_eps=1e-3, pretrained_window_sizes=[0, 3, 0], big=[(40, 22)])[0],
    "swinv2-train": lambda n, s: encoder_train(n, "hub", s, swin, (24, 37), rate=0.02, family="Swinv2", embed_dim=16, num_heads=[2, 4]),
    "siglip-hub": lambda n, s: siglip(n, "hub", s, torch.float16)[0],
    "siglip-v5": lambda n, s: siglip(n, "v5", s, torch.bfloat16, length=18, big=[(32, 24)], hidden_act="gelu")[0],
    "siglip-train": lambda n, s: siglip_train(n, "hub", s),
    "dinov2-train": lambda n, s: encoder_train(n, "v5", s, dinov2, (21, 35)),
    "dinov2-registers-train": lambda n, s: encoder_train(n, "hub", s, dinov2, (21, 42), registers=2),
    "bert-hub": lambda n, s: bert(n, "hub", 7000, "ForMaskedLM", torch.bfloat16, old_names=True)[0],
    "bert-v5": lambda n, s: bert(n, "v5", 7100, "ForMaskedLM", torch.float16, tok=word_pieces(False), tie_word_embeddings=False, hidden_act="gelu_new", type_vocab_size=3)[0],
    "bert-bare-v5": lambda n, s: bert(n, "v5", 7200, "Model", torch.float16, hidden_act="relu", layer_norm_eps=1e-5)[0],
    "bert-train": lambda n, s: bert_train(n, "v5", 7300),
    "siglip2-hub": lambda n, s: siglip2(n, "hub", 7400, torch.bfloat16)[0],
    "siglip2-v5": lambda n, s: siglip2(n, "v5", 7500, torch.float16, length=18, budget=30, side="left", asked=5, hidden_act="gelu", patch_size=5, num_patches=36)[0],
    "siglip2-train": lambda n, s: siglip2_train(n, "v5", 7600),
}

# seeds of their own, whatever comes above
TIMM = {
    "flexivit": lambda n, s: timm_vit(n, "timm", s, "flexivit_small", [(32, 56)], 8, (24, 72), torch.bfloat16, img_size=48, patch_size=12, num_classes=5)[0],
    "flexivit-train": lambda n, s: encoder_train(n, "timm", s, flexivit, (30, 18), rate=0.02),
    "timm-deit": lambda n, s: timm_vit(n, "timm", s, "deit_tiny_distilled_patch16_224", [(16, 40)], dtype=torch.float16, img_size=32, patch_size=8, num_classes=5,
        about=dict(interpolation="lanczos"), labels=["ant", "bee", "cow", "dog", "elk"])[0],
    "timm-gap": lambda n, s: timm_vit(n, "timm", s, "vit_wee_patch16_reg1_gap_256", [(24, 24)], img_size=[24, 40], patch_size=8, num_classes=4, mlp_ratio=2,
        about=dict(crop_mode="border", crop_pct=0.9), labels={"0": "ant", "2": "cow"}, names=("tall.png", "grey.png", "wide.png"))[0],
    "timm-map": lambda n, s: timm_vit(n, "timm", s, "vit_so150m_patch16_reg4_map_256", [(20, 30)], dtype=torch.bfloat16, img_size=30, patch_size=10, num_classes=0, reg_tokens=2,
        about=dict(crop_mode="squash", crop_pct=0.95, interpolation="bilinear"))[0],
    "timm-clip": lambda n, s: timm_vit(n, "timm", s, "vit_base_patch16_clip_quickgelu_224", [(16, 40)], img_size=[16, 24], patch_size=8, num_classes=3, init_values=1e-5)[0],
    "timm-swin": lambda n, s: timm_swin(n, "timm", s, "swin_s3_tiny_224", [(44, 24)], torch.float16, img_size=[28, 60], depths=[2, 1, 3], num_heads=[1, 2, 2], window_size=[3, 4, 2],
        qkv_bias=False, num_classes=5)[0],
    "timm-swinv2": lambda n, s: timm_swin(n, "timm", s, "swinv2_base_window12to16_192to256", [(40, 52)], torch.bfloat16, img_size=44, window_size=4, num_heads=[2, 4], embed_dim=16,
        pretrained_window_sizes=[3, 0], num_classes=3)[0],
    "timm-swin-train": lambda n, s: encoder_train(n, "timm", s, swin_of_timm, (32, 36), rate=0.02),
    "vit-mae-v5": lambda n, s: masked(n, "v5", s, "ViTMAEModel", torch.bfloat16, big=[(20, 36)]),
    "vit-mae-hub": lambda n, s: masked(n, "hub", s, "ViTMAEForPreTraining", torch.float16, qkv_bias=False),
    "vit-mae-pre-v5": lambda n, s: masked(n, "v5", s, "ViTMAEForPreTraining", big=[(20, 36), (40, 16)], norm_pix_loss=True, num_hidden_layers=1, decoder_num_hidden_layers=3),
    "vit-mae-train": lambda n, s: masked_train(n, "v5", s, decoder_num_hidden_layers=2, image_size=16),
    "vit-mae-normed-train": lambda n, s: masked_train(n, "hub", s, norm_pix_loss=True, image_size=16),
    "bert-pre-hub": lambda n, s: bert(n, "hub", 7310, "ForPreTraining", torch.bfloat16, alone=False, num_hidden_layers=1)[0],
    "bert-next-v5": lambda n, s: bert(n, "v5", 7320, "ForNextSentencePrediction", torch.float16, alone=False, num_hidden_layers=1)[0],
    "bert-choice-v5": lambda n, s: bert(n, "v5", 7330, "ForMultipleChoice", torch.bfloat16, alone=False, num_hidden_layers=1)[0],
    "bert-span-hub": lambda n, s: bert(n, "hub", 7340, "ForQuestionAnswering", torch.float16, alone=False, num_hidden_layers=1)[0],
    "bert-class-hub": lambda n, s: bert(n, "hub", 7350, "ForSequenceClassification", torch.bfloat16, alone=False, num_hidden_layers=1, num_labels=5)[0],
    "bert-rows-v5": lambda n, s: bert(n, "v5", 7360, "ForTokenClassification", torch.float16, alone=False, num_hidden_layers=1, num_labels=4)[0],
    "clip-class-v5": lambda n, s: clip_pictures(n, "v5", s, "CLIPForImageClassification", torch.float16)[0],
    "clip-tower-hub": lambda n, s: clip_pictures(n, "hub", s, "CLIPVisionModelWithProjection", torch.bfloat16)[0],
    "clip-tower-v5": lambda n, s: clip_pictures(n, "v5", s, "CLIPVisionModel", torch.float16)[0],
    "clip-words-hub": lambda n, s: clip_texts(n, "hub", s, "CLIPTextModel", torch.float16),
    "clip-words-v5": lambda n, s: clip_texts(n, "v5", s, "CLIPTextModelWithProjection", torch.bfloat16),
    "siglip-class-hub": lambda n, s: siglip_pictures(n, "hub", s, torch.float16)[0],
    "siglip2-class-v5": lambda n, s: siglip2_pictures(n, "v5", s, torch.bfloat16),
    "siglip2-fixed-hub": lambda n, s: siglip(n, "hub", s, torch.float16, second="GemmaTokenizer")[0],
    "timm-swinv2-train": lambda n, s: encoder_train(n, "timm", s, swinv2_of_timm, (32, 36), rate=0.02),
    "siglip-class-train": lambda n, s: encoder_train(n, "v5", s, lambda name, form, seed, classes, big: siglip_pictures(name, form, seed, torch.float32), (16, 32)),
    "bert-class-train": lambda n, s: bert_class_train(n, "v5", 7370),
}


def main():
    make_pictures(os.path.join(HERE, "pictures"))
    for k, (name, make) in [*enumerate(FIXTURES.items()), *enumerate(TIMM.items(), 300)]:
        if len(sys.argv) > 1 and name not in sys.argv[1:]:
            continue
        for seed in range(1000 + 100 * k, 1000 + 100 * k + 60):
            try:
                g = make(name, seed)
                break
            except TooClose:
                continue
        else:
            raise SystemExit(f"{name}: no seed without a close choice")
        g.save()
        size = sum(os.path.getsize(os.path.join(g.folder, f)) for f in os.listdir(g.folder))
        print(f"{name:14s} seed {seed}  {size / 1000:6.0f} kB  {len(g.t)} tensors, {len(g.cases)} cases", flush=True)


if __name__ == "__main__":
    main()
