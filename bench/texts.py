"""texts.py - documents and tokenizers for the benchmarks, made from what every Python installation has.

    texts.txt      some 2 MB in documents of about 2 KB, NUL between them: English (pydoc's topics), Python source, and made-up words in
                   other scripts, words drawn as in any language (Zipf)
    tok-smollm     byte-level BPE of 49,152 as SmolLM: every digit alone, then GPT-2's expression
    tok-qwen       byte-level BPE of 151,643 as Qwen2, tokenizer.json of some 11 MB; trained as far as the texts carry, the rest joins tokens drawn at random
    tok-llama      SentencePiece's BPE of 32,000 with bytes for what it lacks, as Llama-2
    tok-bert       WordPiece of 30,522, lower case
    tok-t5         Unigram of 32,000 with SentencePiece's normalisation, as T5
    tok-mt5        the same with 250,000 tokens, tokenizer.json of some 9 MB
"""
import glob
import json
import os
import random
import sysconfig

SCRIPTS = [(0x3B1, 0x3C9), (0x430, 0x44F), (0x5D0, 0x5EA), (0x627, 0x648), (0x905, 0x939), (0xE01, 0xE2E), (0x3041, 0x3093), (0x4E00, 0x5800), (0xAC00, 0xB300),
           (0xE0, 0xFF), (0x1F600, 0x1F640)]


def foreign(rng, size):
    """Text of made-up words; a paragraph is of one script."""
    words = [["".join(chr(rng.randint(a, b)) for _ in range(rng.randint(1, 3) if a > 0x3000 else rng.randint(2, 9))) for _ in range(3000)] for a, b in SCRIPTS]
    out = []
    while size > 0:
        own = rng.choice(words)
        blank = "" if ord(own[0][0]) in range(0x3041, 0x9FFF) else " "
        line = blank.join(own[min(2999, int(rng.paretovariate(0.8)) - 1)] for _ in range(rng.randint(20, 80))) + ".\n"
        size -= len(line.encode())
        out.append(line)
    return "".join(out)


def source(most):
    """Python's own library."""
    out, size = [], 0
    for name in sorted(glob.glob(sysconfig.get_paths()["stdlib"] + "/**/*.py", recursive=True)):
        if "site-packages" in name or "/test" in name or "lib2to3" in name:
            continue
        with open(name, encoding="utf-8", errors="ignore") as f:
            out.append(f.read())
        size += len(out[-1])
        if size > most:
            break
    return "".join(out)


def english():
    from pydoc_data import topics
    return "\n".join(topics.topics.values())


def documents(folder):
    path = os.path.join(folder, "texts.txt")
    if not os.path.exists(path):
        rng = random.Random(11)
        code = source(8 << 20)[2 << 20:]
        parts = [english()[:900000], code[:700000], foreign(rng, 400000)]
        docs = []
        for text in parts:
            at = 0
            while at < len(text):
                end = text.find("\n", at + rng.randint(500, 3000)) + 1 or len(text)
                docs.append(text[at:end].replace("\0", " "))
                at = end
        rng.shuffle(docs)
        with open(path, "w", encoding="utf-8") as f:
            f.write("\0".join(docs))
    return path


def training(folder):
    path = os.path.join(folder, "training.txt")
    if not os.path.exists(path):
        with open(path, "w", encoding="utf-8") as f:
            f.write(source(12 << 20) + english() + foreign(random.Random(12), 3 << 20))
    return path


def save(folder, name, tokenizer, cls, **more):
    os.makedirs(os.path.join(folder, name), exist_ok=True)
    with open(os.path.join(folder, name, "tokenizer_config.json"), "w", encoding="utf-8") as f:
        json.dump(dict(tokenizer_class=cls, **more), f)
    tokenizer.save(os.path.join(folder, name, "tokenizer.json"), pretty=False)


def byte_level(folder):
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.decoder = decoders.ByteLevel()
    t.train([training(folder)], trainers.BpeTrainer(vocab_size=49152, special_tokens=["<|endoftext|>"], initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                                    show_progress=False))
    save(folder, "tok-smollm", t, "GPT2Tokenizer", bos_token="<|endoftext|>", eos_token="<|endoftext|>", unk_token="<|endoftext|>")


QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def qwen(folder):
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
    t = Tokenizer(models.BPE())
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN), "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder, t.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=False)
    t.train([training(folder)], trainers.BpeTrainer(vocab_size=151643, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False))
    j = json.loads(t.to_str())
    vocab, merges, rng = j["model"]["vocab"], j["model"]["merges"], random.Random(13)
    tokens, have = list(vocab), set(vocab)
    while len(have) < 151643:
        a, b = rng.choice(tokens), rng.choice(tokens)
        if len(a) + len(b) <= 8 and a + b not in have and "Ġ" not in b:
            vocab[a + b] = len(vocab)
            have.add(a + b)
            merges.append([a, b])
    t = Tokenizer.from_str(json.dumps(j))
    t.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    save(folder, "tok-qwen", t, "Qwen2Tokenizer", eos_token="<|im_end|>", pad_token="<|endoftext|>", model_max_length=131072)
    path = os.path.join(folder, "tok-qwen", "tokenizer.json")
    with open(path, encoding="utf-8") as f:
        j = json.load(f)
    with open(path, "w", encoding="utf-8") as f: # laid out as the Hub's files are
        json.dump(j, f, ensure_ascii=False, indent=2)


def llama(folder):
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, trainers, pre_tokenizers
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    t.train([training(folder)], trainers.BpeTrainer(vocab_size=32000, special_tokens=["<unk>", "<s>", "</s>"] + ["<0x%02X>" % i for i in range(256)],
                                                    limit_alphabet=1500, show_progress=False))
    m = json.loads(t.to_str())["model"]
    t = Tokenizer(models.BPE(vocab=m["vocab"], merges=[tuple(x) for x in m["merges"]], unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    t.add_special_tokens([AddedToken(x, special=True, normalized=False) for x in ("<unk>", "<s>", "</s>")])
    save(folder, "tok-llama", t, "LlamaTokenizer", bos_token="<s>", eos_token="</s>", unk_token="<unk>", legacy=False)


def bert(folder):
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
    t = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    t.normalizer, t.pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece()
    t.train([training(folder)], trainers.WordPieceTrainer(vocab_size=30522, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    save(folder, "tok-bert", t, "BertTokenizer", do_lower_case=True)


def unigram(folder, name, size):
    """Of SentencePiece's own trainer; beyond what it gives, tokens joined at random with ever lower scores."""
    import io
    import sentencepiece as spm
    from sentencepiece import sentencepiece_model_pb2 as pb
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers
    out = io.BytesIO()
    with open(training(folder), encoding="utf-8") as f:
        lines = [line for line in f if line.strip()][::2]
    spm.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=out, vocab_size=32000, model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
                                   pad_piece="<pad>", num_threads=2, minloglevel=2, hard_vocab_limit=False, train_extremely_large_corpus=False)
    m = pb.ModelProto()
    m.ParseFromString(out.getvalue())
    pieces, rng = [(p.piece, p.score) for p in m.pieces], random.Random(14)
    tokens, have = [p for p, _ in pieces[3:]], {p for p, _ in pieces}
    while len(pieces) < size:
        a, b = rng.choice(tokens), rng.choice(tokens)
        if len(a) + len(b) <= 14 and a + b not in have and "▁" not in b:
            have.add(a + b)
            pieces.append((a + b, -16 - len(pieces) / size))
    t = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    t.normalizer = normalizers.Precompiled(m.normalizer_spec.precompiled_charsmap)
    t.pre_tokenizer, t.decoder = pre_tokenizers.Metaspace(prepend_scheme="always", split=True), decoders.Metaspace(prepend_scheme="always")
    save(folder, name, t, "T5Tokenizer", extra_ids=0, eos_token="</s>", unk_token="<unk>", pad_token="<pad>")


MAKERS = {"tok-smollm": byte_level, "tok-qwen": qwen, "tok-llama": llama, "tok-bert": bert, "tok-t5": lambda f: unigram(f, "tok-t5", 32000),
          "tok-mt5": lambda f: unigram(f, "tok-mt5", 250000)}


def tokenizer(folder, name):
    documents(folder)
    if not os.path.exists(os.path.join(folder, name, "tokenizer.json")):
        MAKERS[name](folder)
    return os.path.join(folder, name)
