// What an architecture is to registry.c, which checks calls and hands them on.
#ifndef ECD_DIT_TRANSFORMER_ARCHITECTURE_H
#define ECD_DIT_TRANSFORMER_ARCHITECTURE_H

#include "base/arena.h"
#include "dit/transformer/transformer.h"

typedef struct ecd_architecture {
    const char *class_name;
    size_t size_bytes; // of the architecture's own struct, which begins with ecd_transformer and is zeroed
    // Checks the config and keeps what it says; fills t->info but for class_name.
    ecd_status (*read_config)(ecd_transformer *t, const cJSON *config, ecd_diag *diag);
    // t->be and t->options are set; height and width are multiples of the patch and allowed by the info. Returns the
    // rows of its largest products.
    int64_t (*measure)(ecd_transformer *t);
    void (*place)(ecd_transformer *t, ecd_arena *arena); // its activations
    // Opens t->store. Block 0 is the resident one, block i the stack's block i - 1.
    ecd_status (*open_store)(ecd_transformer *t, const ecd_checkpoint *cp, const ecd_store_options *options,
                             ecd_diag *diag);
    ecd_status (*fill)(ecd_transformer *t, ecd_diag *diag); // what is the same for all steps; memory of the host
    void (*free_host)(ecd_transformer *t);                  // that memory, filled or not; NULL where there is none
    // A step: what comes before the stack, each of its blocks, what comes behind.
    void (*begin)(ecd_transformer *t, const ecd_block *ends, const ecd_transformer_call *call);
    void (*run_block)(ecd_transformer *t, int i, const ecd_block *block, const ecd_transformer_call *call);
    void (*finish)(ecd_transformer *t, const ecd_block *ends, const ecd_transformer_call *call);
} ecd_architecture;

// Every architecture's own struct begins with this, which registry.c fills but for store and info.
struct ecd_transformer {
    const ecd_architecture *architecture;
    ecd_transformer_info info;
    ecd_transformer_options options;
    ecd_backend *be;
    ecd_store *store;
    void *memory; // of the activations, in the backend
    uint64_t activation_bytes;
};

extern const ecd_architecture ecd_architecture_dit, ecd_architecture_flux;

#endif
