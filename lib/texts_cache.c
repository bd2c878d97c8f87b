// Outputs of text encoders, kept in a folder: a safetensors file each, "output" (F32) and "sha256" of its bytes (hexadecimal,
// U8). The file's name is a hash of all that the output depends on.
#define _GNU_SOURCE
#include "lib/texts_internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "weights/component.h"
#include "weights/tree.h"
#include "weights/writer.h"

enum { SAMPLES = 64, SAMPLE_BYTES = 4096, HEADER_BYTES = 1024 };

// The file's first bytes, which hold a checkpoint's header, and SAMPLES stretches of the rest: all of a small file.
static ecd_status print_content(const char *path, FILE *out, ecd_diag *diag)
{
    ecd_file file;
    ecd_status status = ecd_file_map(path, &file, diag);
    if (status)
        return status;
    uint64_t step = file.size_bytes / SAMPLES + 1;
    if (step < SAMPLE_BYTES)
        step = SAMPLE_BYTES;
    for (uint64_t at = 0; at < file.size_bytes; at += step) {
        uint64_t left = file.size_bytes - at;
        fwrite(file.data + at, 1, left < SAMPLE_BYTES ? left : SAMPLE_BYTES, out);
    }
    ecd_file_unmap(&file);
    return ECD_OK;
}

// A single file that weights may come from, whatever of it is the component's. `path` may be NULL.
static ecd_status print_file(const char *path, FILE *out, ecd_diag *diag)
{
    ecd_tree tree;
    char *root = NULL;
    if (!path)
        return ECD_OK;
    ecd_status status = ecd_tree_single(path, &root, &tree, diag);
    if (status)
        return status;
    fprintf(out, "%s %" PRIu64 " %" PRId64 "\n", path, tree.entries[0].size_bytes, tree.entries[0].changed_ns);
    status = print_content(path, out, diag);
    ecd_tree_free(&tree);
    free(root);
    return status;
}

static ecd_status print_entry(const char *folder, const ecd_tree_entry *entry, FILE *out, ecd_diag *diag)
{
    if (entry->folder)
        return ECD_OK;
    char *path = ecd_path_join(folder, entry->path);
    if (!path)
        return ecd_fail_memory(diag, 0, "a path");
    fprintf(out, "%s %" PRIu64 " %" PRId64 "\n", entry->path, entry->size_bytes, entry->changed_ns);
    ecd_status status = print_content(path, out, diag);
    free(path);
    return status;
}

ecd_status ecd_texts_cache_print(const ecd_model_folder *folder, const char *component, const char *path,
                                 char print[ECD_SHA256_TEXT], ecd_diag *diag)
{
    ecd_tree tree = {0};
    char *beside = folder->file ? ecd_component_beside(folder->file, component) : NULL;
    char *text = NULL;
    size_t size = 0;
    ecd_status status = ecd_tree_list(path, &tree, diag);
    FILE *out = status ? NULL : open_memstream(&text, &size);
    for (size_t i = 0; out && !status && i < tree.count; i++)
        status = print_entry(path, &tree.entries[i], out, diag);
    if (out && !status)
        status = print_file(folder->file, out, diag);
    if (out && !status)
        status = print_file(beside, out, diag);
    bool lost = !out || ferror(out);
    lost = (out && fclose(out)) || lost;
    if (!status && lost)
        status = ecd_fail_memory(diag, size, "a list of files");
    if (!status)
        ecd_sha256(text, size, print);
    free(text);
    free(beside);
    ecd_tree_free(&tree);
    return status;
}

char *ecd_texts_cache_name(const char *cache, const ecd_text_part *part, const char print[ECD_SHA256_TEXT],
                           const ecd_backend *be, const int32_t *ids)
{
    char *text = NULL, *path = NULL, hash[ECD_SHA256_TEXT];
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return NULL;
    fprintf(out, "ecdit text 1\n%s\n%s\n%s %s %d\n%s\n%" PRId64 " tokens\n", print, part->class_name, be->name, be->detail,
            (int)be->compute, part->pooled ? "pooled" : "hidden", part->tokens);
    for (int64_t i = 0; i < part->tokens; i++)
        fprintf(out, "%" PRId32 "\n", ids[i]);
    bool lost = ferror(out);
    lost = fclose(out) || lost;
    if (!lost) {
        ecd_sha256(text, size, hash);
        if (asprintf(&path, "%s/%s-%s.safetensors", cache, part->encoder_name, hash) < 0)
            path = NULL;
    }
    free(text);
    return path;
}

bool ecd_texts_cache_load(const char *file, const ecd_text_part *part, float *out, bool *damaged)
{
    ecd_checkpoint *cp = NULL;
    char hash[ECD_SHA256_TEXT];
    bool same = false;
    if (!ecd_path_exists(file))
        return false;
    if (!ecd_checkpoint_open(file, &cp, NULL)) {
        const ecd_tensor *output = ecd_checkpoint_find(cp, "output"), *kept = ecd_checkpoint_find(cp, "sha256");
        if (output && output->dtype == ECD_F32 && output->count == part->floats && kept && kept->dtype == ECD_U8 &&
            kept->count == ECD_SHA256_TEXT - 1) {
            memcpy(out, output->data, part->floats * sizeof *out);
            ecd_sha256(out, part->floats * sizeof *out, hash);
            same = !memcmp(hash, kept->data, ECD_SHA256_TEXT - 1);
        }
    }
    ecd_checkpoint_close(cp);
    *damaged = !same;
    return same;
}

ecd_status ecd_texts_cache_save(const char *file, const ecd_text_part *part, const float *output, ecd_diag *diag)
{
    ecd_tensors_writer writer;
    char hash[ECD_SHA256_TEXT];
    const int64_t shape[] = {(int64_t)part->floats / part->info.width, part->info.width}, length = ECD_SHA256_TEXT - 1;
    uint64_t bytes = part->floats * sizeof *output;
    ecd_sha256(output, bytes, hash);
    ecd_status status = ecd_tensors_writer_open(file, HEADER_BYTES, NULL, &writer, diag);
    if (status)
        return status;
    status = ecd_tensors_writer_add(&writer, "output", ECD_F32, shape, 2, output, bytes, diag);
    if (!status)
        status = ecd_tensors_writer_add(&writer, "sha256", ECD_U8, &length, 1, hash, ECD_SHA256_TEXT - 1, diag);
    if (!status)
        return ecd_tensors_writer_commit(&writer, diag);
    ecd_tensors_writer_abandon(&writer);
    return status;
}
