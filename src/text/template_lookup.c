/*
 * template_lookup.c - obj.name, obj[index], obj[start:stop:step].
 *
 *   obj.name     an attribute of that name, else the item
 *   obj['name']  the item, else an attribute of that name
 *   neither      undefined: written as nothing, an error when anything else is done with it
 *
 * So message.items is the dict's method although the dict may have a key "items". The sandbox hides methods that change a
 * list or dict and all names with underscores at both ends: these are undefined too, with a message that says why.
 */
#include "text/template_inside.h"

#include <string.h>

static rebus_status no_attribute(template_run *r, value of, template_string *name, bool unsafe, value *out)
{
	return template_undefined_new(r, &(template_undefined){.name = name, .owner = template_type(of), .unsafe = unsafe}, out);
}

static bool is_named(const template_string *s, const char *name)
{
	return text_is(s->data, s->size, name);
}

/* loop.index and the like; false: there is no such attribute */
static rebus_status loop_attribute(template_run *r, template_loop *l, const template_string *name, value *out, bool *found)
{
	rebus_status status = REBUS_OK;
	int64_t length;
	bool any;
	*found = true;
	if (is_named(name, "index")) {
		*out = template_int(l->index0 + 1);
	} else if (is_named(name, "index0")) {
		*out = template_int(l->index0);
	} else if (is_named(name, "first")) {
		*out = template_flag(l->index0 == 0);
	} else if (is_named(name, "last")) {
		TRY(template_loop_peek(r, l, &any));
		*out = template_flag(!any);
	} else if (is_named(name, "length")) {
		TRY(template_loop_length(r, l, &length));
		*out = template_int(length);
	} else if (is_named(name, "revindex") || is_named(name, "revindex0")) {
		TRY(template_loop_length(r, l, &length));
		*out = template_int(length - l->index0 - is_named(name, "revindex0"));
	} else if (is_named(name, "depth") || is_named(name, "depth0")) {
		*out = template_int(l->depth0 + is_named(name, "depth"));
	} else if (is_named(name, "previtem")) {
		if (l->index0 == 0)
			TRY(template_undefined_hint(r, "there is no previous item", out));
		else
			*out = l->before;
	} else if (is_named(name, "nextitem")) {
		TRY(template_loop_peek(r, l, &any));
		if (any)
			*out = l->after;
		else
			TRY(template_undefined_hint(r, "there is no next item", out));
	} else {
		*found = false;
	}
done:
	return status;
}

static rebus_status macro_attribute(template_run *r, const template_macro *m, const template_string *name, value *out, bool *found)
{
	rebus_status status = REBUS_OK;
	*found = true;
	if (is_named(name, "name")) {
		*out = m->node->name ? (value){.kind = VALUE_TEXT, .as.text = m->node->name} : template_none();
	} else if (is_named(name, "arguments")) {
		TRY(template_seq_new(r, VALUE_TUPLE, 0, out));
		for (const node *p = m->node->a; p; p = p->next)
			TRY(template_seq_add(r, *out, (value){.kind = VALUE_TEXT, .as.text = p->name}));
	} else if (is_named(name, "caller")) {
		*out = template_flag(m->node->wants_caller);
	} else if (is_named(name, "catch_kwargs")) {
		*out = template_flag(m->node->wants_kwargs);
	} else if (is_named(name, "catch_varargs")) {
		*out = template_flag(m->node->wants_varargs);
	} else {
		*found = false;
	}
done:
	return status;
}

/* What a dot reaches without looking at items. */
static rebus_status own_attribute(template_run *r, value of, template_string *name, value *out, bool *found)
{
	rebus_status status = REBUS_OK;
	bool unsafe = false;
	*found = false;
	if (of.kind == VALUE_NAMESPACE) {
		const template_pair *pair = template_map_text(of.as.map, name);
		*found = pair != NULL;
		if (pair)
			*out = pair->item;
		return REBUS_OK;
	}
	if (of.kind == VALUE_LOOP)
		TRY(loop_attribute(r, of.as.loop, name, out, found));
	if (of.kind == VALUE_MACRO)
		TRY(macro_attribute(r, of.as.macro, name, out, found));
	if (of.kind == VALUE_CYCLER && is_named(name, "current")) {
		*out = of.as.wheel->at[of.as.wheel->next];
		*found = true;
	}
	if (of.kind == VALUE_TUPLE && of.as.list->group && (is_named(name, "grouper") || is_named(name, "list"))) {
		*out = of.as.list->at[is_named(name, "list")];
		*found = true;
	}
	if (*found)
		return REBUS_OK;
	int which = template_method_named(of, name, &unsafe);
	if (which >= 0 || unsafe) {
		*found = true;
		if (unsafe)
			return no_attribute(r, of, name, true, out);
		template_method *m = template_get(&r->pool, 1, sizeof *m);
		if (!m)
			TRY(template_no_memory(r));
		*m = (template_method){of, which};
		*out = (value){.kind = VALUE_METHOD, .as.method = m};
	}
done:
	return status;
}

/* An index counted from the end where negative; false: out of range */
static bool place(int64_t index, size_t count, size_t *out)
{
	if (index < 0)
		index += (int64_t)count;
	if (index < 0 || index >= (int64_t)count)
		return false;
	*out = (size_t)index;
	return true;
}

static rebus_status own_item(template_run *r, value of, value index, value *out, bool *found)
{
	rebus_status status = REBUS_OK;
	int64_t i;
	size_t at;
	template_pair *pair = NULL;
	*found = false;
	if (of.kind == VALUE_DICT) {
		if (index.kind == VALUE_LIST || index.kind == VALUE_DICT)
			return REBUS_OK; /* not hashable: a TypeError, which means undefined here */
		TRY(template_map_find(r, of.as.map, index, &pair));
		*found = pair != NULL;
		if (pair)
			*out = pair->item;
	} else if (!template_is_int(index, &i)) {
		return REBUS_OK;
	} else if (of.kind == VALUE_TEXT) {
		template_string *s = of.as.text;
		*found = place(i, template_points(s), &at);
		if (*found) {
			TRY(template_step(r, s->size / 256));
			size_t begin = template_offset(s, at);
			uint32_t cp;
			TRY(template_string_view(r, s->data + begin, utf8_get(s->data + begin, s->size - begin, &cp), out));
		}
	} else if (of.kind == VALUE_LIST || of.kind == VALUE_TUPLE || of.kind == VALUE_RANGE) {
		*found = place(i, of.as.list->count, &at);
		if (*found)
			*out = of.as.list->at[at];
	}
done:
	return status;
}

rebus_status template_attr(template_run *r, value of, template_string *name, value *out)
{
	rebus_status status = REBUS_OK;
	bool found;
	if (of.kind == VALUE_UNDEFINED)
		return template_undefined_fail(r, of);
	TRY(own_attribute(r, of, name, out, &found));
	if (!found)
		TRY(own_item(r, of, (value){.kind = VALUE_TEXT, .as.text = name}, out, &found));
	if (!found)
		TRY(no_attribute(r, of, name, false, out));
done:
	return status;
}

rebus_status template_item(template_run *r, value of, value index, value *out)
{
	rebus_status status = REBUS_OK;
	bool found;
	if (of.kind == VALUE_UNDEFINED)
		return template_undefined_fail(r, of);
	TRY(own_item(r, of, index, out, &found));
	if (!found && index.kind == VALUE_TEXT)
		TRY(own_attribute(r, of, index.as.text, out, &found));
	if (!found && index.kind == VALUE_TEXT)
		TRY(no_attribute(r, of, index.as.text, false, out));
	else if (!found)
		TRY(template_undefined_new(r, &(template_undefined){.owner = template_type(of), .index = index}, out));
done:
	return status;
}

/* ------------------------------------------------------------------------------------------------ slices */
static rebus_status slice_bound(template_run *r, value v, int64_t missing, int64_t least, int64_t most, int64_t count, int64_t *out)
{
	int64_t i;
	if (v.kind == VALUE_NONE) {
		*out = missing;
		return REBUS_OK;
	}
	if (!template_is_int(v, &i))
		return template_fail(r, REBUS_FORMAT, "slice indices must be integers or None or have an __index__ method");
	if (i < 0)
		i = i < -count ? least : i + count;
	*out = int_min(int_max(i, least), most);
	return REBUS_OK;
}

static rebus_status slice_text(template_run *r, template_string *s, int64_t start, int64_t step, size_t count, value *out)
{
	rebus_status status = REBUS_OK;
	value letters;
	buf b;
	buf_init(&b, r->scratch->from, r->limits.output);
	if (step == 1) {
		size_t begin = template_offset(s, (size_t)start), end = template_offset(s, (size_t)start + count);
		TRY(template_step(r, s->size / 64));
		TRY(template_string_view(r, s->data + begin, count ? end - begin : 0, out));
		goto done;
	}
	TRY(template_letters(r, s, &letters));
	for (size_t i = 0; i < count; i++) {
		const template_string *letter = letters.as.list->at[start + (int64_t)i * step].as.text;
		buf_add(&b, letter->data, letter->size);
	}
	TRY(template_string_take(r, &b, out));
done:
	buf_free(&b);
	return status;
}

rebus_status template_slice(template_run *r, value of, value start, value stop, value step, value *out)
{
	rebus_status status = REBUS_OK;
	int64_t by = 1, from, to, count;
	if (of.kind == VALUE_UNDEFINED)
		return template_undefined_fail(r, of);
	if (of.kind != VALUE_TEXT && of.kind != VALUE_LIST && of.kind != VALUE_TUPLE && of.kind != VALUE_RANGE)
		return template_fail(r, REBUS_FORMAT, of.kind == VALUE_DICT ? "unhashable type: 'slice'" : "'%s' object is not subscriptable",
			template_type(of));
	if (step.kind != VALUE_NONE && !template_is_int(step, &by))
		return template_fail(r, REBUS_FORMAT, "slice indices must be integers or None or have an __index__ method");
	if (!by)
		return template_fail(r, REBUS_FORMAT, "slice step cannot be zero");
	TRY(template_length(r, of, &count));
	by = int_max(int_min(by, count + 1), -count - 1);
	int64_t least = by < 0 ? -1 : 0, most = by < 0 ? count - 1 : count;
	TRY(slice_bound(r, start, by < 0 ? most : 0, least, most, count, &from));
	TRY(slice_bound(r, stop, by < 0 ? -1 : count, least, most, count, &to));
	int64_t n = by > 0 ? (to - from + by - 1) / by : (from - to - by - 1) / -by;
	n = n > 0 ? n : 0;
	if (of.kind == VALUE_TEXT)
		return slice_text(r, of.as.text, n ? from : 0, by, (size_t)n, out);
	TRY(template_seq_new(r, of.kind, (size_t)n, out));
	for (int64_t i = 0; i < n; i++)
		TRY(template_seq_add(r, *out, of.as.list->at[from + i * by]));
	if (of.kind == VALUE_RANGE) {
		template_list_body *l = out->as.list;
		uint64_t first = (uint64_t)of.as.list->start, each = (uint64_t)of.as.list->step; /* unsigned: the stop may wrap */
		l->step = (int64_t)(each * (uint64_t)by);
		l->start = (int64_t)(first + (uint64_t)from * each);
		l->stop = (int64_t)(first + (uint64_t)to * each);
	}
done:
	return status;
}
