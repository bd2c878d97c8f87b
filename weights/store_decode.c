#include "weights/store_internal.h"

// A block that stays expanded needs its ECF8 never again.
ecd_status ecd_store_decode(ecd_store *store, int index, ecd_store_buffer *buffer, uint8_t *tables, ecd_diag *diag)
{
    ecd_store_unit *unit = &store->units[index];
    const ecd_tensor *tensor = unit->tensor;
    bool last_use = store->blocks[buffer->work.block].kind == ECD_BLOCK_READY;
    bool gives_back = last_use && !unit->own_blob && tensor->file;
    bool verify = store->options.check_crc || !atomic_load(&unit->coded.proven);
    if (gives_back)
        ecd_store_populate(tensor);
    ecd_status status = ecd_coded_decode(&unit->coded, buffer->memory + unit->buffer_offset, verify, tables,
                                         store->table_bytes, diag);
    if (gives_back)
        ecd_file_dont_need(tensor->file, tensor->offset_bytes, tensor->size_bytes);
    if (status)
        return status;
    atomic_store(&unit->coded.proven, true);
    store->weights[index].data = buffer->memory + unit->buffer_offset;
    return ECD_OK;
}

// What was read anew is as little to be trusted as any file: the container is checked here, and its CRCs are compared
// each time it is used.
ecd_status ecd_store_lend_coded(ecd_store *store, int index, const uint8_t *from, bool anew, ecd_diag *diag)
{
    ecd_store_unit *unit = &store->units[index];
    ecd_status status = ECD_OK;
    if (anew) {
        uint64_t used_ns = atomic_load(&unit->coded.use_ns);
        status = ecd_coded_open(unit->tensor, from, unit->tensor->size_bytes, &unit->coded, diag);
        atomic_store(&unit->coded.use_ns, used_ns);
    }
    unit->coded.check = anew || store->options.check_crc;
    store->weights[index].data = from;
    store->weights[index].coded = &unit->coded;
    return status;
}
