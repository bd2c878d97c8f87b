// What compress.c, compress_file.c, decompress.c and verify.c share.
#ifndef ECD_WEIGHTS_COMPRESS_INTERNAL_H
#define ECD_WEIGHTS_COMPRESS_INTERNAL_H

#include "weights/checkpoint_internal.h"
#include "weights/compress.h"
#include "weights/tree.h"

// A compressed tensor file: what an index says of it.
typedef struct ecd_work_file {
    char *path;            // of the target; owned
    uint64_t stored_bytes; // of its tensors, compressed
    uint64_t plain_bytes;  // of its tensors, decompressed
    char **scales;         // names of the scales that quantising added; owned
    size_t scale_count;
} ecd_work_file;

typedef struct ecd_work {
    const ecd_compress_options *options;
    ecd_work_report *report;
    ecd_work_progress progress;
    uint64_t start_ns;
    uint64_t limit_bytes; // what progress.done_bytes may reach within this file: twins are read more than once
    ecd_work_file *files;
    size_t file_count;
} ecd_work;

// `tree` gives the total; entries that are folders do not count.
void ecd_work_begin(ecd_work *work, const ecd_compress_options *options, ecd_work_report *report, const ecd_tree *tree);
// Counts `read` bytes of the source and tells the caller. ECD_INTERRUPTED if he wants no more.
ecd_status ecd_work_step(ecd_work *work, uint64_t read, ecd_diag *diag);

// The tensors of one file: of a safetensors file under the names that it spells, of a torch file under current ones.
ecd_status ecd_tensor_file_open(const char *path, bool torch, ecd_checkpoint **out, ecd_diag *diag);

// The same under current names, ECF8 tensors with their own types and shapes, aliases added, indexed.
ecd_status ecd_tensor_file_resolved(const char *path, ecd_checkpoint **out, ecd_diag *diag);

// Is this file of the tree a component's torch weights? Beside safetensors it is a second copy, and does not count.
bool ecd_tree_weights_are_torch(const ecd_tree *tree, const char *path);

ecd_status ecd_compress_file(ecd_work *work, const char *from, const char *to, bool torch, bool quantize,
                             ecd_diag *diag);
// compress_index.c. Writes an index of tensors whose shards are compressed already; with `torch` their names' ends change.
ecd_status ecd_compress_index(ecd_work *work, const char *from, const char *to, bool torch, ecd_diag *diag);
// Adds a file to work->files; *out lives until the next is added.
ecd_status ecd_work_note_file(ecd_work *work, const char *path, ecd_work_file **out, ecd_diag *diag);
ecd_status ecd_work_note_scale(ecd_work_file *file, const char *name, ecd_diag *diag);
void ecd_work_end(ecd_work *work); // frees work->files

ecd_status ecd_decompress_file(ecd_work *work, const char *from, const char *to, ecd_diag *diag);

// quantize.c. Is this a linear weight of a transformer's block?
bool ecd_quantize_wants(const ecd_tensor *tensor);
// Rounds [rows, cols] of F32, F16 or BF16 to E4M3: scale[row] = max|row| / 448 (1 for a row of zeros), saturating.
// A weight that is not finite is ECD_DATA.
ecd_status ecd_quantize_rows(const ecd_tensor *tensor, uint8_t *out, float *scale, ecd_diag *diag);

// config_edit.c. Adds quantization_config to a config's text and takes it away again; the caller frees *out.
ecd_status ecd_config_mark(const char *text, char **out, ecd_diag *diag);
ecd_status ecd_config_unmark(const char *text, char **out, ecd_diag *diag); // *out NULL: it was not marked

// index_edit.c. The same for "*.safetensors.index.json": metadata.total_size becomes that of the compressed shards, with
// that of the decompressed ones beside it as "source_total_size"; scales that quantising added enter the weight_map.
typedef struct ecd_index_scale {
    const char *name, *file;
} ecd_index_scale;

typedef struct ecd_index_change {
    uint64_t stored_bytes, plain_bytes;
    ecd_index_scale *scales;
    size_t scale_count;
} ecd_index_change;

ecd_status ecd_index_mark(const char *text, const ecd_index_change *change, char **out, ecd_diag *diag);
ecd_status ecd_index_unmark(const char *text, char **out, ecd_diag *diag); // *out NULL: it was not marked
// The text with the ends of its shards' names changed, ".bin" to ".safetensors"; the caller frees. NULL: no memory.
char *ecd_index_renamed(const char *text);

#endif
