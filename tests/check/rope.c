#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tests/check/check.h"

// Turns a copy of x in place: rows have a gap of `gap` elements, which must stay as they were.
static void run_rope(ecd_backend *be, const void *parameters, const void *x, void *out)
{
    ecd_rope op = *(const ecd_rope *)parameters;
    memcpy(out, x, (size_t)(op.batch * op.tokens * op.stride) * be->act_bytes);
    op.x = out;
    be->ops->rope(be, &op);
}

// A head's pairs keep their length, so that a table whose cosine and sine are mixed up is seen.
static void check_lengths(ecd_check *check, const ecd_rope *op, const float *x)
{
    size_t count = (size_t)(op->batch * op->tokens * op->stride);
    float *out = malloc(count * sizeof *out);
    ecd_rope plain = *op;
    plain.gamma = NULL;
    run_rope(check->ref, &plain, x, out);
    double worst = 0;
    for (int64_t row = 0; row < op->batch * op->tokens; row++)
        for (int64_t i = 0; i < op->heads * op->head_dim; i += 2) {
            const float *a = x + row * op->stride + i, *b = out + row * op->stride + i;
            double d = fabs(hypot((double)a[0], (double)a[1]) - hypot((double)b[0], (double)b[1]));
            worst = d > worst || isnan(d) ? d : worst;
        }
    ecd_check_true(check, "rope: pairs keep their length", worst < 1e-5);
    free(out);
}

void ecd_check_rope(ecd_check *check)
{
    static const int64_t shapes[][4] = {{1, 1, 1, 2}, {2, 3, 2, 6}, {1, 37, 3, 16}, {3, 18, 2, 24}, {2, 20, 4, 128}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        ecd_rope op = {.batch = shapes[i][0], .tokens = shapes[i][1], .heads = shapes[i][2], .head_dim = shapes[i][3]};
        op.stride = op.heads * op.head_dim + (int64_t)i;
        op.eps = 1e-6f;
        size_t table = (size_t)(op.tokens * op.head_dim / 2), count = (size_t)(op.batch * op.tokens * op.stride);
        float *x = ecd_check_values(check, count), *gamma = ecd_check_values(check, (size_t)op.head_dim);
        float *cosine = ecd_check_values(check, table), *sine = malloc(table * sizeof *sine);
        for (size_t t = 0; t < table; t++) {
            float angle = cosine[t];
            cosine[t] = cosf(angle);
            sine[t] = sinf(angle);
        }
        op.cosine = cosine;
        op.sine = sine;
        check_lengths(check, &op, x);
        ecd_check_run(check, &(ecd_check_case){"rope", run_rope, &op, x, true, true, count, count});
        op.gamma = gamma;
        ecd_check_run(check, &(ecd_check_case){"rope with RMSNorm", run_rope, &op, x, true, true, count, count});
        x[count / 2] = NAN;
        ecd_check_run(check, &(ecd_check_case){"rope with NaN", run_rope, &op, x, true, true, count, count});
        free(x);
        free(gamma);
        free(cosine);
        free(sine);
    }
}
