// The alpha-stable fit finds the laws that it was given.
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>

#include "weights/alpha_fit.h"

enum { COUNT = 1 << 18 };

static double uniform(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return ((double)(*state >> 11) + 0.5) / 9007199254740992.0;
}

static double draw(uint64_t *state, bool cauchy)
{
    double u = uniform(state);
    return cauchy ? tan(M_PI * (u - 0.5)) : sqrt(-2 * log(u)) * cos(2 * M_PI * uniform(state));
}

static void check(bool cauchy, ecd_dtype dtype)
{
    uint64_t state = 1;
    ecd_alpha_fit fit;
    ecd_diag diag = {0};
    uint8_t *weights = malloc(2 * COUNT);
    for (int i = 0; i < COUNT; i++) {
        float value = (float)draw(&state, cauchy);
        uint16_t bits = dtype == ECD_E4M3 ? ecd_to_e4m3(value)
                        : dtype == ECD_BF16 ? ecd_to_bf16(value)
                                            : ecd_to_f16(value);
        if (dtype == ECD_E4M3) {
            weights[i] = (uint8_t)bits;
        } else {
            weights[2 * i] = (uint8_t)bits;
            weights[2 * i + 1] = (uint8_t)(bits >> 8);
        }
    }
    assert_int_equal(ecd_alpha_fit_of(weights, COUNT, dtype, &fit, &diag), ECD_OK);
    assert_true(fit.valid);
    double alpha = cauchy ? 1 : 2;
    assert_true(fabs(fit.alpha - alpha) < 0.05);
    assert_true(fabs(fit.scale - (cauchy ? 1 : sqrt(0.5))) < 0.02);
    assert_true(fit.alpha_error < 0.02 && (!cauchy || fit.alpha_error > 0));
    assert_true(fabs(fit.low_bits - (cauchy ? 2.0 / 3 : 1.6)) < 0.06);
    assert_true(fabs(fit.high_bits - (cauchy ? 2.0 : 8.0 / 3)) < 0.06);
    free(weights);
}

static void finds_the_laws(void **state)
{
    (void)state;
    static const ecd_dtype types[] = {ECD_E4M3, ECD_BF16, ECD_F16};
    for (int i = 0; i < 3; i++) {
        check(false, types[i]);
        check(true, types[i]);
    }
}

static void fits_no_law(void **state)
{
    (void)state;
    static uint8_t zeros[8192];
    ecd_alpha_fit fit;
    ecd_diag diag = {0};
    assert_int_equal(ecd_alpha_fit_of(zeros, 8192, ECD_E4M3, &fit, &diag), ECD_OK);
    assert_true(!fit.valid || fit.scale > 0);
    assert_int_equal(ecd_alpha_fit_of(zeros, 100, ECD_E4M3, &fit, &diag), ECD_OK);
    assert_false(fit.valid);
    assert_int_equal(ecd_alpha_fit_of(zeros, 2048, ECD_F32, &fit, &diag), ECD_OK);
    assert_false(fit.valid);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(finds_the_laws), cmocka_unit_test(fits_no_law)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
