/*
 * template_chat.c - the variables that a chat template finds, as apply_chat_template of transformers sets them.
 *
 *   messages                 the chat; a message's reasoning is there under each name that templates use for it
 *   tools, documents         None where there are none
 *   add_generation_prompt    true: end with what starts the assistant's turn
 *   bos_token, eos_token ... the special tokens that the tokenizer has
 *   anything else            the caller's, which win over the tokens
 */
#include "text/template_inside.h"

#include <string.h>

static const template_pair *find(const template_map *m, const char *name)
{
	template_string key = {.data = name, .size = strlen(name), .points = SIZE_MAX};
	return template_map_text(m, &key);
}

static value given(const template_map *m, const char *name)
{
	const template_pair *pair = find(m, name);
	return pair ? pair->item : template_none();
}

static rebus_status put_all(arena *a, template_map *to, value from, rebus_error *err)
{
	template_pool p = {.from = a, .limit = SIZE_MAX};
	if (from.kind == VALUE_MISSING)
		return REBUS_OK;
	if (from.kind != VALUE_DICT)
		return error_set(err, REBUS_MISUSE, "a chat's variables: a %s, want a dict", template_type(from));
	for (size_t i = 0; i < from.as.map->count; i++)
		if (!template_pool_map_set(&p, to, from.as.map->at[i].key, from.as.map->at[i].item))
			return error_memory(err, "a chat");
	return REBUS_OK;
}

/* A message with reasoning, under the first of these names that has some, gets it under all that templates read. */
static rebus_status alias_reasoning(arena *a, value message, value *out, rebus_error *err)
{
	static const char *const names[] = {"reasoning_content", "thinking", "reasoning"};
	rebus_status status = REBUS_OK;
	value reasoning = template_none(), copy;
	*out = message;
	for (size_t i = 0; i < COUNT_OF(names) && reasoning.kind == VALUE_NONE; i++)
		reasoning = given(message.as.map, names[i]);
	if (reasoning.kind == VALUE_NONE)
		return REBUS_OK;
	copy = template_dict(a);
	TRY(template_dict_set(a, copy, "thinking", reasoning, err));
	TRY(put_all(a, copy.as.map, message, err));
	TRY(template_dict_set(a, copy, "reasoning_content", reasoning, err));
	*out = copy;
done:
	return status;
}

static rebus_status copy_messages(arena *a, value messages, value *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	value message;
	if (messages.kind != VALUE_LIST)
		TRY(error_set(err, REBUS_MISUSE, "a chat: a %s, want a list of messages", template_type(messages)));
	value list = template_list(a);
	for (size_t i = 0; i < messages.as.list->count; i++) {
		if (messages.as.list->at[i].kind != VALUE_DICT)
			TRY(error_set(err, REBUS_MISUSE, "message %zu of a chat: a %s, want a dict", i, template_type(messages.as.list->at[i])));
		TRY(alias_reasoning(a, messages.as.list->at[i], &message, err));
		TRY(template_list_add(a, list, message, err));
	}
	if (list.kind == VALUE_MISSING)
		TRY(error_memory(err, "a chat"));
	*out = list;
done:
	return status;
}

rebus_status template_chat(const template_program *p, arena *scratch, const template_chat_call *call, buf *out, rebus_error *err)
{
	rebus_status status = REBUS_OK;
	value variables = template_dict(scratch), messages;
	if (variables.kind == VALUE_MISSING)
		TRY(error_memory(err, "a chat"));
	TRY(put_all(scratch, variables.as.map, call->tokens, err));
	TRY(put_all(scratch, variables.as.map, call->extra, err));
	TRY(copy_messages(scratch, call->messages, &messages, err));
	TRY(template_dict_set(scratch, variables, "messages", messages, err));
	TRY(template_dict_set(scratch, variables, "tools", call->tools.kind == VALUE_MISSING ? template_none() : call->tools, err));
	TRY(template_dict_set(scratch, variables, "documents",
		call->documents.kind == VALUE_MISSING ? template_none() : call->documents, err));
	TRY(template_dict_set(scratch, variables, "add_generation_prompt", template_flag(call->add_generation_prompt), err));
	TRY(template_render(p, scratch, variables, &call->options, out, err));
done:
	return status;
}
