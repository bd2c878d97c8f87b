#include <stdio.h>
#include <string.h>

#include "app/inspect.h"

enum { NAME = 28, LONG_NAME = 44 };

void ecd_inspect_add(ecd_inspect_totals *totals, const ecd_inspect_tensor *row)
{
    totals->tensors++;
    totals->weights += row->tensor->count;
    totals->raw_bytes += row->raw_bytes;
    totals->stored_bytes += row->stored_bytes;
    totals->what_if_bytes += row->what_if.bytes;
    totals->quantized += row->what_if.quantized;
    totals->faults += row->fault != NULL;
    if (!row->fit.valid || (!row->stored_bytes && row->raw_bytes)) // once where it has several names
        return;
    double weights = (double)row->stats.count;
    totals->fitted++;
    totals->inside += ecd_inspect_is_inside(row);
    totals->fitted_weights += row->stats.count;
    totals->exponent_bits += weights * row->stats.exponent_bits;
    totals->law_bits += weights * row->fit.law_bits;
    totals->byte_bits += weights * row->stats.byte_bits;
    totals->alpha += weights * row->fit.alpha;
    totals->low_bits += weights * row->fit.low_bits;
    totals->high_bits += weights * row->fit.high_bits;
}

bool ecd_inspect_is_inside(const ecd_inspect_tensor *row)
{
    return row->stats.exponent_bits >= row->fit.low_bits && row->stats.exponent_bits <= row->fit.high_bits;
}

const char *ecd_inspect_mode(const ecd_inspect_tensor *row)
{
    static const char *const names[] = {"ecf8 raw", "constant", "pairs", "singles"};
    if (!row->stored_bytes && row->raw_bytes)
        return "shared";
    if (row->published)
        return "ecf8-0.2.0";
    return row->coded ? names[row->mode] : "raw";
}

double ecd_inspect_bits(uint64_t bytes, uint64_t weights)
{
    return weights ? 8.0 * (double)bytes / (double)weights : 0;
}

// A name of at most `width` bytes: the middle of a longer one is left out, its ends tell tensors apart.
static const char *shorten(const char *name, size_t width, char *out, size_t size)
{
    static const char prefix[] = "transformer_blocks.";
    size_t head = width / 3;
    if (!strncmp(name, prefix, sizeof prefix - 1))
        name += strlen("transformer_");
    size_t length = strlen(name);
    if (length <= width)
        snprintf(out, size, "%s", name);
    else
        snprintf(out, size, "%.*s..%s", (int)head, name, name + length - (width - head - 2));
    return out;
}

static const char *shape_of(const ecd_tensor *t, char *out, size_t size)
{
    size_t used = 0;
    snprintf(out, size, "-");
    for (int i = 0; i < t->dims && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%lld", i ? "x" : "", (long long)t->shape[i]);
    return out;
}

static const char *type_of(ecd_dtype dtype)
{
    const char *name = ecd_dtype_name(dtype);
    return strncmp(name, "F8_", 3) ? name : name + 3;
}

static void print_measured(const ecd_inspect_tensor *row)
{
    if (row->measured)
        printf(" %5.3f", row->stats.exponent_bits);
    if (row->measured && !row->fit.valid)
        printf("     - %7.3f", row->stats.byte_bits);
    if (row->fit.valid)
        printf(" %5.3f %7.3f %5.3f+-%6.4f %8.3g %4.2f-%4.2f %s", row->fit.law_bits, row->stats.byte_bits,
               row->fit.alpha, row->fit.alpha_error, row->fit.scale, row->fit.low_bits, row->fit.high_bits,
               ecd_inspect_is_inside(row) ? "in" : "out");
}

static void print_plain(const ecd_inspect_tensor *row, bool first)
{
    char name[NAME + 8], shape[96];
    const ecd_tensor *t = row->tensor;
    if (first)
        printf("%-*s %-4s %-11s %-10s %6s %5s %5s %7s %-13s %8s %s\n", NAME, "tensor", "type", "shape", "stored",
               "bits/w", "H(E)", "law's", "H(byte)", "alpha", "scale", "bounds");
    printf("%-*s %-4s %-11s %-10s", NAME, shorten(t->name, NAME, name, sizeof name), type_of(t->dtype),
           shape_of(t, shape, sizeof shape), ecd_inspect_mode(row));
    if (row->fault)
        printf(" BAD: %s", row->fault->what);
    else
        printf(" %6.3f", ecd_inspect_bits(row->stored_bytes, t->count));
    if (!row->fault)
        print_measured(row);
    putchar('\n');
}

static double saved(uint64_t before, uint64_t after)
{
    return before ? 100 - 100 * (double)after / (double)before : 0;
}

static void print_what_if(const ecd_inspect_tensor *row, bool first)
{
    char name[LONG_NAME + 8], shape[96];
    const ecd_tensor *t = row->tensor;
    if (first)
        printf("%-*s %-12s %-4s %14s  %-9s %14s %7s %6s\n", LONG_NAME, "tensor", "shape", "type", "bytes", "becomes",
               "bytes", "saves", "bits/w");
    printf("%-*s %-12s %-4s %14llu", LONG_NAME, shorten(t->name, LONG_NAME, name, sizeof name),
           shape_of(t, shape, sizeof shape), type_of(t->dtype), (unsigned long long)row->stored_bytes);
    if (row->fault) {
        printf("  BAD: %s\n", row->fault->what);
        return;
    }
    printf("  %-9s %14llu %6.1f%% %6.3f\n",
           row->what_if.quantized                   ? "E4M3 ecf8"
           : row->what_if.bytes < row->stored_bytes ? "ecf8"
                                                    : "the same",
           (unsigned long long)row->what_if.bytes, saved(row->stored_bytes, row->what_if.bytes),
           ecd_inspect_bits(row->what_if.bytes, t->count));
}

void ecd_inspect_print_row(const ecd_inspect_tensor *row, bool what_if, bool first)
{
    if (what_if)
        print_what_if(row, first);
    else
        print_plain(row, first);
}

void ecd_inspect_print_totals(const ecd_inspect_totals *t, bool what_if)
{
    double n = (double)t->fitted_weights;
    printf("%llu tensors, %llu weights, %llu bytes stored, %llu raw (%.1f%%), %.3f bits a weight\n",
           (unsigned long long)t->tensors, (unsigned long long)t->weights, (unsigned long long)t->stored_bytes,
           (unsigned long long)t->raw_bytes,
           t->raw_bytes ? 100.0 * (double)t->stored_bytes / (double)t->raw_bytes : 100.0,
           ecd_inspect_bits(t->stored_bytes, t->weights));
    if (what_if)
        printf(
            "would be %llu bytes: %.1f%% saved, %.3f bits a weight, %llu tensors rounded to E4M3 with a scale a row\n",
            (unsigned long long)t->what_if_bytes, saved(t->stored_bytes, t->what_if_bytes),
            ecd_inspect_bits(t->what_if_bytes, t->weights), (unsigned long long)t->quantized);
    if (what_if || !t->fitted)
        return;
    printf("%llu of %llu tensors inside their bounds; means over the weights with a law:\n"
           "H(E) %.3f, the law's %.3f, H(byte) %.3f, alpha %.3f, bounds %.2f-%.2f\n",
           (unsigned long long)t->inside, (unsigned long long)t->fitted, t->exponent_bits / n, t->law_bits / n,
           t->byte_bits / n, t->alpha / n, t->low_bits / n, t->high_bits / n);
    printf(
        "alpha: " ECD_ALPHA_METHOD "; +- its standard error\n"
        "bounds: alpha/(1+2^-alpha) to alpha/(1-2^-alpha), the paper's of H(E); its limit FP4.67: %.2f bits a weight\n",
        ECD_ALPHA_LIMIT_BITS);
}
