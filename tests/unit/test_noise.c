// torch.randn of a CPU generator, in every bit.
#include "tests/unit/reference.h"

#include <string.h>

#include "dit/noise.h"

static void test_fixture(void **state)
{
    (void)state;
    ecd_checkpoint *cp = open_reference("torch_randn.safetensors");
    size_t count = ecd_checkpoint_count(cp);
    assert_int_equal(count, 60);
    for (size_t i = 0; i < count; i++) {
        const ecd_tensor *tensor = ecd_checkpoint_tensor(cp, i);
        size_t draws = strncmp(tensor->name, "randn_two_draws/", 16) ? 1 : 2, each = tensor->count / draws;
        ecd_generator generator;
        ecd_generator_seed(&generator, strtoull(strchr(tensor->name, '/') + 1, NULL, 10));
        float *out = malloc(tensor->count * sizeof *out);
        assert_non_null(out);
        for (size_t k = 0; k < draws; k++)
            ecd_generator_normal(&generator, out + k * each, each);
        if (memcmp(out, tensor->data, tensor->size_bytes))
            fail_msg("%s differs", tensor->name);
        free(out);
    }
    ecd_checkpoint_close(cp);
}

// A picture's noise is the beginning of a longer draw of the same seed, as long as blocks are whole.
static void test_prefix(void **state)
{
    (void)state;
    ecd_generator a, b;
    float whole[64], part[32];
    ecd_generator_seed(&a, 7);
    ecd_generator_seed(&b, 7);
    ecd_generator_normal(&a, whole, 64);
    ecd_generator_normal(&b, part, 32);
    assert_memory_equal(whole, part, sizeof part);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_fixture), cmocka_unit_test(test_prefix)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
