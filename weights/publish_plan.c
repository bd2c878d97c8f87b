// Which layers published ECF8 puts together.
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "codec/published.h"
#include "weights/publish.h"

static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

static int compare_text(const char *a, size_t a_length, const char *b, size_t b_length)
{
    int order = memcmp(a, b, a_length < b_length ? a_length : b_length);
    return order ? order : (a_length > b_length) - (a_length < b_length);
}

static int compare_groups(const ecd_publish_layer *x, const ecd_publish_layer *y)
{
    int order = compare_text(x->path, folder_length(x->path), y->path, folder_length(y->path));
    return order ? order : compare_text(x->module, x->block_length, y->module, y->block_length);
}

static int compare_layers(const void *a, const void *b)
{
    const ecd_publish_layer *x = a, *y = b;
    int order = compare_groups(x, y);
    return order ? order : strcmp(x->module, y->module);
}

size_t ecd_publish_group_end(const ecd_publish_plan *plan, size_t first)
{
    size_t end = first + 1;
    while (end < plan->count && !compare_groups(&plan->layers[first], &plan->layers[end]))
        end++;
    return end;
}

static bool is_number(const char *text, size_t length)
{
    return length && strspn(text, "0123456789") >= length;
}

// "transformer_blocks.0" of "transformer_blocks.0.attn1.to_q", "model.layers.3.mlp.experts.17" of one of its layers;
// the whole name where it has no number.
static size_t block_length(const char *module)
{
    size_t found = 0;
    bool experts = false;
    for (const char *at = module; *at;) {
        size_t length = strcspn(at, ".");
        size_t end = (size_t)(at - module) + length;
        if (at > module && is_number(at, length) && (!found || experts))
            found = end;
        experts = length == 7 && !memcmp(at, "experts", 7);
        at += length + (at[length] == '.');
    }
    return found ? found : strlen(module);
}

static ecd_status add_layer(ecd_publish_plan *plan, const ecd_tensor *tensor, const char *path, ecd_diag *diag)
{
    ecd_publish_layer *layers = ecd_grow(plan->layers, plan->count + 1, &plan->capacity, sizeof *layers);
    if (!layers)
        return ecd_fail_memory(diag, (plan->count + 1) * sizeof *layers, "a list of layers");
    plan->layers = layers;
    char *module = strndup(tensor->name, strlen(tensor->name) - strlen(".weight"));
    if (!module)
        return ecd_fail_memory(diag, strlen(tensor->name), "a layer's name");
    plan->layers[plan->count++] = (ecd_publish_layer){
        .module = module, .block_length = block_length(module), .path = path, .count = tensor->count};
    return ECD_OK;
}

static ecd_status add_file(ecd_publish_plan *plan, const char *root, const char *path, ecd_diag *diag)
{
    ecd_checkpoint *cp = NULL;
    char *full = ecd_path_join(root, path);
    ecd_status status =
        full ? ecd_tensor_file_open(full, false, &cp, diag) : ecd_fail_memory(diag, strlen(path), "a path");
    for (size_t i = 0; !status && i < cp->count; i++) {
        const ecd_tensor *t = &cp->tensors[i];
        if (t->dtype == ECD_E4M3 && t->dims == 2 && t->count && ecd_ends_with(t->name, ".weight"))
            status = add_layer(plan, t, path, diag);
    }
    ecd_checkpoint_close(cp);
    free(full);
    return status;
}

static uint64_t weights_of(const ecd_publish_plan *plan, size_t first, size_t end)
{
    uint64_t count = 0;
    for (size_t i = first; i < end; i++)
        count += plan->layers[i].count;
    return count;
}

// A group lies in one file, and is counted in 31 bits.
static void cut_blocks(ecd_publish_plan *plan)
{
    for (size_t first = 0, end; first < plan->count; first = end) {
        end = ecd_publish_group_end(plan, first);
        bool whole = weights_of(plan, first, end) <= ECF8_PUBLISHED_MAX_COUNT;
        for (size_t i = first; i < end; i++)
            whole &= plan->layers[i].path == plan->layers[first].path;
        for (size_t i = first; i < end && !whole; i++)
            plan->layers[i].block_length = strlen(plan->layers[i].module);
    }
    if (plan->count)
        qsort(plan->layers, plan->count, sizeof *plan->layers, compare_layers);
}

static ecd_status check_groups(const ecd_publish_plan *plan, const char *root, ecd_diag *diag)
{
    for (size_t first = 0, end; first < plan->count; first = end) {
        end = ecd_publish_group_end(plan, first);
        uint64_t count = weights_of(plan, first, end);
        const ecd_publish_layer *layer = &plan->layers[first];
        if (count % 2 == 0 && count <= ECF8_PUBLISHED_MAX_COUNT)
            continue;
        for (size_t i = end; i-- > first;)
            layer = plan->layers[i].count % 2 ? &plan->layers[i] : layer;
        (void)ecd_fail(diag, ECD_USAGE, "%s %llu weights, which ECF8 0.2.0 cannot hold, expected %s",
                       end - first > 1 ? "its block has" : "has", (unsigned long long)count,
                       count % 2 ? "an even count" : "fewer than 2^31");
        ecd_diag_tensor(diag, layer->module);
        char *full = ecd_path_join(root, layer->path);
        ecd_diag_file(diag, full ? full : layer->path);
        free(full);
        return ECD_USAGE;
    }
    return ECD_OK;
}

ecd_status ecd_publish_plan_make(const char *root, const ecd_tree *tree, ecd_publish_plan *out, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    *out = (ecd_publish_plan){0};
    for (size_t i = 0; !status && i < tree->count; i++)
        if (!tree->entries[i].folder && ecd_ends_with(tree->entries[i].path, ".safetensors"))
            status = add_file(out, root, tree->entries[i].path, diag);
    if (!status) {
        if (out->count)
            qsort(out->layers, out->count, sizeof *out->layers, compare_layers);
        cut_blocks(out);
        status = check_groups(out, root, diag);
    }
    if (status)
        ecd_publish_plan_free(out);
    return status;
}

void ecd_publish_plan_free(ecd_publish_plan *plan)
{
    for (size_t i = 0; i < plan->count; i++)
        free(plan->layers[i].module);
    free(plan->layers);
    *plan = (ecd_publish_plan){0};
}
