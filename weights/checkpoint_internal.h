// What the parts of the checkpoint reader share: internal to weights/.
//
// Opening goes: choose the files (checkpoint.c) -> list their tensors (safetensors.c) -> current names
// (names.c) -> index -> ECF8 containers (ecf8_tensors.c) -> a component's names (component.c) -> FP8 scales (scales.c).
#ifndef ECD_WEIGHTS_CHECKPOINT_INTERNAL_H
#define ECD_WEIGHTS_CHECKPOINT_INTERNAL_H

#include "weights/checkpoint.h"

// A metadata entry of a file whose key starts with "ecf8.".
typedef struct ecd_checkpoint_note {
    char *key, *value; // owned
    const ecd_file *file;
} ecd_checkpoint_note;

struct ecd_checkpoint {
    ecd_file **files; // each on its own, so that tensors may point at them while more are opened
    size_t file_count;
    ecd_tensor *tensors; // names are owned strings; in file order
    size_t count, capacity;
    size_t *by_name; // indices sorted by name
    void *published_parts; // names of buffers that published ECF8 groups took: published_tensors.c's, sorted; kept
    size_t published_part_count;
    ecd_checkpoint_note *notes;
    size_t note_count, note_capacity;
    void **buffers; // contents of deflated entries
    size_t buffer_count, buffer_capacity;
    bool keep_unknown; // tensors of types not known are listed too: dtype 0, no count, any size
    const struct ecd_component_names *names; // that were given to diffusers' ones, behind `prefix`; NULL: none
    const char *prefix;
    long last_level;
    uint64_t used_names; // bit i: rule i of names has renamed a tensor
};

// Appends a tensor; `name` of `name_bytes` is copied (no NUL inside). The other fields are taken from `tensor`.
ecd_status ecd_checkpoint_add(ecd_checkpoint *cp, const char *name, size_t name_bytes, const ecd_tensor *tensor,
                              ecd_diag *diag);
ecd_status ecd_checkpoint_add_note(ecd_checkpoint *cp, const char *key, const char *value, const ecd_file *file,
                                   ecd_diag *diag);
// Takes ownership of `buffer`; frees it on failure.
ecd_status ecd_checkpoint_keep(ecd_checkpoint *cp, void *buffer, ecd_diag *diag);

// Fills tensor->count and the size that its elements take. false if either overflows.
bool ecd_tensor_measure(ecd_tensor *tensor, uint64_t *size_bytes);

// "[2, 3]" for messages.
const char *ecd_tensor_shape_text(const ecd_tensor *tensor, char *out, size_t size);

// Tensors of one mapped file (appended to cp).
ecd_status ecd_safetensors_list(ecd_checkpoint *cp, const ecd_file *file, ecd_diag *diag);

// The same of a torch file (a zip archive with a pickle).
ecd_status ecd_torch_list(ecd_checkpoint *cp, const ecd_file *file, ecd_diag *diag);
// Does the path end as torch files do: .bin, .pt, .pth?
bool ecd_torch_named(const char *path);

// Old names to current ones; drops ".ecf8" and marks the containers.
ecd_status ecd_names_update(ecd_checkpoint *cp, ecd_diag *diag);
// A single name's current spelling without ".ecf8", as index files list it; the caller frees. NULL: memory is out.
char *ecd_names_current(const char *name);

// A 1x1 convolution of the VAE's attention becomes the linear layer that it is.
void ecd_names_squeeze(ecd_tensor *tensor);

// component.c: keeps the tensors of one component, under diffusers' names. *found: it is there.
ecd_status ecd_component_select(ecd_checkpoint *cp, const char *component, bool *found, ecd_diag *diag);

// ECF8 containers: their dtype and shape, and the entries that notes describe (shapes, aliases).
ecd_status ecd_ecf8_resolve(ecd_checkpoint *cp, ecd_diag *diag);

// Finds and checks the scales of FP8 weights. Names must be indexed.
ecd_status ecd_scales_attach(ecd_checkpoint *cp, ecd_diag *diag);

// (Re)builds by_name; a name that occurs twice is ECD_DATA.
ecd_status ecd_checkpoint_index(ecd_checkpoint *cp, ecd_diag *diag);

#endif
