// Model folders of real sizes with weights drawn at random, for measuring without the published files: the same file
// names, tensor names, shapes, types and configs: DiTs in the pickled form that facebook/DiT-XL-2-256 has, FLUX.1-dev as
// safetensors, the matrices of transformer and T5 in FP8 with a scale a row, the rest BF16, with tokenizers that know single
// characters. The weights look like trained ones to a codec (heavy tails, rows of their own scales); the pictures are noise.
//
// The same name gives the same bytes on one machine (draws pass through libm's exp and tan).
#ifndef ECD_APP_SYNTHETIC_H
#define ECD_APP_SYNTHETIC_H

#include "base/status.h"

// What can be made: "dit-xl-2-256", "flux1-dev", ...; NULL-terminated, for options and messages.
extern const char *const ecd_synthetic_names[];

// Are the named model's matrices FP8 as it is made, so that rounding would change nothing?
bool ecd_synthetic_is_fp8(const char *name);

// Makes the model `name` as the new folder `path`, which appears whole or not at all. Memory stays flat. `progress`
// (may be NULL) is told the bytes done and all of them, and stops the work with ECD_INTERRUPTED by returning true.
// ECD_USAGE for an unknown name or where `path` exists.
typedef bool (*ecd_synthetic_progress)(void *user, uint64_t done_bytes, uint64_t total_bytes);
ecd_status ecd_synthetic_make(const char *name, const char *path, ecd_synthetic_progress progress, void *user,
                              ecd_diag *diag);

#endif
