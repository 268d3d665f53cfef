/*
 * config.h - configurations read by table: a family says which member of the JSON goes into which field of its struct, what
 * kind it has, which range is accepted and what its absence means; nothing else reads config.json.
 *
 *   typedef struct {
 *           int64_t hidden, layers;  double eps;  bool qkv_bias;  act_kind act;  int32_t patch[2];  int_list layers_used;
 *   } vit_config;
 *   static const field vit_fields[] = {
 *           CONFIG_INT(vit_config, hidden, "hidden_size", 1, 65536, 768),
 *           CONFIG_INT(vit_config, layers, "num_hidden_layers|depth", 0, 1000, 12),
 *           CONFIG_REAL(vit_config, eps, "layer_norm_eps", 0, 1, 1e-12),
 *           CONFIG_FLAG(vit_config, qkv_bias, "qkv_bias", true),
 *           CONFIG_ACT(vit_config, act, "hidden_act", "gelu"),
 *           CONFIG_PAIR(vit_config, patch, "patch_size", 1, 1024, 16),
 *   };
 *   config_read(a, json, "config.json", vit_fields, COUNT_OF(vit_fields), &config, err);
 *
 * A path is a list of alternatives divided by '|', best first; dots descend ("rope_parameters.rope_theta"). The first one
 * that is there and not null counts. If none is, the default is taken as it stands (it need not lie in the range, so that 0
 * can mean "derive it"), or the field is reported as missing where the table says CONFIG_..._NEEDED. CONFIG_..._OR_NULL: a
 * null that is written there is no absence, but means 0 (`"sliding_window": null` is no window, absent is the class's default).
 * CONFIG_..._KEPT: what the struct holds stays. A macro for the wrong type of field does not compile.
 */
#ifndef REBUS_CONFIG_H
#define REBUS_CONFIG_H

#include "files/json.h"
#include "kernels/kernels.h"

typedef struct int_list {
	int32_t count;
	const int64_t *at; /* [count], in the arena */
} int_list;
typedef struct real_list {
	int32_t count;
	const double *at; /* [count], in the arena */
} real_list;
typedef struct name_list {
	int32_t count;
	const char *const *at; /* [count], in the arena */
} name_list;

typedef enum {
	FIELD_INT,  /* int64_t */
	FIELD_REAL, /* double */
	FIELD_FLAG, /* bool */
	FIELD_TEXT, /* const char *: a copy in the arena, without NUL bytes; the default may be NULL */
	FIELD_PAIR, /* int32_t[2]: a number (twice) or a list of two, as height and width */
	FIELD_INTS, /* int_list: a list of at most CONFIG_INTS_MOST numbers, or a number alone; default: empty */
	FIELD_REALS, /* real_list: a list of at most CONFIG_INTS_MOST numbers; default: empty */
	FIELD_NAMES, /* name_list: a list of at most CONFIG_INTS_MOST texts; default: empty */
	FIELD_ACT   /* act_kind, by the names act_parse knows */
} field_kind;
enum { CONFIG_INTS_MOST = 4096, CONFIG_FIELDS_MOST = 128 };

typedef struct field {
	const char *path;
	field_kind kind;
	size_t offset; /* in the struct */
	bool required, nullable, kept; /* nullable: a null is 0; kept: where absent, what the struct holds stays */
	double fallback;           /* INT, REAL, FLAG, PAIR */
	const char *fallback_text; /* TEXT, ACT */
	double low, high;          /* INT, REAL, PAIR, INTS: accepted range, ends included */
} field;

/* offsetof, checked: the field must have the type that its pointer type says */
#define CONFIG_AT(s, m, pointer) _Generic(&((s *)0)->m, pointer : offsetof(s, m))

/* What each macro puts in comes last: .fallback or .required. */
#define CONFIG_FIELD(s, m, pointer, kind_, path_, ...)                                                                     \
	{.path = (path_), .kind = FIELD_##kind_, .offset = CONFIG_AT(s, m, pointer), __VA_ARGS__}
#define CONFIG_RANGED(s, m, pointer, kind_, path_, low_, high_, ...)                                                       \
	CONFIG_FIELD(s, m, pointer, kind_, path_, .low = (low_), .high = (high_), __VA_ARGS__)

#define CONFIG_INT(s, m, path_, low_, high_, default_)                                                                     \
	CONFIG_RANGED(s, m, int64_t *, INT, path_, low_, high_, .fallback = (default_))
#define CONFIG_INT_NEEDED(s, m, path_, low_, high_) CONFIG_RANGED(s, m, int64_t *, INT, path_, low_, high_, .required = true)
#define CONFIG_REAL(s, m, path_, low_, high_, default_)                                                                    \
	CONFIG_RANGED(s, m, double *, REAL, path_, low_, high_, .fallback = (default_))
#define CONFIG_REAL_NEEDED(s, m, path_, low_, high_) CONFIG_RANGED(s, m, double *, REAL, path_, low_, high_, .required = true)
#define CONFIG_INT_OR_NULL(s, m, path_, low_, high_, default_)                                                             \
	CONFIG_RANGED(s, m, int64_t *, INT, path_, low_, high_, .fallback = (default_), .nullable = true)
#define CONFIG_REAL_OR_NULL(s, m, path_, low_, high_, default_)                                                            \
	CONFIG_RANGED(s, m, double *, REAL, path_, low_, high_, .fallback = (default_), .nullable = true)
#define CONFIG_REALS(s, m, path_, low_, high_) CONFIG_RANGED(s, m, real_list *, REALS, path_, low_, high_, .required = false)
#define CONFIG_NAMES(s, m, path_) CONFIG_FIELD(s, m, name_list *, NAMES, path_, .required = false)
#define CONFIG_FLAG(s, m, path_, default_) CONFIG_FIELD(s, m, bool *, FLAG, path_, .fallback = (default_))
#define CONFIG_TEXT(s, m, path_, default_) CONFIG_FIELD(s, m, const char **, TEXT, path_, .fallback_text = (default_))
#define CONFIG_TEXT_NEEDED(s, m, path_) CONFIG_FIELD(s, m, const char **, TEXT, path_, .required = true)
#define CONFIG_PAIR(s, m, path_, low_, high_, default_)                                                                    \
	CONFIG_RANGED(s, m, int32_t(*)[2], PAIR, path_, low_, high_, .fallback = (default_))
#define CONFIG_PAIR_NEEDED(s, m, path_, low_, high_)                                                                       \
	CONFIG_RANGED(s, m, int32_t(*)[2], PAIR, path_, low_, high_, .required = true)
#define CONFIG_INTS(s, m, path_, low_, high_) CONFIG_RANGED(s, m, int_list *, INTS, path_, low_, high_, .required = false)
#define CONFIG_INTS_NEEDED(s, m, path_, low_, high_) CONFIG_RANGED(s, m, int_list *, INTS, path_, low_, high_, .required = true)
/* Defaults that depend on another member: the struct holds them before it is read. */
#define CONFIG_INT_KEPT(s, m, path_, low_, high_) CONFIG_RANGED(s, m, int64_t *, INT, path_, low_, high_, .kept = true)
#define CONFIG_REAL_KEPT(s, m, path_, low_, high_) CONFIG_RANGED(s, m, double *, REAL, path_, low_, high_, .kept = true)
#define CONFIG_FLAG_KEPT(s, m, path_) CONFIG_FIELD(s, m, bool *, FLAG, path_, .kept = true)
#define CONFIG_INTS_KEPT(s, m, path_, low_, high_) CONFIG_RANGED(s, m, int_list *, INTS, path_, low_, high_, .kept = true)
#define CONFIG_PAIR_KEPT(s, m, path_, low_, high_) CONFIG_RANGED(s, m, int32_t(*)[2], PAIR, path_, low_, high_, .kept = true)
#define CONFIG_ACT(s, m, path_, default_) CONFIG_FIELD(s, m, act_kind *, ACT, path_, .fallback_text = (default_))

/*
 * Fills the fields of out that the table names. where is how messages call the object: "config.json", or
 * "config.json: vision_config". Fails with FORMAT (missing, kind, range), UNSUPPORTED (activation) or MEMORY; out is then
 * untouched.
 */
rebus_status config_read(arena *a, const json *object, const char *where, const field *table, size_t count, void *out,
                         rebus_error *err);

#endif
