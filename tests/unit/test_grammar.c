/*
 * test_grammar.c - what a grammar lets through: texts, then tokens of every kind of tokenizer.
 *
 * Texts are judged by the machine alone. Tokens are walked at random: at each place every token is compared with what its bytes
 * say (exactly those are allowed after which the text can still become one that fits), and what ends must fit.
 */
#include "tokenizer_check.h"

#include "generate/grammar.h"

#define BYTES_MODEL                                                                                                                \
	"{'version':'1.0','added_tokens':[" SPECIAL("0", "<|e|>") ",{'id':22,'content':'<tool call>','single_word':false,'lstrip':false,"      \
	"'rstrip':false,'normalized':false,'special':false}],'normalizer':null,'pre_tokenizer':{'type':'ByteLevel','add_prefix_space':false,"  \
	"'use_regex':true},'post_processor':null,'decoder':{'type':'ByteLevel'},'model':{'type':'BPE','vocab':{'<|e|>':0,'a':1,'b':2,'\\u00c3':3,"          \
	"'\\u00a9':4,'\\u00a8':5,'\\u00c3\\u00a9':6,'ab':7,'\\u0120':8,'\\u0120a':9,'{':10,'}':11,'\\\"':12,':':13,'\\\":':14,'1':15,'0':16,',':17,'10':18," \
	"'{\\\"':19,'\\u00a9b':20,'\\u010a':21},'merges':[]}}"
#define MARK_MODEL                                                                                                                 \
	"{'version':'1.0','added_tokens':[" SPECIAL("0", "<unk>") "," SPECIAL("1", "</s>") "],'normalizer':null,'pre_tokenizer':null,"           \
	"'post_processor':null,'decoder':{'type':'Sequence','decoders':[{'type':'Replace','pattern':{'String':'\\u2581'},'content':' '},"            \
	"{'type':'ByteFallback'},{'type':'Fuse'},{'type':'Strip','content':' ','start':1,'stop':0}]},'model':{'type':'BPE','unk_token':'<unk>',"        \
	"'fuse_unk':true,'byte_fallback':true,'vocab':{'<unk>':0,'</s>':1,'<0xC3>':2,'<0xA9>':3,'\\u2581':4,'a':5,'b':6,'\\u2581a':7,'ab':8,'1':9,"      \
	"'\\u2581\\u2581':10,'\\u00e9':11},'merges':[]}}"
#define WORD_MODEL                                                                                                                 \
	"{'version':'1.0','added_tokens':[" SPECIAL("0", "[UNK]") "],'normalizer':null,'pre_tokenizer':{'type':'BertPreTokenizer'},"             \
	"'post_processor':null,'decoder':{'type':'WordPiece','prefix':'##','cleanup':true},'model':{'type':'WordPiece','unk_token':'[UNK]',"            \
	"'continuing_subword_prefix':'##','max_input_chars_per_word':100,'vocab':{'[UNK]':0,'a':1,'##b':2,'ab':3,'.':4,'n':5,'1':6,'##1':7}}}"
#define SPACE_MODEL                                                                                                                \
	"{'version':'1.0','added_tokens':[" SPECIAL("0", "<pad>") "],'normalizer':null,'pre_tokenizer':{'type':'Metaspace','replacement':'\\u2581',"        \
	"'prepend_scheme':'always','split':true},'post_processor':null,'decoder':{'type':'Metaspace','replacement':'\\u2581','prepend_scheme':'always',"    \
	"'split':true},'model':{'type':'Unigram','unk_id':1,'vocab':[['<pad>',0],['<unk>',0],['\\u2581',-1],['a',-1],['\\u2581a',-1],['b',-1],['1',-2]]}}"

static rebus_status make(const subject *s, rebus_grammar_kind kind, const char *text, rebus_grammar **out, rebus_error *err)
{
	*out = NULL;
	return grammar_new(s->t, NULL, kind, text, strlen(text), out, err);
}

static const struct {
	rebus_grammar_kind kind;
	const char *text, *yes, *no; /* texts apart by \x1E */
} cases[] = {
#include "grammar_cases.h"
};

static void judge(const rebus_grammar *g, const char *list, bool want, const char *grammar)
{
	while (*list) {
		size_t n = strcspn(list, "\x1E");
		bool fits, begun;
		assert_int_equal(grammar_accepts(g, list, n, &fits, &begun, NULL), REBUS_OK);
		if (fits != want)
			print_error("%s\n%s: %.*s\n", grammar, want ? "should fit" : "should not fit", (int)n, list);
		assert_int_equal(fits, want);
		list += n + (list[n] != 0);
	}
}

static void texts(void **state)
{
	(void)state;
	subject s;
	rebus_error err;
	assert_int_equal(open_quoted(&s, BYTES_MODEL, NULL), REBUS_OK);
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		rebus_grammar *g;
		rebus_status status = make(&s, cases[i].kind, cases[i].text, &g, &err);
		if (status)
			print_error("%s\n%s\n", cases[i].text, err.text);
		assert_int_equal(status, REBUS_OK);
		judge(g, cases[i].yes, true, cases[i].text);
		judge(g, cases[i].no, false, cases[i].text);
		rebus_grammar_free(g);
	}
	end(&s);
}

/* ------------------------------------------------------------------------------------------------ refused */
static const struct {
	rebus_grammar_kind kind;
	const char *text;
	rebus_status status;
	const char *says;
} refusals[] = {
	{REBUS_GRAMMAR_GBNF, "", REBUS_MISUSE, "no rule root"},
	{REBUS_GRAMMAR_GBNF, "root ::= a", REBUS_MISUSE, "rule a is used, but not defined"},
	{REBUS_GRAMMAR_GBNF, "root ::= \"a", REBUS_MISUSE, "line 1: the end, expected a closing \""},
	{REBUS_GRAMMAR_GBNF, "root ::= [b-a]", REBUS_MISUSE, "expected one that goes up"},
	{REBUS_GRAMMAR_GBNF, "root ::= \"a\"\nroot ::= \"b\"", REBUS_MISUSE, "line 2: rule root is defined twice"},
	{REBUS_GRAMMAR_GBNF, "root ::= (\"a\"", REBUS_MISUSE, "expected a closing )"},
	{REBUS_GRAMMAR_GBNF, "root ::= \"a\"{3,1}", REBUS_MISUSE, "{3,1}"},
	{REBUS_GRAMMAR_GBNF, "root ::= \"a\"{99999999}", REBUS_LIMIT, "more than 1048576 times"},
	{REBUS_GRAMMAR_GBNF, "root := \"a\"", REBUS_MISUSE, "expected ::="},
	{REBUS_GRAMMAR_GBNF, "root ::= \"\\q\"", REBUS_MISUSE, "after a backslash"},
	{REBUS_GRAMMAR_GBNF, "root ::= \"\\uD800\"", REBUS_MISUSE, "U+D800 cannot be in a text"},
	{REBUS_GRAMMAR_GBNF, "root ::= <think>", REBUS_UNSUPPORTED, "a reference to a token"},
	{REBUS_GRAMMAR_GBNF, "root ::= root \"a\" | \"b\"", REBUS_UNSUPPORTED, "rule root may begin with itself (left recursion)"},
	{REBUS_GRAMMAR_GBNF, "root ::= b\nb ::= c? root | \"x\"\nc ::= \"y\"", REBUS_UNSUPPORTED, "left recursion"},
	{REBUS_GRAMMAR_GBNF, "root ::= (\"\" | \"a\" | root \"z\")*", REBUS_UNSUPPORTED, "left recursion"},
	{REBUS_GRAMMAR_GBNF, "root ::= \"a\" root", REBUS_MISUSE, "no text fits it"},
	{REBUS_GRAMMAR_GBNF, "root ::= \"a\" []", REBUS_MISUSE, "no text fits it"},
	{REBUS_GRAMMAR_GBNF, "root ::= (((\"a\"{1000}){1000}){1000}){1000} ", REBUS_OK, ""}, /* a rule each: small */
	{REBUS_GRAMMAR_GBNF, "root ::= (\"ab\"{900000} \"c\"){2} \"ab\"{900000}", REBUS_LIMIT, "too large"},
	{REBUS_GRAMMAR_REGEX, "a(?=b)", REBUS_UNSUPPORTED, "look-around"},
	{REBUS_GRAMMAR_REGEX, "(a)\\1", REBUS_UNSUPPORTED, "a back reference"},
	{REBUS_GRAMMAR_REGEX, "\\bword", REBUS_UNSUPPORTED, "\\b"},
	{REBUS_GRAMMAR_REGEX, "\\p{L}", REBUS_UNSUPPORTED, "\\p"},
	{REBUS_GRAMMAR_REGEX, "(?i)a", REBUS_UNSUPPORTED, "flags"},
	{REBUS_GRAMMAR_REGEX, "a++", REBUS_UNSUPPORTED, "possessive"},
	{REBUS_GRAMMAR_REGEX, "a**", REBUS_MISUSE, "repeated twice"},
	{REBUS_GRAMMAR_REGEX, "*a", REBUS_MISUSE, "something to repeat"},
	{REBUS_GRAMMAR_REGEX, "(a", REBUS_MISUSE, "a closing )"},
	{REBUS_GRAMMAR_REGEX, "a)", REBUS_MISUSE, "no closing )"},
	{REBUS_GRAMMAR_REGEX, "[a", REBUS_MISUSE, "a closing ]"},
	{REBUS_GRAMMAR_REGEX, "a(^b)", REBUS_UNSUPPORTED, "^ or $"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{", REBUS_FORMAT, "schema"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "3", REBUS_MISUSE, "an object, true or false"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "false", REBUS_MISUSE, "no text fits it"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"type\":\"text\"}", REBUS_MISUSE, "type text"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"not\":{}}", REBUS_UNSUPPORTED, "keyword not"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"if\":{}}", REBUS_UNSUPPORTED, "keyword if"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"patternProperties\":{}}", REBUS_UNSUPPORTED, "keyword patternProperties"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"uniqueItems\":true}", REBUS_UNSUPPORTED, "uniqueItems"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"type\":\"array\",\"contains\":{}}", REBUS_UNSUPPORTED, "contains"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"type\":\"number\",\"multipleOf\":0.1}", REBUS_UNSUPPORTED, "multipleOf"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"type\":\"number\",\"minimum\":0.5}", REBUS_UNSUPPORTED, "minimum"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"format\":\"email\"}", REBUS_UNSUPPORTED, "format"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"pattern\":\"a\",\"maxLength\":3}", REBUS_UNSUPPORTED, "one of them"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"oneOf\":[{\"type\":\"integer\"},{\"type\":\"number\"}]}", REBUS_UNSUPPORTED, "might fit 0 and 1"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"allOf\":[{\"type\":\"integer\"},{\"minimum\":3}]}", REBUS_UNSUPPORTED, "allOf"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"enum\":[1],\"minimum\":3}", REBUS_UNSUPPORTED, "minimum beside enum"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"$ref\":\"#/$defs/a\"}", REBUS_MISUSE, "nothing is there"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"$ref\":\"http://a/b\"}", REBUS_UNSUPPORTED, "outside the schema"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"$ref\":\"#\"}", REBUS_MISUSE, "no text fits it"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"anyOf\":[{\"$ref\":\"#\"},{\"type\":\"null\"}]}", REBUS_UNSUPPORTED, "left recursion"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"properties\":{\"a\":{\"$ref\":\"#\"}},\"required\":[\"a\"]}", REBUS_MISUSE, "no text fits it"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"type\":\"string\",\"minLength\":99999999}", REBUS_LIMIT, "minLength"},
	{REBUS_GRAMMAR_JSON_SCHEMA, "{\"required\":[\"a\"],\"additionalProperties\":false}", REBUS_MISUSE, "no text fits it"},
};

static void refused_grammars(void **state)
{
	(void)state;
	subject s;
	rebus_error err;
	assert_int_equal(open_quoted(&s, BYTES_MODEL, NULL), REBUS_OK);
	for (size_t i = 0; i < COUNT_OF(refusals); i++) {
		rebus_grammar *g;
		err = (rebus_error){.code = REBUS_OK};
		rebus_status status = make(&s, refusals[i].kind, refusals[i].text, &g, &err);
		if (status != refusals[i].status || !strstr(err.text, refusals[i].says))
			print_error("%s\n%s\n", refusals[i].text, err.text);
		assert_int_equal(status, refusals[i].status);
		assert_non_null(strstr(err.text, refusals[i].says));
		rebus_grammar_free(g);
	}
	end(&s);
}

/* ------------------------------------------------------------------------------------------------ tokens */
static uint64_t drawn;
static size_t draw(size_t below)
{
	drawn = bits_mix(drawn + 0x9E3779B97F4A7C15u);
	return (size_t)(drawn % below);
}

/* What a token adds, told by decoding what was said with it and without it. */
static void bytes_of(const subject *s, const ids *said, int32_t id, buf *out)
{
	buf before;
	ids with;
	buf_init(&before, NULL, 0);
	ids_init(&with, NULL, 0);
	for (size_t i = 0; i < ids_count(said); i++)
		ids_add(&with, ids_data(said)[i]);
	assert_int_equal(text_decode(s->t, ids_data(&with), ids_count(&with), true, &before, NULL), REBUS_OK);
	ids_add(&with, id);
	out->size = 0;
	assert_int_equal(text_decode(s->t, ids_data(&with), ids_count(&with), true, out, NULL), REBUS_OK);
	buf_add(out, "", 0);
	buf_free(&before);
	ids_free(&with);
}

/* One answer of at most so many tokens; every mask is checked against the machine, byte by byte. True where it ended. */
static bool answer(const subject *s, const rebus_grammar *g, bool bytes, int most)
{
	grammar_at at;
	ids said;
	buf decoded;
	uint32_t *mask = test_malloc((grammar_mask_words(g) + 1) * sizeof *mask);
	bool may_end = false, fits, begun;
	ids_init(&said, NULL, 0);
	buf_init(&decoded, NULL, 0);
	assert_int_equal(grammar_begin(g, &at, NULL), REBUS_OK);
	for (int n = 0; n < most; n++) {
		size_t allowed, found = 0, size;
		int32_t pick = -1;
		assert_int_equal(grammar_mask(g, &at, mask, &allowed, &may_end, NULL), REBUS_OK);
		assert_int_equal(grammar_accepts(g, at.said.data, at.said.size, &fits, &begun, NULL), REBUS_OK);
		assert_int_equal(may_end, fits);
		for (size_t id = 0; id < text_vocabulary(s->t); id++) {
			bool in = id / 32 < grammar_mask_words(g) && mask[id / 32] >> id % 32 & 1;
			bytes_of(s, &said, (int32_t)id, &decoded);
			if (!bytes) { /* else a decoded part of a character is U+FFFD */
				assert_int_equal(grammar_accepts(g, decoded.data, decoded.size, &fits, &begun, NULL), REBUS_OK);
				assert_true(!in || begun);
			}
			if (in && !draw(++found))
				pick = (int32_t)id;
		}
		assert_int_equal(found, allowed);
		if (!allowed || (may_end && !draw(4)))
			break;
		assert_int_equal(grammar_take(g, &at, pick, &size, NULL), REBUS_OK);
		assert_true(size > 0);
		ids_add(&said, pick);
		may_end = false;
	}
	bytes_of(s, &said, -1, &decoded);
	if (may_end) {
		assert_int_equal(grammar_accepts(g, at.said.data, at.said.size, &fits, &begun, NULL), REBUS_OK);
		assert_true(fits);
		assert_string_equal(at.said.data, decoded.data); /* the bytes are what the tokenizer decodes */
	}
	grammar_end(&at);
	ids_free(&said);
	buf_free(&decoded);
	test_free(mask);
	return may_end;
}

static void walks(const char *file, bool bytes, const char *const *grammars, size_t count)
{
	subject s;
	rebus_error err;
	assert_int_equal(open_quoted(&s, file, NULL), REBUS_OK);
	for (size_t i = 0; i < count; i++) {
		rebus_grammar *g;
		rebus_status status = make(&s, REBUS_GRAMMAR_GBNF, grammars[i], &g, &err);
		int ended = 0;
		if (status)
			print_error("%s\n%s\n", grammars[i], err.text);
		assert_int_equal(status, REBUS_OK);
		for (int n = 0; n < 60; n++)
			ended += answer(&s, g, bytes, 40);
		if (!ended)
			print_error("%s\nnothing ended\n", grammars[i]);
		assert_true(ended > 0);
		rebus_grammar_free(g);
	}
	end(&s);
}

static void byte_tokens(void **state)
{
	(void)state;
	static const char *const grammars[] = {
		"root ::= [ab]*", "root ::= \"\xC3\xA9\"+ \"b\"", "root ::= [\xC3\xA8-\xC3\xA9]{1,3}",
			"root ::= \"{\" (pair (\",\" pair)*)? \"}\"\npair ::= \"\\\"\" [ab]{1,2} \"\\\":\" [01]+",
		"root ::= \"a\" root \"b\" | \"\"", "root ::= (\" a\" | \"ab\" | \"\\n\")+", "root ::= \"<tool call>\" [01] | \"b\"",
			"root ::= ([ab] | \" \" [ab]){3,7}",
		"root ::= x{2,3} | x \"1\"\nx ::= [ab] [01]?",
	};
	walks(BYTES_MODEL, true, grammars, COUNT_OF(grammars));
}

static void mark_tokens(void **state)
{
	(void)state;
	static const char *const grammars[] = {"root ::= \"a\"* \" \"? \"b\"", "root ::= \" \"* \"a\"", "root ::= \"\xC3\xA9\"{1,4} \" a\"?",
		"root ::= (\"a\" | \" b\" | \"  1\")+"};
	walks(MARK_MODEL, true, grammars, COUNT_OF(grammars));
}

static void word_tokens(void **state)
{
	(void)state;
	static const char *const grammars[] = {"root ::= [ab1 .]+", "root ::= \"ab\" (\" ab\" | \" a\")*", "root ::= \"a\"? \"b.\"? \" 1\"* [1n]"};
	walks(WORD_MODEL, false, grammars, COUNT_OF(grammars));
}

static void space_tokens(void **state)
{
	(void)state;
	static const char *const grammars[] = {"root ::= [ab ]+", "root ::= \"a\" (\" a\" \"b\"*)* \"1\"", "root ::= \" \"? \"b\"+"};
	walks(SPACE_MODEL, false, grammars, COUNT_OF(grammars));
}

/* A vocabulary without the letter that one way needs: no token that leads only there is allowed. */
static void no_way_out(void **state)
{
	(void)state;
	subject s;
	rebus_grammar *g;
	grammar_at at;
	uint32_t mask[4];
	size_t allowed;
	bool ends;
	assert_int_equal(open_quoted(&s, SPACE_MODEL, NULL), REBUS_OK);
	assert_int_equal(make(&s, REBUS_GRAMMAR_GBNF, "root ::= \"ab\" \"z\" | \"b1\" | \"b\" \"b\"* \"y\"", &g, NULL), REBUS_OK);
	assert_int_equal(grammar_begin(g, &at, NULL), REBUS_OK);
	assert_int_equal(grammar_mask(g, &at, mask, &allowed, &ends, NULL), REBUS_OK);
	assert_int_equal(allowed, 1);
	assert_int_equal(mask[0], 1 << 5); /* b */
	grammar_end(&at);
	rebus_grammar_free(g);
	assert_int_equal(make(&s, REBUS_GRAMMAR_GBNF, "root ::= \"a\" \"z\"", &g, NULL), REBUS_OK);
	assert_int_equal(grammar_begin(g, &at, NULL), REBUS_OK);
	assert_int_equal(grammar_mask(g, &at, mask, &allowed, &ends, NULL), REBUS_OK);
	assert_int_equal(allowed, 0);
	assert_false(ends);
	grammar_end(&at);
	rebus_grammar_free(g);
	end(&s);
}

/* Bombs: each ends in time with one line, or works. */
static void bombs(void **state)
{
	(void)state;
	subject s;
	rebus_grammar *g;
	rebus_error err;
	bool fits, begun;
	buf text, said;
	buf_init(&text, NULL, 0);
	buf_init(&said, NULL, 0);
	assert_int_equal(open_quoted(&s, BYTES_MODEL, NULL), REBUS_OK);
	buf_text(&text, "root ::= r0\n"); /* 2^20 frames at once */
	for (int i = 0; i < 20; i++)
		buf_format(&text, "r%d ::= r%d \"a\" | r%d \"b\"\n", i, i + 1, i + 1);
	buf_text(&text, "r20 ::= \"c\"\n");
	assert_int_equal(make(&s, REBUS_GRAMMAR_GBNF, text.data, &g, &err), REBUS_LIMIT);
	assert_non_null(strstr(err.text, "too ambiguous or too deep"));
	text.size = 0;
	for (int i = 0; i < 5000; i++)
		buf_text(&text, "(");
	assert_int_equal(make(&s, REBUS_GRAMMAR_REGEX, text.data, &g, &err), REBUS_LIMIT);
	text.size = 0;
	for (int i = 0; i < 3000; i++) { /* a chain of rules */
		buf_format(&text, "%s ::= r%d\n", i ? said.data : "root", i);
		said.size = 0;
		buf_format(&said, "r%d", i);
	}
	buf_text(&text, "r2999 ::= \"x\" r2999 \"y\" | \"\"\n");
	assert_int_equal(make(&s, REBUS_GRAMMAR_GBNF, text.data, &g, &err), REBUS_OK);
	said.size = 0;
	for (int i = 0; i < 20000; i++)
		buf_text(&said, "x");
	assert_int_equal(grammar_accepts(g, said.data, said.size, &fits, &begun, NULL), REBUS_OK);
	assert_true(begun && !fits);
	rebus_grammar_free(g);
	assert_int_equal(make(&s, REBUS_GRAMMAR_GBNF, "root ::= (\"a\" | \"aa\" | [ab]{1,300} | \"a\"* \"b\")*", &g, &err), REBUS_OK);
	said.size = 0;
	for (int i = 0; i < 3000; i++)
		buf_text(&said, i % 7 ? "a" : "b");
	assert_int_equal(grammar_accepts(g, said.data, said.size, &fits, &begun, NULL), REBUS_OK);
	assert_true(fits);
	rebus_grammar_free(g);
	buf_free(&text);
	buf_free(&said);
	end(&s);
}

/* Stands are forgotten when they take too much, and found again. */
static void forgetting(void **state)
{
	(void)state;
	subject s;
	rebus_grammar *g;
	grammar_at at;
	uint32_t mask[4];
	size_t allowed, size;
	bool ends;
	assert_int_equal(open_quoted(&s, BYTES_MODEL, NULL), REBUS_OK);
	assert_int_equal(make(&s, REBUS_GRAMMAR_GBNF, "root ::= [ab]{120000}", &g, NULL), REBUS_OK);
	assert_int_equal(grammar_begin(g, &at, NULL), REBUS_OK);
	for (int i = 0; i < 60000; i++) {
		assert_int_equal(grammar_mask(g, &at, mask, &allowed, &ends, NULL), REBUS_OK);
		assert_int_equal(allowed, 3); /* a, b, ab */
		assert_int_equal(grammar_take(g, &at, 7, &size, NULL), REBUS_OK);
	}
	assert_int_equal(grammar_mask(g, &at, mask, &allowed, &ends, NULL), REBUS_OK);
	assert_true(ends && !allowed);
	grammar_end(&at);
	rebus_grammar_free(g);
	end(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),       cmocka_unit_test(refused_grammars), cmocka_unit_test(byte_tokens), cmocka_unit_test(mark_tokens),
		cmocka_unit_test(word_tokens), cmocka_unit_test(space_tokens),     cmocka_unit_test(no_way_out),  cmocka_unit_test(bombs),
		cmocka_unit_test(forgetting),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
