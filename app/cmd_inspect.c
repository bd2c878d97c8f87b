#include <cjson/cJSON.h>
#include <stdio.h>

#include "app/common.h"
#include "app/options.h"
#include "weights/inspect.h"

typedef struct totals {
    cJSON *tensors; // NULL: lines of text are printed
    bool failed;    // memory is out
    uint64_t count, elements, raw_bytes, stored_bytes;
} totals;

static const char *mode_name(const ecd_inspect_tensor *row)
{
    static const char *const names[] = {"ecf8 raw", "ecf8 constant", "ecf8 pairs", "ecf8 singles"};
    if (!row->stored_bytes && row->raw_bytes)
        return "shared";
    if (row->published)
        return "ecf8-0.2.0";
    return row->coded ? names[row->mode] : "raw";
}

static double bits_a_weight(uint64_t bytes, uint64_t count)
{
    return count ? 8.0 * (double)bytes / (double)count : 0;
}

static void print_row(const ecd_inspect_tensor *row)
{
    const ecd_tensor *t = row->tensor;
    char shape[96] = "[]";
    size_t used = 0;
    for (int i = 0; i < t->dims && used < sizeof shape; i++)
        used += (size_t)snprintf(shape + used, sizeof shape - used, "%s%lld%s", i ? "," : "[", (long long)t->shape[i],
                                 i == t->dims - 1 ? "]" : "");
    printf("%-64s %-8s %-16s %-12s %12llu %7.3f", t->name, ecd_dtype_name(t->dtype), shape, mode_name(row),
           (unsigned long long)row->stored_bytes, bits_a_weight(row->stored_bytes, t->count));
    if (row->measured)
        printf(" %6.3f %6.3f %6.3f", row->stats.exponent_bits, row->stats.bound_bits, row->stats.byte_bits);
    if (row->fit.valid)
        printf(" %6.3f %6.3f %9.3g %6.2f %6.2f", row->fit.alpha, row->fit.alpha_error, row->fit.scale,
               row->fit.low_bits, row->fit.high_bits);
    putchar('\n');
}

static cJSON *row_json(const ecd_inspect_tensor *row)
{
    const ecd_tensor *t = row->tensor;
    cJSON *object = cJSON_CreateObject();
    bool ok = object && cJSON_AddStringToObject(object, "name", t->name) &&
              cJSON_AddStringToObject(object, "file", row->file) &&
              cJSON_AddStringToObject(object, "dtype", ecd_dtype_name(t->dtype)) &&
              cJSON_AddStringToObject(object, "mode", mode_name(row));
    cJSON *shape = ok ? cJSON_AddArrayToObject(object, "shape") : NULL;
    ok = shape != NULL;
    for (int i = 0; ok && i < t->dims; i++)
        ok = cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->shape[i]));
    ok = ok && cJSON_AddNumberToObject(object, "bytes", (double)row->stored_bytes) &&
         cJSON_AddNumberToObject(object, "raw_bytes", (double)row->raw_bytes) &&
         cJSON_AddNumberToObject(object, "bits_per_weight", bits_a_weight(row->stored_bytes, t->count));
    if (ok && row->measured)
        ok = cJSON_AddNumberToObject(object, "exponent_entropy", row->stats.exponent_bits) &&
             cJSON_AddNumberToObject(object, "bound_bits", row->stats.bound_bits) &&
             cJSON_AddNumberToObject(object, "byte_entropy", row->stats.byte_bits);
    if (ok && row->fit.valid)
        ok = cJSON_AddNumberToObject(object, "alpha", row->fit.alpha) &&
             cJSON_AddNumberToObject(object, "alpha_error", row->fit.alpha_error) &&
             cJSON_AddNumberToObject(object, "alpha_scale", row->fit.scale) &&
             cJSON_AddNumberToObject(object, "entropy_low", row->fit.low_bits) &&
             cJSON_AddNumberToObject(object, "entropy_high", row->fit.high_bits);
    if (ok)
        return object;
    cJSON_Delete(object);
    return NULL;
}

static bool add_row(void *opaque, const ecd_inspect_tensor *row)
{
    totals *sum = opaque;
    ecd_diag diag = {0};
    sum->count++;
    sum->elements += row->tensor->count;
    sum->raw_bytes += row->raw_bytes;
    sum->stored_bytes += row->stored_bytes;
    if (sum->tensors)
        sum->failed |= !cJSON_AddItemToArray(sum->tensors, row_json(row));
    else
        print_row(row);
    return sum->failed || ecd_interrupt_check(&diag) != ECD_OK;
}

static void print_totals(const totals *sum)
{
    printf("%llu tensors, %llu weights, %llu bytes stored, %llu raw (%.1f%%), %.3f bits a weight\n",
           (unsigned long long)sum->count, (unsigned long long)sum->elements, (unsigned long long)sum->stored_bytes,
           (unsigned long long)sum->raw_bytes,
           sum->raw_bytes ? 100.0 * (double)sum->stored_bytes / (double)sum->raw_bytes : 100.0,
           bits_a_weight(sum->stored_bytes, sum->elements));
    printf("alpha: a stable law by McCulloch's quantiles (1986), +- its standard error; low <= H(E) <= high by "
           "the law; the paper's limit FP4.67: %.2f bits\n",
           ECD_ALPHA_LIMIT_BITS);
}

static bool print_json(cJSON *root, const totals *sum)
{
    bool ok = cJSON_AddNumberToObject(root, "weights", (double)sum->elements) &&
              cJSON_AddNumberToObject(root, "bytes", (double)sum->stored_bytes) &&
              cJSON_AddNumberToObject(root, "raw_bytes", (double)sum->raw_bytes) &&
              cJSON_AddNumberToObject(root, "bits_per_weight", bits_a_weight(sum->stored_bytes, sum->elements)) &&
              cJSON_AddStringToObject(root, "alpha_method", "McCulloch 1986, quantiles, beta = 0") &&
              cJSON_AddNumberToObject(root, "limit_bits", ECD_ALPHA_LIMIT_BITS);
    char *text = ok ? cJSON_Print(root) : NULL;
    if (text)
        puts(text);
    cJSON_free(text);
    return text != NULL;
}

int ecd_cmd_inspect(int argc, char **argv)
{
    bool json = false;
    int first = 0;
    ecd_diag diag = {0};
    totals sum = {0};
    cJSON *root = NULL;
    const ecd_option options[] = {{.name = "json", .kind = ECD_OPTION_FLAG, .value = &json}};
    ecd_status status = ecd_options_parse(argc, argv, options, 1, &first, &diag);
    if (!status && argc - first != 1)
        status = ecd_fail(&diag, ECD_USAGE, "%d arguments, expected 1: inspect PATH", argc - first);
    if (status)
        goto out;
    if (json) {
        root = cJSON_CreateObject();
        sum.tensors = root ? cJSON_AddArrayToObject(root, "tensors") : NULL;
        sum.failed = !sum.tensors;
    } else {
        printf("%-64s %-8s %-16s %-12s %12s %7s %6s %6s %6s %6s %6s %9s %6s %6s\n", "tensor", "type",
               "shape", "stored as", "bytes", "bits/w", "H(E)", "bound", "H(byte)",
               "alpha", "+-", "scale", "low", "high");
    }
    if (!sum.failed)
        status = ecd_inspect(argv[first], add_row, &sum, &diag);
    if (!sum.failed && !status) {
        if (json)
            sum.failed = !print_json(root, &sum);
        else
            print_totals(&sum);
    }
    if (sum.failed)
        status = ecd_fail_memory(&diag, 1024, "the report");
    if (!status)
        status = ecd_app_flush_stdout(&diag);
out:
    cJSON_Delete(root);
    return status ? ecd_app_fail(&diag) : ECD_OK;
}
