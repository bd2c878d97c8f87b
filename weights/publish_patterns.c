// pattern_dict.json, from which a reader of published ECF8 learns the layers of each block, and dfloat_config.json.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/publish.h"

static const char config_text[] =
    "{\n    \"version\": \"0.2.0\",\n    \"threads_per_block\": 512,\n    \"bytes_per_thread\": 8\n}\n";
static const char *const names[] = {"pattern_dict.json", "dfloat_config.json"};

bool ecd_publish_is_pattern_file(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return !strcmp(name, names[0]) || !strcmp(name, names[1]);
}

// A group of a folder and the pattern that names it.
typedef struct block {
    size_t first, end; // layers of the plan
    char *pattern;     // owned
} block;

static size_t component_end(const char *text, size_t at, size_t length)
{
    while (at < length && text[at] != '.')
        at++;
    return at;
}

// A regular expression for a block's name; with `any` every number stands for all. The caller frees.
static char *pattern_of(const ecd_publish_layer *layer, bool any)
{
    char *out = malloc(3 * layer->block_length + 4);
    size_t used = 0;
    for (size_t at = 0, end; out && at < layer->block_length; at = end) {
        end = component_end(layer->module, at, layer->block_length);
        if (any && end > at && strspn(layer->module + at, "0123456789") >= end - at) {
            memcpy(out + used, "\\d+", 3);
            used += 3;
            at = end;
        }
        end += end < layer->block_length; // with its dot
        for (; at < end; at++) {
            if (strchr(".^$*+?{}[]()|\\", layer->module[at]))
                out[used++] = '\\';
            out[used++] = layer->module[at];
        }
    }
    if (out)
        out[used] = 0;
    return out;
}

// A layer's name within its block, "" for the block itself.
static const char *layer_name(const ecd_publish_layer *layer)
{
    const char *rest = layer->module + layer->block_length;
    return rest + (*rest == '.');
}

static bool same_layers(const ecd_publish_plan *plan, const block *x, const block *y)
{
    bool same = x->end - x->first == y->end - y->first;
    for (size_t i = x->first, k = y->first; same && i < x->end; i++, k++)
        same = !strcmp(layer_name(&plan->layers[i]), layer_name(&plan->layers[k]));
    return same;
}

static int compare_blocks(const void *a, const void *b)
{
    const block *x = a, *y = b;
    int order = strcmp(x->pattern, y->pattern);
    return order ? order : (x->first > y->first) - (x->first < y->first);
}

static bool add_pattern(cJSON *object, const ecd_publish_plan *plan, const block *b, const char *pattern)
{
    cJSON *layers = pattern ? cJSON_AddArrayToObject(object, pattern) : NULL;
    bool ok = layers != NULL;
    for (size_t i = b->first; ok && i < b->end; i++)
        ok = cJSON_AddItemToArray(layers, cJSON_CreateString(layer_name(&plan->layers[i])));
    return ok;
}

// Blocks whose names differ in numbers alone share a pattern if they have the same layers.
static bool add_patterns(cJSON *object, const ecd_publish_plan *plan, const block *blocks, size_t count)
{
    bool ok = true;
    for (size_t first = 0, end; ok && first < count; first = end) {
        bool alike = true;
        for (end = first + 1; end < count && !strcmp(blocks[first].pattern, blocks[end].pattern); end++)
            alike &= same_layers(plan, &blocks[first], &blocks[end]);
        if (alike) {
            ok = add_pattern(object, plan, &blocks[first], blocks[first].pattern);
            continue;
        }
        for (size_t i = first; ok && i < end; i++) {
            char *own = pattern_of(&plan->layers[blocks[i].first], false);
            ok = add_pattern(object, plan, &blocks[i], own);
            free(own);
        }
    }
    return ok;
}

static char *patterns_text(const ecd_publish_plan *plan, size_t first, size_t end)
{
    block *blocks = calloc(end - first, sizeof *blocks);
    size_t count = 0;
    cJSON *root = cJSON_CreateObject(), *fp8 = root ? cJSON_AddObjectToObject(root, "fp8") : NULL;
    bool ok = blocks && fp8 && cJSON_AddObjectToObject(root, "bf16");
    for (size_t i = first; ok && i < end; i = blocks[count - 1].end) {
        blocks[count] = (block){i, ecd_publish_group_end(plan, i), pattern_of(&plan->layers[i], true)};
        ok = blocks[count++].pattern != NULL;
    }
    if (ok) {
        qsort(blocks, count, sizeof *blocks, compare_blocks);
        ok = add_patterns(fp8, plan, blocks, count);
    }
    char *text = ok ? cJSON_Print(root) : NULL;
    for (size_t i = 0; i < count; i++)
        free(blocks[i].pattern);
    free(blocks);
    cJSON_Delete(root);
    return text;
}

static ecd_status write_text(const char *target, const char *path, size_t folder, const char *name, const char *text,
                             ecd_work_report *report, ecd_diag *diag)
{
    char *to = NULL;
    if (asprintf(&to, "%s/%.*s%s%s", target, (int)folder, path, folder ? "/" : "", name) < 0)
        return ecd_fail_memory(diag, strlen(path), "a path");
    report->written_bytes += strlen(text);
    ecd_status status = ecd_file_write(to, text, strlen(text), diag);
    free(to);
    return status;
}

static size_t folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

bool ecd_publish_codes_beside(const ecd_publish_plan *plan, const char *path)
{
    size_t folder = folder_of(path);
    for (size_t i = 0; i < plan->count; i++)
        if (folder_of(plan->layers[i].path) == folder && !memcmp(plan->layers[i].path, path, folder))
            return true;
    return false;
}

ecd_status ecd_publish_write_patterns(const ecd_publish_plan *plan, const char *target, ecd_work_report *report,
                                      ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (size_t first = 0, end; !status && first < plan->count; first = end) {
        const char *path = plan->layers[first].path;
        size_t folder = folder_of(path);
        for (end = first + 1; end < plan->count; end++)
            if (folder_of(plan->layers[end].path) != folder || memcmp(plan->layers[end].path, path, folder))
                break;
        char *text = patterns_text(plan, first, end);
        status = text ? write_text(target, path, folder, names[0], text, report, diag)
                      : ecd_fail_memory(diag, 1024, "pattern_dict.json");
        if (!status)
            status = write_text(target, path, folder, names[1], config_text, report, diag);
        cJSON_free(text);
    }
    return status;
}
