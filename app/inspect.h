// The parts of `ecdit inspect`: totals, table, JSON, plot.
#ifndef ECD_APP_INSPECT_H
#define ECD_APP_INSPECT_H

#include <cjson/cJSON.h>

#include "weights/inspect.h"

typedef struct ecd_inspect_totals {
    uint64_t tensors, weights, raw_bytes, stored_bytes, what_if_bytes, quantized, faults;
    // Of the tensors with a fitted law: how many, their weights, and sums of values times weights.
    uint64_t fitted, inside, fitted_weights;
    double exponent_bits, law_bits, byte_bits, alpha, low_bits, high_bits;
} ecd_inspect_totals;

void ecd_inspect_add(ecd_inspect_totals *totals, const ecd_inspect_tensor *row);
bool ecd_inspect_is_inside(const ecd_inspect_tensor *row);   // its H(E) within its bounds
const char *ecd_inspect_mode(const ecd_inspect_tensor *row); // "pairs", "raw", "shared", ...
double ecd_inspect_bits(uint64_t bytes, uint64_t weights);   // a weight

// Lines of text on standard output; the header comes with the first row. With `what_if`, the table of that.
void ecd_inspect_print_row(const ecd_inspect_tensor *row, bool what_if, bool first);
void ecd_inspect_print_totals(const ecd_inspect_totals *totals, bool what_if);

cJSON *ecd_inspect_row_json(const ecd_inspect_tensor *row, bool what_if); // NULL: memory is out
bool ecd_inspect_totals_json(cJSON *root, const ecd_inspect_totals *totals, bool what_if);

// The plot: the exponents of all tensors of the type that most weights have, and of the largest tensors.
enum { ECD_INSPECT_PANELS = 6, ECD_INSPECT_EXPONENTS = 256 + 32 };

typedef struct ecd_inspect_histogram {
    char name[64];
    uint64_t tensors, weights;
    double exponent_bits;
    ecd_alpha_fit fit;
    double shares[ECD_INSPECT_EXPONENTS], law[ECD_INSPECT_EXPONENTS]; // by exponent + 160
} ecd_inspect_histogram;

typedef struct ecd_inspect_histograms {
    ecd_inspect_histogram all[ECD_DTYPE_COUNT]; // of a type: sums of all above, weighed
    ecd_inspect_histogram largest[ECD_INSPECT_PANELS];
    int count;
} ecd_inspect_histograms;

void ecd_inspect_plot_add(ecd_inspect_histograms *plots, const ecd_inspect_tensor *row);
ecd_status ecd_inspect_plot_write(const char *path, const char *model, const ecd_inspect_histograms *plots,
                                  ecd_diag *diag);

// inspect_tokens.c: the ids and pieces of a text by each tokenizer of the folder, on standard output.
ecd_status ecd_inspect_tokens(const char *folder, const char *text, bool json, ecd_diag *diag);

#endif
