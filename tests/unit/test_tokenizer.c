/*
 * test_tokenizer.c - tokenizers of twenty tokens, written out here, and what the reference makes of them.
 *
 * Every expected list of ids and every decoded text was computed with AutoTokenizer of transformers 5.23.0 on these very
 * files (tokenizer_check.h tells how they are written).
 */
#include "tokenizer_check.h"

static const char gpt2[] =
	"{'version':'1.0','added_tokens':[" SPECIAL("0", "<|e|>") ","
	"{'id':23,'content':'<image>','single_word':false,'lstrip':true,'rstrip':true,'normalized':false,'special':true},"
	"{'id':24,'content':'hed','single_word':true,'lstrip':false,'rstrip':false,'normalized':true,'special':false}],"
	"'normalizer':null,'pre_tokenizer':{'type':'ByteLevel','add_prefix_space':false,'trim_offsets':true,'use_regex':true},"
	"'post_processor':{'type':'TemplateProcessing','single':[{'SpecialToken':{'id':'<|e|>','type_id':0}},"
	"{'Sequence':{'id':'A','type_id':0}}],'pair':[{'SpecialToken':{'id':'<|e|>','type_id':0}},"
	"{'Sequence':{'id':'A','type_id':0}},{'Sequence':{'id':'B','type_id':1}}],"
	"'special_tokens':{'<|e|>':{'id':'<|e|>','ids':[0],'tokens':['<|e|>']}}},"
	"'decoder':{'type':'ByteLevel','add_prefix_space':true,'trim_offsets':true,'use_regex':true},"
	"'model':{'type':'BPE','vocab':{'<|e|>':0,'h':1,'e':2,'l':3,'o':4,'\\u0120':5,'w':6,'r':7,'d':8,'1':9,'2':10,'\\u00c3':11,"
	"'\\u00a9':12,'\\u010a':13,'he':14,'ll':15,'hell':16,'hello':17,'\\u0120w':18,'or':19,'\\u0120wor':20,'ld':21,"
	"'\\u0120world':22},'merges':['h e','l l','he ll','hell o','\\u0120 w','o r','\\u0120w or','l d','\\u0120wor ld']}}";

static const char llama[] =
	"{'version':'1.0','added_tokens':[" SPECIAL("0", "<unk>") "," SPECIAL("1", "<s>") "," SPECIAL("2", "</s>") "],"
	"'normalizer':{'type':'Sequence','normalizers':[{'type':'Prepend','prepend':'\\u2581'},"
	"{'type':'Replace','pattern':{'String':' '},'content':'\\u2581'}]},'pre_tokenizer':null,"
	"'post_processor':{'type':'RobertaProcessing','sep':['</s>',2],'cls':['<s>',1],'trim_offsets':true,'add_prefix_space':false},"
	"'decoder':{'type':'Sequence','decoders':[{'type':'Replace','pattern':{'String':'\\u2581'},'content':' '},"
	"{'type':'ByteFallback'},{'type':'Fuse'},{'type':'Strip','content':' ','start':1,'stop':0}]},"
	"'model':{'type':'BPE','unk_token':'<unk>','fuse_unk':true,'byte_fallback':true,'vocab':{'<unk>':0,'<s>':1,'</s>':2,"
	"'<0xC3>':3,'<0xA9>':4,'<0x0A>':5,'\\u2581':6,'a':7,'b':8,'c':9,'\\u2581a':10,'ab':11,'\\u2581ab':12,'bc':13},"
	"'merges':[['\\u2581','a'],['a','b'],['\\u2581a','b'],['b','c']]}}";

static const char clip[] =
	"{'version':'1.0','added_tokens':[" SPECIAL("10", "<|startoftext|>") "," SPECIAL("11", "<|endoftext|>") "],"
	"'normalizer':null,'pre_tokenizer':null,'post_processor':null,'decoder':null,'model':{'type':'BPE','vocab':{'a':0,'b':1,"
	"'\\u00c3':2,'\\u00a9':3,'1':4,'a</w>':5,'b</w>':6,'\\u00a9</w>':7,'1</w>':8,'ab</w>':9,'<|startoftext|>':10,"
	"'<|endoftext|>':11},'merges':['a b</w>']}}";

/* ------------------------------------------------------------------------------------------------ the families */
static void byte_level(void **state)
{
	(void)state;
	subject s;
	assert_int_equal(open_quoted(&s, gpt2, NULL), REBUS_OK);
	ENCODES(&s, "hello world", true, 0, 17, 22);
	ENCODES(&s, "hello world", false, 17, 22);
	ENCODES(&s, "hello<|e|> <image>  world", true, 0, 17, 0, 23, 6, 19, 21); /* blanks go with <image> */
	ENCODES(&s, "\xC3\xA9", true, 0, 11, 12);
	ENCODES(&s, "hed hedo", true, 0, 24, 5, 14, 8, 4); /* hed is a word of its own the first time only */
	ENCODES(&s, "12\n", true, 0, 9, 10, 13);
	ENCODES(&s, "", true, 0);
	check_encode(&s, "", 0, false, NULL, 0);
	check_decode(&s, LIST(0, 17, 0, 23, 6, 19, 21), false, "<|e|>hello<|e|><image>world");
	check_decode(&s, LIST(0, 17, 0, 23, 6, 19, 21), true, "helloworld");
	check_decode(&s, LIST(11, 12, 11), false, "\xC3\xA9\xEF\xBF\xBD"); /* the last character is not whole */
	check_decode(&s, LIST(11, 17, 12), false, "\xEF\xBF\xBDhello\xEF\xBF\xBD");
	check_decode(&s, LIST(17, 99, -1, 22), false, "hello world"); /* no such ids */
	end(&s);
}

static void pairs(void **state)
{
	(void)state;
	subject s;
	ids out, types;
	ids_init(&out, NULL, 0);
	ids_init(&types, NULL, 0);
	assert_int_equal(open_quoted(&s, gpt2, NULL), REBUS_OK);
	assert_int_equal(text_encode_pair(s.t, "hello", 5, "world", 5, true, INT64_MAX, &out, &types, NULL), REBUS_OK);
	check_ids(&out, LIST(0, 17, 6, 19, 21));
	check_ids(&types, LIST(0, 0, 1, 1, 1));
	end(&s);
	ids_free(&out);
	ids_free(&types);
	assert_int_equal(open_quoted(&s, llama, "{'tokenizer_class':'TokenizersBackend'}"), REBUS_OK);
	assert_int_equal(text_encode_pair(s.t, "a", 1, "b", 1, true, INT64_MAX, &out, &types, NULL), REBUS_OK);
	check_ids(&out, LIST(1, 10, 2, 2, 6, 8, 2));
	check_ids(&types, LIST(0, 0, 0, 0, 0, 0, 0));
	end(&s);
	ids_free(&out);
	ids_free(&types);
}

static void sentence_piece(void **state)
{
	(void)state;
	subject s;
	assert_int_equal(open_quoted(&s, llama, "{'tokenizer_class':'TokenizersBackend','unk_token':'<unk>'}"), REBUS_OK);
	ENCODES(&s, "ab ab", true, 1, 12, 12, 2);
	ENCODES(&s, "\xC3\xA9\n", true, 1, 6, 3, 4, 5, 2); /* bytes */
	ENCODES(&s, "xyab", true, 1, 6, 0, 11, 2);         /* two unknown characters, one token */
	ENCODES(&s, "  a</s>b", true, 1, 6, 6, 10, 2, 6, 8, 2);
	check_decode(&s, LIST(1, 12, 12, 2), false, "<s> ab ab</s>");
	check_decode(&s, LIST(1, 12, 12, 2), true, "ab ab");
	check_decode(&s, LIST(1, 6, 3, 4, 5, 2), true, "\xC3\xA9\n");
	check_decode(&s, LIST(3, 4, 3), false, "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"); /* a run is text as a whole or not at all */
	end(&s);
}

/* LlamaTokenizer puts Metaspace in the place of the file's normalizer: no mark after a special token. */
static void llama_class(void **state)
{
	(void)state;
	subject s;
	assert_int_equal(open_quoted(&s, llama, "{'tokenizer_class':'LlamaTokenizer','add_bos_token':false}"), REBUS_OK);
	ENCODES(&s, "ab ab", true, 1, 12, 12, 2);
	ENCODES(&s, "a</s>a", true, 1, 10, 2, 7, 2);
	check_decode(&s, LIST(1, 10, 2, 7, 2), false, "<s> a</s>a</s>");
	assert_string_equal(text_get_info(s.t)->class_name, "LlamaTokenizer");
	assert_true(text_get_info(s.t)->pad_left);
	end(&s);
}

static void clip_class(void **state)
{
	(void)state;
	subject s;
	assert_int_equal(open_quoted(&s, clip, "{'tokenizer_class':'CLIPTokenizerFast','model_max_length':77}"), REBUS_OK);
	ENCODES(&s, "AB  ab", true, 10, 9, 9, 11);
	ENCODES(&s, "e\xCC\x81 a1", true, 10, 2, 7, 5, 8, 11); /* composed */
	ENCODES(&s, "b x", true, 10, 6, 11, 11);               /* x is unknown, which is the end token */
	check_decode(&s, LIST(10, 9, 9, 11), false, "<|startoftext|>ab ab <|endoftext|>");
	check_decode(&s, LIST(10, 9, 9, 11), true, "ab ab");
	assert_int_equal(text_get_info(s.t)->model_max_length, 77);
	assert_int_equal(text_named_id(s.t, TEXT_PAD), 11);
	end(&s);
}

/* ------------------------------------------------------------------------------------------------ the rest */
static void lookups(void **state)
{
	(void)state;
	subject s;
	const char *config = "{'bos_token':{'__type':'AddedToken','content':'<|e|>'},'eos_token':'<|e|>','unk_token':null,"
			     "'image_token':'<image>','extra_special_tokens':{'video_token':'<video>'},'padding_side':'left',"
			     "'chat_template':'{{ x }}','model_max_length':1000000000000000019884624838656}";
	assert_int_equal(open_quoted(&s, gpt2, config), REBUS_OK);
	assert_int_equal(text_id(s.t, "<image>"), 23);
	assert_int_equal(text_id(s.t, "hello"), 17);
	assert_int_equal(text_id(s.t, "nothing"), -1);
	assert_int_equal(text_id(s.t, "<video>"), 25); /* new: behind the others */
	assert_string_equal(text_token(s.t, 22, NULL), "\xC4\xA0world");
	assert_null(text_token(s.t, 26, NULL));
	assert_null(text_token(s.t, -1, NULL));
	assert_int_equal(text_vocabulary(s.t), 26);
	assert_true(text_is_special(s.t, 0) && text_is_special(s.t, 23));
	assert_false(text_is_special(s.t, 24) || text_is_special(s.t, 17));
	assert_string_equal(text_named_token(s.t, TEXT_BOS), "<|e|>");
	assert_int_equal(text_named_id(s.t, TEXT_EOS), 0);
	assert_null(text_named_token(s.t, TEXT_UNK));
	assert_int_equal(text_named_id(s.t, TEXT_UNK), -1);
	assert_string_equal(text_named_extra(s.t, "video_token"), "<video>");
	assert_null(text_named_extra(s.t, "audio_token"));
	assert_string_equal(text_get_info(s.t)->chat_template, "{{ x }}");
	assert_true(text_get_info(s.t)->pad_left);
	assert_true(text_get_info(s.t)->model_max_length == INT64_MAX);
	end(&s);
}

/* Invalid UTF-8 is what Python's errors="replace" makes of it: one U+FFFD for each maximal part. */
static void invalid_text(void **state)
{
	(void)state;
	subject s;
	ids repaired, given;
	ids_init(&repaired, NULL, 0);
	ids_init(&given, NULL, 0);
	assert_int_equal(open_quoted(&s, llama, NULL), REBUS_OK);
	const char bad[] = "a\xF0\x9F\x98 \xC3(\xE2\x82\xED\xA0\x80";
	const char *good = "a\xEF\xBF\xBD \xEF\xBF\xBD(\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD";
	assert_int_equal(text_encode(s.t, bad, sizeof(bad) - 1, false, &given, NULL), REBUS_OK);
	assert_int_equal(text_encode(s.t, good, strlen(good), false, &repaired, NULL), REBUS_OK);
	check_ids(&given, ids_data(&repaired), ids_count(&repaired));
	ids_free(&repaired);
	ids_free(&given);
	end(&s);
}

static void limits(void **state)
{
	(void)state;
	subject s;
	ids few;
	assert_int_equal(open_quoted(&s, llama, NULL), REBUS_OK);
	ids_init(&few, NULL, 2);
	assert_int_equal(text_encode(s.t, "cccc", 4, false, &few, &s.err), REBUS_LIMIT);
	assert_non_null(strstr(s.err.text, "more than 2 tokens"));
	ids_free(&few);
	end(&s);
	/* an expression that never ends gives up in time */
	const char *file = "{'model':{'type':'BPE','vocab':{'a':0},'merges':[]},'pre_tokenizer':{'type':'Split',"
			   "'pattern':{'Regex':'(a+)+[bc]'},'behavior':'Isolated','invert':false}}";
	char text[200];
	memset(text, 'a', sizeof(text));
	assert_int_equal(open_quoted(&s, file, NULL), REBUS_OK);
	ids_init(&few, NULL, 0);
	assert_int_equal(text_encode(s.t, text, sizeof(text), false, &few, &s.err), REBUS_LIMIT);
	ids_free(&few);
	end(&s);
}

#define EMPTY "{'model':{'type':'BPE','vocab':{},'merges':[]}"
#define REPLACE(regex) EMPTY ",'normalizer':{'type':'Replace','pattern':{'Regex':'" regex "'},'content':''}}"

static void refusals(void **state)
{
	(void)state;
	refused("{}", NULL, REBUS_FORMAT, "model");
	refused("{'model':{'type':'BPE','vocab':{'\xFF':0},'merges':[]}}", NULL, REBUS_FORMAT, "UTF-8");
	refused("{'model':{'type':'WordLevel','vocab':{}}}", NULL, REBUS_UNSUPPORTED, "WordLevel");
	refused("{'model':{'type':'BPE','vocab':{'a':-1},'merges':[]}}", NULL, REBUS_FORMAT, "id of a");
	refused("{'model':{'type':'BPE','vocab':{'a':0},'merges':['a b']}}", NULL, REBUS_FORMAT, "not in the vocabulary");
	refused("{'model':{'type':'BPE','vocab':{'a':0},'merges':['a']}}", NULL, REBUS_FORMAT, "entry 0");
	refused("{'model':{'type':'BPE','vocab':{},'merges':[],'dropout':0.1}}", NULL, REBUS_UNSUPPORTED, "dropout");
	refused(EMPTY ",'normalizer':{'type':'Strange'}}", NULL, REBUS_UNSUPPORTED, "Strange");
	refused(EMPTY ",'decoder':{'type':'CTC'}}", NULL, REBUS_UNSUPPORTED, "CTC");
	refused(REPLACE("[a&&b]"), NULL, REBUS_UNSUPPORTED, "intersection");
	refused(REPLACE("(a"), NULL, REBUS_FORMAT, "regular expression");
	refused(EMPTY "}", "{'eos_token':5}", REBUS_FORMAT, "eos_token");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(byte_level),  cmocka_unit_test(pairs),        cmocka_unit_test(sentence_piece),
		cmocka_unit_test(llama_class), cmocka_unit_test(clip_class),   cmocka_unit_test(lookups),
		cmocka_unit_test(invalid_text), cmocka_unit_test(limits),      cmocka_unit_test(refusals),
	};
	return cmocka_run_group_tests_name("tokenizer", tests, NULL, NULL);
}
