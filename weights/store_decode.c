#include "weights/store_internal.h"

ecd_status ecd_store_decode(ecd_store *store, ecd_store_block *block, ecd_store_buffer *buffer, ecd_diag *diag)
{
    for (int i = block->first; i < block->first + block->count; i++) {
        ecd_store_unit *unit = &store->units[i];
        if (unit->form != ECD_UNIT_CODED)
            continue;
        bool verify = store->check_crc || !unit->proven;
        ecd_status status = ecd_coded_decode(&unit->coded, buffer->staging + unit->buffer_offset, verify,
                                             buffer->tables, store->table_bytes, diag);
        if (status)
            return status;
        unit->proven = true;
        store->weights[i].data = buffer->memory + unit->buffer_offset;
    }
    return ECD_OK;
}
