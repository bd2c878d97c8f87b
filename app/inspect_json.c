#include "app/inspect.h"

static bool add_fit(cJSON *object, const char *name, const ecd_alpha_fit *fit, bool bounds)
{
    cJSON *law = cJSON_AddObjectToObject(object, name);
    bool ok = law && cJSON_AddNumberToObject(law, "alpha", fit->alpha) &&
              cJSON_AddNumberToObject(law, "alpha_error", fit->alpha_error) &&
              cJSON_AddNumberToObject(law, "scale", fit->scale);
    if (ok && bounds)
        ok = cJSON_AddNumberToObject(law, "exponent_entropy", fit->law_bits) &&
             cJSON_AddNumberToObject(law, "misfit", fit->misfit) &&
             cJSON_AddNumberToObject(law, "entropy_low", fit->low_bits) &&
             cJSON_AddNumberToObject(law, "entropy_high", fit->high_bits);
    return ok;
}

static bool add_measured(cJSON *object, const ecd_inspect_tensor *row)
{
    bool ok = cJSON_AddNumberToObject(object, "exponent_entropy", row->stats.exponent_bits) &&
              cJSON_AddNumberToObject(object, "bound_bits", row->stats.bound_bits) &&
              cJSON_AddNumberToObject(object, "byte_entropy", row->stats.byte_bits);
    if (ok && row->fit.valid)
        ok = add_fit(object, "law", &row->fit, true) &&
             cJSON_AddBoolToObject(object, "inside_bounds", ecd_inspect_is_inside(row));
    if (ok && row->scaled.valid)
        ok = add_fit(object, "law_of_scaled_weights", &row->scaled, false);
    return ok;
}

static bool fill(cJSON *object, const ecd_inspect_tensor *row, bool what_if)
{
    const ecd_tensor *t = row->tensor;
    bool ok = cJSON_AddStringToObject(object, "name", t->name) && cJSON_AddStringToObject(object, "file", row->file) &&
              cJSON_AddStringToObject(object, "dtype", ecd_dtype_name(t->dtype)) &&
              cJSON_AddStringToObject(object, "mode", ecd_inspect_mode(row));
    cJSON *shape = ok ? cJSON_AddArrayToObject(object, "shape") : NULL;
    ok = shape != NULL;
    for (int i = 0; ok && i < t->dims; i++)
        ok = cJSON_AddItemToArray(shape, cJSON_CreateNumber((double)t->shape[i]));
    ok = ok && cJSON_AddNumberToObject(object, "weights", (double)t->count) &&
         cJSON_AddNumberToObject(object, "bytes", (double)row->stored_bytes) &&
         cJSON_AddNumberToObject(object, "raw_bytes", (double)row->raw_bytes) &&
         cJSON_AddNumberToObject(object, "bits_per_weight", ecd_inspect_bits(row->stored_bytes, t->count));
    if (ok && row->fault)
        return cJSON_AddStringToObject(object, "error", row->fault->what) != NULL;
    if (ok && row->measured)
        ok = add_measured(object, row);
    if (ok && what_if)
        ok = cJSON_AddNumberToObject(object, "what_if_bytes", (double)row->what_if.bytes) &&
             cJSON_AddBoolToObject(object, "what_if_quantized", row->what_if.quantized);
    return ok;
}

cJSON *ecd_inspect_row_json(const ecd_inspect_tensor *row, bool what_if)
{
    cJSON *object = cJSON_CreateObject();
    if (object && fill(object, row, what_if))
        return object;
    cJSON_Delete(object);
    return NULL;
}

bool ecd_inspect_totals_json(cJSON *root, const ecd_inspect_totals *t, bool what_if)
{
    double n = t->fitted_weights ? (double)t->fitted_weights : 1;
    const struct {
        const char *name;
        double value;
    } numbers[] = {
        {"weights", (double)t->weights},
        {"bytes", (double)t->stored_bytes},
        {"raw_bytes", (double)t->raw_bytes},
        {"bits_per_weight", ecd_inspect_bits(t->stored_bytes, t->weights)},
        {"bad_tensors", (double)t->faults},
        {"tensors_with_a_law", (double)t->fitted},
        {"tensors_inside_bounds", (double)t->inside},
        {"mean_exponent_entropy", t->exponent_bits / n},
        {"mean_law_exponent_entropy", t->law_bits / n},
        {"mean_byte_entropy", t->byte_bits / n},
        {"mean_alpha", t->alpha / n},
        {"limit_bits", ECD_ALPHA_LIMIT_BITS},
    };
    bool ok = cJSON_AddStringToObject(root, "alpha_method", ECD_ALPHA_METHOD) != NULL;
    for (size_t i = 0; ok && i < sizeof numbers / sizeof *numbers; i++)
        ok = cJSON_AddNumberToObject(root, numbers[i].name, numbers[i].value);
    if (ok && what_if)
        ok = cJSON_AddNumberToObject(root, "what_if_bytes", (double)t->what_if_bytes) &&
             cJSON_AddNumberToObject(root, "what_if_quantized_tensors", (double)t->quantized);
    return ok;
}
