// The alpha-stable fit finds the laws that it was given, within the error that it states.
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "weights/alpha_fit.h"

enum { ROWS = 256, COLS = 512, COUNT = ROWS * COLS };

static double uniform(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return ((double)(*state >> 11) + 0.5) / 9007199254740992.0;
}

// J. M. Chambers, C. L. Mallows, B. W. Stuck, "A method for simulating stable random variables", Journal of the
// American Statistical Association 71 (1976), symmetric: of scale 1.
static double draw(uint64_t *state, double alpha)
{
    double angle = M_PI * (uniform(state) - 0.5), wait = -log(uniform(state));
    return sin(alpha * angle) / pow(cos(angle), 1 / alpha) * pow(cos((1 - alpha) * angle) / wait, (1 - alpha) / alpha);
}

typedef struct sample {
    double numbers[COUNT];
    uint8_t weights[2 * COUNT];
    double scales[ROWS];
} sample;

static void store(sample *s, ecd_dtype dtype, bool rows)
{
    for (int r = 0; r < ROWS; r++) {
        double largest = 0;
        for (int c = 0; c < COLS; c++)
            largest = fmax(largest, fabs(s->numbers[r * COLS + c]));
        s->scales[r] = rows ? largest / 448 : 1;
        for (int c = 0; c < COLS; c++) {
            int i = r * COLS + c;
            float value = (float)(s->numbers[i] / s->scales[r]);
            if (dtype == ECD_E4M3) {
                s->weights[i] = ecd_to_e4m3_saturating(value);
                continue;
            }
            uint16_t bits = dtype == ECD_BF16 ? ecd_to_bf16(value) : ecd_to_f16(value);
            s->weights[2 * i] = (uint8_t)bits;
            s->weights[2 * i + 1] = (uint8_t)(bits >> 8);
        }
    }
}

static ecd_alpha_fit fit_of(const ecd_alpha_table *table, const sample *s, ecd_dtype dtype, bool rows)
{
    ecd_alpha_counts *counts;
    ecd_alpha_fit fit;
    ecd_diag diag = {0};
    assert_int_equal(ecd_alpha_counts_new(dtype, COUNT, rows, &counts, &diag), ECD_OK);
    for (int r = 0; r < ROWS; r++)
        ecd_alpha_count(counts, s->weights + (size_t)r * COLS * ecd_dtype_size(dtype), (uint64_t)r * COLS, COLS,
                        s->scales[r]);
    assert_int_equal(ecd_alpha_fit_of(table, counts, rows, &fit, &diag), ECD_OK);
    ecd_alpha_counts_free(counts);
    return fit;
}

static void check(const ecd_alpha_table *table, sample *s, double alpha, ecd_dtype dtype, bool rows)
{
    store(s, dtype, rows);
    ecd_alpha_fit fit = fit_of(table, s, dtype, rows);
    print_message("alpha %.1f %s%s: %.4f +- %.4f, scale %.4f, law %.3f bits, misfit %.4f\n", alpha,
                  ecd_dtype_name(dtype), rows ? " with a scale a row" : "", fit.alpha, fit.alpha_error, fit.scale,
                  fit.law_bits, fit.misfit);
    assert_true(fit.valid);
    assert_true(fit.alpha_error > 1e-5 && fit.alpha_error < 0.02);
    assert_true(fabs(fit.alpha - alpha) <= 3 * fit.alpha_error);
    assert_true(fabs(fit.scale - 1) < 0.02);
    assert_true(fabs(fit.low_bits - fit.alpha / (1 + pow(2, -fit.alpha))) < 1e-9);
    assert_true(fabs(fit.high_bits - fit.alpha / (1 - pow(2, -fit.alpha))) < 1e-9);
    assert_true(rows || fit.misfit < 0.01);
}

static void finds_the_laws(void **state)
{
    (void)state;
    static const double alphas[] = {0.9, 1.0, 1.2, 1.5, 1.8, 2.0};
    ecd_alpha_table *table;
    ecd_diag diag = {0};
    sample *s = malloc(sizeof *s);
    uint64_t seed = 1;
    assert_int_equal(ecd_alpha_table_new(&table, &diag), ECD_OK);
    for (int a = 0; a < 6; a++) {
        for (int i = 0; i < COUNT; i++)
            s->numbers[i] = draw(&seed, alphas[a]);
        check(table, s, alphas[a], ECD_E4M3, false);
        check(table, s, alphas[a], ECD_E4M3, true);
        check(table, s, alphas[a], ECD_BF16, false);
        if (alphas[a] > 1.1) // F16 ends at 65504
            check(table, s, alphas[a], ECD_F16, false);
    }
    ecd_alpha_table_free(table);
    free(s);
}

// Rows of different laws are no draws of one: the eighths of the tensor say so.
static void states_a_larger_error_for_a_mixture(void **state)
{
    (void)state;
    ecd_alpha_table *table;
    ecd_diag diag = {0};
    sample *s = malloc(sizeof *s);
    uint64_t seed = 2;
    assert_int_equal(ecd_alpha_table_new(&table, &diag), ECD_OK);
    for (int i = 0; i < COUNT; i++)
        s->numbers[i] = draw(&seed, 1.4 + 0.5 * i / COUNT);
    store(s, ECD_E4M3, false);
    ecd_alpha_fit fit = fit_of(table, s, ECD_E4M3, false);
    assert_true(fit.valid && fit.alpha > 1.5 && fit.alpha < 1.8);
    assert_true(fit.alpha_error > 0.03 && fit.alpha_error < 0.2);
    ecd_alpha_table_free(table);
    free(s);
}

// P(|X| > x) by another way: 1 - 2/pi times the integral of sin(tx)/t exp(-t^alpha).
static void tabulates_the_laws(void **state)
{
    (void)state;
    static const double alphas[] = {0.93, 1.03, 1.37, 1.77, 1.99};
    ecd_alpha_table *table;
    ecd_alpha_law law;
    ecd_diag diag = {0};
    assert_int_equal(ecd_alpha_table_new(&table, &diag), ECD_OK);
    for (int a = 0; a < 5; a++) {
        ecd_alpha_law_at(table, alphas[a], &law);
        for (double x = 0.01; x < 20; x *= 1.7) {
            double sum = 0, step = 5e-4, end = pow(30, 1 / alphas[a]);
            for (double t = step / 2; t < end; t += step)
                sum += sin(t * x) / t * exp(-pow(t, alphas[a])) * step;
            assert_true(fabs(ecd_alpha_above(&law, log2(x)) - (1 - 2 / M_PI * sum)) < 2e-5);
        }
        assert_true(ecd_alpha_above(&law, -INFINITY) == 1);
        assert_true(ecd_alpha_above(&law, 100) < 1e-20);
    }
    ecd_alpha_table_free(table);
}

static void fits_no_law(void **state)
{
    (void)state;
    static uint8_t zeros[8192];
    ecd_alpha_table *table;
    ecd_alpha_counts *counts;
    ecd_alpha_fit fit;
    ecd_diag diag = {0};
    assert_int_equal(ecd_alpha_table_new(&table, &diag), ECD_OK);
    assert_int_equal(ecd_alpha_counts_new(ECD_E4M3, 8192, false, &counts, &diag), ECD_OK);
    ecd_alpha_count(counts, zeros, 0, 8192, 1);
    assert_int_equal(ecd_alpha_fit_of(table, counts, false, &fit, &diag), ECD_OK);
    assert_false(fit.valid);
    ecd_alpha_counts_free(counts);
    // Every magnitude alike often: one that no law has, but an end of the search. It must end.
    assert_int_equal(ecd_alpha_counts_new(ECD_BF16, 1 << 16, false, &counts, &diag), ECD_OK);
    for (uint32_t i = 0; i < 1 << 16; i++) {
        uint8_t bits[2] = {(uint8_t)i, (uint8_t)(i >> 8)};
        ecd_alpha_count(counts, bits, i, 1, 1);
    }
    assert_int_equal(ecd_alpha_fit_of(table, counts, false, &fit, &diag), ECD_OK);
    assert_false(fit.valid);
    ecd_alpha_counts_free(counts);
    ecd_alpha_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_laws),
        cmocka_unit_test(states_a_larger_error_for_a_mixture),
        cmocka_unit_test(tabulates_the_laws),
        cmocka_unit_test(fits_no_law),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
