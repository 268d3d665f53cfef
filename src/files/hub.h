/*
 * hub.h - where a model's folder is: a path as it stands, or ORG/NAME in the Hugging Face cache.
 *
 *   $HF_HUB_CACHE, else $HF_HOME/hub, else $XDG_CACHE_HOME/huggingface/hub, else ~/.cache/huggingface/hub
 *     models--ORG--NAME/refs/main            the revision, one line
 *     models--ORG--NAME/snapshots/REVISION/  the folder
 */
#ifndef REBUS_HUB_H
#define REBUS_HUB_H

#include "base/base.h"

/* out lives in the arena. Fails with IO where there is no such folder, naming the places looked at. */
rebus_status hub_folder(arena *a, const char *name, const char **out, rebus_error *err);

#endif
