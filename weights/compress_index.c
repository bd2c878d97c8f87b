// The index of a sharded model, after its shards were compressed.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "weights/compress_internal.h"
#include "weights/json.h"

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

ecd_status ecd_work_note_file(ecd_work *work, const char *path, ecd_work_file **out, ecd_diag *diag)
{
    ecd_work_file *larger = realloc(work->files, (work->file_count + 1) * sizeof *larger);
    if (larger)
        work->files = larger;
    char *copy = larger ? strdup(path) : NULL;
    if (!copy)
        return ecd_fail_memory(diag, (work->file_count + 1) * sizeof *larger, "a list of files");
    *out = &work->files[work->file_count++];
    **out = (ecd_work_file){.path = copy};
    return ECD_OK;
}

ecd_status ecd_work_note_scale(ecd_work_file *file, const char *name, ecd_diag *diag)
{
    char **larger = realloc(file->scales, (file->scale_count + 1) * sizeof *larger);
    if (larger)
        file->scales = larger;
    char *copy = larger ? strdup(name) : NULL;
    if (!copy)
        return ecd_fail_memory(diag, (file->scale_count + 1) * sizeof *larger, "a list of scales");
    file->scales[file->scale_count++] = copy;
    return ECD_OK;
}

void ecd_work_end(ecd_work *work)
{
    for (size_t i = 0; i < work->file_count; i++) {
        for (size_t k = 0; k < work->files[i].scale_count; k++)
            free(work->files[i].scales[k]);
        free(work->files[i].scales);
        free(work->files[i].path);
    }
    free(work->files);
    work->files = NULL;
    work->file_count = 0;
}

static bool index_names(const cJSON *map, const char *shard)
{
    const cJSON *entry;
    cJSON_ArrayForEach(entry, map)
        if (cJSON_IsString(entry) && !strcmp(entry->valuestring, shard))
            return true;
    return false;
}

// Adds the shards of `index` (a path of the target) that this map names.
static ecd_status gather(const ecd_work *work, const char *index, const cJSON *map, ecd_index_change *change,
                         ecd_diag *diag)
{
    size_t folder = (size_t)(file_name(index) - index);
    for (size_t i = 0; i < work->file_count; i++) {
        const ecd_work_file *file = &work->files[i];
        const char *name = file_name(file->path);
        if ((size_t)(name - file->path) != folder || memcmp(file->path, index, folder) || !index_names(map, name))
            continue;
        change->stored_bytes += file->stored_bytes;
        change->plain_bytes += file->plain_bytes;
        if (!file->scale_count)
            continue;
        size_t count = change->scale_count + file->scale_count;
        ecd_index_scale *larger = realloc(change->scales, count * sizeof *larger);
        if (!larger)
            return ecd_fail_memory(diag, count * sizeof *larger, "a list of scales");
        change->scales = larger;
        for (size_t k = 0; k < file->scale_count; k++)
            larger[change->scale_count++] = (ecd_index_scale){.name = file->scales[k], .file = name};
    }
    return ECD_OK;
}

ecd_status ecd_compress_index(ecd_work *work, const char *from, const char *to, bool torch, ecd_diag *diag)
{
    char *text = NULL, *marked = NULL;
    cJSON *root = NULL;
    ecd_index_change change = {0};
    ecd_status status = ecd_file_read_text(from, ECD_JSON_MAX_BYTES, &text, NULL, diag);
    if (status)
        return status;
    if (torch) {
        char *renamed = ecd_index_renamed(text);
        free(text);
        if (!(text = renamed))
            return ecd_fail_memory(diag, 1024, "an index");
    }
    status = ecd_json_parse(text, strlen(text), 0, &root, diag);
    if (!status)
        status = gather(work, to, cJSON_GetObjectItemCaseSensitive(root, "weight_map"), &change, diag);
    if (!status && change.stored_bytes)
        status = ecd_index_mark(text, &change, &marked, diag);
    if (status) {
        ecd_diag_file(diag, from);
    } else {
        const char *written = marked ? marked : text; // of shards that are not here nothing is known
        work->report->written_bytes += strlen(written);
        status = ecd_file_write(to, written, strlen(written), diag);
    }
    cJSON_Delete(root);
    free(change.scales);
    free(marked);
    free(text);
    return status;
}
