/*
 * bert.c - BERT (Devlin et al. 2019, figures 1, 2 and 4): BertModel and every head of the reference.
 *
 *     [CLS] first [SEP] second [SEP] ─► word + segment + place ─► norm ─► L x block ─┬► every row ─► dense ─► gelu ─► norm ─► words^T + b
 *           0 0 0 0 0   1 1 1 1 1                                                    └► row of [CLS] ─► tanh(dense): pooler
 *     block:  x = norm(x + attention x);  x = norm(x + mlp x)          every row sees its whole text, eps 1e-12
 *
 *     ForMaskedLM, LMHeadModel      logits: words, for every row             ForPreTraining      prediction_logits, seq_relationship_logits
 *     ForNextSentencePrediction     logits: 2, of the pooled row             ForMultipleChoice   logits (1, texts): the texts are choices
 *     ForSequenceClassification     logits: labels, of the pooled row        ForQuestionAnswering  start_logits, end_logits (texts, rows)
 *     ForTokenClassification        logits: labels, for every row
 *
 * Norms come after the sums (Vaswani et al. 2017), not before the halves. The matrix that turns rows into scores of words is
 * the words' own table unless the file has another (cls.predictions.decoder.weight wins over tie_word_embeddings, as in the
 * reference); its bias is cls.predictions.decoder.bias where there is one, else cls.predictions.bias. Old files call a norm's
 * weight and bias gamma and beta. A bare model's tensors have no "bert." in front. Which head runs is what `architectures`
 * says, whatever else the file holds.
 */
#include <string.h>

#include "models/model.h"

typedef struct bert_config {
	int64_t hidden, layers, heads, mlp, vocabulary, positions, segments;
	double eps;
	bool decoder, crossed, tied;
	bool next, choice, span, labelled; /* which of the heads there are by architecture, beside the words' scores */
	int64_t two;
	act_kind act;
	const char *position_kind;
	text_shape shape;
} bert_config;

typedef struct bert_weights {
	weight table, position, segment, norm, norm_bias, pooler;
	weight transform, transform_norm, transform_norm_bias, head; /* of the words' scores; head: not the words' own table */
	weight classifier, next, span;
	block_weights *layers;
} bert_weights;

static const field fields[] = {
	CONFIG_INT(bert_config, hidden, "hidden_size", 1, 65536, 768),
	CONFIG_INT(bert_config, layers, "num_hidden_layers", 1, MODEL_LAYERS, 12),
	CONFIG_INT(bert_config, heads, "num_attention_heads", 1, 1024, 12),
	CONFIG_INT(bert_config, mlp, "intermediate_size", 1, 1 << 20, 3072),
	CONFIG_INT(bert_config, vocabulary, "vocab_size", 1, 1 << 24, 30522),
	CONFIG_INT(bert_config, positions, "max_position_embeddings", 1, 1 << 20, 512),
	CONFIG_INT(bert_config, segments, "type_vocab_size", 1, 1 << 16, 2),
	CONFIG_REAL(bert_config, eps, "layer_norm_eps", 0, 1, 1e-12),
	CONFIG_FLAG(bert_config, decoder, "is_decoder", false),
	CONFIG_FLAG(bert_config, crossed, "add_cross_attention", false),
	CONFIG_FLAG(bert_config, tied, "tie_word_embeddings", true),
	CONFIG_ACT(bert_config, act, "hidden_act", "gelu"),
	CONFIG_TEXT(bert_config, position_kind, "position_embedding_type", "absolute"),
};

#define V(m) WEIGHT_AT(bert_weights, m)
#define D(m) WEIGHT_DIM(bert_config, m)
#define L(m) WEIGHT_AT(block_weights, m)
/* The classes that have them, for new weights. */
#define BERT_POOLS "BertModel|ForSequenceClassification|ForMultipleChoice|ForNextSentencePrediction|ForPreTraining"
#define BERT_PREDICTS "ForMaskedLM|ForPreTraining|BertLMHeadModel"
#define LAYER "{p}encoder.layer.{i}."
#define NORM(name, at_w, at_b, ...)                                                                                        \
	WEIGHT_ROW(VECTOR, name "LayerNorm.weight|" name "LayerNorm.gamma", at_w, .out = D(hidden), __VA_ARGS__),          \
	WEIGHT_ROW(VECTOR, name "LayerNorm.bias|" name "LayerNorm.beta", at_b, .out = D(hidden), __VA_ARGS__)

static const weight_row rows[] = {
	WEIGHT_ROW(LOOKUP, "{p}embeddings.word_embeddings.weight", V(table), .out = D(vocabulary), .in = D(hidden)),
	WEIGHT_ROW(TABLE, "{p}embeddings.position_embeddings.weight", V(position), .out = D(positions), .in = D(hidden)),
	WEIGHT_ROW(TABLE, "{p}embeddings.token_type_embeddings.weight", V(segment), .out = D(segments), .in = D(hidden)),
	NORM("{p}embeddings.", V(norm), V(norm_bias), .optional = false),
	WEIGHT_ROW(LINEAR, LAYER "attention.self.query.weight", L(qkv), .out = D(hidden), .in = D(hidden)),
	WEIGHT_ROW(LINEAR, LAYER "attention.self.key.weight", L(qkv), .out = D(hidden), .in = D(hidden), .part = 1),
	WEIGHT_ROW(LINEAR, LAYER "attention.self.value.weight", L(qkv), .out = D(hidden), .in = D(hidden), .part = 2),
	WEIGHT_ROW(BIAS, LAYER "attention.self.query.bias", L(qkv), .out = D(hidden)),
	WEIGHT_ROW(BIAS, LAYER "attention.self.key.bias", L(qkv), .out = D(hidden), .part = 1),
	WEIGHT_ROW(BIAS, LAYER "attention.self.value.bias", L(qkv), .out = D(hidden), .part = 2),
	WEIGHT_ROW(LINEAR, LAYER "attention.output.dense.weight", L(out), .out = D(hidden), .in = D(hidden)),
	WEIGHT_ROW(BIAS, LAYER "attention.output.dense.bias", L(out), .out = D(hidden)),
	NORM(LAYER "attention.output.", L(norm1), L(norm1_bias), .optional = false),
	WEIGHT_ROW(LINEAR, LAYER "intermediate.dense.weight", L(up), .out = D(mlp), .in = D(hidden)),
	WEIGHT_ROW(BIAS, LAYER "intermediate.dense.bias", L(up), .out = D(mlp)),
	WEIGHT_ROW(LINEAR, LAYER "output.dense.weight", L(down), .out = D(hidden), .in = D(mlp)),
	WEIGHT_ROW(BIAS, LAYER "output.dense.bias", L(down), .out = D(hidden)),
	NORM(LAYER "output.", L(norm2), L(norm2_bias), .optional = false),
	WEIGHT_ROW(LINEAR, "{p}pooler.dense.weight", V(pooler), .out = D(hidden), .in = D(hidden), .optional = true, .only = BERT_POOLS),
	WEIGHT_ROW(BIAS, "{p}pooler.dense.bias", V(pooler), .out = D(hidden), .optional = true, .only = BERT_POOLS),
	WEIGHT_ROW(LINEAR, "cls.predictions.transform.dense.weight", V(transform), .out = D(hidden), .in = D(hidden), .optional = true, .only = BERT_PREDICTS),
	WEIGHT_ROW(BIAS, "cls.predictions.transform.dense.bias", V(transform), .out = D(hidden), .optional = true, .only = BERT_PREDICTS),
	NORM("cls.predictions.transform.", V(transform_norm), V(transform_norm_bias), .optional = true, .only = BERT_PREDICTS),
	WEIGHT_ROW(LINEAR, "cls.predictions.decoder.weight", V(head), .out = D(vocabulary), .in = D(hidden), .optional = true, .only = BERT_PREDICTS,
		.unless = WEIGHT_IF(bert_config, tied)),
	WEIGHT_ROW(BIAS, "cls.predictions.decoder.bias|cls.predictions.bias", V(head), .out = D(vocabulary), .optional = true, .only = BERT_PREDICTS),
	WEIGHT_ROW(BIAS, "cls.predictions.decoder.bias|cls.predictions.bias", V(table), .out = D(vocabulary), .optional = true, .only = BERT_PREDICTS),
	WEIGHT_ROW(LINEAR, "cls.seq_relationship.weight", V(next), .out = D(two), .in = D(hidden), .when = WEIGHT_IF(bert_config, next)),
	WEIGHT_ROW(BIAS, "cls.seq_relationship.bias", V(next), .out = D(two), .when = WEIGHT_IF(bert_config, next)),
	WEIGHT_ROW(LINEAR, "qa_outputs.weight", V(span), .out = D(two), .in = D(hidden), .when = WEIGHT_IF(bert_config, span)),
	WEIGHT_ROW(BIAS, "qa_outputs.bias", V(span), .out = D(two), .when = WEIGHT_IF(bert_config, span)),
	WEIGHT_ROW(LINEAR, "classifier.weight", V(classifier), .in = D(hidden), .when = WEIGHT_IF(bert_config, choice)),
	WEIGHT_ROW(BIAS, "classifier.bias", V(classifier), .when = WEIGHT_IF(bert_config, choice)),
	WEIGHT_ROW(LINEAR, "classifier.weight", V(classifier), .when = WEIGHT_IF(bert_config, labelled),
		.out = WEIGHT_ANY, .in = D(hidden), .optional = true, .only = "ForSequenceClassification|ForTokenClassification"),
	WEIGHT_ROW(BIAS, "classifier.bias", V(classifier), .when = WEIGHT_IF(bert_config, labelled),
		.out = WEIGHT_ANY, .optional = true, .only = "ForSequenceClassification|ForTokenClassification"),
};

/* The heads are the architecture's. */
static rebus_status begin(const json *object, void *config, rebus_error *err)
{
	(void)err;
	bert_config *c = config;
	const char *said = model_architecture(object), *name = said ? said : "";
	c->next = !strcmp(name, "BertForNextSentencePrediction") || !strcmp(name, "BertForPreTraining");
	c->choice = !strcmp(name, "BertForMultipleChoice");
	c->labelled = !c->choice;
	c->span = !strcmp(name, "BertForQuestionAnswering");
	c->two = 2;
	return REBUS_OK;
}

static rebus_status derive(arena *a, void *config, rebus_error *err)
{
	(void)a;
	bert_config *c = config;
	if (c->hidden % c->heads)
		return error_set(err, REBUS_FORMAT, "config.json: hidden_size: %lld, expected a multiple of num_attention_heads (%lld)", (long long)c->hidden,
			(long long)c->heads);
	if (c->decoder || c->crossed)
		return error_set(err, REBUS_UNSUPPORTED, "config.json: %s: true, expected an encoder", c->decoder ? "is_decoder" : "add_cross_attention");
	if (strcmp(c->position_kind, "absolute") != 0)
		return error_set(err, REBUS_UNSUPPORTED, "config.json: position_embedding_type: %.40s, expected absolute", c->position_kind);
	c->shape = (text_shape){.vocabulary = c->vocabulary, .positions = c->positions, .learned_order = true, .both_ways = true, .segments = c->segments};
	return REBUS_OK;
}

static const text_shape *words(const void *config)
{
	return &((const bert_config *)config)->shape;
}

static node_id text_embedding(net *n, const component *part, const char *name, bool features)
{
	const bert_config *c = part->config;
	const bert_weights *w = part->weights;
	const char *own = graph_text(n->g, "%s.embeddings", name);
	node_id x = part_token_embedding(n, graph_text(n->g, "%s.word_embeddings", own), &w->table, features);
	x = part_segment_embedding(n, own, x, &w->segment);
	x = part_order_embedding(n, graph_text(n->g, "%s.sum", own), x, &w->position);
	return graph_layer_norm(n->g, own, x, &w->norm, &w->norm_bias, (float)c->eps);
}

static void text_layers(net *n, const component *part, const char *name, node_id x)
{
	const bert_config *c = part->config;
	const bert_weights *w = part->weights;
	block_options o = {.heads = c->heads, .kv_heads = c->heads, .head_dim = c->hidden / c->heads, .eps = c->eps, .act = c->act, .after = true,
		.attention = "attention", .mlp = "output"};
	net_see_hidden(n, "", 0, x);
	for (int64_t i = 0; i < c->layers; i++) {
		x = part_block(n, graph_text(n->g, "%s.encoder.layer.%lld", name, (long long)i), x, &w->layers[i], &o);
		net_see_hidden(n, "", i + 1, x);
	}
	net_see(n, "last_hidden_state", x, OUTPUT_ROWS, true);
}

/* Scores of words for every row. */
static node_id word_scores(net *n, const bert_config *c, const bert_weights *w, node_id x)
{
	if (!w->transform.parts || !w->transform_norm.parts || !w->transform_norm_bias.parts) {
		graph_fail(n->g, REBUS_SHAPE, "cls.predictions.transform: not in the checkpoint, expected with scores of words");
		return 0;
	}
	if (!w->head.parts && !c->tied) {
		graph_fail(n->g, REBUS_SHAPE, "cls.predictions.decoder.weight: not in the checkpoint, and config.json does not tie it to the embedding");
		return 0;
	}
	node_id h = graph_linear(n->g, "cls.predictions.transform.dense", x, &w->transform);
	h = graph_act(n->g, "cls.predictions.transform.act", c->act, h);
	h = graph_layer_norm(n->g, "cls.predictions.transform", h, &w->transform_norm, &w->transform_norm_bias, (float)c->eps);
	return graph_linear(n->g, "cls.predictions", h, w->head.parts ? &w->head : &w->table);
}

static bool is(const struct rebus_model *m, const char *architecture)
{
	return m->architecture && !strcmp(m->architecture, architecture);
}

/* x: every row; pooled: of each text. */
static void build_heads(net *n, const struct rebus_model *m, node_id x, node_id pooled)
{
	const bert_config *c = m->self.config;
	const bert_weights *w = m->self.weights;
	bool both = is(m, "BertForPreTraining"), by_text = is(m, "BertForSequenceClassification"), by_row = is(m, "BertForTokenClassification");
	bool scored = m->architecture ? both || is(m, "BertForMaskedLM") || is(m, "BertLMHeadModel") : w->transform.parts > 0;
	bool pools = c->next || c->choice || by_text;
	if (pools && !w->pooler.parts)
		graph_fail(n->g, REBUS_SHAPE, "bert.pooler.dense.weight: not in the checkpoint, expected with %s", m->architecture);
	else if ((by_text || by_row) && !w->classifier.parts)
		graph_fail(n->g, REBUS_SHAPE, "classifier.weight: not in the checkpoint, expected with %s", m->architecture);
	else if (by_text || c->choice)
		net_see(n, "logits", graph_linear(n->g, "classifier", pooled, &w->classifier), c->choice ? OUTPUT_CHOICES : OUTPUT_PICKED, false);
	else if (by_row)
		net_see(n, "logits", graph_linear(n->g, "classifier", x, &w->classifier), OUTPUT_ROWS, false);
	if (scored)
		net_see(n, both ? "prediction_logits" : "logits", word_scores(n, c, w, x), OUTPUT_ROWS, false);
	if (c->next)
		net_see(n, both ? "seq_relationship_logits" : "logits", graph_linear(n->g, "cls.seq_relationship", pooled, &w->next), OUTPUT_PICKED, false);
	if (!c->span)
		return;
	node_id ends = graph_linear(n->g, "qa_outputs", x, &w->span);
	net_see(n, "start_logits", graph_view(n->g, ends, 0, 1), OUTPUT_COLUMN, false);
	net_see(n, "end_logits", graph_view(n->g, ends, 1, 1), OUTPUT_COLUMN, false);
}

static void build_text(net *n, const struct rebus_model *m)
{
	const bert_weights *w = m->self.weights;
	text_layers(n, &m->self, "bert", text_embedding(n, &m->self, "bert", false));
	const net_output *last = net_find(n, "last_hidden_state");
	if (!last)
		return;
	node_id x = last->node, pooled = part_pick(n, "bert.first", x);
	if (w->pooler.parts) {
		pooled = graph_act(n->g, "bert.pooler", ACT_TANH, graph_linear(n->g, "bert.pooler.dense", pooled, &w->pooler));
		if (!m->architecture || is(m, "BertModel"))
			net_see(n, "pooler_output", pooled, OUTPUT_PICKED, true);
	}
	net_see(n, NET_EMBEDDING, pooled, OUTPUT_PICKED, true);
	build_heads(n, m, x, pooled);
}

static const char *const architectures[] = {"BertModel", "BertForMaskedLM", "BertLMHeadModel", "BertForPreTraining", "BertForNextSentencePrediction",
	"BertForSequenceClassification", "BertForMultipleChoice", "BertForTokenClassification", "BertForQuestionAnswering", NULL};
static const char *const ignored[] = {"*embeddings.position_ids", "cls.seq_relationship.*", "cls.predictions.bias", NULL};

const family family_bert = {
	.model_type = "bert",
	.architectures = architectures,
	.abilities = REBUS_READS_TEXT,
	.prefixes = "bert.|",
	.ignored = ignored,
	.config_size = sizeof(bert_config),
	.fields = fields,
	.field_count = COUNT_OF(fields),
	.weights_size = sizeof(bert_weights),
	.layers_at = offsetof(bert_weights, layers),
	.layer_count_at = offsetof(bert_config, layers),
	.width_at = offsetof(bert_config, hidden),
	.rows = rows,
	.row_count = COUNT_OF(rows),
	.begin = begin,
	.derive = derive,
	.words = words,
	.text_embedding = text_embedding,
	.text_layers = text_layers,
	.build_text = build_text,
	.text_pick = PICK_FIRST,
};
