// Tensors that a file holds as ECF8 containers, and what its metadata says of them:
//   ecf8.shape.<name> = "a,b,c,d"   the shape, where the container's rows and columns do not say it
//   ecf8.alias.<name> = "<other>"   a tensor byte-identical with another one of the file and stored once
#include <stdlib.h>
#include <string.h>

#include "codec/ecf8.h"
#include "weights/published.h"

static const char shape_key[] = "ecf8.shape.", alias_key[] = "ecf8.alias.";

static ecd_dtype dtype_of(ecf8_dtype dtype)
{
    switch (dtype) {
    case ECF8_E4M3: return ECD_E4M3;
    case ECF8_E5M2: return ECD_E5M2;
    case ECF8_BF16: return ECD_BF16;
    case ECF8_F16: return ECD_F16;
    }
    return ECD_DTYPE_UNKNOWN;
}

static ecd_status open_container(ecd_tensor *tensor, ecd_diag *diag)
{
    ecf8_view view;
    ecf8_error error;
    if (ecf8_open(tensor->data, tensor->size_bytes, &view, &error)) {
        ecd_status status = ecd_tensor_fail(tensor, diag, "bad ECF8 container (%s), expected %s",
                                            ecf8_status_name(error.status), error.what);
        if (diag)
            diag->offset_bytes += error.offset_bytes;
        return status;
    }
    if (view.count > INT64_MAX / 8)
        return ecd_tensor_fail(tensor, diag, "an ECF8 container of %llu weights, expected fewer",
                               (unsigned long long)view.count);
    bool matrix = view.rows && view.cols;
    tensor->dtype = dtype_of(view.dtype);
    tensor->count = view.count;
    tensor->dims = matrix ? 2 : 1;
    tensor->shape[0] = (int64_t)(matrix ? view.rows : view.count);
    tensor->shape[1] = (int64_t)(matrix ? view.cols : 0);
    return ECD_OK;
}

// A note speaks of the file that it stands in and may use old names; NULL if that file has no such tensor.
static ecd_status find_noted(ecd_checkpoint *cp, const ecd_checkpoint_note *note, const char *name, ecd_tensor **out,
                             ecd_diag *diag)
{
    char *current = ecd_names_current(name);
    if (!current)
        return ecd_fail_memory(diag, strlen(name), "a tensor's name");
    const ecd_tensor *found = ecd_checkpoint_find(cp, current);
    free(current);
    if (!found || found->file != note->file) {
        ecd_status status = ecd_fail(
            diag, ECD_DATA, "metadata \"%.200s\" names tensor %.200s, expected one of this file", note->key, name);
        ecd_diag_file(diag, note->file->path);
        return status;
    }
    *out = &cp->tensors[found - cp->tensors];
    return ECD_OK;
}

static bool parse_shape(const char *text, ecd_tensor *shape)
{
    shape->dims = 0;
    while (shape->dims < ECD_MAX_DIMS) {
        size_t digits = strspn(text, "0123456789");
        if (digits < 1 || digits > 18)
            return false;
        shape->shape[shape->dims++] = strtoll(text, NULL, 10);
        text += digits;
        if (!*text)
            return true;
        if (*text++ != ',')
            return false;
    }
    return false;
}

static ecd_status apply_shape(ecd_checkpoint *cp, const ecd_checkpoint_note *note, ecd_diag *diag)
{
    ecd_tensor *tensor;
    uint64_t size;
    ecd_status status = find_noted(cp, note, note->key + sizeof shape_key - 1, &tensor, diag);
    if (status)
        return status;
    if (tensor->encoding == ECD_ENCODING_RAW)
        return ecd_tensor_fail(tensor, diag, "metadata gives the shape of a raw tensor, expected an ECF8 one");
    ecd_tensor shaped = *tensor;
    if (!parse_shape(note->value, &shaped) || !ecd_tensor_measure(&shaped, &size) || shaped.count != tensor->count)
        return ecd_tensor_fail(tensor, diag, "metadata gives shape \"%.60s\", expected up to 8 sizes with product %llu",
                               note->value, (unsigned long long)tensor->count);
    shaped.flat = false;
    *tensor = shaped;
    return ECD_OK;
}

// The index covers the stored tensors until all aliases stand: an alias names a stored tensor, never another alias.
static ecd_status apply_alias(ecd_checkpoint *cp, size_t stored, const ecd_checkpoint_note *note, ecd_diag *diag)
{
    ecd_tensor *target;
    size_t count = cp->count;
    cp->count = stored;
    ecd_status status = find_noted(cp, note, note->value, &target, diag);
    cp->count = count;
    if (status)
        return status;
    char *name = ecd_names_current(note->key + sizeof alias_key - 1);
    if (!name)
        return ecd_fail_memory(diag, strlen(note->key), "a tensor's name");
    ecd_tensor twin = *target; // adding may move the list
    status = ecd_checkpoint_add(cp, name, strlen(name), &twin, diag);
    free(name);
    return status;
}

static bool starts_with(const char *text, const char *start)
{
    return !strncmp(text, start, strlen(start));
}

ecd_status ecd_ecf8_resolve(ecd_checkpoint *cp, ecd_diag *diag)
{
    ecd_status status = ecd_published_resolve(cp, diag);
    size_t aliases = 0, stored = cp->count;
    for (size_t i = 0; i < stored && !status; i++)
        if (cp->tensors[i].encoding == ECD_ENCODING_ECF8)
            status = open_container(&cp->tensors[i], diag);
    for (size_t i = 0; i < cp->note_count && !status; i++)
        if (starts_with(cp->notes[i].key, shape_key))
            status = apply_shape(cp, &cp->notes[i], diag);
    for (size_t i = 0; i < cp->note_count && !status; i++) {
        if (!starts_with(cp->notes[i].key, alias_key))
            continue;
        status = apply_alias(cp, stored, &cp->notes[i], diag);
        aliases++;
    }
    return status || !aliases ? status : ecd_checkpoint_index(cp, diag);
}
