// What the files of ecf8_bench share: a row of its table is a coder (or memcpy) that can encode, decode, or both.
#ifndef ECF8_BENCH_H
#define ECF8_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "codec/ecf8.h"

enum { ECF8_BENCH_MAX_ROUNDS = 101, ECF8_BENCH_MAX_ROWS = 32 };

typedef struct ecf8_bench_tensor {
    const uint8_t *weights;
    uint64_t count, bytes, rows, cols;
    ecf8_dtype dtype;
    ecf8_stats stats;
} ecf8_bench_tensor;

typedef struct ecf8_bench_samples {
    double wall[ECF8_BENCH_MAX_ROUNDS], cpu[ECF8_BENCH_MAX_ROUNDS]; // seconds; cpu of the calling thread
    unsigned count;
} ecf8_bench_samples;

typedef struct ecf8_bench_row {
    const char *name, *out; // the coder, and what it decodes to
    const ecf8_bench_tensor *tensor;
    unsigned threads;                                // that work at the same time
    uint64_t coded_bytes;                            // set by encode, or by whoever made the row; 0: not a coder
    bool (*encode)(struct ecf8_bench_row *row);      // NULL where it is not timed
    bool (*decode)(struct ecf8_bench_row *row);      // into `target`
    bool (*check)(const struct ecf8_bench_row *row); // NULL: `target` must be the tensor's bytes
    uint8_t *target;
    uint64_t target_bytes;
    uint8_t *coded; // peers: what encode writes and decode reads
    uint64_t coded_capacity;
    int level;
    void *state;
    ecf8_bench_samples encoding, decoding;
} ecf8_bench_row;

typedef struct ecf8_bench_table {
    ecf8_bench_row rows[ECF8_BENCH_MAX_ROWS];
    unsigned count;
    void *owned[ECF8_BENCH_MAX_ROWS * 4]; // freed with the table
    unsigned owned_count;
    uint8_t *target; // shared by all rows: 4 bytes a weight
    uint64_t target_bytes;
} ecf8_bench_table;

// Memory that lives as long as the table; exits the program if there is none.
void *ecf8_bench_take(ecf8_bench_table *table, uint64_t bytes);
ecf8_bench_row *ecf8_bench_add(ecf8_bench_table *table, const ecf8_bench_tensor *tensor, const char *name,
                               const char *out);
void ecf8_bench_drop(ecf8_bench_table *table);

// Adds libecf8's rows: densities, outputs, threads. False (and a line on stderr) if something failed.
bool ecf8_bench_add_ours(ecf8_bench_table *table, const ecf8_bench_tensor *tensor, ecf8_cpu cpu, unsigned threads);

// Adds memcpy and, if wanted, the coders that were found when this was configured.
void ecf8_bench_add_memcpy(ecf8_bench_table *table, const ecf8_bench_tensor *tensor);
bool ecf8_bench_add_peers(ecf8_bench_table *table, const ecf8_bench_tensor *tensor);
void ecf8_bench_peer_versions(char *text, size_t size);

// Encodes with one density: the size, and whether the decoded weights are the same. `seconds`: of encoding and of
// decoding with ECF8_VERIFY, added.
bool ecf8_bench_size(const ecf8_bench_tensor *tensor, ecf8_density density, ecf8_cpu cpu, uint64_t *bytes,
                     double seconds[2]);

// Sizes of every tensor of floats of safetensors files, and totals. Returns the exit status.
int ecf8_bench_files(int count, char **paths, ecf8_cpu cpu, bool json);

double ecf8_bench_seconds(bool cpu);

#endif
