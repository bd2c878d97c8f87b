#include "weights/checkpoint.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/process.h"
#include "weights/checkpoint_internal.h"
#include "weights/component.h"
#include "weights/json.h"
#include "weights/published.h"

enum { MAX_FILES = 4096, PATH_BYTES = 4096, FETCH_BYTES = 256 << 20 };

static bool ends_with(const char *text, const char *end)
{
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && !strcmp(text + length - end_length, end);
}

static ecd_status add_file(ecd_checkpoint *cp, const char *path, ecd_diag *diag)
{
    ecd_file **larger = realloc(cp->files, (cp->file_count + 1) * sizeof *larger);
    if (!larger)
        return ecd_fail_memory(diag, (cp->file_count + 1) * sizeof *larger, "a list of files");
    cp->files = larger;
    ecd_file *file = calloc(1, sizeof *file);
    if (!file)
        return ecd_fail_memory(diag, sizeof *file, "a file");
    ecd_status status = ecd_file_map(path, file, diag);
    if (status) {
        free(file);
        return status;
    }
    cp->files[cp->file_count++] = file;
    // What is checked on opening (scales, containers' heads) lies all over the file: of a small one read all at once.
    if (file->size_bytes <= FETCH_BYTES && file->size_bytes <= ecd_memory_free_bytes() / 4)
        ecd_file_fetch(file);
    return ecd_torch_named(path) ? ecd_torch_list(cp, file, diag) : ecd_safetensors_list(cp, file, diag);
}

static int compare_strings(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

// A shard is a plain file name beside its index: an index must not lead out of the model's folder.
static bool plain_name(const char *name)
{
    return name[0] && name[0] != '.' && !strchr(name, '/') && strlen(name) < 256;
}

static ecd_status open_shards(ecd_checkpoint *cp, const char *folder, const char *index, const char **names,
                              size_t count, ecd_diag *diag)
{
    qsort(names, count, sizeof *names, compare_strings);
    for (size_t i = 0; i < count; i++) {
        if (i && !strcmp(names[i - 1], names[i]))
            continue;
        if (cp->file_count == MAX_FILES)
            return ecd_fail(diag, ECD_DATA, "more than %d shards, expected fewer", MAX_FILES);
        char *path = ecd_path_join(folder, names[i]);
        if (!path)
            return ecd_fail_memory(diag, strlen(names[i]), "a path");
        ecd_status status = ECD_OK;
        if (!ecd_path_exists(path)) {
            status = ecd_fail(diag, ECD_DATA, "missing shard, expected it because %.200s names it", index);
            ecd_diag_file(diag, path);
        } else {
            status = add_file(cp, path, diag);
        }
        free(path);
        if (status)
            return status;
    }
    return ECD_OK;
}

// Reads "weight_map": tensor -> shard. The shards themselves say what they hold; finish_index compares.
static ecd_status open_index(ecd_checkpoint *cp, const char *folder, const char *path, cJSON **index, ecd_diag *diag)
{
    ecd_status status = ecd_json_read(path, index, diag);
    if (status)
        return status;
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(*index, "weight_map"), *entry;
    size_t count = 0;
    const char **names = NULL;
    if (!cJSON_IsObject(map) || !map->child) {
        status = ecd_fail(diag, ECD_DATA, "no \"weight_map\", expected an object of tensor: file");
        goto out;
    }
    names = malloc((size_t)cJSON_GetArraySize(map) * sizeof *names);
    if (!names) {
        status = ecd_fail_memory(diag, (size_t)cJSON_GetArraySize(map) * sizeof *names, "a list of shards");
        goto out;
    }
    cJSON_ArrayForEach(entry, map)
    {
        if (!cJSON_IsString(entry) || !plain_name(entry->valuestring)) {
            status = ecd_fail(diag, ECD_DATA, "bad shard name in \"weight_map\", expected a file of the same folder");
            ecd_diag_tensor(diag, entry->string);
            goto out;
        }
        names[count++] = entry->valuestring;
    }
    status = open_shards(cp, folder, path, names, count, diag);
out:
    if (status)
        ecd_diag_file(diag, path);
    free(names);
    return status;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

// Every tensor that the index names must be in the shard that it says.
static ecd_status finish_index(const ecd_checkpoint *cp, const cJSON *index, const char *path, ecd_diag *diag)
{
    const cJSON *map = cJSON_GetObjectItemCaseSensitive(index, "weight_map"), *entry;
    cJSON_ArrayForEach(entry, map)
    {
        char *current = ecd_names_current(entry->string);
        if (!current)
            return ecd_fail_memory(diag, strlen(entry->string), "a tensor's name");
        const ecd_tensor *tensor = ecd_checkpoint_find(cp, current);
        bool part = !tensor && ecd_published_part_of(cp, current, entry->valuestring);
        free(current);
        if (part)
            continue;
        if (!tensor || strcmp(base_name(tensor->file->path), entry->valuestring)) {
            ecd_fail(diag, ECD_DATA, "not in %.200s, expected it there because the index says so", entry->valuestring);
            ecd_diag_file(diag, path);
            ecd_diag_tensor(diag, entry->string);
            return ECD_DATA;
        }
    }
    return ECD_OK;
}

// The weights file of a component's folder, in diffusers' order: safetensors before pickles, an index before a single
// file, the plain name before variants. false if there is none.
static bool choose_file(const char *folder, char *path, bool *is_index)
{
    static const char *const bases[] = {"diffusion_pytorch_model", "model", "pytorch_model"};
    static const char *const patterns[] = {
        "%s/%s.safetensors.index.json",
        "%s/%s.safetensors",
        "%s/%s.safetensors.index.fp16.json",
        "%s/%s.fp16.safetensors.index.json",
        "%s/%s.fp16.safetensors",
        "%s/%s.safetensors.index.bf16.json",
        "%s/%s.bf16.safetensors.index.json",
        "%s/%s.bf16.safetensors",
        "%s/%s.bin.index.json",
        "%s/%s.bin",
        "%s/%s.fp16.bin",
        "%s/%s.bf16.bin",
    };
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++)
        for (size_t j = 0; j < sizeof bases / sizeof *bases; j++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            int length = snprintf(path, PATH_BYTES, patterns[i], folder, bases[j]);
#pragma GCC diagnostic pop
            if (length < 0 || length >= PATH_BYTES || !ecd_path_exists(path))
                continue;
            *is_index = ends_with(path, ".json");
            return true;
        }
    return false;
}

bool ecd_checkpoint_is_in(const char *folder)
{
    char path[PATH_BYTES];
    bool is_index;
    return choose_file(folder, path, &is_index);
}

static ecd_status open_files(ecd_checkpoint *cp, const char *folder, char *path, cJSON **index, ecd_diag *diag)
{
    bool is_index = false;
    if (!ecd_path_is_folder(folder))
        return add_file(cp, folder, diag);
    if (!choose_file(folder, path, &is_index)) {
        ecd_fail(diag, ECD_DATA,
                 "no weights in it, expected diffusion_pytorch_model.safetensors (or model., pytorch_model.; "
                 ".fp16., .bf16.; .safetensors.index.json, .bin)");
        ecd_diag_file(diag, folder);
        return ECD_DATA;
    }
    return is_index ? open_index(cp, folder, path, index, diag) : add_file(cp, path, diag);
}

ecd_status ecd_component_open(const char *folder, const char *component, ecd_checkpoint **out, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    bool found = true;
    cJSON *index = NULL;
    char *path = malloc(PATH_BYTES);
    ecd_checkpoint *cp = calloc(1, sizeof *cp);
    *out = NULL;
    if (!path || !cp) {
        status = ecd_fail_memory(diag, sizeof *cp + PATH_BYTES, "a checkpoint");
        goto out;
    }
    status = open_files(cp, folder, path, &index, diag);
    if (!status)
        status = ecd_names_update(cp, diag);
    if (!status)
        status = ecd_checkpoint_index(cp, diag);
    if (!status)
        status = ecd_ecf8_resolve(cp, diag);
    if (!status && index)
        status = finish_index(cp, index, path, diag);
    if (!status && component)
        status = ecd_component_select(cp, component, &found, diag);
    if (!status && !found && !ecd_path_is_folder(folder)) // a file without this component
        goto out;
    if (!status)
        status = ecd_scales_attach(cp, diag);
    if (!status) {
        *out = cp;
        cp = NULL;
    }
out:
    ecd_checkpoint_close(cp);
    cJSON_Delete(index);
    free(path);
    return status;
}

ecd_status ecd_checkpoint_open(const char *folder, ecd_checkpoint **out, ecd_diag *diag)
{
    return ecd_component_open(folder, NULL, out, diag);
}

void ecd_checkpoint_close(ecd_checkpoint *cp)
{
    if (!cp)
        return;
    for (size_t i = 0; i < cp->count; i++)
        free((char *)(uintptr_t)cp->tensors[i].name);
    for (size_t i = 0; i < cp->note_count; i++) {
        free(cp->notes[i].key);
        free(cp->notes[i].value);
    }
    for (size_t i = 0; i < cp->buffer_count; i++)
        free(cp->buffers[i]);
    for (size_t i = 0; i < cp->file_count; i++) {
        ecd_file_unmap(cp->files[i]);
        free(cp->files[i]);
    }
    free(cp->tensors);
    free(cp->notes);
    free(cp->buffers);
    free(cp->files);
    free(cp->by_name);
    free(cp);
}
