#include "weights/store_internal.h"

ecd_status ecd_store_decode(ecd_store *store, int index, ecd_store_buffer *buffer, uint8_t *tables, ecd_diag *diag)
{
    ecd_store_unit *unit = &store->units[index];
    bool verify = store->check_crc || !unit->proven;
    ecd_status status = ecd_coded_decode(&unit->coded, buffer->staging + unit->buffer_offset, verify, tables,
                                         store->table_bytes, diag);
    if (status)
        return status;
    unit->proven = true;
    store->weights[index].data = buffer->memory + unit->buffer_offset;
    return ECD_OK;
}
