// The original files again.
#define _GNU_SOURCE
#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "weights/compress_internal.h"
#include "weights/json.h"
#include "weights/stream.h"

enum { CONFIG_MAX_BYTES = 16 << 20 };

// A tensor of the file to write: what its header says of it.
typedef struct part {
    const char *name;
    uint64_t begin, end;
} part;

static int compare_parts(const void *a, const void *b)
{
    const part *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    return (x->end > y->end) - (x->end < y->end);
}

static const char *note_value(const ecd_checkpoint *cp, const char *key)
{
    for (size_t i = 0; i < cp->note_count; i++)
        if (!strcmp(cp->notes[i].key, key))
            return cp->notes[i].value;
    return NULL;
}

static bool offset_of(const cJSON *value, uint64_t *out)
{
    if (!cJSON_IsNumber(value) || !(value->valuedouble >= 0 && value->valuedouble < 9007199254740992.0))
        return false;
    *out = (uint64_t)value->valuedouble;
    return true;
}

static ecd_status fail_header(const ecd_file *file, ecd_diag *diag)
{
    ecd_diag_file(diag, file->path);
    return diag ? diag->status : ECD_DATA;
}

static ecd_status read_parts(const ecd_file *file, const cJSON *header, part *parts, size_t *count, ecd_diag *diag)
{
    const cJSON *entry;
    *count = 0;
    cJSON_ArrayForEach(entry, header) {
        if (!strcmp(entry->string, "__metadata__"))
            continue;
        const cJSON *offsets = cJSON_GetObjectItemCaseSensitive(entry, "data_offsets");
        part *p = &parts[*count];
        p->name = entry->string;
        if (cJSON_GetArraySize(offsets) != 2 || !offset_of(offsets->child, &p->begin) ||
            !offset_of(offsets->child->next, &p->end)) {
            (void)ecd_fail(diag, ECD_DATA, "ecf8.header: bad data_offsets, expected two integers from 0 to 2^53 - 1");
            ecd_diag_tensor(diag, entry->string);
            fail_header(file, diag);
            return ECD_DATA;
        }
        ++*count;
    }
    qsort(parts, *count, sizeof *parts, compare_parts);
    return ECD_OK;
}

static ecd_status write_part(ecd_work *work, ecd_checkpoint *cp, const part *p, ecd_writer *writer, uint64_t *at,
                             ecd_diag *diag)
{
    char *current = ecd_names_current(p->name);
    const ecd_tensor *tensor = current ? ecd_checkpoint_find(cp, current) : NULL;
    ecd_tensor_stream stream;
    const uint8_t *data;
    uint64_t size;
    free(current);
    if (!tensor || p->begin != *at || p->end < p->begin ||
        p->end - p->begin != tensor->count * ecd_dtype_size(tensor->dtype)) {
        (void)ecd_fail(diag, ECD_DATA, "%s the tensor that ecf8.header lists at bytes %llu to %llu of the original",
                       tensor ? "its size or place is not that of" : "the file lacks", (unsigned long long)p->begin,
                       (unsigned long long)p->end);
        ecd_diag_tensor(diag, p->name);
        fail_header(cp->files[0], diag);
        return ECD_DATA;
    }
    *at = p->end;
    ecd_status status = ecd_tensor_stream_open(tensor, &stream, diag);
    while (!status && !(status = ecd_tensor_stream_next(&stream, &data, &size, diag)) && size)
        status = ecd_writer_write(writer, data, size, diag);
    ecd_tensor_stream_close(&stream);
    ecd_file_dont_need(tensor->file, tensor->offset_bytes, tensor->size_bytes);
    work->report->tensors++;
    work->report->tensors_coded += tensor->encoding == ECD_ENCODING_ECF8;
    return status ? status : ecd_work_step(work, tensor->size_bytes, diag);
}

static ecd_status write_original(ecd_work *work, ecd_checkpoint *cp, const char *text, const char *to, ecd_diag *diag)
{
    cJSON *header = NULL;
    part *parts = NULL;
    ecd_writer writer;
    size_t count = 0, length = strlen(text);
    uint8_t prefix[8];
    bool open = false;
    uint64_t at = 0;
    ecd_status status = ecd_json_parse(text, length, 0, &header, diag);
    if (status) {
        fail_header(cp->files[0], diag);
        return status;
    }
    parts = calloc((size_t)cJSON_GetArraySize(header) + 1, sizeof *parts);
    status = parts ? read_parts(cp->files[0], header, parts, &count, diag) : ecd_fail_memory(diag, length, "a header");
    if (!status)
        open = !(status = ecd_writer_open(to, &writer, diag));
    for (int i = 0; i < 8; i++)
        prefix[i] = (uint8_t)((uint64_t)length >> (8 * i));
    if (!status)
        status = ecd_writer_write(&writer, prefix, sizeof prefix, diag);
    if (!status)
        status = ecd_writer_write(&writer, text, length, diag);
    for (size_t i = 0; !status && i < count; i++)
        status = write_part(work, cp, &parts[i], &writer, &at, diag);
    if (open && status) {
        ecd_writer_abandon(&writer);
    } else if (open) {
        work->report->written_bytes += writer.written_bytes;
        work->report->files_coded++;
        status = ecd_writer_commit(&writer, diag);
    }
    free(parts);
    cJSON_Delete(header);
    return status;
}

ecd_status ecd_decompress_file(ecd_work *work, const char *from, const char *to, ecd_diag *diag)
{
    ecd_checkpoint *cp = NULL;
    ecd_status status = ecd_tensor_file_resolved(from, &cp, diag);
    if (status)
        return status;
    const char *text = note_value(cp, "ecf8.header");
    if (text) {
        status = write_original(work, cp, text, to, diag);
    } else {
        work->report->written_bytes += cp->files[0]->size_bytes;
        status = ecd_copy_file(from, to, diag);
    }
    ecd_checkpoint_close(cp);
    return status;
}

// A config or, with `index`, the index of a sharded model.
static ecd_status write_unmarked(ecd_work *work, const char *from, const char *to, bool index, uint64_t size,
                                 ecd_diag *diag)
{
    char *text = NULL, *plain = NULL;
    ecd_status status = ecd_file_read_text(from, index ? ECD_JSON_MAX_BYTES : CONFIG_MAX_BYTES, &text, NULL, diag);
    if (!status)
        status = index ? ecd_index_unmark(text, &plain, diag) : ecd_config_unmark(text, &plain, diag);
    if (!status) {
        work->report->written_bytes += plain ? strlen(plain) : size;
        status = plain ? ecd_file_write(to, plain, strlen(plain), diag) : ecd_copy_file(from, to, diag);
    }
    free(text);
    free(plain);
    return status;
}

static ecd_status decompress_entry(ecd_work *work, const ecd_tree_entry *entry, const char *from, const char *to,
                                   ecd_diag *diag)
{
    if (entry->folder)
        return mkdir(to, 0777) ? ecd_fail_errno(diag, to, "create") : ECD_OK;
    uint64_t before = work->progress.done_bytes;
    work->progress.file = entry->path;
    work->limit_bytes = before + entry->size_bytes;
    work->report->files++;
    ecd_status status;
    if (ecd_ends_with(entry->path, ".safetensors")) {
        status = ecd_decompress_file(work, from, to, diag);
    } else if (!strcmp(strrchr(from, '/') + 1, "config.json")) {
        status = write_unmarked(work, from, to, false, entry->size_bytes, diag);
    } else if (ecd_ends_with(entry->path, ".safetensors.index.json")) {
        status = write_unmarked(work, from, to, true, entry->size_bytes, diag);
    } else {
        work->report->written_bytes += entry->size_bytes;
        status = ecd_copy_file(from, to, diag);
    }
    uint64_t told = work->progress.done_bytes - before;
    return status ? status : ecd_work_step(work, entry->size_bytes > told ? entry->size_bytes - told : 0, diag);
}

ecd_status ecd_decompress(const char *source, const char *target, const ecd_compress_options *options,
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
    for (size_t i = 0; !status && i < tree.count; i++) {
        char *from = ecd_path_join(source, tree.entries[i].path), *to = ecd_path_join(temporary, tree.entries[i].path);
        status = from && to ? decompress_entry(&work, &tree.entries[i], from, to, diag)
                            : ecd_fail_memory(diag, strlen(source), "a path");
        free(from);
        free(to);
    }
    if (status)
        ecd_new_folder_abandon(temporary);
    else
        status = ecd_new_folder_commit(temporary, target, diag);
    ecd_tree_free(&tree);
    return status;
}
