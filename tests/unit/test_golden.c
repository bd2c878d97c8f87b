// Pictures by their hashes: ref draws them on every machine, cpu on every machine with fused multiply-adds.
#include "tests/unit/reference.h"

#include <string.h>

#include "base/cpu.h"
#include "dit/pipeline/pipeline.h"
#include "weights/hash.h"

typedef struct golden {
    const char *model, *sampler; // NULL: the model's own
    int steps;
    const char *hashes[2]; // of all pictures, by ref and by cpu
} golden;

// A change of these changes every user's pictures: docs/NUMERICS.md says what is promised.
static const golden goldens[] = {
    {"models/dit_a", NULL, 4,
     {"a39ec209f02b11ec8d9d8bc24ad78e44f3146bf69def2e60aeabd67dc12a2b7f",
      "a39ec209f02b11ec8d9d8bc24ad78e44f3146bf69def2e60aeabd67dc12a2b7f"}},
    {"models/dit_a", "euler", 4,
     {"a39ec209f02b11ec8d9d8bc24ad78e44f3146bf69def2e60aeabd67dc12a2b7f",
      "a39ec209f02b11ec8d9d8bc24ad78e44f3146bf69def2e60aeabd67dc12a2b7f"}},
    {"models/dit_a", "dpmpp", 4,
     {"74175afd69e7298af218b7213b700eff858f2a5d34330bdc61bdb706da10fe8b",
      "74175afd69e7298af218b7213b700eff858f2a5d34330bdc61bdb706da10fe8b"}},
    {"models/dit_b", NULL, 4,
     {"482380dac29775e99fab49b89cde72ecbcaa69f6a803852dce18b940d06dbd21",
      "482380dac29775e99fab49b89cde72ecbcaa69f6a803852dce18b940d06dbd21"}},
    {"models/dit_a_fp8_block", NULL, 4,
     {"48a21fdc02e8adb10bc873fc30f69e63df4470f5d7b3acf2d86488d1dd503340",
      "134bc79e9c98dd8c56f9486660565e62043ee876c45a1683fdd3a32b62e7662c"}},
    {"models/dit_a_fp8_channel", NULL, 4,
     {"75b23c5bd3b5ca435c9c8d7bcdeb65bbede37eaccb627200d0ac2a1f6184944b",
      "75b23c5bd3b5ca435c9c8d7bcdeb65bbede37eaccb627200d0ac2a1f6184944b"}},
    {"models/dit_a_fp8_comfy", NULL, 4,
     {"e35d4ee8fefd24f7f57efdbc21d9e527952ce768e2827b9f0c877a20c7614ef5",
      "e35d4ee8fefd24f7f57efdbc21d9e527952ce768e2827b9f0c877a20c7614ef5"}},
    {"../../weights/emoji", NULL, 1,
     {"818bddec2500cbcab062c9ad0b73c47bbd73ab437373b7c0195cb8ccc949fca7",
      "8399fda5f0f436a3cd7e16c327257e668a3869b2d0bcc6f4e5684c6465f93568"}},
};

enum { PICTURES = 2 };

static ecd_status add(void *user, int64_t index, const uint8_t *rgb, int64_t height, int64_t width, ecd_diag *diag)
{
    (void)index;
    (void)diag;
    ecd_hash_add(user, rgb, (size_t)(height * width * 3));
    return ECD_OK;
}

static void draw(const golden *g, const char *backend, char out[ECD_HASH_TEXT])
{
    char path[1024];
    ecd_diag diag = {0};
    ecd_backend *be;
    ecd_pipeline *p = NULL;
    ecd_hash hash;
    const ecd_backend_options options = {.name = backend, .compute = ECD_COMPUTE_F32, .threads = 2};
    expect_ok(ecd_backend_open(&options, &be, &diag), &diag);
    snprintf(path, sizeof path, "%s/%s", ECD_TEST_DATA, g->model);
    const ecd_pipeline_options o = {
        .model = path, .backend = be, .max_pictures = PICTURES, .guidance = true, .store = {.read_ahead = true}};
    expect_ok(ecd_pipeline_open(&o, &p, &diag), &diag);
    const ecd_picture_request pictures[PICTURES] = {{1, 7}, {3, 18446744073709551615U}};
    ecd_hash_begin(&hash);
    const ecd_draw call = {.pictures = pictures,
                           .count = PICTURES,
                           .steps = g->steps,
                           .guidance = 3.5F,
                           .sampler = g->sampler,
                           .sink = add,
                           .user = &hash};
    expect_ok(ecd_pipeline_draw(p, &call, &diag), &diag);
    ecd_hash_end(&hash, out);
    ecd_pipeline_close(p);
    ecd_backend_close(be);
}

static void compare(int backend)
{
    static const char *const names[] = {"ref", "cpu"};
    char hash[ECD_HASH_TEXT];
    int differ = 0;
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        const golden *g = &goldens[i];
        draw(g, names[backend], hash);
        if (!strcmp(hash, g->hashes[backend]))
            continue;
        differ++;
        printf("%s, %s, %s: %s, expected %s\n", g->model, g->sampler ? g->sampler : "the model's sampler",
               names[backend], hash, g->hashes[backend]);
    }
    assert_int_equal(differ, 0);
}

static void by_ref(void **state)
{
    (void)state;
    compare(0);
}

static void by_cpu(void **state)
{
    (void)state;
    if (!ecd_cpu_has_fma())
        skip();
    compare(1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_ref), cmocka_unit_test(by_cpu)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
