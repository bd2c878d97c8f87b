// The original files again.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "weights/compress_internal.h"
#include "weights/json.h"
#include "weights/publish.h"

// A config or the index of a sharded model.
static ecd_status unmark_open(ecd_job *job, ecd_diag *diag)
{
    char *text = NULL, *plain = NULL;
    size_t size = 0;
    bool index = ecd_ends_with(job->entry->path, ".index.json");
    ecd_hash hash;
    ecd_status status =
        ecd_file_read_text(job->from, index ? (size_t)ECD_JSON_MAX_BYTES : ECD_CONFIG_MAX_BYTES, &text, &size, diag);
    if (!status)
        status = index ? ecd_index_unmark(text, &plain, diag) : ecd_config_unmark(text, &plain, diag);
    if (!status) {
        const char *out = plain ? plain : text;
        size = plain ? strlen(plain) : size;
        ecd_hash_begin(&hash);
        ecd_hash_add(&hash, out, size);
        ecd_hash_end(&hash, job->sha256);
        job->written_bytes = size;
        status = ecd_file_write(job->to, out, size, diag);
    }
    free(text);
    free(plain);
    return status;
}

const ecd_job_calls ecd_unmark_calls = {.open = unmark_open};

typedef struct decompression {
    ecd_run run;
    ecd_manifest manifest;
} decompression;

static ecd_status add_job(decompression *d, const ecd_tree_entry *entry, ecd_diag *diag)
{
    const char *name = strrchr(entry->path, '/') ? strrchr(entry->path, '/') + 1 : entry->path;
    const ecd_job_calls *calls = &ecd_copy_calls;
    ecd_job *job;
    if (ecd_ends_with(name, ".safetensors") || d->run.single)
        calls = &ecd_decompress_calls;
    else if (!strcmp(name, "config.json") || ecd_ends_with(name, ".safetensors.index.json"))
        calls = &ecd_unmark_calls;
    ecd_status status = ecd_work_add(&d->run.work, calls, entry, ecd_path_join(d->run.root, entry->path),
                                     ecd_path_join(d->run.partial.folder, entry->path), &job, diag);
    if (status)
        return status;
    job->expected = ecd_manifest_find(&d->manifest, entry->path);
    return ecd_job_take_over(job, diag);
}

static ecd_status check_complete(const decompression *d, ecd_diag *diag)
{
    for (size_t i = 0; i < d->manifest.count; i++) {
        size_t k = 0;
        while (k < d->run.tree.count && strcmp(d->run.tree.entries[k].path, d->manifest.paths[i]))
            k++;
        if (k < d->run.tree.count)
            continue;
        (void)ecd_fail(diag, ECD_DATA, "is missing, expected it as %s lists it", ECD_MANIFEST_NAME);
        ecd_diag_file(diag, d->manifest.paths[i]);
        return ECD_DATA;
    }
    return ECD_OK;
}

static ecd_status plan(decompression *d, ecd_diag *diag)
{
    char *path = ecd_path_join(d->run.root, ECD_MANIFEST_NAME);
    ecd_status status = path ? ECD_OK : ecd_fail_memory(diag, 1024, "a path");
    if (!status && !d->run.single)
        status = ecd_manifest_read(path, &d->manifest, diag);
    if (!status)
        status = check_complete(d, diag);
    for (size_t i = 0; !status && i < d->run.tree.count; i++) {
        const ecd_tree_entry *entry = &d->run.tree.entries[i];
        if (entry->folder)
            status = ecd_run_folder(&d->run, entry, diag);
        else if (strcmp(entry->path, ECD_MANIFEST_NAME) &&
                 (!ecd_publish_is_pattern_file(entry->path) || ecd_manifest_find(&d->manifest, entry->path)))
            status = add_job(d, entry, diag);
    }
    free(path);
    return status ? status : ecd_partial_clean(&d->run.partial, diag);
}

ecd_status ecd_decompress(const char *source, const char *target, const ecd_compress_options *options,
                          ecd_work_report *report, ecd_diag *diag)
{
    decompression d = {0};
    ecd_status status = ecd_run_begin(&d.run, "decompress 1", source, target, options, report, diag);
    if (!status && !d.run.complete) {
        status = plan(&d, diag);
        if (!status)
            status = ecd_work_run(&d.run.work, diag);
        if (!status)
            status = ecd_run_commit(&d.run, diag);
    }
    ecd_run_end(&d.run, status);
    ecd_manifest_free(&d.manifest);
    return status;
}
