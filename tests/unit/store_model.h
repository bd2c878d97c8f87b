// A small model of five blocks for tests of the store, in a raw and in a compressed folder of its own.
#ifndef ECD_TESTS_STORE_MODEL_H
#define ECD_TESTS_STORE_MODEL_H

#include "weights/store.h"

enum { BLOCKS = 5, ROWS = 128, COLS = 192, COLS16 = 96 };

typedef struct model {
    uint8_t fp8[BLOCKS][ROWS * COLS];
    float scale[BLOCKS][ROWS];
    uint16_t bf16[BLOCKS][ROWS * COLS16];
    uint16_t bias[BLOCKS][ROWS];
    char raw[64], coded[96]; // folders
} model;

typedef struct opened {
    ecd_backend *be;
    ecd_checkpoint *cp;
    ecd_store *store;
} opened;

// A group's set-up and tear-down: *state is the model.
int set_up_model(void **state);
int tear_down_model(void **state);

// What was opened must be closed whatever the status.
// With the backend that is given, which close_store closes, or with ref.
ecd_status open_store_on(ecd_backend *be, const char *folder, ecd_store_options options, bool first_resident, opened *o,
                         ecd_diag *diag);
ecd_status open_store(const char *folder, ecd_store_options options, bool first_resident, opened *o, ecd_diag *diag);
void close_store(opened *o);

// Fails the test unless the block's weights are those of the model. ECF8 is expanded by the store's backend.
void check_block(const model *m, const opened *o, int b, const ecd_block *got);
// Expands a weight by the store's backend, and forgets its failure, so that the next may be tried.
ecd_status expand_weight(const opened *o, const ecd_weight *weight, void *elements, ecd_diag *diag);

#endif
