// ECF8 weights inside products: the thread that multiplies a slice of output channels decodes it into its own scratch
// first, where it stays in the second cache. So decoding takes no thread, no buffer of a block and no way through memory.
#ifndef ECD_KERNELS_CPU_CODED_H
#define ECD_KERNELS_CPU_CODED_H

#include "kernels/coded.h"
#include "kernels/cpu/cpu.h"

// How the rows (output channels) of a coded weight are cut into parts of the work. A tile that a cut goes through is
// decoded by both parts, by the second one from its beginning: cuts look for rows near their place that begin near a
// tile's beginning. Those between the threads' equal shares look less far.
typedef struct ecd_cpu_cut {
    int64_t rows, step; // parts begin at multiples of `step` rows
    uint64_t cols, tile_weights, before; // before: weights of the container that come before the first row
    int64_t parts, threads;
    int64_t x_rows; // rows of x that a part is multiplied with: what an uneven cut costs
} ecd_cpu_cut;

ecd_cpu_cut ecd_cpu_cut_of(const ecd_weight *w, int64_t step, int64_t x_rows, int threads);
int64_t ecd_cpu_cut_at(const ecd_cpu_cut *cut, int64_t part); // first row of a part; `rows` for the one after the last
int64_t ecd_cpu_cut_most(const ecd_cpu_cut *cut);             // rows of the largest part

typedef struct ecd_cpu_decode {
    ecd_coded *coded;
    ecd_coded_decoder decoder;
    int64_t cols;
    bool verify;
    atomic_uint_fast64_t spent_ns;
    atomic_int failed;
    ecd_diag diag; // the first fault's, once `failed`
} ecd_cpu_decode;

// Before the parts run: the weight's tables, in the backend's memory. False after keeping a failure.
bool ecd_cpu_decode_begin(ecd_backend *be, const ecd_weight *w, ecd_cpu_decode *d);
// In a part: rows first .. first + count - 1 in their own type. False after a fault.
bool ecd_cpu_decode_rows(ecd_cpu_decode *d, int64_t first, int64_t count, void *to);
// After the parts have run: keeps a fault, or notes that all rows were decoded and so proven.
void ecd_cpu_decode_end(ecd_backend *be, ecd_cpu_decode *d, bool all);

#endif
