#include "weights/store_internal.h"

#include <stdlib.h>

#include "base/process.h"

static int file_index(const ecd_store *store, const ecd_file *file)
{
    int i = 0;
    while (i < store->file_count && store->file_of[i] != file)
        i++;
    return i;
}

ecd_status ecd_store_open_files(ecd_store *store, ecd_diag *diag)
{
    size_t most = ecd_checkpoint_file_count(store->cp);
    store->files = calloc(most + 1, sizeof *store->files);
    store->file_of = calloc(most + 1, sizeof *store->file_of);
    if (!store->files || !store->file_of)
        return ecd_fail_memory(diag, most * sizeof *store->files, "a list of files");
    store->report.direct = true;
    for (int b = 0; b < store->block_count; b++) {
        const ecd_store_block *block = &store->blocks[b];
        for (int i = block->first; block->kind == ECD_BLOCK_STREAMED && i < block->first + block->count; i++) {
            ecd_store_unit *unit = &store->units[i];
            if (unit->form != ECD_UNIT_CODED && unit->form != ECD_UNIT_READ)
                continue;
            const ecd_file *file = unit->tensor->file;
            unit->file = file_index(store, file);
            if (unit->file < store->file_count)
                continue;
            ecd_status status = ecd_direct_open(file->path, file->size_bytes, &store->files[unit->file], diag);
            if (status)
                return status;
            store->file_of[store->file_count++] = file;
            store->report.direct = store->report.direct && store->files[unit->file].direct;
        }
    }
    return ECD_OK;
}

uint8_t *ecd_store_slot_data(const ecd_store_unit *unit, const ecd_store_slot *slot)
{
    return slot->memory + unit->slot_offset + unit->tensor->offset_bytes % ECD_DIRECT_ALIGN;
}

ecd_status ecd_store_read(ecd_store *store, int index, uint64_t at, uint64_t size, const ecd_store_slot *slot,
                          ecd_diag *diag)
{
    const ecd_store_unit *unit = &store->units[index];
    uint64_t begin = unit->tensor->offset_bytes / ECD_DIRECT_ALIGN * ECD_DIRECT_ALIGN;
    ecd_status status =
        ecd_direct_read(&store->files[unit->file], begin + at, size, slot->memory + unit->slot_offset + at, diag);
    if (status)
        ecd_diag_tensor(diag, ecd_tensor_own_name(unit->tensor));
    return status;
}
