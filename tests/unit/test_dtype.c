// Casts against torch's own, in every bit.
#include "tests/unit/reference.h"

#include <string.h>

static void test_casts(void **state)
{
    ecd_checkpoint *cp = *state;
    const ecd_tensor *x = reference_tensor(cp, "x"), *bf16 = reference_tensor(cp, "bf16");
    const ecd_tensor *e4m3 = reference_tensor(cp, "e4m3"), *e5m2 = reference_tensor(cp, "e5m2");
    size_t wrong = 0;
    for (size_t i = 0; i < x->count; i++) {
        float value;
        uint16_t bits;
        memcpy(&value, x->data + 4 * i, 4);
        memcpy(&bits, bf16->data + 2 * i, 2);
        wrong += ecd_to_e4m3(value) != e4m3->data[i];
        wrong += ecd_to_e5m2(value) != e5m2->data[i];
        wrong += ecd_to_bf16(value) != bits;
    }
    assert_int_equal(x->count, 20497);
    assert_int_equal(wrong, 0);
}

// NaN's bits are not a value: any NaN will do there.
static void test_widening(void **state)
{
    ecd_checkpoint *cp = *state;
    float *e4m3 = reference_values(cp, "all_e4m3_as_f32"), *e5m2 = reference_values(cp, "all_e5m2_as_f32");
    for (int i = 0; i < 256; i++) {
        float a = ecd_from_e4m3((uint8_t)i), b = ecd_from_e5m2((uint8_t)i);
        assert_true(isnan(a) ? isnan(e4m3[i]) : !memcmp(&a, &e4m3[i], 4));
        assert_true(isnan(b) ? isnan(e5m2[i]) : !memcmp(&b, &e5m2[i], 4));
    }
    free(e4m3);
    free(e5m2);
}

static void test_f16_round_trip(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 65536; i++)
        if ((i & 0x7c00) != 0x7c00 || !(i & 0x3ff))
            assert_int_equal(ecd_to_f16(ecd_from_f16((uint16_t)i)), i);
    assert_int_equal(ecd_to_f16(65520), 0x7c00); // halfway to 2^16 rounds up, to infinity
    assert_int_equal(ecd_to_f16(65519), 0x7bff);
}

static void test_saturating(void **state)
{
    (void)state;
    assert_int_equal(ecd_to_e4m3_saturating(1e30f), 0x7e);
    assert_int_equal(ecd_to_e4m3_saturating(-INFINITY), 0xfe);
    assert_int_equal(ecd_to_e4m3_saturating(NAN) & 0x7f, 0x7f);
    assert_int_equal(ecd_to_e4m3_saturating(-1), ecd_to_e4m3(-1));
}

static int setup(void **state)
{
    *state = open_reference("fp8_casts.safetensors");
    return 0;
}

static int teardown(void **state)
{
    ecd_checkpoint_close(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_casts),
        cmocka_unit_test(test_widening),
        cmocka_unit_test(test_f16_round_trip),
        cmocka_unit_test(test_saturating),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
