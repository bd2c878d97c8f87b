#include "weights/inspect.h"

#include <stdlib.h>
#include <string.h>

#include "weights/compress_internal.h"

static ecd_status measure(const ecd_tensor *tensor, ecd_inspect_tensor *out, ecd_diag *diag)
{
    const uint8_t *elements = tensor->data;
    uint8_t *decoded = NULL, *tables = NULL;
    ecd_status status = ECD_OK;
    ecf8_dtype dtype = ecd_coded_dtype(tensor->dtype);
    if (tensor->encoding != ECD_ENCODING_RAW) {
        ecd_coded coded;
        status = ecd_coded_open(tensor, tensor->data, tensor->size_bytes, &coded, diag);
        if (status)
            return status;
        out->coded = true;
        out->mode = coded.view.mode;
        out->published = tensor->encoding == ECD_ENCODING_PUBLISHED;
        decoded = malloc(out->raw_bytes + 1);
        tables = malloc(ECF8_DECODER_MAX_BYTES);
        status = decoded && tables ? ecd_coded_decode(&coded, decoded, true, tables, ECF8_DECODER_MAX_BYTES, diag)
                                   : ecd_fail_memory(diag, out->raw_bytes, "a decoded tensor");
        elements = decoded;
    }
    if (!status && dtype && tensor->count)
        out->measured = ecf8_stats_of(elements, tensor->count, dtype, &out->stats) == ECF8_OK;
    if (!status && out->measured)
        status = ecd_alpha_fit_of(elements, tensor->count, tensor->dtype, &out->fit, diag);
    free(decoded);
    free(tables);
    return status;
}

// A tensor that is stored under several names shows its bytes at the first.
static bool stored_before(const ecd_checkpoint *cp, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (cp->tensors[index].size_bytes && cp->tensors[i].data == cp->tensors[index].data)
            return true;
    return false;
}

static ecd_status inspect_file(const char *path, const char *shown, ecd_inspect_callback callback, void *opaque,
                               ecd_diag *diag)
{
    ecd_checkpoint *cp = NULL;
    ecd_status status = ecd_tensor_file_resolved(path, &cp, diag);
    for (size_t i = 0; !status && i < cp->count; i++) {
        const ecd_tensor *tensor = &cp->tensors[i];
        ecd_inspect_tensor row = {.file = shown, .tensor = tensor};
        row.raw_bytes = tensor->count * ecd_dtype_size(tensor->dtype);
        row.stored_bytes = stored_before(cp, i) ? 0 : ecd_tensor_stored_bytes(tensor);
        status = measure(tensor, &row, diag);
        if (!status && callback(opaque, &row))
            status = ecd_fail(diag, ECD_INTERRUPTED, "stopped on request");
        ecd_file_dont_need(tensor->file, tensor->offset_bytes, tensor->size_bytes);
    }
    ecd_checkpoint_close(cp);
    return status;
}

static ecd_status inspect_folder(const char *path, ecd_inspect_callback callback, void *opaque, ecd_diag *diag)
{
    ecd_tree tree;
    size_t files = 0;
    ecd_status status = ecd_tree_list(path, &tree, diag);
    if (status)
        return status;
    for (size_t i = 0; !status && i < tree.count; i++) {
        const char *name = tree.entries[i].path;
        bool weights = ecd_ends_with(name, ".safetensors") || ecd_tree_weights_are_torch(&tree, name);
        if (tree.entries[i].folder || !weights)
            continue;
        char *full = ecd_path_join(path, name);
        status =
            full ? inspect_file(full, name, callback, opaque, diag) : ecd_fail_memory(diag, strlen(path), "a path");
        free(full);
        files++;
    }
    if (!status && !files) {
        status = ecd_fail(diag, ECD_USAGE,
                          "no .safetensors or .bin weights in it, expected a model's or a component's folder");
        ecd_diag_file(diag, path);
    }
    ecd_tree_free(&tree);
    return status;
}

ecd_status ecd_inspect(const char *path, ecd_inspect_callback callback, void *opaque, ecd_diag *diag)
{
    if (ecd_path_is_folder(path))
        return inspect_folder(path, callback, opaque, diag);
    const char *slash = strrchr(path, '/');
    return inspect_file(path, slash ? slash + 1 : path, callback, opaque, diag);
}
