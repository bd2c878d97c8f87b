// Reference tensors of tests/data, for test programs.
#ifndef ECD_TESTS_UNIT_REFERENCE_H
#define ECD_TESTS_UNIT_REFERENCE_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "weights/checkpoint.h"

// Fails the test with the diagnosis unless status is ECD_OK.
static inline void expect_ok(ecd_status status, const ecd_diag *diag)
{
    char line[1024];
    if (status == ECD_OK)
        return;
    ecd_diag_format(diag, line, sizeof line);
    fail_msg("%s", line);
}

static inline ecd_checkpoint *open_reference(const char *name)
{
    char path[4096];
    ecd_diag diag = {0};
    ecd_checkpoint *cp = NULL;
    snprintf(path, sizeof path, "%s/%s", ECD_TEST_DATA, name);
    expect_ok(ecd_checkpoint_open(path, &cp, &diag), &diag);
    return cp;
}

static inline const ecd_tensor *reference_tensor(const ecd_checkpoint *cp, const char *name)
{
    const ecd_tensor *tensor = ecd_checkpoint_find(cp, name);
    if (!tensor)
        fail_msg("the reference lacks %s", name);
    return tensor;
}

// A tensor's values as float; the caller frees.
static inline float *reference_values(const ecd_checkpoint *cp, const char *name)
{
    const ecd_tensor *tensor = reference_tensor(cp, name);
    float *values = malloc(tensor->count * sizeof *values);
    assert_non_null(values);
    ecd_to_f32(tensor->dtype, tensor->data, values, tensor->count);
    return values;
}

// Largest difference, as a share of the largest reference value.
static inline double relative_difference(const float *a, const float *reference, size_t count)
{
    double difference = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        double d = fabs((double)a[i] - reference[i]);
        difference = d > difference || isnan(d) ? d : difference;
        largest = fabs((double)reference[i]) > largest ? fabs((double)reference[i]) : largest;
    }
    assert_true(largest > 0);
    return difference / largest;
}

#endif
