// Compares operations of a backend with ref, bit-compares it with itself, and times it.
#ifndef ECD_TESTS_CHECK_H
#define ECD_TESTS_CHECK_H

#include "kernels/backend.h"

enum { ECD_CHECK_LEVELS = 4 };

typedef struct ecd_check {
    ecd_backend *ref, *one, *two; // reference; the cpu backend with one and with two threads, or another one twice
    ecd_backend *levels[ECD_CHECK_LEVELS]; // the levels of this CPU that must give the bits of `one`
    const char *level_names[ECD_CHECK_LEVELS];
    int level_count; // 0 where they may differ
    double tolerance;             // relative to the largest value of the reference
    uint64_t random;
    int checks, failures;
} ecd_check;

float ecd_check_random(ecd_check *check); // about normal, mean 0, deviation 1

// A buffer of `count` floats or activations with canaries on both sides, one element off alignment.
typedef struct ecd_guarded {
    char *memory;
    void *data;
    size_t size_bytes;
} ecd_guarded;

ecd_guarded ecd_guarded_new(size_t size_bytes, size_t element_bytes);
bool ecd_guarded_intact(const ecd_guarded *buffer);
void ecd_guarded_free(ecd_guarded *buffer);

// `count` random values as activations of a backend (the same values for the same seed, rounded to BF16 if `round`).
void ecd_check_fill(ecd_check *check, float *values, size_t count, bool round);
void ecd_check_as_act(const ecd_backend *be, const float *values, size_t count, void *out);

// Makes the last three keys of each sequence five times as large: a softmax that goes through its keys finds its largest
// logits late. k: [batch, tokens, width], rows stride elements apart.
void ecd_check_raise_keys(float *k, int64_t batch, int64_t tokens, int64_t width, int64_t stride);

// Compares a cpu result (act or f32) with the reference; NaN must meet NaN. Counts and prints a failure.
void ecd_check_close(ecd_check *check, const char *what, const float *expected, const void *found, bool act,
                     size_t count);
void ecd_check_true(ecd_check *check, const char *what, bool holds);
// Whether `count` floats (or BF16, of 2 bytes) have equal bits; a NaN's sign and payload do not count.
bool ecd_check_same(const void *a, const void *b, size_t count, size_t element_bytes);

// Runs one operation on the same input in ref and in cpu with one and two threads and at each level: near to ref, equal
// bits, canaries.
// x: act if x_act, else f32; out: act if out_act, else f32, begun from zeros.
typedef void (*ecd_check_runner)(ecd_backend *be, const void *parameters, const void *x, void *out);
typedef struct ecd_check_case {
    const char *what;
    ecd_check_runner run;
    const void *parameters;
    const float *x;
    bool x_act, out_act;
    size_t in, out; // elements
} ecd_check_case;
void ecd_check_run(ecd_check *check, const ecd_check_case *c);
float *ecd_check_values(ecd_check *check, size_t count); // to be freed

void ecd_check_linear(ecd_check *check);
void ecd_check_vision(ecd_check *check); // convolution, group norm, norm, attention, elementwise
void ecd_check_layout(ecd_check *check); // patches, channel layouts, rows of tables, conversions
void ecd_check_combine(ecd_check *check); // sampler steps and picture bytes: ref's bits everywhere
void ecd_check_rope(ecd_check *check);
void ecd_check_coded(ecd_check *check); // ECF8 weights against their elements
void ecd_check_batch(ecd_check *check);  // a picture alone and among others
void ecd_check_place(ecd_check *check);  // operands aligned and not
void ecd_check_all(ecd_check *check);    // all of these
void ecd_check_bench(ecd_check *check);

#endif
