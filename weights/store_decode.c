#include "weights/store_internal.h"

#include <string.h>

// What was read anew is as little to be trusted as any file: the container is checked and its CRCs are compared each
// time.
static ecd_status decode_read(const ecd_store *store, const ecd_store_unit *unit, const ecd_store_slot *slot,
                              uint8_t *to, uint8_t *tables, ecd_diag *diag)
{
    ecd_coded coded;
    const uint8_t *from = ecd_store_slot_data(unit, slot);
    if (unit->form == ECD_UNIT_READ) {
        memcpy(to, from, unit->decoded_bytes);
        return ECD_OK;
    }
    ecd_status status = ecd_coded_open(unit->tensor, from, unit->tensor->size_bytes, &coded, diag);
    return status ? status : ecd_coded_decode(&coded, to, true, tables, store->table_bytes, diag);
}

// A block that stays expanded needs its ECF8 never again.
static ecd_status decode_mapped(const ecd_store *store, ecd_store_unit *unit, bool last_use, uint8_t *to,
                                uint8_t *tables, ecd_diag *diag)
{
    const ecd_tensor *tensor = unit->tensor;
    bool gives_back = last_use && !unit->own_blob && tensor->file;
    bool verify = store->options.check_crc || !unit->proven;
    if (gives_back)
        ecd_store_populate(tensor);
    ecd_status status = ecd_coded_decode(&unit->coded, to, verify, tables, store->table_bytes, diag);
    if (gives_back)
        ecd_file_dont_need(tensor->file, tensor->offset_bytes, tensor->size_bytes);
    unit->proven = unit->proven || !status;
    return status;
}

ecd_status ecd_store_decode(ecd_store *store, int index, ecd_store_buffer *buffer, uint8_t *tables, ecd_diag *diag)
{
    ecd_store_unit *unit = &store->units[index];
    const ecd_store_block *block = &store->blocks[buffer->work.block];
    uint8_t *to = buffer->staging + unit->buffer_offset;
    ecd_status status = block->kind == ECD_BLOCK_STREAMED
                            ? decode_read(store, unit, &store->slots[block->slot], to, tables, diag)
                            : decode_mapped(store, unit, block->kind == ECD_BLOCK_READY, to, tables, diag);
    if (!status)
        store->weights[index].data = buffer->memory + unit->buffer_offset;
    return status;
}
