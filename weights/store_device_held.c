// Blocks that a device holds as ECF8 and whose operations decode what they use (ecd_backend_ops.coded_hold): nothing is decoded
// before they are lent, and no buffer is theirs.
#include "weights/store_internal.h"

// Where the backend asks for it, blocks that stay there: of whole containers, and without a budget, whose plan knows buffers.
bool ecd_store_device_holds(const ecd_store *store, const ecd_store_block *block)
{
    if (!store->be->ops->coded_hold || store->options.budget_bytes || store->options.once)
        return false;
    for (int i = block->first; i < block->first + block->count; i++) {
        const ecd_store_unit *unit = &store->units[i];
        if (unit->form == ECD_UNIT_CODED && (!unit->coded.view.blob || unit->tensor->whole))
            return false;
    }
    return true;
}

ecd_status ecd_store_device_hold(ecd_store *store, const ecd_store_block *block, ecd_diag *diag)
{
    for (int i = block->first; i < block->first + block->count; i++) {
        ecd_store_unit *unit = &store->units[i];
        if (unit->form != ECD_UNIT_CODED)
            continue;
        unit->coded.held = store->be->ops->coded_hold(store->be, &store->weights[i]);
        if (!unit->coded.held)
            return ecd_backend_check(store->be, diag);
        store->report.sent_bytes += unit->coded.view.blob_bytes;
    }
    return ECD_OK;
}

void ecd_store_device_let_go(ecd_store *store)
{
    for (int i = 0; store->units && i < store->unit_count; i++)
        if (store->units[i].coded.held) {
            store->be->ops->coded_free(store->be, store->units[i].coded.held);
            store->units[i].coded.held = NULL;
        }
}
