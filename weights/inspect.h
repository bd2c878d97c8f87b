// What the tensors of a model are made of: sizes, entropies.
#ifndef ECD_WEIGHTS_INSPECT_H
#define ECD_WEIGHTS_INSPECT_H

#include "weights/alpha_fit.h"
#include "weights/coded.h"

typedef struct ecd_inspect_tensor {
    const char *file; // relative to the path inspected, or its last part for a single file
    const ecd_tensor *tensor;
    uint64_t raw_bytes;    // decoded
    uint64_t stored_bytes; // in the file; 0 for a tensor stored under another name too
    bool coded;            // `mode` is valid, unless
    bool published;        // it lies in a group of published ECF8
    ecf8_mode mode;
    bool measured;         // `stats` is valid: E4M3, E5M2, BF16 and F16
    ecf8_stats stats;
    ecd_alpha_fit fit;     // of the decoded numbers
} ecd_inspect_tensor;

// Called once a tensor, in file order; true stops with ECD_INTERRUPTED. What it is given lives during the call.
typedef bool (*ecd_inspect_callback)(void *opaque, const ecd_inspect_tensor *tensor);

// `path` is a safetensors or torch file, a component's folder or a model's. In a folder, every safetensors file is shown,
// and the .bin weights of components that have no safetensors.
ecd_status ecd_inspect(const char *path, ecd_inspect_callback callback, void *opaque, ecd_diag *diag);

#endif
