// A folder into its compressed form.
#define _GNU_SOURCE
#include "weights/compress.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/process.h"
#include "weights/compress_internal.h"
#include "weights/json.h"

enum { CONFIG_MAX_BYTES = 16 << 20 };

void ecd_work_begin(ecd_work *work, const ecd_compress_options *options, ecd_work_report *report, const ecd_tree *tree)
{
    *report = (ecd_work_report){0};
    *work = (ecd_work){.options = options, .report = report, .start_ns = ecd_now_ns()};
    for (size_t i = 0; i < tree->count; i++)
        if (!tree->entries[i].folder)
            work->progress.total_bytes += tree->entries[i].size_bytes;
}

ecd_status ecd_work_step(ecd_work *work, uint64_t read, ecd_diag *diag)
{
    work->progress.done_bytes += read;
    if (work->progress.done_bytes > work->limit_bytes)
        work->progress.done_bytes = work->limit_bytes;
    work->progress.written_bytes = work->report->written_bytes;
    work->progress.elapsed_ns = ecd_now_ns() - work->start_ns;
    work->report->source_bytes = work->progress.done_bytes;
    work->report->elapsed_ns = work->progress.elapsed_ns;
    if (work->options->progress && work->options->progress(work->options->opaque, &work->progress))
        return ecd_fail(diag, ECD_INTERRUPTED, "stopped on request");
    return ECD_OK;
}

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
    ecd_status status = ecd_file_map(path, cp->files[0], diag);
    if (!status)
        status = ecd_safetensors_list(cp, cp->files[0], diag);
    if (status)
        ecd_checkpoint_close(cp);
    else
        *out = cp;
    return status;
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

static bool is_index(const char *path)
{
    return ecd_ends_with(path, ".safetensors.index.json") || ecd_ends_with(path, ".bin.index.json");
}

// An index of torch files that become safetensors files.
static bool is_torch_index(const ecd_tree *tree, const char *index)
{
    for (size_t i = 0; ecd_ends_with(index, ".bin.index.json") && i < tree->count; i++)
        if (in_same_folder(tree->entries[i].path, index) && ecd_tree_weights_are_torch(tree, tree->entries[i].path))
            return true;
    return false;
}

// Does the config beside this file describe a diffusion transformer?
static bool is_transformer(const char *root, const char *path)
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

static ecd_status write_marked(const char *from, const char *to, uint64_t *written, ecd_diag *diag)
{
    char *text = NULL, *marked = NULL;
    ecd_status status = ecd_file_read_text(from, CONFIG_MAX_BYTES, &text, NULL, diag);
    if (!status && (status = ecd_config_mark(text, &marked, diag)))
        ecd_diag_file(diag, from);
    if (!status) {
        *written += strlen(marked);
        status = ecd_file_write(to, marked, strlen(marked), diag);
    }
    free(text);
    free(marked);
    return status;
}

static ecd_status compress_entry(ecd_work *work, const ecd_tree *tree, const ecd_tree_entry *entry, const char *from,
                                 char *to, ecd_diag *diag)
{
    bool torch = ecd_tree_weights_are_torch(tree, entry->path),
         tensors = torch || ecd_ends_with(entry->path, ".safetensors");
    const char *name = strrchr(from, '/') + 1;
    if (tensors) {
        char *root = strndup(from, strlen(from) - strlen(entry->path));
        if (!root)
            return ecd_fail_memory(diag, strlen(from), "a path");
        bool quantize = work->options->quantize_e4m3 && is_transformer(root, entry->path);
        free(root);
        if (torch)
            strcpy(to + strlen(to) - strlen(".bin"), ".safetensors"); // compress_one left room
        return ecd_compress_file(work, from, to, torch, quantize, diag);
    }
    if (is_index(name)) {
        bool renamed = is_torch_index(tree, entry->path);
        if (renamed)
            strcpy(to + strlen(to) - strlen(".bin.index.json"), ".safetensors.index.json");
        if (renamed || ecd_ends_with(name, ".safetensors.index.json"))
            return ecd_compress_index(work, from, to, renamed, diag);
    }
    if (!strcmp(name, "config.json") && holds_weights(tree, entry->path))
        return write_marked(from, to, &work->report->written_bytes, diag);
    work->report->written_bytes += entry->size_bytes;
    return ecd_copy_file(from, to, diag);
}

static ecd_status compress_one(ecd_work *work, const ecd_tree *tree, const ecd_tree_entry *entry, const char *source,
                               const char *target, ecd_diag *diag)
{
    char *from = ecd_path_join(source, entry->path), *to = NULL;
    ecd_status status = ECD_OK;
    if (!from || asprintf(&to, "%s/%s%*s", target, entry->path, 12, "") < 0) {
        free(from);
        return ecd_fail_memory(diag, strlen(entry->path), "a path");
    }
    to[strlen(to) - 12] = 0; // room for a longer ending
    if (entry->folder) {
        if (mkdir(to, 0777))
            status = ecd_fail_errno(diag, to, "create");
    } else {
        uint64_t before = work->progress.done_bytes;
        work->progress.file = entry->path;
        work->limit_bytes = before + entry->size_bytes;
        work->report->files++;
        status = compress_entry(work, tree, entry, from, to, diag);
        uint64_t told = work->progress.done_bytes - before;
        if (!status)
            status = ecd_work_step(work, entry->size_bytes > told ? entry->size_bytes - told : 0, diag);
    }
    free(from);
    free(to);
    return status;
}

ecd_status ecd_compress(const char *source, const char *target, const ecd_compress_options *options,
                        ecd_work_report *report, ecd_diag *diag)
{
    ecd_tree tree;
    ecd_work work;
    char *temporary = NULL;
    ecd_status status = ecd_tree_list(source, &tree, diag);
    if (status)
        return status;
    ecd_work_begin(&work, options, report, &tree);
    status = ecd_new_folder_begin(target, &temporary, diag);
    for (int indexes = 0; indexes < 2; indexes++) // which say what became of the tensor files
        for (size_t i = 0; !status && i < tree.count; i++)
            if (is_index(tree.entries[i].path) == (indexes != 0))
                status = compress_one(&work, &tree, &tree.entries[i], source, temporary, diag);
    ecd_work_end(&work);
    if (status)
        ecd_new_folder_abandon(temporary);
    else
        status = ecd_new_folder_commit(temporary, target, diag);
    ecd_tree_free(&tree);
    return status;
}
