// The zip archive of a torch file, read by libzip out of the mapping. Stored entries are borrowed from the mapping.
//
// libzip does not tell where an entry's bytes lie. It reads the archive through a source of our own, though, which
// notes the place of each read: the first byte of a stored entry comes from the place that is wanted.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zip.h>

#include "weights/torch_internal.h"

enum { NAME_BYTES = 512, DEFLATE_MAX_RATIO = 1032, MAX_ENTRIES = 1 << 20 };

struct ecd_torch_zip {
    ecd_checkpoint *cp;
    const ecd_file *file;
    zip_t *archive;
    uint64_t at, last_read; // of the source
    zip_error_t error;
    char folder[NAME_BYTES]; // with its slash, or empty
    ecd_torch_entry *seen;   // by entry: what was opened already, so that nothing is inflated twice
    uint64_t entries;
    uint64_t inflated_from; // compressed bytes of all entries inflated so far
};

static zip_int64_t read_mapping(ecd_torch_zip *zip, void *data, zip_uint64_t length)
{
    uint64_t left = zip->file->size_bytes - zip->at, size = length < left ? length : left;
    zip->last_read = zip->at;
    if (size)
        memcpy(data, zip->file->data + zip->at, size);
    zip->at += size;
    return (zip_int64_t)size;
}

static zip_int64_t source(void *context, void *data, zip_uint64_t length, zip_source_cmd_t command)
{
    ecd_torch_zip *zip = context;
    switch (command) {
    case ZIP_SOURCE_OPEN: zip->at = 0; return 0;
    case ZIP_SOURCE_READ: return read_mapping(zip, data, length);
    case ZIP_SOURCE_SEEK: {
        zip_int64_t to = zip_source_seek_compute_offset(zip->at, zip->file->size_bytes, data, length, &zip->error);
        if (to < 0)
            return -1;
        zip->at = (uint64_t)to;
        return 0;
    }
    case ZIP_SOURCE_TELL: return (zip_int64_t)zip->at;
    case ZIP_SOURCE_STAT: {
        zip_stat_t *stat = data;
        zip_stat_init(stat);
        stat->size = zip->file->size_bytes;
        stat->valid = ZIP_STAT_SIZE;
        return sizeof *stat;
    }
    case ZIP_SOURCE_ERROR: return zip_error_to_data(&zip->error, data, length);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE: return 0;
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT,
                                              ZIP_SOURCE_ERROR, ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL,
                                              ZIP_SOURCE_SUPPORTS, -1);
    default: zip_error_set(&zip->error, ZIP_ER_OPNOTSUPP, 0); return -1;
    }
}

static ecd_status fail_file(const ecd_torch_zip *zip, ecd_diag *diag)
{
    ecd_diag_file(diag, zip->file->path);
    return ECD_DATA;
}

static ecd_status open_archive(ecd_torch_zip *zip, ecd_diag *diag)
{
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *from = zip_source_function_create(source, zip, &error);
    if (from) {
        zip->archive = zip_open_from_source(from, ZIP_RDONLY, &error);
        if (!zip->archive)
            zip_source_free(from);
    }
    ecd_status status = ECD_OK;
    if (!zip->archive && zip_error_code_zip(&error) == ZIP_ER_MEMORY) {
        status = ecd_fail_memory(diag, zip->file->size_bytes, "a zip archive");
    } else if (!zip->archive) {
        ecd_fail(diag, ECD_DATA, "no zip archive (%.80s), expected a file that torch.save (1.6 or later) has written",
                 zip_error_strerror(&error));
        status = fail_file(zip, diag);
    }
    zip_error_fini(&error);
    return status;
}

static ecd_status find_folder(ecd_torch_zip *zip, ecd_diag *diag)
{
    static const char pickle[] = "data.pkl";
    for (uint64_t i = 0; i < zip->entries; i++) {
        const char *name = zip_get_name(zip->archive, i, ZIP_FL_ENC_RAW);
        size_t length = name ? strlen(name) : 0, tail = sizeof pickle - 1;
        if (length < tail || length >= NAME_BYTES / 2 || strcmp(name + length - tail, pickle))
            continue;
        if (length > tail && name[length - tail - 1] != '/')
            continue;
        memcpy(zip->folder, name, length - tail);
        return ECD_OK;
    }
    ecd_fail(diag, ECD_DATA, "no data.pkl in the archive, expected a file that torch.save has written");
    return fail_file(zip, diag);
}

ecd_status ecd_torch_zip_open(ecd_checkpoint *cp, const ecd_file *file, ecd_torch_zip **out, ecd_diag *diag)
{
    ecd_torch_zip *zip = calloc(1, sizeof *zip);
    if (!zip)
        return ecd_fail_memory(diag, sizeof *zip, "a zip archive");
    zip->cp = cp;
    zip->file = file;
    zip_error_init(&zip->error);
    ecd_status status = open_archive(zip, diag);
    if (!status) {
        zip_int64_t entries = zip_get_num_entries(zip->archive, 0);
        zip->entries = entries > 0 ? (uint64_t)entries : 0;
        if (zip->entries > MAX_ENTRIES) {
            ecd_fail(diag, ECD_DATA, "%llu entries in the archive, expected at most %d",
                     (unsigned long long)zip->entries, MAX_ENTRIES);
            status = fail_file(zip, diag);
        }
    }
    if (!status) {
        zip->seen = calloc(zip->entries + 1, sizeof *zip->seen);
        status = zip->seen ? find_folder(zip, diag)
                           : ecd_fail_memory(diag, (zip->entries + 1) * sizeof *zip->seen, "a list of zip entries");
    }
    if (status) {
        ecd_torch_zip_close(zip);
        return status;
    }
    *out = zip;
    return ECD_OK;
}

void ecd_torch_zip_close(ecd_torch_zip *zip)
{
    if (!zip)
        return;
    if (zip->archive)
        zip_discard(zip->archive);
    zip_error_fini(&zip->error);
    free(zip->seen);
    free(zip);
}

static ecd_status fail_entry(const ecd_torch_zip *zip, const char *name, const char *what, ecd_diag *diag)
{
    ecd_fail(diag, ECD_DATA, "archive entry %.100s: %s", name, what);
    return fail_file(zip, diag);
}

// Reads an open stored entry to its end, where libzip compares the checksum.
static bool verify(zip_file_t *entry)
{
    char buffer[16384];
    zip_int64_t got;
    do
        got = zip_fread(entry, buffer, sizeof buffer);
    while (got > 0);
    return got == 0;
}

static ecd_status borrow(ecd_torch_zip *zip, zip_file_t *entry, const zip_stat_t *stat, bool whole,
                         ecd_torch_entry *out, ecd_diag *diag)
{
    static const uint8_t empty;
    char first;
    if (stat->comp_size != stat->size)
        return fail_entry(zip, stat->name, "two sizes of a stored entry, expected equal ones", diag);
    out->size_bytes = stat->size;
    out->data = &empty;
    if (!stat->size)
        return ECD_OK;
    if (zip_fread(entry, &first, 1) != 1)
        return fail_entry(zip, stat->name, "cannot be read, expected its bytes in the archive", diag);
    out->offset_bytes = zip->last_read;
    if (out->offset_bytes > zip->file->size_bytes || stat->size > zip->file->size_bytes - out->offset_bytes ||
        zip->file->data[out->offset_bytes] != (uint8_t)first)
        return fail_entry(zip, stat->name, "leads out of the file, expected its bytes in it", diag);
    out->data = zip->file->data + out->offset_bytes;
    if (whole && !verify(entry))
        return fail_entry(zip, stat->name, "wrong checksum, expected the one that the archive states", diag);
    return ECD_OK;
}

static ecd_status inflate_entry(ecd_torch_zip *zip, zip_file_t *entry, const zip_stat_t *stat, ecd_torch_entry *out,
                                ecd_diag *diag)
{
    char extra;
    if (stat->comp_size > zip->file->size_bytes || stat->size / DEFLATE_MAX_RATIO > stat->comp_size)
        return fail_entry(zip, stat->name, "impossible sizes, expected those of a deflated entry", diag);
    // Entries that share their bytes would let a small file take any amount of memory.
    zip->inflated_from += stat->comp_size;
    if (zip->inflated_from > zip->file->size_bytes)
        return fail_entry(zip, stat->name, "overlaps other entries, expected one of its own bytes", diag);
    uint8_t *buffer = malloc(stat->size + 1);
    if (!buffer)
        return ecd_fail_memory(diag, stat->size, "a deflated entry");
    uint64_t done = 0;
    zip_int64_t got = 1;
    while (done < stat->size && (got = zip_fread(entry, buffer + done, stat->size - done)) > 0)
        done += (uint64_t)got;
    if (got < 0 || done < stat->size || zip_fread(entry, &extra, 1) != 0) {
        free(buffer);
        return fail_entry(zip, stat->name, "wrong size or checksum, expected those that the archive states", diag);
    }
    out->offset_bytes = zip->last_read; // near it; only messages use it
    out->size_bytes = stat->size;
    out->data = buffer;
    out->inflated = true;
    return ecd_checkpoint_keep(zip->cp, buffer, diag);
}

static ecd_status open_entry(ecd_torch_zip *zip, uint64_t index, const zip_stat_t *stat, bool whole,
                             ecd_torch_entry *out, ecd_diag *diag)
{
    if (stat->encryption_method != ZIP_EM_NONE ||
        (stat->comp_method != ZIP_CM_STORE && stat->comp_method != ZIP_CM_DEFLATE))
        return fail_entry(zip, stat->name, "unknown compression, expected stored or deflated", diag);
    zip_file_t *entry = zip_fopen_index(zip->archive, index, 0);
    if (!entry)
        return fail_entry(zip, stat->name, "cannot be read, expected its bytes in the archive", diag);
    ecd_status status = stat->comp_method == ZIP_CM_STORE ? borrow(zip, entry, stat, whole, out, diag)
                                                          : inflate_entry(zip, entry, stat, out, diag);
    zip_fclose(entry);
    return status;
}

ecd_status ecd_torch_zip_entry(ecd_torch_zip *zip, const char *name, bool whole, bool optional, ecd_torch_entry *out,
                               ecd_diag *diag)
{
    char path[NAME_BYTES];
    zip_stat_t stat;
    const zip_uint64_t needed = ZIP_STAT_NAME | ZIP_STAT_INDEX | ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE |
                                ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    *out = (ecd_torch_entry){0};
    int length = snprintf(path, sizeof path, "%s%s", zip->folder, name);
    zip_int64_t index = length > 0 && length < NAME_BYTES ? zip_name_locate(zip->archive, path, ZIP_FL_ENC_RAW) : -1;
    if (index < 0)
        return optional ? ECD_OK : fail_entry(zip, name, "missing, expected it because the pickle names it", diag);
    ecd_torch_entry *seen = &zip->seen[index];
    if (!seen->data) {
        zip_stat_init(&stat);
        if (zip_stat_index(zip->archive, (zip_uint64_t)index, 0, &stat) || (stat.valid & needed) != needed)
            return fail_entry(zip, name, "cannot be read, expected its sizes in the archive", diag);
        ecd_status status = open_entry(zip, (uint64_t)index, &stat, whole, seen, diag);
        if (status) {
            *seen = (ecd_torch_entry){0};
            return status;
        }
    }
    *out = *seen;
    return ECD_OK;
}
