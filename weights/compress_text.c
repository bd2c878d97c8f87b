// Configs, and the index of a sharded model, after its shards were compressed.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "weights/compress_internal.h"
#include "weights/json.h"

// Texts are edited as strings: a NUL would cut them.
static ecd_status read_text(const char *path, size_t max_bytes, char **out, ecd_diag *diag)
{
    size_t size;
    ecd_status status = ecd_file_read_text(path, max_bytes, out, &size, diag);
    if (status || strlen(*out) == size)
        return status;
    (void)ecd_fail(diag, ECD_DATA, "a NUL byte, expected JSON");
    ecd_diag_file(diag, path);
    ecd_diag_offset(diag, strlen(*out));
    free(*out);
    *out = NULL;
    return ECD_DATA;
}

static void hash_text(const char *text, char sum[ECD_HASH_TEXT])
{
    ecd_hash hash;
    ecd_hash_begin(&hash);
    ecd_hash_add(&hash, text, strlen(text));
    ecd_hash_end(&hash, sum);
}

// Without the marks of a copy in published ECF8.
static ecd_status unmarked(char **text, ecd_status (*unmark)(const char *text, char **out, ecd_diag *diag),
                           ecd_diag *diag)
{
    char *plain = NULL;
    ecd_status status = unmark(*text, &plain, diag);
    if (!status && plain) {
        free(*text);
        *text = plain;
    }
    return status;
}

static ecd_status config_open(ecd_job *job, ecd_diag *diag)
{
    char *text = NULL, *marked = NULL;
    ecd_status status = read_text(job->from, ECD_CONFIG_MAX_BYTES, &text, diag);
    if (!status && job->work->expands)
        status = unmarked(&text, ecd_config_unmark, diag);
    if (!status && (status = job->work->publish ? ecd_config_mark_published(text, &marked, diag)
                                              : ecd_config_mark(text, &marked, diag)))
        ecd_diag_file(diag, job->from);
    if (!status) {
        hash_text(text, job->sha256);
        job->written_bytes = strlen(marked);
        status = ecd_file_write(job->to, marked, strlen(marked), diag);
    }
    free(text);
    free(marked);
    return status;
}

const ecd_job_calls ecd_config_calls = {.open = config_open};

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
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
    for (size_t i = 0; i < work->job_count; i++) {
        const ecd_job *job = &work->jobs[i];
        const char *name = file_name(job->to);
        if (!job->coded || (size_t)(name - job->to) != folder || memcmp(job->to, index, folder) ||
            !index_names(map, name))
            continue;
        change->stored_bytes += job->stored_bytes;
        change->plain_bytes += job->plain_bytes;
        if (!job->scale_count)
            continue;
        size_t count = change->scale_count + job->scale_count;
        ecd_index_scale *larger = realloc(change->scales, count * sizeof *larger);
        if (!larger)
            return ecd_fail_memory(diag, count * sizeof *larger, "a list of scales");
        change->scales = larger;
        for (size_t k = 0; k < job->scale_count; k++)
            larger[change->scale_count++] = (ecd_index_scale){.name = job->scales[k], .file = name};
    }
    return ECD_OK;
}

ecd_status ecd_compress_index(ecd_work *work, const char *from, const char *to, bool torch, char sha256[ECD_HASH_TEXT],
                              ecd_diag *diag)
{
    char *text = NULL, *marked = NULL;
    cJSON *root = NULL;
    ecd_index_change change = {0};
    ecd_status status = read_text(from, ECD_JSON_MAX_BYTES, &text, diag);
    *sha256 = 0;
    if (status)
        return status;
    if (work->expands && (status = unmarked(&text, ecd_index_unmark, diag))) {
        free(text);
        return status;
    }
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
        if (!torch && !change.scale_count)
            hash_text(text, sha256);
        work->report->written_bytes += strlen(written);
        status = ecd_file_write(to, written, strlen(written), diag);
    }
    cJSON_Delete(root);
    free(change.scales);
    free(marked);
    free(text);
    return status;
}
