// Tensors of a torch file: the dictionary that its pickle builds, each tensor checked against its storage.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/torch_internal.h"

enum { MAX_WRAPPERS = 4, MAX_NAME = 1024 };

typedef struct lister {
    ecd_checkpoint *cp;
    const ecd_file *file;
    ecd_torch_zip *zip;
    ecd_pickle pickle;
    ecd_diag *diag;
} lister;

static ecd_status check_byteorder(lister *l)
{
    ecd_torch_entry entry;
    ecd_status status = ecd_torch_zip_entry(l->zip, "byteorder", true, true, &entry, l->diag);
    if (status || !entry.data) // torch before 2.1 does not write it
        return status;
    if (entry.size_bytes == 6 && !memcmp(entry.data, "little", 6))
        return ECD_OK;
    ecd_fail(l->diag, ECD_DATA, "byteorder \"%.*s\", expected \"little\"",
             (int)(entry.size_bytes < 16 ? entry.size_bytes : 16), (const char *)entry.data);
    ecd_diag_file(l->diag, l->file->path);
    return ECD_DATA;
}

static bool holds_tensors(const ecd_pickle *p, uint32_t dict)
{
    for (uint32_t cell = p->values[dict].first; cell; cell = p->cells[cell].next) {
        cell = p->cells[cell].next; // from key to value
        if (p->values[p->cells[cell].value].kind == ECD_PICKLE_TENSOR)
            return true;
    }
    return false;
}

// The dictionary under `key`; 0 if there is none. The last of several counts, as in Python.
static uint32_t find_dict(const ecd_pickle *p, uint32_t dict, const char *key)
{
    uint32_t found = 0;
    for (uint32_t cell = p->values[dict].first; cell; cell = p->cells[cell].next) {
        const ecd_pickle_value *k = &p->values[p->cells[cell].value];
        cell = p->cells[cell].next;
        uint32_t value = p->cells[cell].value;
        if (k->kind == ECD_PICKLE_TEXT && k->count == strlen(key) && !memcmp(k->text, key, k->count) &&
            p->values[value].kind == ECD_PICKLE_DICT)
            found = value;
    }
    return found;
}

// Training programs wrap the weights: {"ema": {...}, "model": ..., "opt": ...}. The averaged ones come first.
static uint32_t unwrap(const ecd_pickle *p, uint32_t root)
{
    static const char *const wrappers[] = {"ema", "state_dict", "model"};
    for (int depth = 0; depth < MAX_WRAPPERS && root && p->values[root].kind == ECD_PICKLE_DICT; depth++) {
        if (holds_tensors(p, root))
            return root;
        uint32_t inner = 0;
        for (int i = 0; i < 3 && !inner; i++)
            inner = find_dict(p, root, wrappers[i]);
        root = inner;
    }
    return 0;
}

static ecd_status read_sizes(const ecd_pickle *p, const ecd_pickle_value *value, ecd_tensor *tensor, ecd_diag *diag)
{
    const ecd_pickle_value *sizes = &p->values[value->last];
    if (sizes->count > ECD_MAX_DIMS)
        return ecd_tensor_fail(tensor, diag, "a shape of %u sizes, expected at most %d", sizes->count, ECD_MAX_DIMS);
    for (uint32_t cell = sizes->first; cell; cell = p->cells[cell].next) {
        const ecd_pickle_value *size = &p->values[p->cells[cell].value];
        if (size->kind != ECD_PICKLE_INT || size->number < 0)
            return ecd_tensor_fail(tensor, diag, "bad size %d of the shape, expected an integer from 0", tensor->dims);
        tensor->shape[tensor->dims++] = size->number;
    }
    return ECD_OK;
}

// Row-major strides. Those of sizes 1 are never stepped along; an empty tensor has no element to step to.
static ecd_status check_strides(const ecd_pickle *p, const ecd_pickle_value *value, const ecd_tensor *tensor,
                                ecd_diag *diag)
{
    uint64_t expected[ECD_MAX_DIMS], step = 1;
    for (int i = tensor->dims - 1; i >= 0; i--) {
        expected[i] = step; // no overflow: the shape is measured already, and no size is 0 where it matters
        step *= (uint64_t)tensor->shape[i];
    }
    if (p->values[value->count].count != (uint32_t)tensor->dims)
        return ecd_tensor_fail(tensor, diag, "%u strides, expected %d", p->values[value->count].count, tensor->dims);
    for (int i = 0; i < tensor->dims; i++) {
        const ecd_pickle_value *stride = &p->values[ecd_pickle_item(p, value->count, (uint32_t)i)];
        if (stride->kind != ECD_PICKLE_INT)
            return ecd_tensor_fail(tensor, diag, "bad stride %d, expected an integer", i);
        if (tensor->count && tensor->shape[i] != 1 && (uint64_t)stride->number != expected[i])
            return ecd_tensor_fail(tensor, diag, "stride %d is %lld, expected %llu (row-major elements)", i,
                                   (long long)stride->number, (unsigned long long)expected[i]);
    }
    return ECD_OK;
}

static ecd_status find_storage(lister *l, const ecd_tensor *tensor, const ecd_pickle_value *storage,
                               ecd_torch_entry *entry)
{
    char name[128];
    uint64_t wanted;
    const ecd_pickle_value *key = &l->pickle.values[storage->first];
    if (key->count > 64 || memchr(key->text, 0, key->count))
        return ecd_tensor_fail(tensor, l->diag, "bad storage key, expected at most 64 characters");
    snprintf(name, sizeof name, "data/%.*s", (int)key->count, (const char *)key->text);
    ecd_status status = ecd_torch_zip_entry(l->zip, name, false, false, entry, l->diag);
    if (status) {
        ecd_diag_tensor(l->diag, tensor->name);
        return status;
    }
    if (__builtin_mul_overflow((uint64_t)storage->number, ecd_dtype_size((ecd_dtype)storage->detail), &wanted) ||
        wanted != entry->size_bytes)
        return ecd_tensor_fail(tensor, l->diag, "%llu bytes in %s, expected %lld elements of %s",
                               (unsigned long long)entry->size_bytes, name, (long long)storage->number,
                               ecd_dtype_name((ecd_dtype)storage->detail));
    return ECD_OK;
}

static ecd_status read_tensor(lister *l, const ecd_pickle_value *value, ecd_tensor *tensor)
{
    const ecd_pickle *p = &l->pickle;
    ecd_torch_entry entry;
    uint64_t start;
    char shape[160];
    ecd_status status = read_sizes(p, value, tensor, l->diag);
    if (status)
        return status;
    if (!ecd_tensor_measure(tensor, &tensor->size_bytes))
        return ecd_tensor_fail(tensor, l->diag, "shape %s is too large, expected a size in bytes below 2^63",
                               ecd_tensor_shape_text(tensor, shape, sizeof shape));
    status = check_strides(p, value, tensor, l->diag);
    if (!status)
        status = find_storage(l, tensor, &p->values[value->first], &entry);
    if (status)
        return status;
    if (__builtin_mul_overflow((uint64_t)value->number, ecd_dtype_size(tensor->dtype), &start) ||
        start > entry.size_bytes || tensor->size_bytes > entry.size_bytes - start)
        return ecd_tensor_fail(
            tensor, l->diag, "%llu bytes from element %lld on, expected them inside the storage's %llu bytes",
            (unsigned long long)tensor->size_bytes, (long long)value->number, (unsigned long long)entry.size_bytes);
    tensor->data = entry.data + start;
    tensor->offset_bytes = entry.offset_bytes + (entry.inflated ? 0 : start);
    return ECD_OK;
}

static ecd_status add_tensor(lister *l, const ecd_pickle_value *key, const ecd_pickle_value *value)
{
    char name[MAX_NAME + 1];
    bool plain = key->kind == ECD_PICKLE_TEXT && key->count && key->count <= MAX_NAME;
    for (uint32_t i = 0; plain && i < key->count; i++)
        plain = key->text[i] >= 0x20 && key->text[i] != 0x7f;
    if (!plain)
        return ecd_pickle_fail(&l->pickle, "bad tensor name, expected 1 to %d printable characters", MAX_NAME);
    memcpy(name, key->text, key->count);
    name[key->count] = 0;
    ecd_tensor tensor = {.name = name,
                         .file = l->file,
                         .dtype = (ecd_dtype)value->detail,
                         .offset_bytes = l->pickle.base_bytes + (uint64_t)(key->text - l->pickle.data)};
    ecd_status status = read_tensor(l, value, &tensor);
    return status ? status : ecd_checkpoint_add(l->cp, name, key->count, &tensor, l->diag);
}

static ecd_status list_dict(lister *l, uint32_t dict)
{
    const ecd_pickle *p = &l->pickle;
    for (uint32_t cell = p->values[dict].first; cell; cell = p->cells[cell].next) {
        const ecd_pickle_value *key = &p->values[p->cells[cell].value];
        cell = p->cells[cell].next;
        const ecd_pickle_value *value = &p->values[p->cells[cell].value];
        if (value->kind != ECD_PICKLE_TENSOR) // counters and the like
            continue;
        ecd_status status = add_tensor(l, key, value);
        if (status)
            return status;
    }
    return ECD_OK;
}

static ecd_status read_pickle(lister *l)
{
    ecd_torch_entry entry;
    uint32_t root = 0;
    ecd_status status = ecd_torch_zip_entry(l->zip, "data.pkl", true, false, &entry, l->diag);
    if (status)
        return status;
    l->pickle = (ecd_pickle){.data = entry.data,
                             .size_bytes = entry.size_bytes,
                             .base_bytes = entry.inflated ? 0 : entry.offset_bytes,
                             .path = l->file->path,
                             .diag = l->diag};
    status = ecd_pickle_run(&l->pickle, &root);
    if (status)
        return status;
    root = unwrap(&l->pickle, root);
    return root ? list_dict(l, root) : ecd_pickle_fail(&l->pickle, "no tensors, expected a dictionary of them");
}

bool ecd_torch_named(const char *path)
{
    static const char *const ends[] = {".bin", ".pt", ".pth"};
    size_t length = strlen(path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        size_t end = strlen(ends[i]);
        if (length >= end && !strcmp(path + length - end, ends[i]))
            return true;
    }
    return false;
}

ecd_status ecd_torch_list(ecd_checkpoint *cp, const ecd_file *file, ecd_diag *diag)
{
    ecd_diag own = {0}; // the pickle reader looks into it
    lister l = {.cp = cp, .file = file, .diag = diag ? diag : &own};
    ecd_status status = ecd_torch_zip_open(cp, file, &l.zip, l.diag);
    if (!status)
        status = check_byteorder(&l);
    if (!status)
        status = read_pickle(&l);
    ecd_pickle_free(&l.pickle);
    ecd_torch_zip_close(l.zip);
    return status;
}
