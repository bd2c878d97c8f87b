// Safetensors and JSON from hostile hands: each file must give one ECD_DATA line that says what was expected.
#include <cjson/cJSON.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "weights/checkpoint.h"
#include "weights/json.h"

static const char path[] = "test_safetensors.tmp.safetensors";

static void write_file(const void *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
}

// A file of `header` and `data_bytes` bytes of data; `length` overrides the header's length unless it is 0.
static size_t build(uint8_t *out, const char *header, uint64_t length, size_t data_bytes)
{
    size_t size = strlen(header);
    uint64_t said = length ? length : size;
    memcpy(out, &said, 8);
    memcpy(out + 8, header, size);
    memset(out + 8 + size, 0x3c, data_bytes);
    return 8 + size + data_bytes;
}

static ecd_status open_status(ecd_diag *diag)
{
    ecd_checkpoint *cp;
    *diag = (ecd_diag){0};
    ecd_status status = ecd_checkpoint_open(path, &cp, diag);
    ecd_checkpoint_close(cp);
    return status;
}

static void expect_fault(const char *header, uint64_t length, size_t data_bytes, const char *part)
{
    uint8_t bytes[4096];
    ecd_diag diag;
    write_file(bytes, build(bytes, header, length, data_bytes));
    ecd_status status = open_status(&diag);
    if (status != ECD_DATA || !strstr(diag.what, part) || !strstr(diag.what, "expected") || !diag.file[0])
        fail_msg("%s: status %d, \"%s\", wanted \"%s\"", header, status, diag.what, part);
}

#define T(dtype, shape, offsets) "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static void lying_headers(void **state)
{
    (void)state;
    expect_fault("{}", UINT64_C(1) << 60, 0, "header of 1152921504606846976 bytes");
    expect_fault("[]", 0, 0, "an object");
    expect_fault("{\"a\":" T("F32", "[2]", "[0,8]") "}", 0, 7, "range within");
    expect_fault("{\"a\":" T("F32", "[2]", "[0,8]") "}", 0, 9, "after the last tensor");
    expect_fault("{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[2]", "[4,12]") "}", 0, 12, "overlaps");
    expect_fault("{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[8,12]") "}", 0, 12,
                 "belong to no tensor");
    expect_fault("{\"a\":" T("F32", "[2]", "[0,4]") "}", 0, 4, "expected 8 for shape [2]");
    expect_fault("{\"a\":" T("F32", "[2147483648,2147483648,4]", "[0,4]") "}", 0, 4, "too large");
    expect_fault("{\"a\":" T("F32", "[-1]", "[0,4]") "}", 0, 4, "size 0 of the shape is -1");
    expect_fault("{\"a\":" T("F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", 0, 4, "9 sizes");
    expect_fault("{\"a\":" T("F32", "[1.5]", "[0,4]") "}", 0, 4, "1.5");
    expect_fault("{\"a\":" T("F32", "[1]", "[4,0]") "}", 0, 4, "range within");
    expect_fault("{\"a\":" T("F3", "[1]", "[0,4]") "}", 0, 4, "dtype \"F3\"");
    expect_fault("{\"a\":" T("U8", "[1]", "[0,1]") ",\"a\":" T("U8", "[1]", "[1,2]") "}", 0, 2, "twice");
    expect_fault("{\"a\":3}", 0, 0, "not an object");
    expect_fault("{\"__metadata__\":[1]}", 0, 0, "__metadata__");
    expect_fault("{\"__metadata__\":{\"k\":1}}", 0, 0, "not a string");
    expect_fault("{\"a.weight.ecf8\":" T("U8", "[16]", "[0,16]") "}", 0, 16, "bad ECF8 container");
    expect_fault("{\"__metadata__\":{\"ecf8.alias.b\":\"c\"},\"a\":" T("U8", "[1]", "[0,1]") "}", 0, 1,
                 "names tensor c");
}

static void lying_scales(void **state)
{
    (void)state;
    expect_fault("{\"a.weight\":" T("F8_E4M3", "[2,2]", "[0,4]") ",\"a.weight_scale\":" T("F32", "[3,1]", "[4,16]") "}",
                 0, 12 + 4, "a scale of shape [3, 1]");
    expect_fault("{\"a.weight\":" T("F8_E4M3", "[2,2]", "[0,4]") ",\"scaled_fp8\":" T("F8_E4M3", "[2]", "[4,6]") "}", 0,
                 6, "without scale");
    expect_fault("{\"a.weight\":" T("BF16", "[2]", "[0,4]") ",\"a.scale_weight\":" T("F32", "[1]", "[4,8]") "}", 0, 8,
                 "a scale for a weight of type BF16");
    static const uint32_t bad[] = {0, 0x80000000, 0xbf800000, 0x7fc00000, 0x7f800000}; // 0, -0, -1, NaN, infinity
    static const char header[] =
        "{\"a.weight\":" T("F8_E4M3", "[2,2]", "[0,4]") ",\"a.weight_scale\":" T("F32", "[]", "[4,8]") "}";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        uint8_t bytes[512];
        ecd_diag diag;
        size_t size = build(bytes, header, 0, 8);
        memcpy(bytes + size - 4, &bad[i], 4);
        write_file(bytes, size);
        assert_int_equal(open_status(&diag), ECD_DATA);
        assert_string_equal(diag.tensor, "a.weight_scale");
    }
}

static void cut_at_every_byte(void **state)
{
    (void)state;
    uint8_t bytes[512];
    ecd_diag diag;
    size_t size = build(bytes, "{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("BF16", "[1,2]", "[8,12]") "}", 0, 12);
    write_file(bytes, size);
    assert_int_equal(open_status(&diag), ECD_OK);
    for (size_t cut = 0; cut < size; cut++) {
        write_file(bytes, cut);
        assert_int_equal(open_status(&diag), ECD_DATA);
    }
    unlink(path);
}

static void json_text(void **state)
{
    (void)state;
    static const char *const bad[] = {"",
                                      "{",
                                      "{\"a\":1,}",
                                      "{\"a\":01}",
                                      "{\"a\":\"\\u0000\"}",
                                      "{\"a\":\"\\ud800\"}",
                                      "{\"a\":\"\xc0\x80\"}",
                                      "{\"a\":1} x",
                                      "{\"a\":nan}",
                                      "{\"a\":1,\"\\u0061\":2}",
                                      "[1]"};
    cJSON *root;
    ecd_diag diag;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        if (ecd_json_parse(bad[i], strlen(bad[i]), 0, &root, &diag) != ECD_DATA)
            fail_msg("accepted: %s", bad[i]);
        assert_true(diag.has_offset);
    }
    enum { DEEP = 10000 };
    char deep[DEEP + 5] = "{\"a\":";
    memset(deep + 5, '[', DEEP);
    assert_int_equal(ecd_json_parse(deep, sizeof deep, 0, &root, &diag), ECD_DATA);
    assert_non_null(strstr(diag.what, "256 levels"));
    static const char good[] = "{\"n\": NaN, \"i\": -Infinity, \"k\": 7, \"s\": \"x\"}";
    assert_int_equal(ecd_json_parse(good, sizeof good - 1, 0, &root, &diag), ECD_OK);
    double number;
    int64_t whole;
    assert_int_equal(ecd_json_number(root, "n", 0, &number, &diag), ECD_OK);
    assert_true(number != number);
    assert_int_equal(ecd_json_number(root, "i", 0, &number, &diag), ECD_OK);
    assert_true(number < -1e308);
    assert_int_equal(ecd_json_int(root, "k", 0, 0, 9, &whole, &diag), ECD_OK);
    assert_int_equal(whole, 7);
    assert_int_equal(ecd_json_int(root, "s", 0, 0, 9, &whole, &diag), ECD_DATA);
    assert_int_equal(ecd_json_int(root, "k", 0, 0, 6, &whole, &diag), ECD_DATA);
    cJSON_Delete(root);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lying_headers),
        cmocka_unit_test(lying_scales),
        cmocka_unit_test(cut_at_every_byte),
        cmocka_unit_test(json_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
