// Writing published ECF8 0.2.0: which layers go together, and the files that say so. Internal to weights/.
#ifndef ECD_WEIGHTS_PUBLISH_H
#define ECD_WEIGHTS_PUBLISH_H

#include "weights/compress_internal.h"

// A linear layer with an E4M3 weight. Layers of equal `folder` and block make a group.
typedef struct ecd_publish_layer {
    char *module;        // its name, without ".weight"; owned
    size_t block_length; // of the group's name, with which the module's begins
    const char *path;    // of its file, relative to the root; borrowed from the tree
    uint64_t count;      // weights
} ecd_publish_layer;

typedef struct ecd_publish_plan {
    ecd_publish_layer *layers; // by folder, block and name, as groups hold them
    size_t count, capacity;
} ecd_publish_plan;

// Reads the headers of all tensor files of the tree. A block is named by its module path up to the first number, an
// expert by its own; blocks that lie in several files, or would be too large, are cut into single layers.
// ECD_USAGE: a group of an odd count, or a layer of 2^31 weights or more, which the format cannot hold.
ecd_status ecd_publish_plan_make(const char *root, const ecd_tree *tree, ecd_publish_plan *out, ecd_diag *diag);
void ecd_publish_plan_free(ecd_publish_plan *plan);

// The layers of the group that begins with layer `first`: up to the returned index.
size_t ecd_publish_group_end(const ecd_publish_plan *plan, size_t first);

// pattern_dict.json and dfloat_config.json for each folder below `target` that has groups.
ecd_status ecd_publish_write_patterns(const ecd_publish_plan *plan, const char *target, ecd_work_report *report,
                                      ecd_diag *diag);
// Has the folder of this file groups?
bool ecd_publish_codes_beside(const ecd_publish_plan *plan, const char *path);
// Is this one of the two, by its name?
bool ecd_publish_is_pattern_file(const char *path);

// publish_file.c. A tensor file's job; work->publish is the plan.
extern const ecd_job_calls ecd_publish_calls;

#endif
