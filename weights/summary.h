// What a checkpoint is, in a few numbers: how large, how it is stored, and whether it is what it was made from.
#ifndef ECD_WEIGHTS_SUMMARY_H
#define ECD_WEIGHTS_SUMMARY_H

#include "weights/checkpoint.h"

typedef struct ecd_checkpoint_summary {
    uint64_t parameters;   // elements of tensors that are computed with; scales of FP8 weights are not counted
    uint64_t raw_bytes;    // that they take uncompressed
    uint64_t stored_bytes; // that they take in their files
    bool coded;            // some are ECF8, ours or published
    bool restores; // no file with ECF8 lacks its original's SHA-256 (docs/FORMAT.md): decompressing gives it back
} ecd_checkpoint_summary;

// ECD_RESOURCE without memory for a mark a tensor.
ecd_status ecd_checkpoint_summarize(const ecd_checkpoint *cp, ecd_checkpoint_summary *out, ecd_diag *diag);

#endif
