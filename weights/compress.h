// Model folders to and from their compressed form, and the comparison of the two.
//
// A compressed folder is the same folder: the same file names, safetensors still; a tensor X that shrinks is the U8
// tensor "X.ecf8". What is needed to give back the original files stands in each file's __metadata__:
//   ecf8.header        the text of the header that decompressing writes, padding included
//   ecf8.shape.<name>  "a,b,c,d": the shape of a tensor that is not a matrix
//   ecf8.alias.<name>  the tensor that holds the same bytes (tensors equal within a file are stored once)
// and in config.json as "quantization_config", put before the first key; a config's own is kept beside it under
// "source_quantization_config". The index of a sharded model gets the compressed shards' metadata.total_size, with the
// decompressed one beside it as "source_total_size", and the scales that quantising adds in its weight_map.
#ifndef ECD_WEIGHTS_COMPRESS_H
#define ECD_WEIGHTS_COMPRESS_H

#include "base/status.h"

typedef struct ecd_work_progress {
    const char *file;                // relative to the folder
    uint64_t done_bytes, total_bytes; // of the source
    uint64_t written_bytes;
    uint64_t elapsed_ns;
} ecd_work_progress;

// Called now and then; true stops the work with ECD_INTERRUPTED.
typedef bool (*ecd_work_callback)(void *opaque, const ecd_work_progress *progress);

typedef struct ecd_compress_options {
    bool quantize_e4m3; // linear weights of a transformer's blocks, from BF16, F16 or F32: a scale a row
    ecd_work_callback progress; // may be NULL
    void *opaque;
} ecd_compress_options;

typedef struct ecd_work_report {
    uint64_t files, files_coded;
    uint64_t tensors, tensors_coded, tensors_shared, tensors_quantized;
    uint64_t source_bytes, written_bytes;
    uint64_t elapsed_ns;
} ecd_work_report;

// Every file of `source` is copied or compressed into the new folder `target`, which appears whole or not at all.
// ECD_USAGE if `target` exists. Torch .bin files become safetensors files of the same base name.
ecd_status ecd_compress(const char *source, const char *target, const ecd_compress_options *options,
                        ecd_work_report *report, ecd_diag *diag);

// Gives back the files that ecd_compress read, byte by byte (of quantised ones: the E4M3 weights and scales).
ecd_status ecd_decompress(const char *source, const char *target, const ecd_compress_options *options,
                          ecd_work_report *report, ecd_diag *diag);

// Compares two folders tensor by tensor, decoded, and their other files byte by byte; either may be compressed.
// ECD_DATA names the first difference.
ecd_status ecd_verify(const char *a, const char *b, const ecd_compress_options *options, ecd_work_report *report,
                      ecd_diag *diag);

#endif
