// What the files of compress, decompress and verify share.
//
// A folder is a list of jobs, a file each (work.c). A job opens its file, hands out tasks and closes it; a crew of threads
// takes the tasks (crew.h), of several files at once where one has none left. What a job hands out and counts is only
// touched under the crew's lock, what a task works on only by that task.
#ifndef ECD_WEIGHTS_COMPRESS_INTERNAL_H
#define ECD_WEIGHTS_COMPRESS_INTERNAL_H

#include "weights/checkpoint_internal.h"
#include "weights/compress.h"
#include "weights/crew.h"
#include "weights/hash.h"
#include "weights/partial.h"
#include "weights/quantize.h"
#include "weights/tree.h"

enum {
    ECD_CONFIG_MAX_BYTES = 16 << 20,
    ECD_PIECE_BYTES = 4 << 20, // that a task works on at most, of a tensor
};

#define ECD_MANIFEST_NAME "ecf8.sha256" // of a compressed folder: lines of sha256sum(1) over the original files

typedef struct ecd_job ecd_job;
typedef struct ecd_work ecd_work;

typedef struct ecd_job_calls {
    ecd_status (*open)(ecd_job *job, ecd_diag *diag);               // by any thread
    ecd_claim (*claim)(ecd_job *job, ecd_task *task);               // under the lock. NULL: opening does it all
    ecd_status (*run)(ecd_job *job, const ecd_task *task, ecd_diag *diag);
    void (*finish)(ecd_job *job, const ecd_task *task);             // under the lock
    ecd_status (*close)(ecd_job *job, ecd_diag *diag);              // by any thread, after the last task; may be NULL
    void (*free)(ecd_job *job);                                     // of a job that was opened, closed or not; may be NULL
} ecd_job_calls;

typedef struct ecd_work_tensors {
    uint64_t all, coded, shared, quantized;
    uint64_t by_mode[ECD_WORK_MODES];
} ecd_work_tensors;

typedef enum ecd_job_state {
    ECD_JOB_QUEUED,
    ECD_JOB_OPENING,
    ECD_JOB_ACTIVE,
    ECD_JOB_CLOSING,
    ECD_JOB_DONE,
} ecd_job_state;

struct ecd_job {
    const ecd_job_calls *calls;
    ecd_work *work;
    const ecd_tree_entry *entry; // borrowed
    char *from, *to;             // owned
    const char *part;            // the component of `from` that it is about; NULL: all of it
    bool torch, quantize;
    ecd_job_state state;
    unsigned in_flight;  // tasks
    const char *expected; // SHA-256 that sha256 must become; borrowed, NULL: not known
    uint64_t told_bytes; // of the source, as progress counts them
    void *own;           // of the calls
    // What came of it.
    bool taken_over;      // from an earlier run
    bool coded;           // a tensor file
    char sha256[ECD_HASH_TEXT]; // of the original file; "" where there is none to give back
    uint64_t written_bytes;
    ecd_work_tensors tensors;
    uint64_t stored_bytes; // of its tensors, compressed
    uint64_t plain_bytes;  // of its tensors, decompressed
    char **scales;         // names of the scales that quantising added; owned
    size_t scale_count;
};

// Memory of a thread, for one task after the other.
typedef struct ecd_scratch {
    uint8_t *data;
    uint64_t size_bytes;
} ecd_scratch;

struct ecd_work {
    const ecd_compress_options *options;
    ecd_work_report *report;
    ecd_work_progress progress;
    const struct ecd_publish_plan *publish; // NULL unless published ECF8 is written
    bool expands;                           // published ECF8 is read
    uint64_t start_ns;
    unsigned threads;
    uint64_t piece_bytes; // of a task
    uint64_t held_bytes;  // memory of tensors on their way, under the lock
    ecd_job *jobs;
    size_t job_count, first_open, next_job;
    ecd_partial *partial;  // NULL: nothing is written
    ecd_scratch *scratches; // one a thread
};

// Room for a job for each entry of `tree`, which gives the total entries that are folders do not count.
ecd_status ecd_work_begin(ecd_work *work, const ecd_compress_options *options, ecd_work_report *report,
                          const ecd_tree *tree, ecd_diag *diag);
// Appends a job; takes over the paths, on failure too. `from` or `to` NULL: memory was out.
ecd_status ecd_work_add(ecd_work *work, const ecd_job_calls *calls, const ecd_tree_entry *entry, char *from, char *to,
                        ecd_job **out, ecd_diag *diag);
// Does all jobs; the report is filled in.
ecd_status ecd_work_run(ecd_work *work, ecd_diag *diag);
void ecd_work_end(ecd_work *work);
// At least `size` bytes of the task's thread, until its next task.
ecd_status ecd_work_scratch(const ecd_work *work, const ecd_task *task, uint64_t size, uint8_t **out, ecd_diag *diag);
// Under the lock: counts bytes of the source that the job has read for good.
void ecd_work_count(ecd_job *job, uint64_t read_bytes);
ecd_status ecd_job_note_scale(ecd_job *job, const char *name, ecd_diag *diag);

// ECD_DATA unless the job's SHA-256 is this one.
ecd_status ecd_job_check_sum(const ecd_job *job, const char *expected, ecd_diag *diag);

// run.c. A compression or decompression: its source, and its target in the making.
typedef struct ecd_run {
    const char *root; // of the source
    char *folder;     // owned; the root of a single file
    bool single;      // one file, not a folder
    bool complete;    // an earlier run has done it all
    ecd_tree tree;
    ecd_work work;
    ecd_partial partial;
} ecd_run;
ecd_status ecd_run_begin(ecd_run *run, const char *what, const char *source, const char *target,
                         const ecd_compress_options *options, ecd_work_report *report, ecd_diag *diag);
ecd_status ecd_run_folder(const ecd_run *run, const ecd_tree_entry *entry, ecd_diag *diag); // makes one of the target
ecd_status ecd_run_commit(ecd_run *run, ecd_diag *diag);
void ecd_run_end(ecd_run *run, ecd_status status); // also after a begin that failed

// resume.c. Is the finished file worth a line in the journal? Writes the line. Takes a file over that an earlier run has
// finished, if neither it nor the source has changed since.
bool ecd_job_journals(const ecd_job *job);
ecd_status ecd_job_journal(ecd_job *job, ecd_diag *diag);
ecd_status ecd_job_take_over(ecd_job *job, ecd_diag *diag);

// copy.c. A file as it is, piece by piece, with its SHA-256 on the way.
extern const ecd_job_calls ecd_copy_calls;

// The tensors of one file: of a safetensors file under the names that it spells, types that are not known included (they
// have dtype 0 and no count); of a torch file under current ones.
ecd_status ecd_tensor_file_open(const char *path, bool torch, ecd_checkpoint **out, ecd_diag *diag);

// The same under current names, ECF8 tensors with their own types and shapes, aliases added, indexed.
ecd_status ecd_tensor_file_resolved(const char *path, ecd_checkpoint **out, ecd_diag *diag);

// The value of a file's note "ecf8.<key>"; NULL if there is none.
const char *ecd_note_value(const ecd_checkpoint *cp, const char *key);

// Is this file of the tree a component's torch weights? Beside safetensors it is a second copy, and does not count.
bool ecd_tree_weights_are_torch(const ecd_tree *tree, const char *path);

// Of a tree made by parts.c: the component's tensors under diffusers' names, resolved.
ecd_status ecd_job_open_part(const ecd_job *job, const char *path, ecd_checkpoint **out, ecd_diag *diag);

// compress_file.c, compress_text.c, decompress_file.c, decompress.c, verify_file.c
extern const ecd_job_calls ecd_compress_calls, ecd_config_calls, ecd_decompress_calls,
    ecd_unmark_calls, ecd_verify_calls;

// compress_text.c. Writes an index of tensors whose shards are compressed already; with `torch` their names' ends change.
// `sha256` is that of the original, "" where decompressing will not give back the same index.
ecd_status ecd_compress_index(ecd_work *work, const char *from, const char *to, bool torch, char sha256[ECD_HASH_TEXT],
                              ecd_diag *diag);

// manifest.c. SHA-256 of original files by path, as sha256sum(1) writes them.
typedef struct ecd_manifest {
    char **paths;
    char (*sums)[ECD_HASH_TEXT];
    size_t count, capacity;
} ecd_manifest;
ecd_status ecd_manifest_add(ecd_manifest *manifest, const char *path, const char *sum, ecd_diag *diag);
const char *ecd_manifest_find(const ecd_manifest *manifest, const char *path); // NULL: not listed
ecd_status ecd_manifest_write(const ecd_manifest *manifest, const char *path, ecd_diag *diag);
ecd_status ecd_manifest_read(const char *path, ecd_manifest *out, ecd_diag *diag); // empty if there is no file
void ecd_manifest_free(ecd_manifest *manifest);

// Does the config beside this file of a folder describe a diffusion transformer, whose weights quantising concerns?
bool ecd_is_transformer(const char *root, const char *path);

// config_edit.c. Adds quantization_config to a config's text and takes it away again; the caller frees *out.
ecd_status ecd_config_mark(const char *text, char **out, ecd_diag *diag);
// The same with "dfloat_config", where readers of published ECF8 look for it; quantization_config stays as it is.
ecd_status ecd_config_mark_published(const char *text, char **out, ecd_diag *diag);
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
