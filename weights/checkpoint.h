// A component's weights as files hold them: names, types, shapes, and where the bytes lie.
//
// Opens a component folder of a diffusers model (transformer/, vae/, text_encoder/) or a single file, in any of
//   <base>.safetensors, <base>.<variant>.safetensors (.fp16., .bf16.), <base>.safetensors.index.json with its shards,
//   the same with .bin (torch zip + pickle), where <base> is diffusion_pytorch_model, model or pytorch_model.
// Files are mapped, not copied: a tensor's bytes are borrowed from the mapping and live until ecd_checkpoint_close.
// Everything is checked on opening: extents inside the file, no overlap, size = shape x type, names unique.
//
// Sources: safetensors format (huggingface/safetensors README), torch.serialization zip format, diffusers
// models/modeling_utils.py (file choice, variants, old attention names).
#ifndef ECD_WEIGHTS_CHECKPOINT_H
#define ECD_WEIGHTS_CHECKPOINT_H

#include "base/file.h"
#include "kernels/backend.h"

enum { ECD_MAX_DIMS = 8 };

// How a tensor's bytes are held.
typedef enum ecd_encoding {
    ECD_ENCODING_RAW = 0, // row-major elements
    ECD_ENCODING_ECF8,    // a libecf8 container (file tensor "<name>.ecf8", U8)
    ECD_ENCODING_PUBLISHED, // a part of a group of published ECF8 0.2.0 (weights/published.h)
} ecd_encoding;

typedef struct ecd_published_group ecd_published_group;

typedef struct ecd_tensor {
    const char *name;  // current spelling (old names are renamed on opening), without ".ecf8"
    const char *own_name; // of component.h: what the file calls it, or what it is rows of; NULL: the same
    ecd_dtype dtype;   // of the decoded elements
    int dims;
    int64_t shape[ECD_MAX_DIMS]; // decoded
    uint64_t count;    // elements
    ecd_encoding encoding;
    bool flat;         // the shape is not known: dims is 1 and shape[0] the count (published ECF8 without notes)
    const ecd_published_group *group; // ECD_ENCODING_PUBLISHED: the group
    uint64_t first;    // ECD_ENCODING_PUBLISHED and _ECF8: the tensor's first weight in its group or container,
    uint64_t whole;    // and how many weights the container has; 0: the tensor is all of it
    const uint8_t *data;  // mapped bytes: elements, the whole container, or the bytes of the group's nibbles
    uint64_t size_bytes;  // of `data`
    const ecd_file *file; // for messages and advice
    uint64_t offset_bytes; // of `data` in the file
    ecd_scale_kind scale_kind; // of a scaled FP8 weight
    const struct ecd_tensor *scale; // the tensor that holds the scales, F32, F16 or BF16; NULL for ECD_SCALE_NONE
} ecd_tensor;

typedef struct ecd_checkpoint ecd_checkpoint;

// `folder` is the component's folder or a single .safetensors, .bin or .pt file.
// FP8 scales are found in every spelling (<m>.weight_scale, <m>.scale_weight, <m>.weight_scale_inv of 128x128 blocks,
// compressed-tensors' channel scales [rows, 1]) and checked: a scale that is zero, negative, NaN, infinite or of the
// wrong shape is ECD_DATA naming it; so is an FP8 weight without scale in a file that scales others.
ecd_status ecd_checkpoint_open(const char *folder, ecd_checkpoint **out, ecd_diag *diag);
void ecd_checkpoint_close(ecd_checkpoint *cp); // NULL is allowed

// Would ecd_checkpoint_open find a file of weights in this component's folder?
bool ecd_checkpoint_is_in(const char *folder);

// NULL if there is none of that name.
const ecd_tensor *ecd_checkpoint_find(const ecd_checkpoint *cp, const char *name);
size_t ecd_checkpoint_count(const ecd_checkpoint *cp);
const ecd_tensor *ecd_checkpoint_tensor(const ecd_checkpoint *cp, size_t index); // in file order

// The files behind it, in the order opened.
size_t ecd_checkpoint_file_count(const ecd_checkpoint *cp);
const ecd_file *ecd_checkpoint_file(const ecd_checkpoint *cp, size_t index);

// Bytes that the tensor takes in its files: size_bytes, or its share of a group or container, such that shares sum up to it.
uint64_t ecd_tensor_stored_bytes(const ecd_tensor *tensor);

// What the file calls the tensor.
static inline const char *ecd_tensor_own_name(const ecd_tensor *tensor)
{
    return tensor->own_name ? tensor->own_name : tensor->name;
}

// What this checkpoint's file would call a tensor; false where it has diffusers' names.
bool ecd_checkpoint_own_name(const ecd_checkpoint *cp, const char *name, char *out, size_t room);

// Fills `diag` with a fault of a tensor: its file, the name that it has there, and its offset.
ecd_status ecd_tensor_fail(const ecd_tensor *tensor, ecd_diag *diag, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif
