// What bench makes of its children's replies: figures, diagnoses, and pictures that must be the same.
#include <cmocka.h>

#include "app/bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REPLY = 4096 };

#define HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"

// A reply with figures 0.5, 1.5, 2.5, ... and the given list of hashes.
static void make_reply(char out[REPLY], const char *hashes)
{
    int used = snprintf(out, REPLY,
                        "{\"status\":0,\"backend\":\"cpu\",\"detail\":\"d\",\"compute\":\"f32\",\"threads\":2,"
                        "\"width\":16,\"height\":8");
    for (int i = 0; i < ECD_BENCH_FIGURES; i++)
        used += snprintf(out + used, (size_t)(REPLY - used), ",\"%s\":%d.5", ecd_bench_figures[i].key, i);
    snprintf(out + used, (size_t)(REPLY - used), ",\"sha256\":[%s]}\n", hashes);
}

static void reply_becomes_figures(void **state)
{
    (void)state;
    ecd_bench b = {.classes = 10};
    ecd_bench_sample sample;
    ecd_diag diag = {0};
    char text[REPLY];
    make_reply(text, "\"" HASH_A "\",\"" HASH_B "\"");
    assert_int_equal(ecd_bench_read_reply(&b, ECD_BENCH_RAW, 2, text, &sample, &diag), ECD_OK);
    for (int i = 0; i < ECD_BENCH_FIGURES; i++)
        assert_true(sample.values[i] == i + 0.5);
    assert_int_equal(b.context.width, 16);
    assert_int_equal(b.context.height, 8);
    assert_string_equal(b.hashes[1].sha256, HASH_B);
}

static void other_picture_is_an_error(void **state)
{
    (void)state;
    ecd_bench b = {.classes = 1};
    ecd_bench_sample sample;
    ecd_diag diag = {0};
    char text[REPLY];
    make_reply(text, "\"" HASH_A "\",\"" HASH_B "\"");
    assert_int_equal(ecd_bench_read_reply(&b, ECD_BENCH_ECF8, 2, text, &sample, &diag), ECD_OK);
    assert_int_equal(ecd_bench_read_reply(&b, ECD_BENCH_RAW, 2, text, &sample, &diag), ECD_OK);
    make_reply(text, "\"" HASH_A "\",\"" HASH_A "\"");
    assert_int_equal(ecd_bench_read_reply(&b, ECD_BENCH_RAW, 2, text, &sample, &diag), ECD_DATA);
    assert_string_equal(diag.what, "class 0, seed 1: raw in a batch of 2 drew sha256 " HASH_A
                                   ", ecf8 in a batch of 2 drew " HASH_B ", expected the same picture");
    make_reply(text, "\"" HASH_B "\""); // another batch draws picture 0 as well
    assert_int_equal(ecd_bench_read_reply(&b, ECD_BENCH_ECF8, 1, text, &sample, &diag), ECD_DATA);
}

static void childs_diagnosis_is_passed_on(void **state)
{
    (void)state;
    ecd_bench b = {.classes = 1};
    ecd_bench_sample sample;
    ecd_diag diag = {0};
    const char *text = "{\"status\":2,\"what\":\"bad %s\",\"file\":\"m/x\",\"tensor\":\"t\",\"offset\":9}";
    assert_int_equal(ecd_bench_read_reply(&b, ECD_BENCH_ECF8, 1, text, &sample, &diag), ECD_DATA);
    assert_string_equal(diag.what, "bad %s");
    assert_string_equal(diag.file, "m/x");
    assert_string_equal(diag.tensor, "t");
    assert_true(diag.has_offset && diag.offset_bytes == 9);
}

static void broken_replies_are_refused(void **state)
{
    (void)state;
    ecd_bench b = {.classes = 1};
    ecd_bench_sample sample;
    char text[REPLY], copy[REPLY];
    const char *hashes[] = {"", "1", "\"x\"", "\"" HASH_A "\",\"" HASH_A "\""};
    const char *others[] = {"", "[]", "{}", "{\"status\":5}", "{\"status\":-1}", "{\"status\":0}"};
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
        make_reply(text, hashes[i]);
        assert_int_equal(ecd_bench_read_reply(&b, ECD_BENCH_ECF8, 1, text, &sample, NULL), ECD_RESOURCE);
    }
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(ecd_bench_read_reply(&b, ECD_BENCH_ECF8, 1, others[i], &sample, NULL), ECD_RESOURCE);
    make_reply(text, "\"" HASH_A "\"");
    for (size_t length = 0; length + 2 < strlen(text); length++) {
        snprintf(copy, sizeof copy, "%.*s", (int)length, text);
        assert_int_equal(ecd_bench_read_reply(&b, ECD_BENCH_ECF8, 1, copy, &sample, NULL), ECD_RESOURCE);
    }
    assert_string_equal(b.hashes[0].sha256, "");
}

static void summaries(void **state)
{
    (void)state;
    double odd[] = {3, 1, 2}, even[] = {4, 1, 3, 2};
    ecd_bench_summary s = ecd_bench_summarise(odd, 3);
    assert_true(s.defined && s.median == 2 && s.min == 1 && s.max == 3);
    s = ecd_bench_summarise(even, 4);
    assert_true(s.defined && s.median == 2.5 && s.min == 1 && s.max == 4);
    assert_false(ecd_bench_summarise(odd, 0).defined);
}

static void ratios_are_of_pairs(void **state)
{
    (void)state;
    ecd_bench_sample samples[2 * ECD_BENCH_PATHS * 3] = {0};
    ecd_bench b = {.settings = {.runs = 3}, .samples = samples};
    const double ecf8[] = {2, 30, 400}, raw[] = {1, 20, 100}; // ratios 2, 1.5, 4: of the medians it would be 1.5
    ecd_bench_summary s;
    for (int i = 0; i < 3; i++) {
        ecd_bench_samples(&b, 1, ECD_BENCH_ECF8)[i].values[ECD_BENCH_VAE] = ecf8[i];
        ecd_bench_samples(&b, 1, ECD_BENCH_RAW)[i].values[ECD_BENCH_VAE] = raw[i];
    }
    assert_int_equal(ecd_bench_ratio_of(&b, 1, ECD_BENCH_VAE, &s, NULL), ECD_OK);
    assert_true(s.defined && s.median == 2 && s.min == 1.5 && s.max == 4);
    assert_int_equal(ecd_bench_figure_of(&b, 1, ECD_BENCH_RAW, ECD_BENCH_VAE, &s, NULL), ECD_OK);
    assert_true(s.median == 20);
    ecd_bench_samples(&b, 1, ECD_BENCH_RAW)[2].values[ECD_BENCH_VAE] = 0;
    assert_int_equal(ecd_bench_ratio_of(&b, 1, ECD_BENCH_VAE, &s, NULL), ECD_OK);
    assert_false(s.defined);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reply_becomes_figures),
        cmocka_unit_test(other_picture_is_an_error),
        cmocka_unit_test(childs_diagnosis_is_passed_on),
        cmocka_unit_test(broken_replies_are_refused),
        cmocka_unit_test(summaries),
        cmocka_unit_test(ratios_are_of_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
