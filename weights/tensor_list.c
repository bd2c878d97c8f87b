// The growing lists of a checkpoint, its index of names, and what is said of a single tensor.
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/grow.h"
#include "weights/published.h"

static char *copy_name(const char *name, size_t name_bytes)
{
    char *copy = malloc(name_bytes + 1);
    if (!copy)
        return NULL;
    memcpy(copy, name, name_bytes);
    copy[name_bytes] = 0;
    return copy;
}

// Room for one more element in *list; false when memory is out.
static bool make_room(void **list, size_t count, size_t *capacity, size_t element_bytes)
{
    void *larger = ecd_grow(*list, count + 1, capacity, element_bytes);
    *list = larger ? larger : *list;
    return larger != NULL;
}

ecd_status ecd_checkpoint_add(ecd_checkpoint *cp, const char *name, size_t name_bytes, const ecd_tensor *tensor,
                              ecd_diag *diag)
{
    void *list = cp->tensors;
    bool room = make_room(&list, cp->count, &cp->capacity, sizeof *cp->tensors);
    cp->tensors = list;
    char *copy = room ? copy_name(name, name_bytes) : NULL;
    if (!copy)
        return ecd_fail_memory(diag, name_bytes + sizeof *tensor, "a list of tensors");
    ecd_tensor *added = &cp->tensors[cp->count++];
    *added = *tensor;
    added->name = copy;
    return ECD_OK;
}

ecd_status ecd_checkpoint_add_note(ecd_checkpoint *cp, const char *key, const char *value, const ecd_file *file,
                                   ecd_diag *diag)
{
    void *list = cp->notes;
    bool room = make_room(&list, cp->note_count, &cp->note_capacity, sizeof *cp->notes);
    cp->notes = list;
    char *key_copy = room ? copy_name(key, strlen(key)) : NULL;
    char *value_copy = key_copy ? copy_name(value, strlen(value)) : NULL;
    if (!value_copy) {
        free(key_copy);
        return ecd_fail_memory(diag, strlen(key) + strlen(value), "a file's metadata");
    }
    cp->notes[cp->note_count++] = (ecd_checkpoint_note){.key = key_copy, .value = value_copy, .file = file};
    return ECD_OK;
}

ecd_status ecd_checkpoint_keep(ecd_checkpoint *cp, void *buffer, ecd_diag *diag)
{
    void *list = cp->buffers;
    bool room = make_room(&list, cp->buffer_count, &cp->buffer_capacity, sizeof *cp->buffers);
    cp->buffers = list;
    if (!room) {
        free(buffer);
        return ecd_fail_memory(diag, sizeof *cp->buffers, "a list of buffers");
    }
    cp->buffers[cp->buffer_count++] = buffer;
    return ECD_OK;
}

bool ecd_tensor_measure(ecd_tensor *tensor, uint64_t *size_bytes)
{
    uint64_t count = 1;
    bool zero = false; // [2^40, 2^40, 0] has no elements, whatever the product of the rest
    for (int i = 0; i < tensor->dims; i++)
        zero |= tensor->shape[i] == 0;
    for (int i = 0; i < tensor->dims && !zero; i++)
        if (tensor->shape[i] < 0 || __builtin_mul_overflow(count, (uint64_t)tensor->shape[i], &count))
            return false;
    tensor->count = zero ? 0 : count;
    return !__builtin_mul_overflow(tensor->count, ecd_dtype_size(tensor->dtype), size_bytes) &&
           *size_bytes <= INT64_MAX;
}

uint64_t ecd_tensor_stored_bytes(const ecd_tensor *tensor)
{
    const ecd_published_group *group = tensor->encoding == ECD_ENCODING_PUBLISHED ? tensor->group : NULL;
    uint64_t weights = group ? group->view.count : tensor->whole;
    if (!weights)
        return tensor->size_bytes;
    // Rounded from the group's beginning on, so that the shares sum up.
    const double share = (double)(group ? group->stored_bytes : tensor->size_bytes) / (double)weights;
    return (uint64_t)((double)(tensor->first + tensor->count) * share) - (uint64_t)((double)tensor->first * share);
}

const char *ecd_tensor_shape_text(const ecd_tensor *tensor, char *out, size_t size)
{
    size_t used = 0;
    snprintf(out, size, "[]");
    for (int i = 0; i < tensor->dims && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld%s", i ? ", " : "[", (long long)tensor->shape[i],
                                 i == tensor->dims - 1 ? "]" : "");
    return out;
}

ecd_status ecd_tensor_fail(const ecd_tensor *tensor, ecd_diag *diag, const char *format, ...)
{
    char text[ECD_DIAG_TEXT];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    bool renamed = tensor->own_name && strcmp(tensor->own_name, tensor->name);
    ecd_status status = renamed ? ecd_fail(diag, ECD_DATA, "%s (as %.160s)", text, tensor->name)
                                : ecd_fail(diag, ECD_DATA, "%s", text);
    if (tensor->file)
        ecd_diag_file(diag, tensor->file->path);
    ecd_diag_tensor(diag, ecd_tensor_own_name(tensor));
    ecd_diag_offset(diag, tensor->offset_bytes);
    return status;
}

// What the index is sorted by: qsort has no argument for the list, so the names travel with the places.
typedef struct name_place {
    const char *name;
    size_t place;
} name_place;

static int compare_names(const void *a, const void *b)
{
    const name_place *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    return order ? order : (x->place > y->place) - (x->place < y->place);
}

ecd_status ecd_checkpoint_index(ecd_checkpoint *cp, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    size_t size = (cp->count + 1) * sizeof(name_place);
    name_place *places = malloc(size);
    free(cp->by_name);
    cp->by_name = malloc((cp->count + 1) * sizeof *cp->by_name);
    if (!places || !cp->by_name) {
        status = ecd_fail_memory(diag, size, "an index of tensor names");
        goto out;
    }
    for (size_t i = 0; i < cp->count; i++)
        places[i] = (name_place){.name = cp->tensors[i].name, .place = i};
    qsort(places, cp->count, sizeof *places, compare_names);
    for (size_t i = 0; i < cp->count; i++) {
        cp->by_name[i] = places[i].place;
        if (i && !strcmp(places[i - 1].name, places[i].name)) {
            const ecd_tensor *first = &cp->tensors[places[i - 1].place];
            status =
                ecd_tensor_fail(&cp->tensors[places[i].place], diag,
                                "a second tensor of this name (the first is at byte %llu of %s), expected one",
                                (unsigned long long)first->offset_bytes, first->file ? first->file->path : "memory");
            goto out;
        }
    }
out:
    free(places);
    return status;
}

const ecd_tensor *ecd_checkpoint_find(const ecd_checkpoint *cp, const char *name)
{
    size_t low = 0, high = cp->by_name ? cp->count : 0;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const ecd_tensor *tensor = &cp->tensors[cp->by_name[middle]];
        int order = strcmp(name, tensor->name);
        if (order == 0)
            return tensor;
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

size_t ecd_checkpoint_count(const ecd_checkpoint *cp)
{
    return cp->count;
}

const ecd_tensor *ecd_checkpoint_tensor(const ecd_checkpoint *cp, size_t index)
{
    return index < cp->count ? &cp->tensors[index] : NULL;
}

size_t ecd_checkpoint_file_count(const ecd_checkpoint *cp)
{
    return cp->file_count;
}

const ecd_file *ecd_checkpoint_file(const ecd_checkpoint *cp, size_t index)
{
    return index < cp->file_count ? cp->files[index] : NULL;
}
