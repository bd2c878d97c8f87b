// What an architecture is to registry.c, which checks calls and hands them on.
#ifndef ECD_DIT_TRANSFORMER_ARCHITECTURE_H
#define ECD_DIT_TRANSFORMER_ARCHITECTURE_H

#include "dit/transformer/transformer.h"

typedef struct ecd_architecture {
    const char *class_name;
    ecd_status (*describe)(const cJSON *config, ecd_transformer_info *out, ecd_diag *diag);
    // options->height and width are set, multiples of the patch and allowed by the info.
    ecd_status (*open)(const cJSON *config, const ecd_transformer_info *info, const ecd_checkpoint *cp, ecd_backend *be,
                       const ecd_transformer_options *options, ecd_transformer **out, ecd_diag *diag);
    void (*close)(ecd_transformer *t);
    ecd_status (*predict)(ecd_transformer *t, const ecd_transformer_call *call, const volatile int *cancel,
                          ecd_diag *diag);
} ecd_architecture;

// Every architecture's own struct begins with this. open fills store and activation_bytes, registry.c the rest.
struct ecd_transformer {
    const ecd_architecture *architecture;
    ecd_transformer_info info;
    ecd_transformer_options options;
    ecd_store *store;
    uint64_t activation_bytes;
};

extern const ecd_architecture ecd_architecture_dit, ecd_architecture_flux;

#endif
