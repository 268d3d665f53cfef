"""checkpoint.py - checkpoint folders with made-up weights, for the tests of the program. Standard library only.

    vit(FOLDER, hidden=..., ...)      llava(FOLDER, models, ...)

write folders of any size in the published form; the words of llava are those of the trained folder. A tensor is one
block of normal numbers (standard deviation 0.02), repeated: what matters is that nothing is special about them.
"""
import array, json, os, random, shutil, struct


def to_bf16(values):
    return b"".join(struct.pack("<f", x)[2:] for x in values)


def block(kind):
    r = random.Random(7)
    values = [r.gauss(0, 0.02) for _ in range(65537)]  # no power of two, so that rows of a matrix differ
    return to_bf16(values) if kind == "BF16" else array.array("f", values).tobytes()


def save(path, shapes, kind="F32"):
    """shapes: name -> shape; norms' weights are ones"""
    size, header, at = {"F32": 4, "BF16": 2}[kind], {}, 0
    for name, shape in shapes.items():
        n = size
        for side in shape:
            n *= side
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    noise = block(kind)
    one = b"\x80\x3f" if kind == "BF16" else b"\x00\x00\x80\x3f"
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, info in header.items():
            n = info["data_offsets"][1] - info["data_offsets"][0]
            if "norm" in name and name.endswith("weight"):
                f.write(one * (n // size))
            else:
                f.write((noise * (n // len(noise) + 1))[:n])


def read(path):
    """(header as written, data) of a .safetensors file"""
    with open(path, "rb") as f:
        n = struct.unpack("<Q", f.read(8))[0]
        return json.loads(f.read(n)), f.read()


def write(path, header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + data)


def put(folder, name, value):
    with open(os.path.join(folder, name), "w") as f:
        json.dump(value, f)


def linear(out, name, rows, columns, bias=True):
    out[name + ".weight"] = (rows, columns)
    if bias:
        out[name + ".bias"] = (rows,)


def norm(out, name, width, bias=True):
    out[name + ".weight"] = (width,)
    if bias:
        out[name + ".bias"] = (width,)


def vit(folder, hidden=384, layers=6, heads=6, mlp=1536, image=224, patch=16, labels=10, kind="F32"):
    os.makedirs(folder)
    t = {"vit.embeddings.cls_token": (1, 1, hidden), "vit.embeddings.position_embeddings": (1, 1 + (image // patch) ** 2, hidden)}
    t["vit.embeddings.patch_embeddings.projection.weight"] = (hidden, 3, patch, patch)
    t["vit.embeddings.patch_embeddings.projection.bias"] = (hidden,)
    for i in range(layers):
        p = f"vit.encoder.layer.{i}."
        norm(t, p + "layernorm_before", hidden)
        norm(t, p + "layernorm_after", hidden)
        for x in ("query", "key", "value"):
            linear(t, p + "attention.attention." + x, hidden, hidden)
        linear(t, p + "attention.output.dense", hidden, hidden)
        linear(t, p + "intermediate.dense", mlp, hidden)
        linear(t, p + "output.dense", hidden, mlp)
    norm(t, "vit.layernorm", hidden)
    linear(t, "classifier", labels, hidden)
    save(os.path.join(folder, "model.safetensors"), t, kind)
    put(folder, "config.json", {
        "architectures": ["ViTForImageClassification"], "model_type": "vit", "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": heads,
        "intermediate_size": mlp, "image_size": image, "patch_size": patch, "id2label": {str(i): f"label {i}" for i in range(labels)}})
    put(folder, "preprocessor_config.json", {
        "image_processor_type": "ViTImageProcessor", "size": {"height": image, "width": image}, "resample": 2, "image_mean": [0.5] * 3, "image_std": [0.5] * 3,
        "do_resize": True, "do_rescale": True, "do_normalize": True, "rescale_factor": 1 / 255})


def clip_tower(t, p, hidden, layers, mlp, image, patch):
    t[p + "embeddings.class_embedding"] = (hidden,)
    t[p + "embeddings.patch_embedding.weight"] = (hidden, 3, patch, patch)
    t[p + "embeddings.position_embedding.weight"] = (1 + (image // patch) ** 2, hidden)
    norm(t, p + "pre_layrnorm", hidden)
    for i in range(layers):
        q = f"{p}encoder.layers.{i}."
        norm(t, q + "layer_norm1", hidden)
        norm(t, q + "layer_norm2", hidden)
        for x in ("q_proj", "k_proj", "v_proj", "out_proj"):
            linear(t, q + "self_attn." + x, hidden, hidden)
        linear(t, q + "mlp.fc1", mlp, hidden)
        linear(t, q + "mlp.fc2", hidden, mlp)
    norm(t, p + "post_layernorm", hidden)


def llama(t, p, head, hidden, layers, heads, kv_heads, head_dim, mlp, vocabulary):
    t[p + "embed_tokens.weight"] = (vocabulary, hidden)
    for i in range(layers):
        q = f"{p}layers.{i}."
        norm(t, q + "input_layernorm", hidden, False)
        norm(t, q + "post_attention_layernorm", hidden, False)
        linear(t, q + "self_attn.q_proj", heads * head_dim, hidden, False)
        linear(t, q + "self_attn.k_proj", kv_heads * head_dim, hidden, False)
        linear(t, q + "self_attn.v_proj", kv_heads * head_dim, hidden, False)
        linear(t, q + "self_attn.o_proj", hidden, heads * head_dim, False)
        linear(t, q + "mlp.gate_proj", mlp, hidden, False)
        linear(t, q + "mlp.up_proj", mlp, hidden, False)
        linear(t, q + "mlp.down_proj", hidden, mlp, False)
    norm(t, p + "norm", hidden, False)
    t[head] = (vocabulary, hidden)


def llava(folder, models, tower=512, tower_layers=4, tower_mlp=2048, image=336, patch=14, hidden=768, layers=6, heads=12, kv_heads=4, mlp=2048,
          vocabulary=8000, positions=4096, kind="BF16"):
    source = os.path.join(models, "llava-easyvqa")
    os.makedirs(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja"):
        shutil.copy(os.path.join(source, name), folder)
    t = {}
    clip_tower(t, "vision_tower.", tower, tower_layers, tower_mlp, image, patch)
    linear(t, "multi_modal_projector.linear_1", hidden, tower)
    linear(t, "multi_modal_projector.linear_2", hidden, hidden)
    llama(t, "language_model.model.", "language_model.lm_head.weight", hidden, layers, heads, kv_heads, hidden // heads, mlp, vocabulary)
    with open(os.path.join(source, "config.json")) as f:
        config = json.load(f)
    config["vision_config"].update(hidden_size=tower, num_hidden_layers=tower_layers, num_attention_heads=tower // 64, intermediate_size=tower_mlp, image_size=image,
                                   patch_size=patch)
    config["text_config"].update(hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=kv_heads, head_dim=hidden // heads,
                                 intermediate_size=mlp, vocab_size=vocabulary, max_position_embeddings=positions)
    config["image_seq_length"] = (image // patch) ** 2
    put(folder, "config.json", config)
    with open(os.path.join(source, "processor_config.json")) as f:
        p = json.load(f)
    p["patch_size"] = patch
    p["image_processor"].update(crop_size={"height": image, "width": image}, size={"shortest_edge": image})
    put(folder, "processor_config.json", p)
    save(os.path.join(folder, "model.safetensors"), t, kind)


def png(path, width, height, pixel=lambda x, y: (x & 255, y & 255, (x ^ y) & 255)):
    """An RGB picture, rows repeated to keep the making quick."""
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = [b"\0" + b"".join(bytes(pixel(x, y)) for x in range(width)) for y in range(min(height, 4))]
    data = zlib.compress(b"".join(rows[y % len(rows)] for y in range(height)), 1) if height else zlib.compress(b"")
    with open(path, "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", data) + chunk(b"IEND", b""))
    return path


def jpeg(path, width, height, progressive=False):
    """A grey picture of any size in little space: all coefficients are 0, and a code of one zero bit stands for that."""
    def segment(kind, data):
        return b"\xff" + bytes([kind]) + struct.pack(">H", len(data) + 2) + data
    across, down = -(-width // 16), -(-height // 16)

    def bits(n):
        return bytes(-(-n // 8))  # the last byte's padding should be ones, decoders do not look

    def scan(parts, first, last, n):
        return segment(0xDA, bytes([len(parts)]) + bytes(b for c in parts for b in (c, 0)) + bytes([first, last, 0])) + bits(n)
    parts = bytes([8]) + struct.pack(">HH", height, width) + bytes([3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0])
    codes = b"".join(segment(0xC4, bytes([kind, 1] + [0] * 15 + [0])) for kind in (0x00, 0x10))
    body = segment(0xDB, bytes([0]) + bytes([1] * 64)) + segment(0xC2 if progressive else 0xC0, parts) + codes
    if progressive:
        grey, colour = -(-width // 8) * -(-height // 8), -(-(-(-width // 2)) // 8) * -(-(-(-height // 2)) // 8)
        body += scan((1, 2, 3), 0, 0, across * down * 6) + scan((1,), 1, 63, grey) + scan((2,), 1, 63, colour) + scan((3,), 1, 63, colour)
    else:
        body += scan((1, 2, 3), 0, 63, across * down * 12)
    with open(path, "wb") as f:
        f.write(b"\xff\xd8" + body + b"\xff\xd9")
    return path
