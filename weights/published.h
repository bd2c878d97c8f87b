// Models in published ECF8 0.2.0: groups of buffers as the tensors that they hold. Internal to weights/.
//
// A group "<block>.luts, .encoded, .packed_other_4bits, .gaps, .output_positions, .split_positions" holds the E4M3
// weights of the block's layers end to end. Which layers those are stands in pattern_dict.json beside the files, how
// many threads decode a block in dfloat_config.json (or in config.json under "dfloat_config"). docs/FORMAT.md, "The
// published format".
#ifndef ECD_WEIGHTS_PUBLISHED_H
#define ECD_WEIGHTS_PUBLISHED_H

#include "kernels/coded.h"
#include "weights/checkpoint_internal.h"

typedef struct cJSON cJSON;

struct ecd_published_group {
    ecf8_published view;
    const char *block;                      // its name
    ecd_tensor parts[ECF8_PUBLISHED_PARTS]; // as the files hold them, under full names
    ecd_coded_place places[ECF8_PUBLISHED_PARTS];
    uint64_t stored_bytes;                  // of all, split_positions included
};

// Replaces the groups among the tensors by the E4M3 tensors that they hold, and indexes again. The names must be
// indexed. Shapes are not known: the tensors are flat, until the metadata's ecf8.shape notes say more. A group that
// lacks a buffer is ECD_DATA, except in a single shard of several ("-of-" in its name), where it stays as it is: the
// rest may lie in another.
ecd_status ecd_published_resolve(ecd_checkpoint *cp, ecd_diag *diag);

// Have any of the tensors, as files hold them, a group's names?
bool ecd_published_any(const ecd_checkpoint *cp);

// Is this the name of a buffer that was replaced, of a file of that name (without folder)?
bool ecd_published_part_of(const ecd_checkpoint *cp, const char *name, const char *file_name);

// What the model's folder says of its groups. Absent files leave the defaults and NULL.
typedef struct ecd_published_config {
    uint32_t threads;
    cJSON *patterns; // pattern_dict.json's "fp8"
    cJSON *root;     // that holds it
    char *path;      // of pattern_dict.json
} ecd_published_config;

ecd_status ecd_published_config_read(const char *file_of_folder, ecd_published_config *out, ecd_diag *diag);
void ecd_published_config_free(ecd_published_config *config);

// The layers of a block, an array of strings: of the first pattern that matches its name. NULL where none does.
ecd_status ecd_published_layers(const ecd_published_config *config, const char *block, const cJSON **out,
                                ecd_diag *diag);

#endif
