// Model folders, or single tensor files, to and from their compressed form, and the comparison of the two.
//
// A compressed folder is the same folder: the same file names, safetensors still; a tensor X that shrinks is the U8
// tensor "X.ecf8". What is needed to give back the original files stands in each file's __metadata__ (docs/FORMAT.md,
// "Files and folders"), and in config.json as "quantization_config", put before the first key; a config's own is kept
// beside it under "source_quantization_config". The index of a sharded model gets the compressed shards'
// metadata.total_size, with the decompressed one beside it as "source_total_size", and the scales that quantising adds
// in its weight_map. SHA-256 sums of the original files stand in "ecf8.sha256".
//
// Memory does not grow with the model: tensors are coded, decoded and compared in pieces, mapped pages are given back
// behind. What grows is the encoder's plan of a tensor, 1 to 3 KiB for each 65536 weights, and a matrix being quantised.
// The bytes written do not depend on the number of threads.
#ifndef ECD_WEIGHTS_COMPRESS_H
#define ECD_WEIGHTS_COMPRESS_H

#include "base/status.h"

typedef struct ecd_work_progress {
    const char *file;                // relative to the folder
    uint64_t done_bytes, total_bytes; // of the source
    uint64_t kept_bytes;             // of done_bytes: done by an earlier run
    uint64_t elapsed_ns;
} ecd_work_progress;

// Called now and then from the thread that called; true stops the work with ECD_INTERRUPTED.
typedef bool (*ecd_work_callback)(void *opaque, const ecd_work_progress *progress);
// Called with a sentence for people: what became of an earlier run's unfinished work.
typedef void (*ecd_work_notice)(void *opaque, const char *text);

typedef enum ecd_level {
    ECD_LEVEL_BALANCED = 0, // what is smaller without decoding much slower (ECF8_DENSITY_BALANCED)
    ECD_LEVEL_FAST,         // decodes fastest
    ECD_LEVEL_BEST,         // the smallest
} ecd_level;

typedef struct ecd_compress_options {
    bool quantize_e4m3; // linear weights of a transformer's blocks, from BF16, F16 or F32: a scale a row
    ecd_level level;
    bool published; // write published ECF8 0.2.0: folders of safetensors only, E4M3 matrices alone are coded; no level
    const char *config; // the source is a single file of other programs, the target a diffusers folder; NULL: see ecd_compress
    unsigned threads;   // 0: as many as there are processors
    ecd_work_callback progress; // may be NULL
    ecd_work_notice notice;     // may be NULL
    void *opaque;
} ecd_compress_options;

enum { ECD_WORK_MODES = 4 }; // of ECF8 containers: raw, constant, pairs, singles (ecf8_mode)

typedef struct ecd_work_report {
    uint64_t files, files_coded, files_taken_over;
    uint64_t tensors, tensors_coded, tensors_shared, tensors_quantized;
    uint64_t tensors_by_mode[ECD_WORK_MODES]; // raw: those that stand in the file as they are
    uint64_t source_bytes, written_bytes;     // of all files
    uint64_t kept_bytes;                      // of source_bytes: done by an earlier run
    uint64_t elapsed_ns;
} ecd_work_report;

// Every file of `source` is copied or compressed into the new folder `target`, which appears whole or not at all; a single
// .safetensors or torch file gives a single file. ECD_USAGE if `target` exists. Torch .bin files become safetensors files
// of the same base name. After an interruption or a full disk (ECD_INTERRUPTED, ECD_RESOURCE) finished tensor files stay
// in "<target>.partial", and the same call goes on after them; other failures leave nothing.
ecd_status ecd_compress(const char *source, const char *target, const ecd_compress_options *options,
                        ecd_work_report *report, ecd_diag *diag);

// With options->config, a diffusers folder, a single file (weights/component.h) becomes a whole compressed folder: the file's
// components under diffusers' names, the rest (configs, tokenizers, components that the file lacks) from `config`.

// Gives back the files that ecd_compress read, byte by byte (of quantised ones: the E4M3 weights and scales), and
// compares their SHA-256 with that of the originals: a file that differs is ECD_DATA.
ecd_status ecd_decompress(const char *source, const char *target, const ecd_compress_options *options,
                          ecd_work_report *report, ecd_diag *diag);

// Compares two folders or tensor files tensor by tensor, decoded, and other files byte by byte; either may be compressed.
// Of a compressed file and an original the headers must agree too. ECD_DATA names the first difference.
// Of a single file and a folder the components that the file holds are compared.
ecd_status ecd_verify(const char *a, const char *b, const ecd_compress_options *options, ecd_work_report *report,
                      ecd_diag *diag);

#endif
