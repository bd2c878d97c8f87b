// What the parts of the torch reader share: internal to weights/.
//
// A torch file (torch.serialization, since torch 1.6) is a zip archive: <name>/data.pkl is a pickle of the dictionary,
// <name>/data/<key> holds the bytes of the storage <key>, <name>/byteorder says "little".
// The pickle is read by a machine that builds values of the few kinds below and runs nothing.
#ifndef ECD_WEIGHTS_TORCH_INTERNAL_H
#define ECD_WEIGHTS_TORCH_INTERNAL_H

#include "weights/checkpoint_internal.h"

// --- The archive (torch_zip.c) ---

typedef struct ecd_torch_zip ecd_torch_zip;

typedef struct ecd_torch_entry {
    const uint8_t *data; // in the mapping, or in a buffer that the checkpoint keeps
    uint64_t size_bytes;
    uint64_t offset_bytes; // of the entry's bytes, compressed or not, in the file
    bool inflated;
} ecd_torch_entry;

// Opens the archive and finds its folder, the one with data.pkl. `file` must outlive it.
ecd_status ecd_torch_zip_open(ecd_checkpoint *cp, const ecd_file *file, ecd_torch_zip **out, ecd_diag *diag);
void ecd_torch_zip_close(ecd_torch_zip *zip); // NULL is allowed

// An entry of the archive's folder. With `whole`, its checksum is verified even where it is borrowed: the bytes of
// storages are not read for that, as they are not in safetensors. An absent entry leaves out->data NULL if `optional`.
ecd_status ecd_torch_zip_entry(ecd_torch_zip *zip, const char *name, bool whole, bool optional, ecd_torch_entry *out,
                               ecd_diag *diag);

// --- The pickle (pickle.c, pickle_call.c) ---

typedef enum ecd_pickle_kind {
    ECD_PICKLE_NONE = 0,
    ECD_PICKLE_BOOL,
    ECD_PICKLE_INT,     // number
    ECD_PICKLE_TEXT,    // text, count bytes (strings and bytes)
    ECD_PICKLE_GLOBAL,  // detail: ecd_pickle_global
    ECD_PICKLE_TUPLE,   // first, count
    ECD_PICKLE_LIST,    // first, count
    ECD_PICKLE_DICT,    // first, count: cells of key, value, key, value
    ECD_PICKLE_STORAGE, // first: the key's value; detail: ecd_dtype; number: elements
    ECD_PICKLE_TENSOR,  // first: storage, last: sizes, count: strides; number: offset; detail: ecd_dtype
    ECD_PICKLE_INERT,   // something whose content does not matter
} ecd_pickle_kind;

typedef enum ecd_pickle_global {
    ECD_PICKLE_ORDERED_DICT,
    ECD_PICKLE_REBUILD_V2,
    ECD_PICKLE_REBUILD_V3,
    ECD_PICKLE_REBUILD_PARAMETER,
    ECD_PICKLE_SIZE,
    ECD_PICKLE_DEVICE,
    ECD_PICKLE_NAMESPACE,
    ECD_PICKLE_STORAGE_TYPE, // number: ecd_dtype
    ECD_PICKLE_DTYPE,        // number: ecd_dtype
} ecd_pickle_global;

typedef struct ecd_pickle_value {
    uint8_t kind, detail;
    uint32_t first, last, count;
    int64_t number;
    const uint8_t *text;
} ecd_pickle_value;

// An element of a container; containers are chains, so that a value may be in many.
typedef struct ecd_pickle_cell {
    uint32_t value, next;
} ecd_pickle_cell;

typedef struct ecd_pickle {
    const uint8_t *data;
    uint64_t size_bytes, at;
    uint64_t base_bytes; // of `data` in the file, for messages
    const char *path;
    ecd_diag *diag;
    ecd_pickle_value *values; // [0] is no value
    ecd_pickle_cell *cells;   // [0] is no cell
    uint32_t *stack, *marks, *memo;
    size_t value_count, value_room, cell_count, cell_room, depth, stack_room, mark_count, mark_room, memo_room;
    size_t memo_count; // values ever stored by MEMOIZE
} ecd_pickle;

// Runs the pickle; *root is the index of its result in p->values. data, size_bytes, base_bytes, path and diag are set
// by the caller, the rest zero. ecd_pickle_free afterwards, also on failure.
ecd_status ecd_pickle_run(ecd_pickle *p, uint32_t *root);
void ecd_pickle_free(ecd_pickle *p);

// Fault at the place of the opcode being run.
ecd_status ecd_pickle_fail(const ecd_pickle *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

// The element of a tuple, 0 if there is none.
uint32_t ecd_pickle_item(const ecd_pickle *p, uint32_t container, uint32_t index);
// A new value; 0 and the diagnosis when there are too many or memory is out.
uint32_t ecd_pickle_new(ecd_pickle *p, ecd_pickle_value value);

// The value of a GLOBAL: only names of a fixed list have one.
ecd_status ecd_pickle_find_global(ecd_pickle *p, const char *module, size_t module_bytes, const char *name,
                                  size_t name_bytes, uint32_t *out);
// What calling `function` with the tuple `arguments` stands for. `construct`: NEWOBJ instead of REDUCE.
ecd_status ecd_pickle_call(ecd_pickle *p, uint32_t function, uint32_t arguments, bool construct, uint32_t *out);
// The storage that the tuple ('storage', type, key, location, elements) names.
ecd_status ecd_pickle_storage(ecd_pickle *p, uint32_t id, uint32_t *out);

#endif
