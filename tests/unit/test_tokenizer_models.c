/*
 * test_tokenizer_models.c - WordPiece, Unigram, SentencePiece's normal form, and folders of older files.
 *
 * Every expected list of ids and every decoded text was computed with AutoTokenizer of transformers 5.23.0 on these very
 * files (tokenizer_check.h tells how they are written).
 */
#include "tokenizer_check.h"

#include <stdlib.h>
#include <unistd.h>

#define MARK "\\u2581"

static const char bert[] =
	"{'added_tokens':[" SPECIAL("0", "[PAD]") "," SPECIAL("1", "[UNK]") "," SPECIAL("2", "[CLS]") "," SPECIAL("3", "[SEP]") ","
	SPECIAL("4", "[MASK]") "],'normalizer':null,'pre_tokenizer':null,'post_processor':null,'decoder':null,"
	"'model':{'type':'WordPiece','unk_token':'[UNK]','continuing_subword_prefix':'##','max_input_chars_per_word':100,"
	"'vocab':{'[PAD]':0,'[UNK]':1,'[CLS]':2,'[SEP]':3,'[MASK]':4,'un':5,'##aff':6,'##able':7,'hello':8,'world':9,',':10,'!':11,"
	"'\\u0027':12,'n\\u0027t':13,'e':14,'##e':15,'##x':16,'\\u4e2d':17,'W':18,'##orld':19,'do':20,'not':21,'.':22}}}";

#define UNIGRAM(more) \
	"{'added_tokens':[],'pre_tokenizer':{'type':'Metaspace','replacement':'" MARK "','prepend_scheme':'always','split':true}," \
	"'decoder':{'type':'Metaspace','replacement':'" MARK "','prepend_scheme':'always','split':true}," \
	"'model':{'type':'Unigram'," more "'vocab':[['<unk>',0.0],['</s>',0.0],['" MARK "',-2.0],['a',-1.0],['b',-1.5],['ab',-2.4]," \
	"['abc',-9.0],['" MARK "a',-1.2],['c',-2.0],['<0xC3>',-8.0],['<0xA9>',-8.0],['<0x0A>',-8.0]]}}"

#define FILE_OF(text) {text, sizeof(text) - 1}

static void wordpiece(void **state)
{
	(void)state;
	subject s;
	ids out, types;
	char word[101] = "e";
	ids_init(&out, NULL, 0);
	ids_init(&types, NULL, 0);
	assert_int_equal(open_quoted(&s, bert, "{'tokenizer_class':'BertTokenizer'}"), REBUS_OK);
	ENCODES(&s, "Hello, unaffable W\xC3\x96RLD!", true, 2, 8, 10, 5, 6, 7, 9, 11, 3);
	ENCODES(&s, "unaffablex \xC3\xA9" "e\xCC\x81 \xE4\xB8\xAD\xE4\xB8\xAD", false, 5, 6, 7, 16, 14, 15, 17,
		17); /* no accents; each ideograph a word */
	ENCODES(&s, "[MASK]hello\xE2\x80\x8B\tworld", true, 2, 4, 8, 9, 3); /* U+200B is dropped */
	ENCODES(&s, "W", false, 1); /* w is no token */
	memset(word + 1, 'x', 99);
	assert_int_equal(text_encode(s.t, word, 100, false, &out, NULL), REBUS_OK);
	assert_int_equal(ids_count(&out), 100);
	out.bytes.size = 0;
	word[100] = 'x';
	assert_int_equal(text_encode(s.t, word, 101, false, &out, NULL), REBUS_OK); /* too long a word */
	check_ids(&out, LIST(1));
	out.bytes.size = 0;
	assert_int_equal(text_encode_pair(s.t, "hello", 5, "world e", 7, true, INT64_MAX, &out, &types, NULL), REBUS_OK);
	check_ids(&out, LIST(2, 8, 3, 9, 14, 3));
	check_ids(&types, LIST(0, 0, 0, 1, 1, 1));
	check_decode(&s, LIST(2, 8, 10, 9, 11, 3), false, "[CLS] hello, world! [SEP]");
	check_decode(&s, LIST(2, 8, 10, 9, 11, 3), true, "hello, world!");
	check_decode(&s, LIST(2, 5, 6, 7, 12, 13, 20, 21, 22), true, "unaffable 'n't do not.");
	check_decode(&s, LIST(6, 7), false, "##affable");
	assert_true(text_get_info(s.t)->type_ids);
	end(&s);
	const char *cased = "{'tokenizer_class':'BertTokenizerFast','do_lower_case':false,'tokenize_chinese_chars':false}";
	assert_int_equal(open_quoted(&s, bert, cased), REBUS_OK);
	ENCODES(&s, "World \xC3\xA9 e \xE4\xB8\xAD\xE4\xB8\xAD", true, 2, 18, 19, 1, 14, 1, 3);
	end(&s);
	ids_free(&out);
	ids_free(&types);
}

/* The longer text is cut first, at the side that the folder says; special ids count. */
static void cut_pairs(void **state)
{
	(void)state;
	static const struct {
		bool left;
		const char *a, *b;
		int64_t most;
		size_t count;
		int32_t ids[8], types[8];
	} cases[] = {
		{false, "hello world do not .", NULL, 5, 5, {2, 8, 9, 20, 3}, {0, 0, 0, 0, 0}},
		{false, "hello , world !", "do not .", 8, 8, {2, 8, 10, 9, 3, 20, 21, 3}, {0, 0, 0, 0, 0, 1, 1, 1}},
		{false, "do not", "hello world . , !", 7, 7, {2, 20, 21, 3, 8, 9, 3}, {0, 0, 0, 0, 1, 1, 1}},
		{false, "hello world do", "not . , !", 8, 8, {2, 8, 9, 3, 21, 22, 10, 3}, {0, 0, 0, 0, 1, 1, 1, 1}},
		{false, "hello world do", "not . ,", 6, 6, {2, 8, 3, 21, 22, 3}, {0, 0, 0, 1, 1, 1}},
		{false, "e", "hello world !", 4, 4, {2, 3, 8, 3}, {0, 0, 1, 1}},
		{false, "hello", "world", 3, 3, {2, 3, 3}, {0, 0, 1}},
		{true, "hello world do not .", NULL, 5, 5, {2, 20, 21, 22, 3}, {0, 0, 0, 0, 0}},
		{true, "hello , world !", "do not .", 8, 8, {2, 10, 9, 11, 3, 21, 22, 3}, {0, 0, 0, 0, 0, 1, 1, 1}},
		{true, "do not", "hello world . , !", 7, 7, {2, 20, 21, 3, 10, 11, 3}, {0, 0, 0, 0, 1, 1, 1}},
		{true, "hello world do", "not . , !", 8, 8, {2, 9, 20, 3, 22, 10, 11, 3}, {0, 0, 0, 0, 1, 1, 1, 1}},
		{true, "hello world do", "not . ,", 6, 6, {2, 20, 3, 22, 10, 3}, {0, 0, 0, 1, 1, 1}},
		{true, "e", "hello world !", 4, 4, {2, 3, 11, 3}, {0, 0, 1, 1}},
		{true, "hello", "world", 3, 3, {2, 3, 3}, {0, 0, 1}},
	};
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		subject s;
		ids out, types;
		ids_init(&out, NULL, 0);
		ids_init(&types, NULL, 0);
		const char *config = cases[i].left ? "{'tokenizer_class':'BertTokenizer','truncation_side':'left'}" : "{'tokenizer_class':'BertTokenizer'}";
		assert_int_equal(open_quoted(&s, bert, config), REBUS_OK);
		size_t b = cases[i].b ? strlen(cases[i].b) : 0;
		assert_int_equal(text_encode_pair(s.t, cases[i].a, strlen(cases[i].a), cases[i].b, b, true, cases[i].most, &out, &types, NULL), REBUS_OK);
		check_ids(&out, cases[i].ids, cases[i].count);
		check_ids(&types, cases[i].types, cases[i].count);
		end(&s);
		ids_free(&out);
		ids_free(&types);
	}
}

static void unigram(void **state)
{
	(void)state;
	subject s;
	ids out;
	assert_int_equal(open_quoted(&s, UNIGRAM("'unk_id':0,"), NULL), REBUS_OK);
	ENCODES(&s, "ab abc", false, 7, 4, 7, 4, 8); /* the best cut, not the longest tokens */
	ENCODES(&s, "abxyab", false, 7, 4, 0, 5);    /* two unknown characters are one */
	ENCODES(&s, "\xC3\xA9\n", false, 2, 0);
	check_decode(&s, LIST(7, 4, 0, 2, 3), false, "ab<unk> a");
	end(&s);
	assert_int_equal(open_quoted(&s, UNIGRAM("'unk_id':0,'byte_fallback':true,"), NULL), REBUS_OK);
	ENCODES(&s, "\xC3\xA9\n", false, 2, 9, 10, 11);
	ENCODES(&s, "a\xC3\xA9x", false, 7, 0); /* one byte has no token: none is used */
	end(&s);
	assert_int_equal(open_quoted(&s, UNIGRAM(""), NULL), REBUS_OK);
	ids_init(&out, NULL, 0);
	assert_int_equal(text_encode(s.t, "x", 1, false, &out, &s.err), REBUS_FORMAT);
	assert_non_null(strstr(s.err.text, "unk_id"));
	ids_free(&out);
	end(&s);
}

/* A vocabulary made to be walked through again and again gives up in time. */
static void long_tokens(void **state)
{
	(void)state;
	enum { LONG = 3000, TEXT = 200000 };
	subject s;
	ids out;
	char *file = malloc(LONG + 200), *text = malloc(TEXT);
	assert_non_null(file);
	assert_non_null(text);
	int n = sprintf(file, "{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"<unk>\",0],[\"a\",-1],[\"");
	memset(file + n, 'a', LONG);
	strcpy(file + n + LONG, "b\",-1]]}}");
	memset(text, 'a', TEXT);
	text_files f = {.tokenizer_json = file, .tokenizer_json_size = strlen(file)};
	arena_init(&s.a, NULL, 0);
	ids_init(&out, NULL, 0);
	assert_int_equal(text_open_memory(&s.a, &f, &s.t, &s.err), REBUS_OK);
	assert_int_equal(text_encode(s.t, text, TEXT, false, &out, &s.err), REBUS_LIMIT);
	assert_non_null(strstr(s.err.text, "steps"));
	ids_free(&out);
	end(&s);
	free(file);
	free(text);
}

/* ------------------------------------------------------------------------------------------------ normal form */
/* A map: fi ligature to fi, circled 1 to 1, e with an acute to b, U+200B to nothing, A to a. */
static void map_write(char *out, bool base64)
{
	static const struct {
		int at;
		uint32_t unit;
	} units[] = {{0, 0x400},     {5, 0x80000008}, {10, 0x80000000}, {11, 0x80000003}, {12, 0x80000007}, {13, 0x80000005},
	             {64, 0x11541},  {100, 0x18065},  {130, 0x2398b},   {131, 0x22880},   {135, 0x23581},   {137, 0x21181},
	             {146, 0x25491}, {167, 0x2b1a0},  {174, 0x2a0ac},   {200, 0x300cc},   {227, 0x380e2},   {238, 0x3b0ef}};
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	enum { UNITS = 239, SIZE = 4 + 4 * UNITS + 10 };
	unsigned char raw[SIZE + 2] = {4 * UNITS & 0xFF, 4 * UNITS >> 8};
	for (size_t i = 0; i < COUNT_OF(units); i++)
		for (int k = 0; k < 4; k++)
			raw[4 + 4 * units[i].at + k] = (unsigned char)(units[i].unit >> 8 * k);
	memcpy(raw + 4 + 4 * UNITS, "fi\0" "1\0" "b\0" "\0" "a", 10);
	if (!base64) {
		memcpy(out, raw, SIZE);
		return;
	}
	for (int i = 0; i < SIZE; i += 3)
		for (int k = 0; k < 4; k++)
			*out++ = i + k > SIZE ? '=' : digits[((uint32_t)raw[i] << 16 | (uint32_t)raw[i + 1] << 8 | raw[i + 2]) >> (18 - 6 * k) & 63];
	*out = 0;
}

static void t5_class(void **state)
{
	(void)state;
	subject s;
	ids out, types;
	char map[2000], file[4000];
	map_write(map, true);
	snprintf(file, sizeof(file),
	         "{'added_tokens':[],'normalizer':{'type':'Sequence','normalizers':[{'type':'Lowercase'},{'type':'Precompiled',"
	         "'precompiled_charsmap':'%s'}]},'pre_tokenizer':null,'decoder':null,'model':{'type':'Unigram','unk_id':2,'vocab':["
	         "['<pad>',0.0],['</s>',0.0],['<unk>',0.0],['" MARK "',-2.0],['a',-1.0],['b',-1.5],['ab',-2.4],['" MARK "a',-1.2],"
	         "['1',-3.0],['fi',-4.0],['<extra_id_1>',0.0],['<extra_id_0>',0.0]]}}", map);
	assert_int_equal(open_quoted(&s, file, "{'tokenizer_class':'T5Tokenizer','extra_ids':2}"), REBUS_OK);
	ENCODES(&s, "A ab  \xEF\xAC\x81", true, 7, 7, 5, 3, 9, 1);
	ENCODES(&s, "\xE2\x91\xA0\xCC\x81 e\xCC\x81 e", true, 3, 8, 3, 5, 3, 2, 1); /* a short cluster is what its beginning maps to */
	ENCODES(&s, "\xE2\x91\xA0\xCC\x81\xCC\x81\xCC\x81", true, 3, 8, 2, 1);      /* a long one is mapped character by character */
	ENCODES(&s, "\xD8\x80\xE2\x91\xA0", true, 3, 2, 8, 1);                      /* a cluster whose beginning is no key */
	ENCODES(&s, "a\xE2\x80\x8B" "b", false, 7, 5);
	ENCODES(&s, "<extra_id_0>a<extra_id_1>", false, 11, 7, 10);
	check_decode(&s, LIST(7, 9, 1, 11, 3), false, "afi</s><extra_id_0> ");
	check_decode(&s, LIST(7, 9, 1, 11, 3), true, "afi ");
	assert_int_equal(text_vocabulary(s.t), 12);
	ids_init(&out, NULL, 0);
	ids_init(&types, NULL, 0);
	assert_int_equal(text_encode_pair(s.t, "a", 1, "b", 1, true, INT64_MAX, &out, &types, NULL), REBUS_OK);
	check_ids(&out, LIST(7, 1, 3, 5, 1));
	check_ids(&types, LIST(0, 0, 0, 0, 0));
	ids_free(&out);
	ids_free(&types);
	end(&s);
}

/* ------------------------------------------------------------------------------------------------ older files */
/* Pieces <unk> <s> </s> <0x0A> U+2581 a b ab U+2581ab <go>, of their types, and model_type 2. */
static const char pieces[] =
	"\n\016\n\5<unk>\25\0\0\0\0\30\2" "\n\014\n\3<s>\25\0\0\0\0\30\3" "\n\r\n\4</s>\25\0\0\0\0\30\3"
	"\n\017\n\6<0x0A>\25\0\0\0\0\30\6"
	"\n\n\n\3\xE2\x96\x81\25\0\0\x80\xBF" "\n\10\n\1a\25\0\0\0\xC0" "\n\10\n\1b\25\0\0\x40\xC0" "\n\t\n\2ab\25\0\0\x80\xC0"
	"\n\014\n\5\xE2\x96\x81" "ab\25\0\0\xA0\xC0" "\n\r\n\4<go>\25\0\0\0\0\30\4" "\22\2\30\2";

static void llama_pieces(void **state)
{
	(void)state;
	subject s;
	text_files f = {.sentencepiece = {pieces, sizeof(pieces) - 1}, .sentencepiece_name = "tokenizer.model"};
	assert_int_equal(open_files(&s, &f, NULL, "{'tokenizer_class':'LlamaTokenizer','add_bos_token':true}"), REBUS_OK);
	ENCODES(&s, "ab ab", true, 1, 8, 8);
	ENCODES(&s, "a\n<go>b", true, 1, 4, 5, 3, 9, 6);
	ENCODES(&s, "xab", true, 1, 8); /* no token for x, and the model names no unknown one */
	check_decode(&s, LIST(1, 8, 3, 9, 7), false, "<s> ab\n<go>ab");
	check_decode(&s, LIST(1, 8, 3, 9, 7), true, "ab\n<go>ab");
	assert_true(text_is_special(s.t, 1) && !text_is_special(s.t, 9));
	end(&s);
	assert_int_equal(open_files(&s, &f, NULL, "{'tokenizer_class':'TokenizersBackend'}"), REBUS_OK); /* as Mistral's folders are read */
	ENCODES(&s, "ab ab", true, 7, 8);
	ENCODES(&s, "a\n<go>b", true, 5, 0, 9, 6); /* the model has no byte fallback */
	ENCODES(&s, "xxab", true, 0, 7);
	check_encode(&s, "", 0, true, NULL, 0);
	check_decode(&s, LIST(7, 8, 2), false, "ab ab</s>");
	check_decode(&s, LIST(7, 8, 2), true, "ab ab");
	end(&s);
	assert_int_equal(open_files(&s, &f, NULL, "{'tokenizer_class':'TokenizersBackend','add_bos_token':true,'add_eos_token':true,'added_tokens_decoder':"
		"{'3':{'content':'<gone>','special':true}}}"), REBUS_OK);
	ENCODES(&s, "ab ab", true, 1, 7, 8, 2);
	ENCODES(&s, " ab</s><gone>a<go>", true, 1, 8, 2, 3, 5, 9, 2); /* a placeholder with another name */
	end(&s);
	for (size_t n = 0; n < sizeof(pieces) - 1; n++) { /* cut anywhere: refused, or a model of fewer pieces */
		f.sentencepiece.size = n;
		rebus_status status = open_files(&s, &f, NULL, "{'tokenizer_class':'LlamaTokenizer'}");
		assert_true(status == REBUS_OK || status == REBUS_FORMAT);
		end(&s);
	}
}

static void t5_pieces(void **state)
{
	(void)state;
	subject s;
	char file[2000] = "\n\016\n\5<pad>\25\0\0\0\0\30\3" "\n\r\n\4</s>\25\0\0\0\0\30\3" "\n\016\n\5<unk>\25\0\0\0\0\30\2"
		"\n\n\n\3\xE2\x96\x81\25\0\0\x80\xBF" "\n\10\n\1a\25\0\0\0\xC0" "\n\10\n\1b\25\0\0\x40\xC0" "\n\t\n\2ab\25\0\0\x80\xC0"
		"\32\xCD\7\22\xCA\7"; /* normalizer_spec with a map of 970 bytes */
	enum { BEFORE = 96, MAP = 970 };
	map_write(file + BEFORE, false);
	text_files f = {.sentencepiece = {file, BEFORE + MAP}, .sentencepiece_name = "spiece.model"};
	assert_int_equal(open_files(&s, &f, NULL, "{'tokenizer_class':'T5Tokenizer','extra_ids':2}"), REBUS_OK);
	ENCODES(&s, "A ab<extra_id_1>", true, 3, 4, 3, 6, 7, 1);
	ENCODES(&s, "ab", true, 3, 6, 1);
	assert_int_equal(text_vocabulary(s.t), 9);
	end(&s);
}

/* sentencepiece itself, as SiglipTokenizer calls it; also beside a tokenizer.json. */
static void siglip_pieces(void **state)
{
	(void)state;
	subject s;
	static const char file[] = "\n\16\n\5<pad>\25\0\0\0\0\30\3" "\n\15\n\4</s>\25\0\0\0\0\30\3" "\n\16\n\5<unk>\25\0\0\0\0\30\2"
		"\n\14\n\3\xE2\x96\x81\25\0\0\x80\xBF\30\1" "\n\n\n\1a\25\0\0\0\xC0\30\1" "\n\n\n\1b\25\0\0@\xC0\30\1" "\n\13\n\2ab\25\0\0\x80\xC0\30\1"
		"\n\15\n\4\xE2\x96\x81" "a\25\0\0 \xC0\30\1" "\n\n\n\1c\25\0\0`\xC0\30\1" "\n\n\n\1>\25\0\0@\xC0\30\1";
	const text_files f = {.sentencepiece = FILE_OF(file), .sentencepiece_name = "spiece.model", .config = "{\"model_type\":\"siglip\"}", .config_size = 23};
	for (int beside = 0; beside < 2; beside++) {
		assert_int_equal(open_files(&s, &f, beside ? UNIGRAM("'unk_id':0,") : NULL, beside ? "{'tokenizer_class':'SiglipTokenizer'}" : NULL), REBUS_OK);
		assert_string_equal(text_get_info(s.t)->class_name, "SiglipTokenizer");
		ENCODES(&s, "A, ab!", true, 7, 3, 6, 1);
		ENCODES(&s, "", true, 1);
		ENCODES(&s, "ab</s>b", true, 3, 6, 1, 5, 1);
		ENCODES(&s, "</s>", true, 1); /* one end is enough */
		ENCODES(&s, "a </s> ab</s>", true, 7, 1, 6, 1);
		ENCODES(&s, "x<unk>a", true, 3, 2, 2, 4, 1);
		ENCODES(&s, "<pad>a  B", true, 3, 2, 4, 2, 4, 3, 5, 1); /* no token of its own: its brackets go */
		ENCODES(&s, "zz a", true, 3, 2, 7, 1);
		check_decode(&s, LIST(7, 3, 6, 3, 1), true, "a ab");
		end(&s);
	}
	assert_int_equal(open_files(&s, &f, NULL, "{'tokenizer_class':'SiglipTokenizer','do_lower_case':false}"), REBUS_OK);
	ENCODES(&s, "A ab", true, 3, 2, 3, 6, 1);
	end(&s);
	assert_int_equal(open_quoted(&s, UNIGRAM("'unk_id':0,"), "{'tokenizer_class':'SiglipTokenizer'}"), REBUS_OK); /* as it stands */
	assert_string_equal(text_get_info(s.t)->class_name, "TokenizersBackend");
	end(&s);
}

static void text_lists(void **state)
{
	(void)state;
	subject s;
	ids out, types;
	ids_init(&out, NULL, 0);
	ids_init(&types, NULL, 0);
	text_files f = {.vocab_json = FILE_OF("{\"h\":0,\"e\":1,\"he\":2,\"\\u0120\":3,\"<|endoftext|>\":4}"),
	                .merges_txt = FILE_OF("#version: 0.2\nh e\n")};
	assert_int_equal(open_files(&s, &f, NULL, "{'tokenizer_class':'GPT2Tokenizer','add_bos_token':true}"), REBUS_OK);
	ENCODES(&s, "he he", true, 4, 2, 3, 2);
	ENCODES(&s, "he he", false, 2, 3, 2);
	assert_int_equal(text_encode_pair(s.t, "h", 1, "e", 1, true, INT64_MAX, &out, &types, NULL), REBUS_OK);
	check_ids(&out, LIST(4, 0, 4, 1));
	check_ids(&types, LIST(0, 0, 1, 1));
	end(&s);
	ids_free(&out);
	ids_free(&types);
	f = (text_files){.vocab_txt = FILE_OF("[PAD]\r\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\n##s "),
	                 .config = "{\"model_type\":\"bert\"}", .config_size = 21};
	assert_int_equal(open_files(&s, &f, NULL, NULL), REBUS_OK);
	ENCODES(&s, "Hellos x", true, 2, 5, 6, 1, 3);
	assert_string_equal(text_get_info(s.t)->class_name, "BertTokenizer");
	end(&s);
	f = (text_files){.vocab_json = FILE_OF("{}")};
	assert_int_equal(open_files(&s, &f, NULL, "{'tokenizer_class':'CLIPTokenizer'}"), REBUS_IO);
	assert_non_null(strstr(s.err.text, "merges.txt"));
	end(&s);
	f = (text_files){.vocab_json = FILE_OF("{},\"x\":{}"), .merges_txt = FILE_OF("")};
	assert_int_equal(open_files(&s, &f, NULL, "{'tokenizer_class':'GPT2Tokenizer'}"), REBUS_FORMAT);
	end(&s);
	f = (text_files){0};
	assert_int_equal(open_files(&s, &f, NULL, NULL), REBUS_IO);
	assert_non_null(strstr(s.err.text, "tokenizer.json"));
	end(&s);
}

/* A folder with nothing but a vocabulary. */
static void folder(void **state)
{
	(void)state;
	char name[] = "/tmp/rebus-test-XXXXXX", path[64];
	subject s = {0};
	bool there = true;
	assert_non_null(mkdtemp(name));
	assert_int_equal(text_exists(NULL, name, &there, NULL), REBUS_OK);
	assert_false(there);
	snprintf(path, sizeof(path), "%s/vocab.txt", name);
	FILE *f = fopen(path, "w");
	assert_non_null(f);
	fputs("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n", f);
	fclose(f);
	assert_int_equal(text_exists(NULL, name, &there, NULL), REBUS_OK);
	assert_true(there);
	arena_init(&s.a, NULL, 0);
	assert_int_equal(text_open(&s.a, name, &s.t, &s.err), REBUS_UNSUPPORTED); /* no class is named */
	snprintf(path, sizeof(path), "%s/tokenizer_config.json", name);
	f = fopen(path, "w");
	assert_non_null(f);
	fputs("{\"tokenizer_class\": \"BertTokenizer\"}", f);
	fclose(f);
	assert_int_equal(text_open(&s.a, name, &s.t, &s.err), REBUS_OK);
	ENCODES(&s, "a b", true, 2, 5, 1, 3);
	end(&s);
	remove(path);
	snprintf(path, sizeof(path), "%s/vocab.txt", name);
	remove(path);
	rmdir(name);
}

#define MODEL(model) "{'model':" model "}"
#define CHARSMAP(text) "{'normalizer':{'type':'Precompiled','precompiled_charsmap':'" text "'}," \
	               "'model':{'type':'BPE','vocab':{},'merges':[]}}"

static void refusals(void **state)
{
	(void)state;
	refused(MODEL("{'type':'WordPiece','vocab':{'a':0}}"), NULL, REBUS_FORMAT, "unk_token");
	refused(MODEL("{'type':'WordPiece','vocab':[]}"), NULL, REBUS_FORMAT, "model.vocab");
	refused(MODEL("{'type':'Unigram','vocab':{}}"), NULL, REBUS_FORMAT, "list of tokens");
	refused(MODEL("{'type':'Unigram','vocab':[['a',1],['b']]}"), NULL, REBUS_FORMAT, "entry 1");
	refused(MODEL("{'type':'Unigram','vocab':[['a',NaN]]}"), NULL, REBUS_FORMAT, "entry 0");
	refused(MODEL("{'type':'Unigram','unk_id':1,'vocab':[['a',0]]}"), NULL, REBUS_FORMAT, "unk_id 1");
	refused(MODEL("{'type':'Unigram','unk_id':0,'vocab':[['a',0]]}"), "{'tokenizer_class':'T5Tokenizer'}", REBUS_FORMAT, "unk_id 2");
	refused(MODEL("{'type':'BPE','vocab':{},'merges':[]}"), "{'tokenizer_class':'BertTokenizer'}", REBUS_FORMAT, "wants WordPiece");
	refused(CHARSMAP(""), NULL, REBUS_FORMAT, "precompiled_charsmap");
	refused(CHARSMAP("AAA"), NULL, REBUS_FORMAT, "precompiled_charsmap");
	refused(CHARSMAP("AAAA"), NULL, REBUS_FORMAT, "precompiled_charsmap");
	refused(CHARSMAP("/////w=="), NULL, REBUS_FORMAT, "precompiled_charsmap");
	refused(CHARSMAP("AAAAAP8="), NULL, REBUS_FORMAT, "not UTF-8");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(wordpiece),    cmocka_unit_test(cut_pairs), cmocka_unit_test(unigram),   cmocka_unit_test(long_tokens), cmocka_unit_test(t5_class),
		cmocka_unit_test(llama_pieces), cmocka_unit_test(t5_pieces), cmocka_unit_test(text_lists),  cmocka_unit_test(folder),
		cmocka_unit_test(refusals),    cmocka_unit_test(siglip_pieces),
	};
	return cmocka_run_group_tests_name("tokenizer_models", tests, NULL, NULL);
}
