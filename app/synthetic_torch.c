// A torch file as torch.save(module.state_dict(), path) writes it: a zip archive with stored entries, NAME/data.pkl (a
// pickle of protocol 2) and NAME/data/I, the storages. Tensors are drawn while libzip writes them.
// Source: torch/serialization.py (_save), caffe2/serialize/inline_container.cc (the padding of entries).
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "app/synthetic_internal.h"

enum {
    FOLDER_ROOM = 64,
    ALIGNMENT = 64,         // of a storage's bytes in the file
    LOCAL_HEADER = 30,      // bytes before an entry's name
    EXTRA_HEADER = 4,       // of an extra field
    PADDING_FIELD = 0x4246, // "FB"
    CHUNK = 4096,           // floats drawn at once
};

typedef struct storage {
    struct archive *archive;
    const ecd_synthetic_tensor *tensor;
    ecd_synthetic_draw draw;
    uint64_t at, size_bytes;
    zip_error_t error;
} storage;

typedef struct archive {
    zip_t *zip;
    char folder[FOLDER_ROOM];
    uint64_t cursor; // where the next entry's local header begins
    const ecd_synthetic_table *table;
    const ecd_synthetic_watch *watch;
    bool stopped;
    storage *storages;
} archive;

// ---- the pickle

static void put_text(FILE *out, const char *text)
{
    uint32_t length = (uint32_t)strlen(text);
    fputc('X', out);
    fwrite(&length, sizeof length, 1, out);
    fputs(text, out);
}

// BININT1, BININT2, BININT or LONG1: the shortest that holds it, as Python's pickler chooses.
static void put_number(FILE *out, int64_t value)
{
    bool wide = value > INT32_MAX;
    fputs(wide ? "\x8a\x08" : value < 256 ? "K" : value < 65536 ? "M" : "J", out);
    fwrite(&value, wide ? 8 : value < 256 ? 1 : value < 65536 ? 2 : 4, 1, out);
}

static void put_numbers(FILE *out, const int64_t *values, int count)
{
    fputs(count > 3 ? "(" : "", out);
    for (int i = 0; i < count; i++)
        put_number(out, values[i]);
    fputs(count > 3 ? "t" : count == 3 ? "\x87" : count == 2 ? "\x86" : "\x85", out);
}

// A global, kept in memo slot `slot` at its first use and fetched from there later.
static void put_global(FILE *out, bool *known, int slot, const char *text)
{
    fprintf(out, *known ? "h" : "c%sq", text);
    fputc(slot, out);
    *known = true;
}

typedef struct globals {
    bool dict, rebuild, storage;
} globals;

static void put_dict(FILE *out, globals *g)
{
    put_global(out, &g->dict, 0, "collections\nOrderedDict\n");
    fputs(")R", out);
}

static void put_tensor(FILE *out, globals *g, const ecd_synthetic_tensor *t, size_t index)
{
    char key[24];
    int64_t strides[4], step = 1;
    for (int i = t->dims - 1; i >= 0; i--) {
        strides[i] = step;
        step *= t->shape[i];
    }
    put_text(out, t->name);
    put_global(out, &g->rebuild, 1, "torch._utils\n_rebuild_tensor_v2\n");
    fputs("((", out);
    put_text(out, "storage");
    put_global(out, &g->storage, 2, "torch\nFloatStorage\n");
    snprintf(key, sizeof key, "%zu", index);
    put_text(out, key);
    put_text(out, "cpu");
    put_number(out, step);
    fputs("tQ", out);
    put_number(out, 0);
    put_numbers(out, t->shape, t->dims);
    put_numbers(out, strides, t->dims);
    fputs("\x89", out);
    put_dict(out, g);
    fputs("tR", out);
}

static bool make_pickle(const ecd_synthetic_list *list, char **text, size_t *size)
{
    globals g = {0};
    FILE *out = open_memstream(text, size);
    if (!out)
        return false;
    fputs("\x80\x02", out);
    put_dict(out, &g);
    fputc('(', out);
    for (size_t i = 0; i < list->count; i++)
        put_tensor(out, &g, &list->tensors[i], i);
    fputs("u}", out); // and its attribute _metadata: {"": {"version": 1}}
    put_text(out, "_metadata");
    put_dict(out, &g);
    put_text(out, "");
    fputc('}', out);
    put_text(out, "version");
    put_number(out, 1);
    fputs("sssb.", out);
    bool lost = ferror(out);
    return !fclose(out) && !lost;
}

// ---- the archive

static zip_int64_t read_storage(storage *s, void *data, zip_uint64_t length)
{
    float piece[CHUNK];
    uint64_t left = s->size_bytes - s->at, done = 0, size = length < left ? length : left;
    archive *a = s->archive;
    if (s->at % sizeof(float) || size % sizeof(float)) { // libzip asks for whole pages
        zip_error_set(&s->error, ZIP_ER_INVAL, 0);
        return -1;
    }
    while (done < size) {
        uint64_t bytes = size - done < sizeof piece ? size - done : sizeof piece;
        ecd_synthetic_draw_take(&s->draw, piece, bytes / sizeof(float));
        memcpy((char *)data + done, piece, bytes);
        done += bytes;
    }
    s->at += size;
    a->stopped = a->stopped || (a->watch->told && a->watch->told(a->watch->user, size));
    if (a->stopped) {
        zip_error_set(&s->error, ZIP_ER_CANCELLED, 0);
        return -1;
    }
    return (zip_int64_t)size;
}

static zip_int64_t source(void *context, void *data, zip_uint64_t length, zip_source_cmd_t command)
{
    storage *s = context;
    switch (command) {
    case ZIP_SOURCE_OPEN:
        s->at = 0;
        ecd_synthetic_draw_begin(&s->draw, s->archive->table, s->tensor);
        return 0;
    case ZIP_SOURCE_READ: return read_storage(s, data, length);
    case ZIP_SOURCE_STAT: {
        zip_stat_t *stat = data;
        zip_stat_init(stat);
        stat->size = s->size_bytes;
        stat->valid = ZIP_STAT_SIZE;
        return sizeof *stat;
    }
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&s->error, data, length);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE: return 0;
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT,
                                              ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, ZIP_SOURCE_SUPPORTS, -1);
    default: zip_error_set(&s->error, ZIP_ER_OPNOTSUPP, 0); return -1;
    }
}

// Adds a stored entry whose bytes begin at a multiple of ALIGNMENT, by an extra field before them. Takes `from` over.
static bool add(archive *a, const char *name, zip_source_t *from, uint64_t size)
{
    char path[FOLDER_ROOM + 32];
    zip_uint8_t padding[ALIGNMENT];
    snprintf(path, sizeof path, "%s/%s", a->folder, name);
    zip_int64_t index = from ? zip_file_add(a->zip, path, from, 0) : -1;
    if (index < 0) {
        zip_source_free(from);
        return false;
    }
    uint64_t start = a->cursor + LOCAL_HEADER + strlen(path) + EXTRA_HEADER;
    zip_uint16_t extra = (zip_uint16_t)((ALIGNMENT - start % ALIGNMENT) % ALIGNMENT);
    memset(padding, 'Z', sizeof padding);
    a->cursor = start + extra + size;
    return !zip_set_file_compression(a->zip, (zip_uint64_t)index, ZIP_CM_STORE, 0) &&
           !zip_file_set_mtime(a->zip, (zip_uint64_t)index, 315532800 + 86400, 0) && // the same bytes each time
           !zip_file_extra_field_set(a->zip, (zip_uint64_t)index, PADDING_FIELD, 0, padding, extra, ZIP_FL_LOCAL);
}

static bool add_all(archive *a, const ecd_synthetic_list *list, const char *pickle, size_t pickle_bytes)
{
    if (!add(a, "data.pkl", zip_source_buffer(a->zip, pickle, pickle_bytes, 0), pickle_bytes))
        return false;
    for (size_t i = 0; i < list->count; i++) {
        char name[32];
        storage *s = &a->storages[i];
        *s = (storage){.archive = a,
                       .tensor = &list->tensors[i],
                       .size_bytes = ecd_synthetic_elements(&list->tensors[i]) * sizeof(float)};
        zip_error_init(&s->error);
        snprintf(name, sizeof name, "data/%zu", i);
        if (!add(a, name, zip_source_function(a->zip, source, s), s->size_bytes))
            return false;
    }
    return add(a, "version", zip_source_buffer(a->zip, "3\n", 2, 0), 2);
}

// The archive's folder is the file's name without its ending, as torch does it.
static void name_folder(archive *a, const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    snprintf(a->folder, sizeof a->folder, "%.*s", (int)(sizeof a->folder - 1), name);
    char *dot = strrchr(a->folder, '.');
    if (dot && dot != a->folder)
        *dot = 0;
}

static ecd_status fail_zip(const archive *a, const char *path, ecd_diag *diag)
{
    if (a->stopped)
        return ecd_fail(diag, ECD_INTERRUPTED, "stopped on request");
    ecd_fail(diag, ECD_RESOURCE, "cannot write the archive: %.100s", a->zip ? zip_strerror(a->zip) : "no memory");
    ecd_diag_file(diag, path);
    return ECD_RESOURCE;
}

ecd_status ecd_synthetic_write_torch(const char *path, const ecd_synthetic_list *list, const ecd_synthetic_table *table,
                                     const ecd_synthetic_watch *watch, ecd_diag *diag)
{
    char *pickle = NULL;
    size_t pickle_bytes = 0;
    archive a = {.table = table, .watch = watch};
    ecd_status status = ECD_OK;
    a.storages = calloc(list->count + 1, sizeof *a.storages);
    if (list->no_memory || !a.storages || !make_pickle(list, &pickle, &pickle_bytes)) {
        status = ecd_fail_memory(diag, list->count * sizeof *a.storages, "a torch file");
        goto out;
    }
    name_folder(&a, path);
    a.zip = zip_open(path, ZIP_CREATE | ZIP_EXCL, NULL);
    if (!a.zip || !add_all(&a, list, pickle, pickle_bytes) || zip_close(a.zip)) {
        status = fail_zip(&a, path, diag);
        if (a.zip)
            zip_discard(a.zip);
    }
out:
    free(pickle);
    free(a.storages);
    return status;
}
