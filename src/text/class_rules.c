/*
 * class_rules.c - which tokenizer class the reference picks for a folder, and what that class makes of tokenizer.json.
 *
 * Since version 5 transformers reads tokenizer.json as it stands only for its plain class (TokenizersBackend, formerly
 * PreTrainedTokenizerFast). A class with an __init__ of its own takes from the file the vocabulary, the merges, the added
 * tokens and the post-processor, and REBUILDS the normalizer, the pre-tokenizer, the decoder and the model's options:
 *
 *   tokenizer.json        TokenizersBackend    GPT2 Qwen2 Llama Gemma CLIP Siglip2 Bert T5 Tokenizer
 *   vocab, merges         file                 file
 *   added tokens          file                 file (and tokenizer_config.json, in both)
 *   post-processor        file                 file; CLIP, Bert, T5: the class's
 *   Precompiled           file                 T5: file, else none
 *   all other parts       file                 the class
 *
 * SiglipTokenizer is still sentencepiece itself, over spiece.model: its parts here do what it does (vocab_files.c has them).
 *
 * So a checkpoint whose class and file disagree (GPT2Tokenizer with a Digits step in the file) gets other ids than the file
 * says, and we have to follow. The parts are written here as the JSON that the class would save.
 *
 * The class is that of tokenizer_config.json, unless the model type of config.json says otherwise: a model type registered
 * with the plain class always gets it; one whose published files are known to be wrong gets its registered class; and
 * LlamaTokenizer over a byte-level file gets the plain class.
 *
 * Reference: transformers 5.23.0, models/auto/tokenization_auto.py, tokenization_utils_tokenizers.py, and tokenization_*.py of
 * models/{bert,clip,gpt2,llama,qwen2,gemma,siglip,siglip2,t5}. There add_bos_token and add_eos_token of tokenizer_config.json are
 * dropped when a tokenizer.json exists; without one they count (vocab_files.c). Classes not listed (their models come later) are read as plain.
 */
#include <string.h>

#include "text/text_inside.h"

#define MARK "\xE2\x96\x81"
#define BYTES_DECODER "{\"type\":\"ByteLevel\"}"
#define MARK_DECODERS                                                                                                          \
	"{\"type\":\"Replace\",\"pattern\":{\"String\":\"" MARK "\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}"
#define MARK_REPLACE "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" MARK "\"}"
#define SPACE_SPLIT                                                                                                            \
	"{\"type\":\"Split\",\"pattern\":{\"String\":\" \"},\"behavior\":\"MergedWithPrevious\",\"invert\":false}"
#define GPT2_SPLIT(prefix) "{\"type\":\"ByteLevel\",\"add_prefix_space\":" prefix "}"
#define QWEN2_SPLIT(prefix)                                                                                                    \
	"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"                                \
	"\"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|\\\\p{N}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*" \
	"|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},\"behavior\":\"Isolated\",\"invert\":false},"                                 \
	"{\"type\":\"ByteLevel\",\"add_prefix_space\":" prefix ",\"use_regex\":false}]}"
#define MARK_SPLIT(scheme, split)                                                                                              \
	"{\"type\":\"Metaspace\",\"replacement\":\"" MARK "\",\"prepend_scheme\":\"" scheme "\",\"split\":" split "}"
#define LLAMA_SPLIT(scheme) MARK_SPLIT(scheme, "false")

static const char clip_normalizer[] = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},"
                                      "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"\\\\s+\"},\"content\":\" \"},"
                                      "{\"type\":\"Lowercase\"}]}";
static const char clip_split[] =
	"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"
	"\"<\\\\|startoftext\\\\|>|<\\\\|endoftext\\\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\\\p{L}]+|[\\\\p{N}]|[^\\\\s\\\\p{L}\\\\p{N}]+\"},"
	"\"behavior\":\"Removed\",\"invert\":true},{\"type\":\"ByteLevel\",\"add_prefix_space\":false}]}";

#define END_OF_TEXT "<|endoftext|>"

static const class_rule rules[] = {
	{
		.name = "CLIPTokenizer",
		.rebuilt = true,
		.normalizer = clip_normalizer,
		.pre_tokenizer = clip_split,
		.decoder = BYTES_DECODER,
		.two_inputs = true,
		.unk_in_model = true,
		.suffix = "</w>",
		.named = {[TEXT_BOS] = "<|startoftext|>", [TEXT_EOS] = END_OF_TEXT, [TEXT_UNK] = END_OF_TEXT, [TEXT_PAD] = END_OF_TEXT},
		.strip_decoded = true,
		.post = POST_CLIP,
	},
	{
		.name = "GPT2Tokenizer",
		.rebuilt = true,
		.pre_tokenizer = GPT2_SPLIT("false"),
		.decoder = BYTES_DECODER,
		.two_inputs = true,
		.named = {[TEXT_BOS] = END_OF_TEXT, [TEXT_EOS] = END_OF_TEXT, [TEXT_UNK] = END_OF_TEXT},
	},
	{
		.name = "Qwen2Tokenizer",
		.rebuilt = true,
		.normalizer = "{\"type\":\"NFC\"}",
		.pre_tokenizer = QWEN2_SPLIT("false"),
		.decoder = BYTES_DECODER,
		.two_inputs = true,
		.named = {[TEXT_EOS] = END_OF_TEXT, [TEXT_UNK] = END_OF_TEXT, [TEXT_PAD] = END_OF_TEXT},
		.respecial = true,
	},
	{
		.name = "LlamaTokenizer",
		.rebuilt = true,
		.pre_tokenizer = LLAMA_SPLIT("first"),
		.decoder = "{\"type\":\"Sequence\",\"decoders\":[" MARK_DECODERS
		           ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}",
		.pad_left = true,
		.two_inputs = true,
		.fuse_unk = true,
		.byte_fallback = true,
		.named = {[TEXT_BOS] = "<s>", [TEXT_EOS] = "</s>", [TEXT_UNK] = "<unk>"},
	},
	{
		.name = "GemmaTokenizer",
		.rebuilt = true,
		.normalizer = MARK_REPLACE,
		.pre_tokenizer = SPACE_SPLIT,
		.decoder = "{\"type\":\"Sequence\",\"decoders\":[" MARK_DECODERS "]}",
		.pad_left = true,
		.two_inputs = true,
		.fuse_unk = true,
		.byte_fallback = true,
		.unk_in_model = true,
		.named = {[TEXT_BOS] = "<bos>", [TEXT_EOS] = "<eos>", [TEXT_UNK] = "<unk>", [TEXT_PAD] = "<pad>", [TEXT_MASK] = "<mask>"},
	},
	{
		.name = "Siglip2Tokenizer",
		.rebuilt = true,
		.normalizer = "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Lowercase\"}," MARK_REPLACE "]}",
		.pre_tokenizer = SPACE_SPLIT,
		.decoder = "{\"type\":\"Sequence\",\"decoders\":[" MARK_DECODERS "]}",
		.pad_left = true,
		.two_inputs = true,
		.fuse_unk = true,
		.byte_fallback = true,
		.unk_in_model = true,
		.named = {[TEXT_BOS] = "<bos>", [TEXT_EOS] = "<eos>", [TEXT_UNK] = "<unk>", [TEXT_PAD] = "<pad>", [TEXT_MASK] = "<mask>"},
	},
	{
		.name = "BertTokenizer",
		.rebuilt = true,
		.model = MODEL_WORDPIECE,
		.pre_tokenizer = "{\"type\":\"BertPreTokenizer\"}",
		.decoder = "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}",
		.named = {[TEXT_UNK] = "[UNK]", [TEXT_SEP] = "[SEP]", [TEXT_PAD] = "[PAD]", [TEXT_CLS] = "[CLS]", [TEXT_MASK] = "[MASK]"},
		.post = POST_BERT,
	},
	{
		.name = "T5Tokenizer",
		.rebuilt = true,
		.model = MODEL_UNIGRAM,
		.charsmap = true,
		.pre_tokenizer = "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"WhitespaceSplit\"}," MARK_SPLIT("always", "true") "]}",
		.decoder = MARK_SPLIT("always", "true"),
		.two_inputs = true,
		.named = {[TEXT_EOS] = "</s>", [TEXT_UNK] = "<unk>", [TEXT_PAD] = "<pad>"},
		.extra_ids = true,
		.post = POST_T5,
	},
	{
		.name = "SiglipTokenizer",
		.rebuilt = true,
		.model = MODEL_UNIGRAM,
		.pre_tokenizer = MARK_SPLIT("never", "true"),
		.decoder = MARK_SPLIT("always", "true"),
		.two_inputs = true,
		.strip_decoded = true,
		.pieces = true,
		.named = {[TEXT_EOS] = "</s>", [TEXT_UNK] = "<unk>", [TEXT_PAD] = "</s>"},
		.post = POST_SIGLIP,
	},
};

static const class_rule plain = {.name = "TokenizersBackend"};

/* Model types and the classes registered for them; '!' before one whose published files name a wrong class. */
static const struct {
	const char *class_name, *types;
} registered[] = {
	{"CLIPTokenizer", " aimv2 clip clipseg groupvit omdet-turbo oneformer owlv2 owlvit sam3 sam3_video xclip "},
	{"GPT2Tokenizer", " blip-2 codegen dbrx emu3 gpt2 gpt_neo gptj instructblip instructblipvideo jais2 opt phi starcoder2 "
	                  "!hyperclovax_vision_v2 "},
	{"Qwen2Tokenizer", " audioflamingo3 colqwen2 cosmos3_omni dots3_note fun_asr_nano hunyuan_vl internvl lighton_ocr "
	                   "moss_transcribe_diarize ovis2 qianfan_ocr !qwen2 qwen2_5_omni qwen2_5_vl qwen2_audio qwen2_moe qwen2_vl "
	                   "qwen3 qwen3_asr qwen3_moe qwen3_next qwen3_omni_moe qwen3_vl qwen3_vl_moe vibevoice "},
	{"LlamaTokenizer", " idefics idefics2 "},
	{"GemmaTokenizer", " diffusion_gemma gemma gemma2 gemma3 gemma3_text gemma3n gemma3n_text recurrent_gemma shieldgemma2 "
	                   "t5gemma zaya "},
	{"Siglip2Tokenizer", " !siglip2 "},
	{"SiglipTokenizer", " siglip "},
	{"BertTokenizer", " align bark bert blip bros chinese_clip convbert distilbert electra ernie flava git grounding-dino layoutlm "
	                  "megatron-bert mm-grounding-dino nezha nomic_bert qdqbert realm retribert squeezebert tvp vilt visual_bert "},
	{"T5Tokenizer", " mt5 musicgen musicgen_melody switch_transformers t5 "},
	{"TokenizersBackend",
	 " aria beam bigbird_pegasus canary flex_olmo glm glm4 glm4_moe glm4_moe_lite glm4v glm4v_moe glm_image glmasr got_ocr2 "
	 "gpt_bigcode gradium_phonon_tts granite granitemoe granitemoehybrid granitemoeshared kimi_k25 kimi_linear kosmos-2 "
	 "mimo_v2_flash minicpm_ocr minicpmv4_6 minicpmv4_7 ministral ministral3 mistral mistral3 mistral_large4 mixtral nemo_speechlm "
	 "nystromformer olmo2 olmo3 olmo_hybrid pegasus_x persimmon pix2struct pixtral pocket_tts stablelm umt5 voxtral "
	 "voxtral_realtime xlm-roberta-xl !step3_vl !llava_next !opencua !fuyu !minimax_m2 !minicpm3 !camembertv2-base !internlm2 "
	 "!ernie4_5 !smolvlm !iquestcoder !vipllava !jamba !chatlm !nvfp4 !internlm3 !phi3_v !openvla !ernie4_5_moe !paddleocr_vl "
	 "!hyperclovax !nemotron !modernbert-decoder !cohere_asr !phi3 !molmo2 !h2ovl_chat !llava !phimoe !minicpmv !modernbert "
	 "!hyperclovax_vlm !molmo !arctic "},
};

/* The class registered for a model type, NULL: none of ours; *wrong: its files name a wrong one. */
static const char *registered_class(const char *type, bool *wrong)
{
	size_t n = type ? strlen(type) : 0;
	*wrong = false;
	for (size_t i = 0; n && i < COUNT_OF(registered); i++)
		for (const char *at = registered[i].types; (at = strstr(at, type)); at += n) {
			bool marked = at[-1] == '!';
			if ((at[-1] == ' ' || marked) && at[n] == ' ' && !strpbrk(type, " !")) {
				*wrong = marked;
				return registered[i].class_name;
			}
		}
	return NULL;
}

/* strcmp, a "Fast" at the end of either aside */
static bool same_class(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b);
	if (n > 4 && strcmp(a + n - 4, "Fast") == 0)
		n -= 4;
	if (m > 4 && strcmp(b + m - 4, "Fast") == 0)
		m -= 4;
	return n == m && memcmp(a, b, n) == 0;
}

static const class_rule *rule_named(const char *name)
{
	for (size_t i = 0; name && i < COUNT_OF(rules); i++)
		if (same_class(rules[i].name, name))
			return &rules[i];
	return &plain;
}

static const class_rule *choose(const json *tokenizer_config, const json *config, const char *text, size_t n)
{
	const char *type = json_text(json_get(config, "model_type"), NULL);
	const char *named = json_text(json_get(tokenizer_config, "tokenizer_class"), NULL);
	if (!named || !*named)
		named = json_text(json_get(config, "tokenizer_class"), NULL);
	bool wrong;
	const char *known = registered_class(type, &wrong);
	if (!named)
		return rule_named(known);
	if (same_class(named, "LlamaTokenizer") && !wrong && text_find(text, n, 0, (text_span){"\"ByteLevel\"", 11}) < n)
		return &plain;
	if (known && !same_class(known, named))
		return strcmp(known, "TokenizersBackend") == 0 ? &plain : rule_named(wrong ? known : named);
	return rule_named(named);
}

static bool option(const json *config, const char *name, bool otherwise)
{
	json_flag(json_get(config, name), &otherwise);
	return otherwise;
}

static const char *truth(bool yes)
{
	return yes ? "true" : "false";
}

/* What the class makes of its own options in tokenizer_config.json. */
static rebus_status options(arena *a, class_rule *r, const json *config, rebus_error *err)
{
	bool prefix, bare;
	bool stated = json_flag(json_get(config, "add_prefix_space"), &prefix);
	if (stated && prefix && strcmp(r->name, "GPT2Tokenizer") == 0)
		r->pre_tokenizer = GPT2_SPLIT("true");
	if (stated && prefix && strcmp(r->name, "Qwen2Tokenizer") == 0)
		r->pre_tokenizer = QWEN2_SPLIT("true");
	if (strcmp(r->name, "BertTokenizer") == 0) {
		bool known = json_flag(json_get(config, "strip_accents"), &bare);
		r->normalizer = arena_format(a, "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":%s,"
		                                "\"strip_accents\":%s,\"lowercase\":%s}",
		                             truth(option(config, "tokenize_chinese_chars", true)), known ? truth(bare) : "null",
		                             truth(option(config, "do_lower_case", true)));
		return r->normalizer ? REBUS_OK : error_memory(err, "a tokenizer");
	}
	r->lower = option(config, "do_lower_case", true);
	if (strcmp(r->name, "LlamaTokenizer") != 0)
		return REBUS_OK;
	if (stated && !prefix) {
		r->pre_tokenizer = LLAMA_SPLIT("never");
		r->decoder = "{\"type\":\"Sequence\",\"decoders\":[" MARK_DECODERS "]}";
	} else if (option(config, "legacy", false)) {
		r->pre_tokenizer = LLAMA_SPLIT("always");
	}
	return REBUS_OK;
}

rebus_status rule_choose(arena *a, const json *tokenizer_config, const json *config, const char *text, size_t n, bool pieces,
	class_rule *out, rebus_error *err)
{
	class_rule r = *choose(tokenizer_config, config, text, n);
	if (r.pieces && !pieces && text) /* the reference wants its spiece.model; here the file is read as it stands */
		r = plain;
	rebus_status status = options(a, &r, tokenizer_config, err);
	if (!status)
		*out = r;
	return status;
}
