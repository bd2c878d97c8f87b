// A folder into its compressed form.
#define _GNU_SOURCE
#include "weights/compress.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "weights/compress_internal.h"
#include "weights/json.h"
#include "weights/publish.h"

ecd_status ecd_tensor_file_open(const char *path, bool torch, ecd_checkpoint **out, ecd_diag *diag)
{
    if (torch) // there are no original bytes to give back: current names will do
        return ecd_checkpoint_open(path, out, diag);
    ecd_checkpoint *cp = calloc(1, sizeof *cp);
    *out = NULL;
    if (!cp || !(cp->files = calloc(1, sizeof *cp->files)) || !(cp->files[0] = calloc(1, sizeof **cp->files))) {
        ecd_checkpoint_close(cp);
        return ecd_fail_memory(diag, sizeof *cp, "a tensor file");
    }
    cp->file_count = 1;
    cp->keep_unknown = true;
    ecd_status status = ecd_file_map(path, cp->files[0], diag);
    if (!status)
        status = ecd_safetensors_list(cp, cp->files[0], diag);
    if (status)
        ecd_checkpoint_close(cp);
    else
        *out = cp;
    return status;
}

const char *ecd_note_value(const ecd_checkpoint *cp, const char *key)
{
    for (size_t i = 0; i < cp->note_count; i++)
        if (!strncmp(cp->notes[i].key, "ecf8.", 5) && !strcmp(cp->notes[i].key + 5, key))
            return cp->notes[i].value;
    return NULL;
}

ecd_status ecd_tensor_file_resolved(const char *path, ecd_checkpoint **out, ecd_diag *diag)
{
    bool torch = ecd_torch_named(path);
    ecd_status status = ecd_tensor_file_open(path, torch, out, diag);
    if (status || torch) // which comes resolved
        return status;
    status = ecd_names_update(*out, diag);
    if (!status)
        status = ecd_checkpoint_index(*out, diag);
    if (!status)
        status = ecd_ecf8_resolve(*out, diag);
    if (status) {
        ecd_checkpoint_close(*out);
        *out = NULL;
    }
    return status;
}

// The name up to its last '/', and what follows it.
static size_t folder_length(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) : 0;
}

static bool in_same_folder(const char *a, const char *b)
{
    size_t length = folder_length(a);
    return length == folder_length(b) && !memcmp(a, b, length);
}

bool ecd_tree_weights_are_torch(const ecd_tree *tree, const char *path)
{
    static const char *const bases[] = {"diffusion_pytorch_model", "pytorch_model", "model"};
    const char *name = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    bool named = false;
    for (size_t i = 0; i < sizeof bases / sizeof *bases; i++) {
        size_t length = strlen(bases[i]);
        named |= !strncmp(name, bases[i], length) && (name[length] == '.' || name[length] == '-');
    }
    if (!named || !ecd_ends_with(path, ".bin"))
        return false;
    for (size_t i = 0; i < tree->count; i++)
        if (in_same_folder(tree->entries[i].path, path) && ecd_ends_with(tree->entries[i].path, ".safetensors"))
            return false;
    return true;
}

static bool holds_weights(const ecd_tree *tree, const char *config)
{
    for (size_t i = 0; i < tree->count; i++) {
        const char *path = tree->entries[i].path;
        if (in_same_folder(path, config) &&
            (ecd_ends_with(path, ".safetensors") || ecd_tree_weights_are_torch(tree, path)))
            return true;
    }
    return false;
}

// An index of torch files that become safetensors files.
static bool is_torch_index(const ecd_tree *tree, const char *index)
{
    for (size_t i = 0; ecd_ends_with(index, ".bin.index.json") && i < tree->count; i++)
        if (in_same_folder(tree->entries[i].path, index) && ecd_tree_weights_are_torch(tree, tree->entries[i].path))
            return true;
    return false;
}

bool ecd_is_transformer(const char *root, const char *path)
{
    char *config = NULL;
    cJSON *json = NULL;
    bool found = false;
    size_t length = folder_length(path);
    if (asprintf(&config, "%s/%.*s%sconfig.json", root, (int)length, path, length ? "/" : "") < 0)
        return false;
    if (!ecd_json_read(config, &json, NULL)) {
        const cJSON *name = cJSON_GetObjectItemCaseSensitive(json, "_class_name");
        found = cJSON_IsString(name) && strstr(name->valuestring, "Transformer2DModel");
    }
    cJSON_Delete(json);
    free(config);
    return found;
}

// What a file becomes, and under which name; *to has room for a longer ending.
static const ecd_job_calls *calls_of(const ecd_tree *tree, const ecd_tree_entry *entry, bool single, char *to,
                                     bool *torch)
{
    const char *name = strrchr(entry->path, '/') ? strrchr(entry->path, '/') + 1 : entry->path;
    *torch = single ? ecd_torch_named(entry->path) : ecd_tree_weights_are_torch(tree, entry->path);
    if (*torch && to && !single)
        strcpy(to + strlen(to) - strlen(".bin"), ".safetensors");
    if (*torch || ecd_ends_with(entry->path, ".safetensors"))
        return &ecd_compress_calls;
    if (!strcmp(name, "config.json") && holds_weights(tree, entry->path))
        return &ecd_config_calls;
    return &ecd_copy_calls;
}

typedef struct compression {
    ecd_run run;
    ecd_publish_plan publish;
    ecd_manifest manifest;
} compression;

static char *target_path(const compression *c, const char *path)
{
    char *to = NULL;
    if (asprintf(&to, "%s/%s%*s", c->run.partial.folder, path, 12, "") < 0)
        return NULL;
    to[strlen(to) - 12] = 0; // room for a longer ending
    return to;
}

static bool is_own_index(const ecd_tree *tree, const char *path)
{
    return ecd_ends_with(path, ".safetensors.index.json") || is_torch_index(tree, path);
}

static const ecd_job_calls *published_calls(const compression *c, const ecd_job_calls *calls,
                                            const ecd_tree_entry *entry)
{
    if (calls == &ecd_compress_calls)
        return &ecd_publish_calls;
    bool marked = ecd_publish_codes_beside(&c->publish, entry->path);
    return calls == &ecd_config_calls && !marked ? &ecd_copy_calls : calls;
}

static ecd_status add_job(compression *c, const ecd_tree_entry *entry, ecd_diag *diag)
{
    char *from = entry->from ? strdup(entry->from) : ecd_path_join(c->run.root, entry->path);
    char *to = target_path(c, entry->path);
    bool torch;
    ecd_job *job;
    const ecd_job_calls *calls = calls_of(&c->run.tree, entry, c->run.single, to, &torch);
    if (c->run.work.publish)
        calls = published_calls(c, calls, entry);
    ecd_status status = ecd_work_add(&c->run.work, calls, entry, from, to, &job, diag);
    if (status)
        return status;
    job->torch = torch;
    job->part = entry->part;
    job->quantize = calls == &ecd_compress_calls && c->run.work.options->quantize_e4m3 && ecd_is_transformer(c->run.root, entry->path);
    return ecd_job_take_over(job, diag);
}

// Published ECF8 has its layers' names in files beside, and knows safetensors alone.
static ecd_status plan_published(compression *c, ecd_diag *diag)
{
    const ecd_compress_options *options = c->run.work.options;
    const char *why = c->run.single || options->config ? "a single file, expected a folder"
                      : options->quantize_e4m3 ? "to be rounded too, expected E4M3 weights: compress with --quantize, "
                                                 "decompress that, then write ECF8 0.2.0"
                                               : NULL;
    for (size_t i = 0; !why && i < c->run.tree.count; i++) {
        const char *path = c->run.tree.entries[i].path;
        if (ecd_tree_weights_are_torch(&c->run.tree, path))
            why = "torch weights, expected safetensors";
        if (ecd_publish_is_pattern_file(path))
            why = "published ECF8 already";
    }
    if (why) {
        (void)ecd_fail(diag, ECD_USAGE, "for ECF8 0.2.0: %s", why);
        ecd_diag_file(diag, c->run.root);
        return ECD_USAGE;
    }
    c->run.work.publish = &c->publish;
    return ecd_publish_plan_make(c->run.root, &c->run.tree, &c->publish, diag);
}

static bool is_published(const ecd_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        if (ecd_publish_is_pattern_file(tree->entries[i].path))
            return true;
    return false;
}

// Of a source in published ECF8 what compressing would write anew is left out.
static void leave_out_marks(ecd_tree *tree)
{
    size_t kept = 0;
    for (size_t i = 0; i < tree->count; i++) {
        ecd_tree_entry *entry = &tree->entries[i];
        if (ecd_publish_is_pattern_file(entry->path) || !strcmp(entry->path, ECD_MANIFEST_NAME))
            free(entry->path);
        else
            tree->entries[kept++] = *entry;
    }
    tree->count = kept;
}

static ecd_status plan(compression *c, ecd_diag *diag)
{
    ecd_status status = c->run.work.options->published ? plan_published(c, diag) : ECD_OK;
    c->run.work.expands = !status && !c->run.work.publish && !c->run.single && is_published(&c->run.tree);
    if (c->run.work.expands)
        leave_out_marks(&c->run.tree);
    for (size_t i = 0; !status && i < c->run.tree.count; i++) {
        const ecd_tree_entry *entry = &c->run.tree.entries[i];
        if (!strcmp(entry->path, ECD_MANIFEST_NAME)) {
            status = ecd_fail(diag, ECD_USAGE, "stands in the source, which is compressed already");
            ecd_diag_file(diag, entry->path);
        } else if (entry->folder) {
            status = ecd_run_folder(&c->run, entry, diag);
        } else if (c->run.single || !is_own_index(&c->run.tree, entry->path)) {
            status = add_job(c, entry, diag);
        }
    }
    return status ? status : ecd_partial_clean(&c->run.partial, diag);
}

// Indexes say what became of the tensor files, and so come after them.
static ecd_status write_index(compression *c, const ecd_tree_entry *entry, char sum[ECD_HASH_TEXT], ecd_diag *diag)
{
    char *from = ecd_path_join(c->run.root, entry->path), *to = target_path(c, entry->path);
    bool torch = is_torch_index(&c->run.tree, entry->path);
    ecd_status status = ECD_OK;
    if (!from || !to)
        status = ecd_fail_memory(diag, strlen(entry->path), "a path");
    if (!status && torch)
        strcpy(to + strlen(to) - strlen(".bin.index.json"), ".safetensors.index.json");
    if (!status)
        status = ecd_compress_index(&c->run.work, from, to, torch, sum, diag);
    c->run.work.report->files++;
    c->run.work.report->source_bytes += entry->size_bytes;
    free(from);
    free(to);
    return status;
}

static const ecd_job *job_of(const ecd_work *work, const ecd_tree_entry *entry)
{
    for (size_t i = 0; i < work->job_count; i++)
        if (work->jobs[i].entry == entry)
            return &work->jobs[i];
    return NULL;
}

static ecd_status write_rest(compression *c, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (size_t i = 0; !status && i < c->run.tree.count; i++) {
        const ecd_tree_entry *entry = &c->run.tree.entries[i];
        const ecd_job *job = entry->folder ? NULL : job_of(&c->run.work, entry);
        char sum[ECD_HASH_TEXT] = "";
        if (job)
            memcpy(sum, job->sha256, sizeof sum);
        else if (!entry->folder)
            status = write_index(c, entry, sum, diag);
        if (!status && *sum)
            status = ecd_manifest_add(&c->manifest, entry->path, sum, diag);
    }
    if (!status && c->run.work.publish)
        status = ecd_publish_write_patterns(&c->publish, c->run.partial.folder, c->run.work.report, diag);
    if (status || c->run.single)
        return status;
    char *path = ecd_path_join(c->run.partial.folder, ECD_MANIFEST_NAME);
    status = path ? ecd_manifest_write(&c->manifest, path, diag) : ecd_fail_memory(diag, 1024, "a path");
    free(path);
    return status;
}

ecd_status ecd_compress(const char *source, const char *target, const ecd_compress_options *options,
                        ecd_work_report *report, ecd_diag *diag)
{
    compression c = {0};
    ecd_status status = ecd_run_begin(&c.run, "compress 1", source, target, options, report, diag);
    if (!status && !c.run.complete) {
        status = plan(&c, diag);
        if (!status)
            status = ecd_work_run(&c.run.work, diag);
        if (!status)
            status = write_rest(&c, diag);
        if (!status)
            status = ecd_run_commit(&c.run, diag);
    }
    ecd_run_end(&c.run, status);
    ecd_manifest_free(&c.manifest);
    ecd_publish_plan_free(&c.publish);
    return status;
}
