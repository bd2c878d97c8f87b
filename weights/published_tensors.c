// Groups of published ECF8 among a checkpoint's tensors, and the weights that they hold.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/published.h"

static const char split_name[] = "split_positions";

// A buffer that was replaced, as an index of shards names it.
typedef struct part_name {
    char *name; // within the allocation that holds the list
    const char *file_name;
} part_name;

typedef struct finder {
    ecd_checkpoint *cp;
    ecd_published_config config;
    ecd_published_group *group; // at hand
    const ecd_tensor *splits;   // its split_positions, or NULL
    bool *taken;                // tensors that are buffers of groups
    size_t before;              // tensors of the files
    ecd_diag *diag;
} finder;

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// "<block>.<part>", NULL if there is none. The index covers the files' tensors, not those added meanwhile.
static const ecd_tensor *find_part(const finder *f, const char *block, const char *part)
{
    char name[1024];
    int length = snprintf(name, sizeof name, "%s.%s", block, part);
    size_t count = f->cp->count;
    f->cp->count = f->before;
    const ecd_tensor *found = length > 0 && (size_t)length < sizeof name ? ecd_checkpoint_find(f->cp, name) : NULL;
    f->cp->count = count;
    return found;
}

static void take(finder *f, const ecd_tensor *tensor)
{
    f->taken[tensor - f->cp->tensors] = true;
    f->group->stored_bytes += tensor->size_bytes;
}

static bool is_shard(const finder *f)
{
    return f->cp->file_count == 1 && strstr(base_name(f->cp->files[0]->path), "-of-");
}

// Fills the group's parts. *found is false where what has the name of a group's buffer is none.
static ecd_status gather_parts(finder *f, const char *block, bool *found)
{
    ecd_published_group *group = f->group;
    const ecd_tensor *parts[ECF8_PUBLISHED_PARTS];
    *found = false;
    for (unsigned i = 0; i < ECF8_PUBLISHED_PARTS; i++)
        parts[i] = find_part(f, block, ecf8_published_part_name((ecf8_published_part)i));
    if (!parts[ECF8_PUBLISHED_ENCODED] && !parts[ECF8_PUBLISHED_NIBBLES])
        return ECD_OK; // luts of something else
    for (unsigned i = 0; i < ECF8_PUBLISHED_PARTS; i++) {
        const char *name = ecf8_published_part_name((ecf8_published_part)i);
        if (!parts[i] && is_shard(f))
            return ECD_OK;
        if (!parts[i])
            return ecd_tensor_fail(parts[ECF8_PUBLISHED_LUTS], f->diag, "no %s.%s, expected it beside", block, name);
        if (parts[i]->dtype != ECD_U8)
            return ecd_tensor_fail(parts[i], f->diag, "type %s, expected U8", ecd_dtype_name(parts[i]->dtype));
    }
    *found = true;
    group->block = block;
    f->splits = find_part(f, block, split_name);
    for (unsigned i = 0; i < ECF8_PUBLISHED_PARTS; i++) {
        group->parts[i] = *parts[i];
        group->places[i] = (ecd_coded_place){parts[i]->name, parts[i]->file ? parts[i]->file->path : NULL,
                                             parts[i]->offset_bytes, true};
        take(f, parts[i]);
    }
    if (f->splits && f->splits->dtype != ECD_I64)
        return ecd_tensor_fail(f->splits, f->diag, "type %s, expected I64", ecd_dtype_name(f->splits->dtype));
    if (f->splits)
        take(f, f->splits);
    return ECD_OK;
}

static ecd_status open_group(finder *f)
{
    ecd_published_group *group = f->group;
    ecf8_published_buffer buffers[ECF8_PUBLISHED_PARTS];
    ecf8_published_error error = {0};
    for (unsigned i = 0; i < ECF8_PUBLISHED_PARTS; i++)
        buffers[i] = (ecf8_published_buffer){group->parts[i].data, group->parts[i].size_bytes};
    if (ecf8_published_open(buffers, f->config.threads, &group->view, &error))
        return ecd_coded_fail_published(group->places, &error, f->diag);
    return ECD_OK;
}

static uint64_t split_at(const finder *f, uint64_t index)
{
    uint64_t value;
    if (!f->splits || index >= f->splits->count)
        return f->group->view.count;
    memcpy(&value, f->splits->data + index * sizeof value, sizeof value);
    return value;
}

// Layer `index` of the block: its weight's name, "<block>.weight" where the block is the layer itself. Without a
// pattern dictionary layers are numbered. The caller frees.
static char *weight_name(const finder *f, const cJSON *layer, uint64_t index)
{
    char *name = NULL, *current;
    int length;
    if (layer && !*layer->valuestring)
        length = asprintf(&name, "%s.weight", f->group->block);
    else if (layer)
        length = asprintf(&name, "%s.%s.weight", f->group->block, layer->valuestring);
    else if (f->splits && f->splits->count)
        length = asprintf(&name, "%s.%llu.weight", f->group->block, (unsigned long long)index);
    else
        length = asprintf(&name, "%s.weight", f->group->block);
    if (length < 0)
        return NULL;
    current = ecd_names_current(name);
    free(name);
    return current;
}

static ecd_status add_weight(finder *f, const cJSON *layer, uint64_t index, uint64_t first, uint64_t end)
{
    const ecd_tensor *nibbles = &f->group->parts[ECF8_PUBLISHED_NIBBLES];
    uint64_t begin = first / 2, size = (end + 1) / 2 - begin;
    ecd_tensor tensor = {.dtype = ECD_E4M3,
                         .dims = 1,
                         .shape = {(int64_t)(end - first)},
                         .count = end - first,
                         .encoding = ECD_ENCODING_PUBLISHED,
                         .flat = true,
                         .group = f->group,
                         .first = first,
                         .data = nibbles->data ? nibbles->data + begin : NULL,
                         .size_bytes = size,
                         .file = nibbles->file,
                         .offset_bytes = nibbles->offset_bytes + begin};
    char *name = weight_name(f, layer, index);
    if (!name)
        return ecd_fail_memory(f->diag, 1024, "a tensor's name");
    ecd_status status = ecd_checkpoint_add(f->cp, name, strlen(name), &tensor, f->diag);
    free(name);
    return status;
}

static ecd_status add_weights(finder *f)
{
    const ecd_published_group *group = f->group;
    const cJSON *layers = NULL, *layer;
    uint64_t count = 1 + (f->splits ? f->splits->count : 0), first = 0;
    const ecd_tensor splits = f->splits ? *f->splits : group->parts[ECF8_PUBLISHED_LUTS]; // the list may move
    if (f->splits)
        f->splits = &splits;
    ecd_status status = ecd_published_layers(&f->config, group->block, &layers, f->diag);
    if (status)
        return status;
    if (f->config.patterns && !layers)
        return ecd_tensor_fail(&group->parts[0], f->diag, "pattern_dict.json has no pattern for %s", group->block);
    if (layers && (uint64_t)cJSON_GetArraySize(layers) != count)
        return ecd_tensor_fail(&splits, f->diag, "parts the weights for %llu layers, expected %d as pattern_dict.json",
                               (unsigned long long)count, cJSON_GetArraySize(layers));
    layer = layers ? layers->child : NULL;
    for (uint64_t i = 0; i < count; i++, layer = layer ? layer->next : NULL) {
        uint64_t end = split_at(f, i);
        if (end < first || end > group->view.count)
            return ecd_tensor_fail(&splits, f->diag, "position %llu is %lld, expected %llu to %llu",
                                   (unsigned long long)i, (long long)end, (unsigned long long)first,
                                   (unsigned long long)group->view.count);
        status = add_weight(f, layer, i, first, end);
        if (status)
            return status;
        first = end;
    }
    return ECD_OK;
}

// A group's memory with its block's name behind, kept by the checkpoint.
static ecd_status new_group(finder *f, const ecd_tensor *luts, const char **block)
{
    size_t length = strlen(luts->name) - strlen(".luts");
    ecd_published_group *group = calloc(1, sizeof *group + length + 1);
    if (!group)
        return ecd_fail_memory(f->diag, sizeof *group + length, "a group of weights");
    char *name = (char *)(group + 1);
    memcpy(name, luts->name, length);
    *block = name;
    f->group = group;
    f->splits = NULL;
    return ecd_checkpoint_keep(f->cp, group, f->diag);
}

static ecd_status find_groups(finder *f)
{
    for (size_t i = 0; i < f->before; i++) {
        const char *name = f->cp->tensors[i].name, *block = NULL;
        size_t length = strlen(name);
        bool found = false;
        if (length <= 5 || strcmp(name + length - 5, ".luts"))
            continue;
        ecd_status status = new_group(f, &f->cp->tensors[i], &block);
        if (!status)
            status = gather_parts(f, block, &found);
        if (!status && found)
            status = open_group(f);
        if (!status && found)
            status = add_weights(f);
        if (status)
            return status;
    }
    return ECD_OK;
}

static int compare_parts(const void *a, const void *b)
{
    return strcmp(((const part_name *)a)->name, ((const part_name *)b)->name);
}

// Takes the buffers out of the list of tensors; their names are kept, as indexes and messages speak of them.
static ecd_status remove_taken(finder *f)
{
    ecd_checkpoint *cp = f->cp;
    size_t kept = 0, removed = 0;
    for (size_t i = 0; i < f->before; i++)
        removed += f->taken[i];
    part_name *parts = calloc(removed + 1, sizeof *parts);
    if (!parts)
        return ecd_fail_memory(f->diag, removed * sizeof *parts, "a list of buffers");
    ecd_status status = ecd_checkpoint_keep(cp, parts, f->diag);
    for (size_t i = 0, k = 0; !status && i < f->before; i++) {
        if (!f->taken[i])
            continue;
        char *name = (char *)(uintptr_t)cp->tensors[i].name;
        parts[k++] = (part_name){name, base_name(cp->tensors[i].file->path)};
        status = ecd_checkpoint_keep(cp, name, f->diag);
        cp->tensors[i].name = NULL; // owned by the kept buffers now
    }
    if (status)
        return status;
    qsort(parts, removed, sizeof *parts, compare_parts);
    cp->published_parts = parts;
    cp->published_part_count = removed;
    for (size_t i = 0; i < cp->count; i++)
        if (i >= f->before || !f->taken[i])
            cp->tensors[kept++] = cp->tensors[i];
    cp->count = kept;
    return ECD_OK;
}

bool ecd_published_part_of(const ecd_checkpoint *cp, const char *name, const char *file_name)
{
    const part_name *parts = cp->published_parts, key = {(char *)(uintptr_t)name, NULL};
    const part_name *found =
        parts ? bsearch(&key, parts, cp->published_part_count, sizeof *parts, compare_parts) : NULL;
    return found && !strcmp(found->file_name, file_name);
}

bool ecd_published_any(const ecd_checkpoint *cp)
{
    for (size_t i = 0; i < cp->count; i++) {
        size_t length = strlen(cp->tensors[i].name);
        if (length > 5 && !strcmp(cp->tensors[i].name + length - 5, ".luts"))
            return true;
    }
    return false;
}

ecd_status ecd_published_resolve(ecd_checkpoint *cp, ecd_diag *diag)
{
    finder f = {.cp = cp, .before = cp->count, .diag = diag};
    if (!ecd_published_any(cp))
        return ECD_OK;
    f.taken = calloc(cp->count, sizeof *f.taken);
    ecd_status status = f.taken ? ecd_published_config_read(cp->files[0]->path, &f.config, diag)
                                : ecd_fail_memory(diag, cp->count, "a list of buffers");
    if (!status)
        status = find_groups(&f);
    if (!status)
        status = remove_taken(&f);
    ecd_published_config_free(&f.config);
    free(f.taken);
    return status ? status : ecd_checkpoint_index(cp, diag);
}
