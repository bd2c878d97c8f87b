// Model folders of real sizes with weights drawn at random, for measuring without the published files: the same file
// names, tensor names, shapes, types and configs, in the pickled form that facebook/DiT-XL-2-256 has. The weights look
// like trained ones to a codec (heavy tails, rows of their own scales); the pictures are noise.
//
// The same name gives the same bytes on one machine (draws pass through libm's exp and tan).
#ifndef ECD_APP_SYNTHETIC_H
#define ECD_APP_SYNTHETIC_H

#include "base/status.h"

// What can be made: "dit-xl-2-256", "dit-xl-2-512", ...; NULL-terminated, for options and messages.
extern const char *const ecd_synthetic_names[];

// Makes the model `name` as the new folder `path`, which appears whole or not at all. Memory stays flat. `progress`
// (may be NULL) is told the bytes done and all of them, and stops the work with ECD_INTERRUPTED by returning true.
// ECD_USAGE for an unknown name or where `path` exists.
typedef bool (*ecd_synthetic_progress)(void *user, uint64_t done_bytes, uint64_t total_bytes);
ecd_status ecd_synthetic_make(const char *name, const char *path, ecd_synthetic_progress progress, void *user,
                              ecd_diag *diag);

#endif
