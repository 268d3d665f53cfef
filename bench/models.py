"""models.py - checkpoints of published sizes with random weights, and pictures, for the benchmarks.

    vit-b16        ViT-B/16 at 224 (86 million parameters), and vit-b16.onnx; vit-b16-int8.onnx, made from that when it is asked for
    clip-l14       CLIP with ViT-L/14 at 224 (304 million) and a text tower of one layer, and clip-l14.onnx, its pictures' half
    llama-135m     a Llama of 135 million (30 layers of 576, 9 heads on 3), f32; llama-135m-bf16; .gguf of both for llama.cpp
    photo.jpg      1024 x 768, noise and slopes

Speed does not depend on what the weights are.
"""
import json
import os


def photo(folder):
    import numpy as np
    from PIL import Image
    path = os.path.join(folder, "photo.jpg")
    if not os.path.exists(path):
        y, x = np.mgrid[0:768, 0:1024]
        rng = np.random.default_rng(1)
        rgb = np.stack([x / 4, y / 3, (x + y) / 7], -1) + 30 * np.sin(x / 9)[..., None] + rng.normal(0, 6, (768, 1024, 3))
        Image.fromarray(np.clip(rgb, 0, 255).astype(np.uint8)).save(path, quality=90)
    return path


def tokenizer(folder):
    """Byte-level, one token a byte."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    t = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    t.pre_tokenizer, t.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    t.add_special_tokens(["<s>", "</s>"])
    PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<s>", eos_token="</s>").save_pretrained(folder)


def clip_tokenizer(folder):
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {c: i for i, c in enumerate(alphabet + [c + "</w>" for c in alphabet])}
    vocab["<|startoftext|>"], vocab["<|endoftext|>"] = 512, 513
    t = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<|endoftext|>", end_of_word_suffix="</w>", continuing_subword_prefix="", fuse_unk=False))
    t.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    words = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(words), behavior="removed", invert=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    t.post_processor = processors.RobertaProcessing(("<|endoftext|>", 513), ("<|startoftext|>", 512), trim_offsets=False, add_prefix_space=False)
    PreTrainedTokenizerFast(tokenizer_object=t, bos_token="<|startoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>",
                            pad_token="<|endoftext|>", model_max_length=77).save_pretrained(folder)
    with open(os.path.join(folder, "tokenizer_config.json"), encoding="utf-8") as f:
        c = json.load(f)
    c["tokenizer_class"] = "CLIPTokenizer"
    with open(os.path.join(folder, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump(c, f)


def preprocessor(folder, kind, mean, std, crop):
    c = {"image_processor_type": kind, "do_resize": True, "do_rescale": True, "do_normalize": True, "image_mean": mean, "image_std": std,
         "rescale_factor": 1 / 255, "resample": 3 if crop else 2, "size": {"shortest_edge": 224} if crop else {"height": 224, "width": 224}}
    if crop:
        c.update(do_center_crop=True, crop_size={"height": 224, "width": 224}, do_convert_rgb=True)
    with open(os.path.join(folder, "preprocessor_config.json"), "w", encoding="utf-8") as f:
        json.dump(c, f)


def export(model, output, path):
    """To ONNX: output(model, pixel values), any number of pictures."""
    import torch

    class Plain(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, pixel_values):
            return output(self.model, pixel_values)

    with torch.inference_mode():
        torch.onnx.export(Plain(), (torch.zeros(2, 3, 224, 224),), path + ".part", input_names=["pixel_values"], output_names=["last"], dynamo=False,
                          dynamic_axes={"pixel_values": {0: "n"}, "last": {0: "n"}}, opset_version=17)
    os.rename(path + ".part", path)


def vit(folder):
    import torch
    import transformers as T
    path = os.path.join(folder, "vit-b16")
    if not os.path.exists(path + "/model.safetensors"):
        torch.manual_seed(1)
        T.ViTModel(T.ViTConfig(), add_pooling_layer=False).save_pretrained(path)
        preprocessor(path, "ViTImageProcessor", [0.5] * 3, [0.5] * 3, False)
    onnx = path + ".onnx"
    if not os.path.exists(onnx):
        model = T.ViTModel.from_pretrained(path, add_pooling_layer=False, attn_implementation="eager").eval()

        export(model, lambda m, x: m(x).last_hidden_state, onnx)
    return path


def vit_int8(folder):
    """8-bit weights, a scale for each output, and 8-bit activations of measured range, as pairs of quantize and dequantize nodes."""
    import numpy as np
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    path = os.path.join(folder, "vit-b16-int8.onnx")

    class Noise(CalibrationDataReader):
        def __init__(self):
            self.left, self.draw = 4, np.random.default_rng(11)

        def get_next(self):
            self.left -= 1
            return {"pixel_values": self.draw.standard_normal((1, 3, 224, 224)).astype(np.float32)} if self.left >= 0 else None

    if not os.path.exists(path):
        quantize_static(os.path.join(folder, "vit-b16.onnx"), path, Noise(), quant_format=QuantFormat.QDQ, per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul", "Gemm", "Conv"])
    return path


def clip(folder):
    import torch
    import transformers as T
    path = os.path.join(folder, "clip-l14")
    if not os.path.exists(path + "/model.safetensors"):
        torch.manual_seed(2)
        config = T.CLIPConfig(
            vision_config=dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24, num_attention_heads=16, patch_size=14, image_size=224),
            text_config=dict(hidden_size=512, intermediate_size=2048, num_hidden_layers=1, num_attention_heads=8, vocab_size=514, bos_token_id=512,
                             eos_token_id=513), projection_dim=768)
        T.CLIPModel(config).save_pretrained(path)
        preprocessor(path, "CLIPImageProcessor", [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711], True)
        clip_tokenizer(path)
    if not os.path.exists(path + ".onnx"):
        def features(m, x):
            y = m.get_image_features(x)
            return y if isinstance(y, torch.Tensor) else y.pooler_output
        export(T.CLIPModel.from_pretrained(path, attn_implementation="eager").eval(), features, path + ".onnx")
    return path


def llama(folder, bf16):
    import torch
    import transformers as T
    path = os.path.join(folder, "llama-135m" + ("-bf16" if bf16 else ""))
    if not os.path.exists(path + "/model.safetensors"):
        torch.manual_seed(3)
        config = T.LlamaConfig(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3, vocab_size=49152,
                               tie_word_embeddings=True, max_position_embeddings=2048, bos_token_id=256, eos_token_id=257)
        T.LlamaForCausalLM(config).to(torch.bfloat16 if bf16 else torch.float32).save_pretrained(path)
        tokenizer(path)
    return path


def gguf(folder, bf16):
    """The same weights as llama.cpp reads them; needs the package gguf."""
    import torch
    from gguf import GGMLQuantizationType, GGUFWriter
    from safetensors.torch import load_file
    path = llama(folder, bf16)
    out = path + ".gguf"
    if os.path.exists(out):
        return out
    with open(path + "/config.json", encoding="utf-8") as f:
        c = json.load(f)
    w = GGUFWriter(out + ".part", "llama")
    w.add_name("bench")
    w.add_context_length(2048)
    w.add_embedding_length(c["hidden_size"])
    w.add_block_count(c["num_hidden_layers"])
    w.add_feed_forward_length(c["intermediate_size"])
    w.add_head_count(c["num_attention_heads"])
    w.add_head_count_kv(c["num_key_value_heads"])
    w.add_layer_norm_rms_eps(c["rms_norm_eps"])
    w.add_rope_dimension_count(c["hidden_size"] // c["num_attention_heads"])
    w.add_rope_freq_base(10000.0)
    w.add_vocab_size(c["vocab_size"])
    w.add_file_type(32 if bf16 else 0)
    w.add_tokenizer_model("llama")
    w.add_token_list(["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)] + ["t%d" % i for i in range(c["vocab_size"] - 259)])
    w.add_token_scores([0.0] * c["vocab_size"])
    w.add_token_types([2, 3, 3] + [6] * 256 + [1] * (c["vocab_size"] - 259))
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    names = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight"}
    parts = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
             "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}
    for name, t in load_file(path + "/model.safetensors").items():
        to = names.get(name)
        for a, b in parts.items():
            if name.endswith(a + ".weight"):
                to = "blk.%s.%s.weight" % (name.split(".")[2], b)
        if to is None:
            continue
        if t.ndim == 2 and bf16:
            w.add_tensor(to, t.view(torch.uint8).numpy().copy(), raw_dtype=GGMLQuantizationType.BF16)
        else:
            w.add_tensor(to, t.float().numpy())
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    os.rename(out + ".part", out)
    return out
