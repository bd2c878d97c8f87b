// What the tensors of a model are made of: sizes, entropies, the law of their numbers, what coding would save.
#ifndef ECD_WEIGHTS_INSPECT_H
#define ECD_WEIGHTS_INSPECT_H

#include "weights/alpha_fit.h"
#include "weights/coded.h"

typedef struct ecd_inspect_options {
    bool what_if;            // fill in ecd_inspect_tensor.what_if
    bool what_if_e4m3;       // and first quantise what ecd_compress with quantize_e4m3 would
} ecd_inspect_options;

// What ecd_compress would make of a tensor, without writing it.
typedef struct ecd_inspect_what_if {
    bool quantized;
    uint64_t bytes; // with its scales; 0 for a tensor stored under another name too
} ecd_inspect_what_if;

typedef struct ecd_inspect_tensor {
    const char *file; // relative to the path inspected, or its last part for a single file
    const ecd_tensor *tensor;
    const ecd_diag *fault; // NULL, or why its bytes cannot be decoded: then nothing below `stored_bytes` is valid
    uint64_t raw_bytes;    // decoded
    uint64_t stored_bytes; // in the file; 0 for a tensor stored under another name too
    bool coded;            // `mode` is valid
    bool published;        // coded in published ECF8 0.2.0, without modes; stored_bytes are its share of the group's
    ecf8_mode mode;
    bool measured;         // `stats` is valid: E4M3, E5M2, BF16 and F16
    ecf8_stats stats;
    ecd_alpha_fit fit;     // of the numbers as stored, whose exponents are coded
    ecd_alpha_fit scaled;  // of FP8 with a scale a row or a block, times those: as the model computes
    const ecd_alpha_table *table; // of the laws, for ecd_alpha_shares
    ecd_inspect_what_if what_if;
} ecd_inspect_tensor;

// Called once a tensor, in file order; true stops with ECD_INTERRUPTED. What it is given lives during the call.
typedef bool (*ecd_inspect_callback)(void *opaque, const ecd_inspect_tensor *tensor);

// `path` is a safetensors or torch file, a component's folder or a model's. In a folder, every safetensors file is
// shown, and the .bin weights of components that have no safetensors. Memory does not grow with the tensors, except that
// what_if holds a tensor that is quantised, and the encoder's plan.
// A tensor that cannot be decoded is shown with its fault, and those after it too; the first fault is returned at the
// end.
// `options` may be NULL.
ecd_status ecd_inspect(const char *path, const ecd_inspect_options *options, ecd_inspect_callback callback,
                       void *opaque, ecd_diag *diag);

// what_if.c. Would ecd_compress, told to quantise, round it to FP8? Internal.
bool ecd_what_if_quantizes(const ecd_tensor *tensor);
// what_if.c. Codes a raw tensor as ecd_compress does at its default level, and counts the bytes. Internal.
ecd_status ecd_what_if(const ecd_tensor *tensor, bool quantize, ecd_inspect_what_if *out, ecd_diag *diag);

#endif
