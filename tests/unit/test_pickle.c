// Torch files: what torch.save writes reads as the safetensors that it equals; anything else is one ECD_DATA line.
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "torch_writer.h"
#include "weights/checkpoint.h"
#include "weights/tree.h"

static const char path[] = "t.bin";
static const float six[6] = {1, -2, 3, 4.5f, 5, 6};
static const pickled_tensor matrix = {
    .storage = "FloatStorage", .key = "0", .elements = 6, .dims = 2, .shape = {2, 3}, .strides = {3, 1}};

// An archive of the pickle, six floats as storage 0, and the byte order.
static void write_file(const pickled *p, bool deflated)
{
    const archived entries[] = {{"data.pkl", p->bytes, p->size, deflated},
                                {"byteorder", "little", 6, deflated},
                                {"data/0", six, sizeof six, deflated}};
    write_archive(path, entries, 3);
}

static ecd_status open_file(ecd_checkpoint **cp, ecd_diag *diag)
{
    *diag = (ecd_diag){0};
    *cp = NULL;
    return ecd_checkpoint_open(path, cp, diag);
}

static void expect_fault(const char *part, ecd_diag *diag)
{
    ecd_checkpoint *cp;
    ecd_status status = open_file(&cp, diag);
    ecd_checkpoint_close(cp);
    if (status != ECD_DATA || !strstr(diag->what, part) || !strstr(diag->what, "expected") ||
        strcmp(diag->file, path) != 0)
        fail_msg("wanted \"%s\", got status %d, file %s, \"%s\"", part, status, diag->file, diag->what);
}

// The pickle's fault, where it is stored and where it is deflated.
static void expect_pickle_fault(const void *bytes, size_t size, const char *part)
{
    ecd_diag diag;
    pickled p = {0};
    pickle_bytes(&p, bytes, size);
    for (int deflated = 0; deflated < 2; deflated++) {
        write_file(&p, deflated != 0);
        expect_fault(part, &diag);
    }
    free(p.bytes);
}

#define FAULT(text, part) expect_pickle_fault(text, sizeof(text) - 1, part)

// {"a": tensor}
static pickled one_tensor(const pickled_tensor *tensor)
{
    pickled p = {0};
    PICKLE(&p, "\x80\x02}q\x00(");
    pickle_text(&p, "a");
    pickle_tensor(&p, tensor);
    PICKLE(&p, "u.");
    return p;
}

static void expect_tensor_fault(pickled_tensor tensor, const char *part)
{
    ecd_diag diag;
    pickled p = one_tensor(&tensor);
    write_file(&p, false);
    expect_fault(part, &diag);
    free(p.bytes);
}

static void check_matrix(const ecd_checkpoint *cp, const char *name)
{
    const ecd_tensor *tensor = ecd_checkpoint_find(cp, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->dtype, ECD_F32);
    assert_int_equal(tensor->dims, 2);
    assert_int_equal(tensor->shape[0], 2);
    assert_int_equal(tensor->shape[1], 3);
    assert_int_equal(tensor->size_bytes, sizeof six);
    assert_memory_equal(tensor->data, six, sizeof six);
}

static bool file_holds(const char *file, const char *text)
{
    size_t size;
    uint8_t *bytes = read_bytes(file, &size);
    bool found = memmem(bytes, size, text, strlen(text)) != NULL;
    free(bytes);
    return found;
}

static void legacy_equals_safetensors(void **state)
{
    (void)state;
    static const char models[] = ECD_TEST_DATA "/models";
    static const char *const parts[] = {"transformer", "vae"};
    char legacy_path[512], path_a[512];
    size_t squeezed = 0;
    for (int i = 0; i < 2; i++) {
        ecd_checkpoint *legacy, *a;
        ecd_diag diag = {0};
        snprintf(legacy_path, sizeof legacy_path, "%s/dit_a_legacy/%s", models, parts[i]);
        snprintf(path_a, sizeof path_a, "%s/dit_a/%s", models, parts[i]);
        assert_int_equal(ecd_checkpoint_open(legacy_path, &legacy, &diag), ECD_OK);
        assert_int_equal(ecd_checkpoint_open(path_a, &a, &diag), ECD_OK);
        assert_true(ecd_checkpoint_count(a) > 50);
        assert_int_equal(ecd_checkpoint_count(legacy), ecd_checkpoint_count(a));
        for (size_t k = 0; k < ecd_checkpoint_count(a); k++) {
            const ecd_tensor *wanted = ecd_checkpoint_tensor(a, k), *got = ecd_checkpoint_find(legacy, wanted->name);
            if (!got)
                fail_msg("no tensor %s", wanted->name);
            assert_int_equal(got->dtype, wanted->dtype);
            assert_int_equal(got->dims, wanted->dims);
            assert_memory_equal(got->shape, wanted->shape, (size_t)got->dims * sizeof *got->shape);
            assert_int_equal(got->size_bytes, wanted->size_bytes);
            assert_memory_equal(got->data, wanted->data, got->size_bytes);
            squeezed += i && got->dims == 2 && strstr(got->name, "attentions.") != NULL;
        }
        ecd_checkpoint_close(legacy);
        ecd_checkpoint_close(a);
    }
    // The file does hold what was renamed, and the current names are not in it.
    snprintf(legacy_path, sizeof legacy_path, "%s/dit_a_legacy/vae/diffusion_pytorch_model.bin", models);
    assert_true(file_holds(legacy_path, "attentions.0.query.weight"));
    assert_true(file_holds(legacy_path, "attentions.0.proj_attn.bias"));
    assert_false(file_holds(legacy_path, "to_q"));
    assert_int_equal(squeezed, 8); // four linear layers in the encoder and four in the decoder
}

static void old_convolutions_are_squeezed(void **state)
{
    (void)state;
    static const pickled_tensor conv = {.storage = "FloatStorage",
                                        .key = "0",
                                        .elements = 6,
                                        .dims = 4,
                                        .shape = {2, 3, 1, 1},
                                        .strides = {3, 1, 7, -7}}; // strides of sizes 1 are never used
    pickled p = {0};
    ecd_diag diag;
    ecd_checkpoint *cp;
    PICKLE(&p, "\x80\x02}(");
    pickle_text(&p, "mid.attentions.0.proj_attn.weight");
    pickle_tensor(&p, &conv);
    pickle_text(&p, "mid.resnets.0.key.weight");
    pickle_tensor(&p, &conv);
    pickle_text(&p, "mid.to_q.weight");
    pickle_tensor(&p, &conv);
    PICKLE(&p, "u.");
    write_file(&p, false);
    assert_int_equal(open_file(&cp, &diag), ECD_OK);
    check_matrix(cp, "mid.attentions.0.to_out.0.weight");
    assert_int_equal(ecd_checkpoint_find(cp, "mid.resnets.0.key.weight")->dims, 4); // no attention: left alone
    assert_int_equal(ecd_checkpoint_find(cp, "mid.to_q.weight")->dims, 4);
    ecd_checkpoint_close(cp);
    free(p.bytes);
}

// Every name but those of a fixed list is refused where it stands, and nothing is run.
static void code_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *part, *at;
    } evil[] = {
#define EVIL(text, part, at) {text, sizeof(text) - 1, part, at}
        EVIL("\x80\x02"
             "cos\nsystem\n(X\x0b\0\0\0touch pwned"
             "tR.",
             "names os.system", "cos\nsystem"),
        EVIL("\x80\x02"
             "cposix\nsystem\n(X\x0b\0\0\0touch pwned"
             "tR.",
             "names posix.system", "cposix"),
        EVIL("\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0btouch pwned\x85R.", "names os.system", "\x93"),
        EVIL("\x80\x04\x8c\x02os\x94\x8c\x06system\x94"
             "00h\x00h\x01\x93\x8c\x0btouch pwned\x85R.",
             "names os.system", "\x93"),
        EVIL("\x80\x02(X\x0b\0\0\0touch pwnedios\nsystem\n.", "opcode 0x69", "ios\n"),
        EVIL("\x80\x02"
             "cbuiltins\neval\n(X\x01\0\0\0"
             "1tR.",
             "names builtins.eval", "cbuiltins"),
        EVIL("\x80\x02"
             "ctorch\nload\n.",
             "names torch.load", "ctorch"),
        EVIL("\x80\x02"
             "ctorch._utils\n_rebuild_tensor_v2.__globals__\n.",
             "names torch._utils._rebuild_tensor_v2.__globals__", "ctorch"),
        EVIL("\x80\x02"
             "cevil\nOrderedDict\n.",
             "names evil.OrderedDict", "cevil"),
        EVIL("\x80\x02\x82\x01.", "opcode 0x82", "\x82"),
    };
    for (size_t i = 0; i < sizeof evil / sizeof *evil; i++) {
        pickled p = {0};
        ecd_diag diag;
        size_t size;
        pickle_bytes(&p, evil[i].bytes, evil[i].size);
        write_file(&p, false);
        expect_fault(evil[i].part, &diag);
        uint8_t *file = read_bytes(path, &size);
        const uint8_t *pickle = memmem(file, size, evil[i].bytes, evil[i].size);
        const uint8_t *at = memmem(pickle, evil[i].size, evil[i].at, strlen(evil[i].at));
        assert_true(diag.has_offset);
        assert_int_equal(diag.offset_bytes, at - file);
        assert_int_not_equal(access("pwned", F_OK), 0);
        free(file);
        free(p.bytes);
    }
}

static void bad_pickles(void **state)
{
    (void)state;
    FAULT("", "ends early");
    FAULT(".", "empty stack");
    FAULT("\x80\x02}", "ends early");
    FAULT("\x80\x02}.", "no tensors");
    FAULT("\x80\x02N.", "no tensors");
    FAULT("\x80\x02}\x94.", "no tensors");
    FAULT("\x80\x01}.", "protocol 1");
    FAULT("\x80\x06}.", "protocol 6");
    FAULT("\x80", "ends inside an argument");
    FAULT("\x80\x04\x95\xff\0\0\0\0\0\0\0}.", "a frame of 255 bytes");
    FAULT("\x80\x02(NN1.", "empty stack"); // POP_MARK takes all
    FAULT("\x80\x02(2.", "doubles an empty stack");
    FAULT("\x80\x02NNN\x87N(Nl\x86\x85.", "no tensors");
    FAULT("\x80\x02(NNl(u.", "expected a dictionary");
    FAULT("\x80\x02h\x07.", "memo 7 is not set");
    FAULT("\x80\x02}q\x01h\x00.", "memo 0 is not set");
    FAULT("\x80\x02j\xff\xff\xff\xff.", "memo 4294967295 is not set");
    FAULT("\x80\x02}r\xff\xff\xff\xff.", "memo 4294967295, expected one below");
    FAULT("\x80\x02q\x01.", "notes an empty stack");
    FAULT("\x80\x02t.", "has not begun");
    FAULT("\x80\x02}u.", "has not begun");
    FAULT("\x80\x02"
          "1.",
          "has not begun");
    FAULT("\x80\x02}(.", "empty stack");
    FAULT("\x80\x02}(s.", "adds to nothing");
    FAULT("\x80\x02(u.", "adds to nothing");
    FAULT("\x80\x02N(\x85.", "empty stack");
    FAULT("\x80\x02(NNNd.", "a key without value");
    FAULT("\x80\x02}(Nu.", "a key without value");
    FAULT("\x80\x02]NNs.", "expected a dictionary");
    FAULT("\x80\x02}Na.", "expected a list");
    FAULT("\x80\x02)Na.", "expected a list");
    FAULT("\x80\x02}NR.", "calls something else");
    FAULT("\x80\x02}N\x93.", "whose name is not a string");
    FAULT("\x80\x02NNb.", "sets the state of something");
    FAULT("\x80\x02NQ.", "bad storage");
    FAULT("\x80\x02X\xff\xff\xff\x7f"
          "ab",
          "a string of 2147483647 bytes");
    FAULT("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xff"
          "ab",
          "a string of 18446744073709551615 bytes");
    FAULT("\x80\x02\x8a\xc8", "an integer of 200 bytes");
    FAULT("\x80\x02"
          "ctorch",
          "ends inside a name");
    FAULT("\x80\x02"
          "ccollections\nOrderedDict\n(NNtR.",
          "a dictionary made from arguments");
    FAULT("\x80\x02"
          "ctorch\nSize\n)R.",
          "expected a tuple of sizes");
    FAULT("\x80\x02"
          "ctorch\nFloatStorage\n)R.",
          "calls a type");
    FAULT("\x80\x02"
          "ctorch._utils\n_rebuild_tensor_v2\n)\x81.",
          "calls a type");
    FAULT("\x80\x02"
          "ctorch._utils\n_rebuild_tensor_v2\n)R.",
          "bad tensor");
    FAULT("\x80\x02"
          "ctorch._utils\n_rebuild_parameter\nN\x85R.",
          "expected a tensor");
}

static void huge_pickles(void **state)
{
    (void)state;
    static const struct {
        const char *first, *repeated, *last, *part;
        size_t count;
    } huge[] = {
        {"\x80\x02", "(", "", "marks on the pickle's stack", 5000000},
        {"\x80\x02", "N", ".", "values in the pickle", 5000000},
        {"\x80\x02N", "2", ".", "values on the pickle's stack", 5000000},
        {"\x80\x02N", "\x85", ".", "no tensors", 3000000}, // ((((...)))), which costs no stack
        {"\x80\x02}", "]a", ".", "adds to something", 1},  // not a list of lists
        {"\x80\x02]", "]", "", "ends early", 3000000},
        {"\x80\x02", "](", "e", "ends early", 1000000},
    };
    for (size_t i = 0; i < sizeof huge / sizeof *huge; i++) {
        pickled p = {0};
        pickle_bytes(&p, huge[i].first, strlen(huge[i].first));
        for (size_t k = 0; k < huge[i].count; k++)
            pickle_bytes(&p, huge[i].repeated, strlen(huge[i].repeated));
        pickle_bytes(&p, huge[i].last, strlen(huge[i].last));
        expect_pickle_fault(p.bytes, p.size, huge[i].part);
        free(p.bytes);
    }
}

// A list that holds itself, and a dictionary that is its own wrapper.
static void cycles(void **state)
{
    (void)state;
    FAULT("\x80\x02]q\x01h\x01h\x01"
          "ea.",
          "has not begun");
    FAULT("\x80\x02]q\x01h\x01"
          "a.",
          "no tensors");
    FAULT("\x80\x02}q\x01X\x03\0\0\0emah\x01s.", "no tensors");
}

static void bad_tensors(void **state)
{
    (void)state;
    pickled_tensor t = matrix;
    ecd_diag diag;
    t.offset = 1;
    expect_tensor_fault(t, "24 bytes from element 1 on, expected them inside the storage's 24 bytes");
    t.offset = -1;
    expect_tensor_fault(t, "bad tensor");
    t.offset = INT64_MAX / 2;
    expect_tensor_fault(t, "expected them inside");
    t = matrix;
    t.elements = 7;
    expect_tensor_fault(t, "24 bytes in data/0, expected 7 elements of F32");
    t.elements = -6;
    expect_tensor_fault(t, "bad storage");
    t.elements = INT64_MAX;
    expect_tensor_fault(t, "24 bytes in data/0");
    t = matrix;
    t.storage = "DoubleStorage";
    expect_tensor_fault(t, "24 bytes in data/0, expected 6 elements of F64");
    t.storage = "QInt8Storage";
    expect_tensor_fault(t, "names torch.QInt8Storage");
    t = matrix;
    t.key = "1";
    expect_tensor_fault(t, "data/1: missing");
    t.key = "../data.pkl";
    expect_tensor_fault(t, "missing");
    t.key = "00000000000000000000000000000000000000000000000000000000000000000";
    expect_tensor_fault(t, "bad storage key");
    t = matrix;
    t.strides[0] = 1, t.strides[1] = 2; // transposed
    expect_tensor_fault(t, "stride 0 is 1, expected 3");
    t = matrix;
    t.strides[0] = 0; // expanded
    expect_tensor_fault(t, "stride 0 is 0, expected 3");
    t = matrix;
    t.strides[1] = -1; // flipped
    expect_tensor_fault(t, "stride 1 is -1, expected 1");
    t = matrix;
    t.shape[0] = -2;
    expect_tensor_fault(t, "bad size 0");
    t = matrix;
    t.shape[0] = t.shape[1] = INT64_C(1) << 40;
    expect_tensor_fault(t, "too large");
    t = matrix;
    t.shape[0] = INT64_MAX, t.shape[1] = 1;
    expect_tensor_fault(t, "too large");
    t.dims = 9;
    expect_tensor_fault(t, "a shape of 9 sizes");
    t = matrix;
    t.dtype = "float64";
    expect_tensor_fault(t, "48 bytes from element 0 on");
    t.dtype = "complex64";
    expect_tensor_fault(t, "names torch.complex64");
    t.dtype = "FloatStorage";
    expect_tensor_fault(t, "expected its dtype");
    expect_tensor_fault((pickled_tensor){.storage = "FloatStorage", .key = "0", .elements = 6, .dims = 0, .offset = 6},
                        "4 bytes from element 6 on");
    pickled p = {0};
    PICKLE(&p, "\x80\x02}("); // one stride for two sizes
    pickle_text(&p, "a");
    pickle_tensor(&p, &matrix);
    PICKLE(&p, "u.");
    uint8_t *strides = memmem(p.bytes, p.size, "t(\x8a\x08\3", 5);
    assert_non_null(strides);
    pickled q = {0};
    pickle_bytes(&q, p.bytes, (size_t)(strides + 2 - p.bytes));
    pickle_bytes(&q, strides + 12, p.size - (size_t)(strides + 12 - p.bytes));
    write_file(&q, false);
    expect_fault("1 strides, expected 2", &diag);
    free(q.bytes);
    q = (pickled){0};
    PICKLE(&q, "\x80\x02}(");
    pickle_text(&q, "a\x01"); // a name that cannot be printed
    pickle_tensor(&q, &matrix);
    PICKLE(&q, "u.");
    write_file(&q, false);
    expect_fault("bad tensor name", &diag);
    free(p.bytes);
    free(q.bytes);
}

static void shared_storages(void **state)
{
    (void)state;
    pickled_tensor second = {
        .storage = "FloatStorage", .key = "0", .elements = 6, .offset = 3, .dims = 1, .shape = {3}, .strides = {1}};
    pickled_tensor empty = {
        .storage = "FloatStorage", .key = "0", .elements = 6, .offset = 6, .dims = 2, .shape = {0, 5}, .strides = {9}};
    pickled_tensor scalar = {.storage = "FloatStorage", .key = "0", .elements = 6, .offset = 5};
    pickled p = {0};
    PICKLE(&p, "\x80\x02}(");
    pickle_text(&p, "a");
    pickle_tensor(&p, &matrix);
    pickle_text(&p, "b");
    pickle_tensor(&p, &second);
    pickle_text(&p, "empty");
    pickle_tensor(&p, &empty);
    pickle_text(&p, "scalar");
    pickle_tensor(&p, &scalar);
    pickle_text(&p, "parameter");
    PICKLE(&p, "ctorch._utils\n_rebuild_parameter\n(");
    pickle_tensor(&p, &matrix);
    PICKLE(&p, "\x88NtR");
    pickle_text(&p, "step");
    PICKLE(&p, "K\x07u}X\x09\0\0\0_metadataNsb.");
    for (int deflated = 0; deflated < 2; deflated++) {
        ecd_checkpoint *cp;
        ecd_diag diag;
        write_file(&p, deflated != 0);
        assert_int_equal(open_file(&cp, &diag), ECD_OK);
        assert_int_equal(ecd_checkpoint_count(cp), 5);
        check_matrix(cp, "a");
        check_matrix(cp, "parameter");
        const ecd_tensor *a = ecd_checkpoint_find(cp, "a"), *b = ecd_checkpoint_find(cp, "b");
        assert_ptr_equal(b->data, a->data + 12);
        assert_int_equal(ecd_checkpoint_find(cp, "empty")->count, 0);
        assert_memory_equal(ecd_checkpoint_find(cp, "scalar")->data, &six[5], sizeof(float));
        if (!deflated) // borrowed from the mapping, where it says
            assert_ptr_equal(a->data, a->file->data + a->offset_bytes);
        ecd_checkpoint_close(cp);
    }
    free(p.bytes);
}

static void wrappers(void **state)
{
    (void)state;
    pickled_tensor other = matrix;
    ecd_checkpoint *cp;
    ecd_diag diag;
    pickled p = {0};
    other.dims = 1, other.shape[0] = 6, other.strides[0] = 1;
    PICKLE(&p, "\x80\x02}(");
    pickle_text(&p, "model");
    PICKLE(&p, "}");
    pickle_text(&p, "a");
    pickle_tensor(&p, &other);
    PICKLE(&p, "s");
    pickle_text(&p, "ema");
    PICKLE(&p, "}");
    pickle_text(&p, "a");
    pickle_tensor(&p, &matrix);
    PICKLE(&p, "s");
    pickle_text(&p, "args");
    PICKLE(&p, "cargparse\nNamespace\n)\x81}X\x02\0\0\0lrG?\x1a\x36\xe2\xeb\x1c\x43\x2dsb"); // 1e-4
    PICKLE(&p, "u.");
    write_file(&p, false);
    assert_int_equal(open_file(&cp, &diag), ECD_OK);
    assert_int_equal(ecd_checkpoint_count(cp), 1);
    check_matrix(cp, "a"); // that of "ema"
    ecd_checkpoint_close(cp);
    free(p.bytes);
    FAULT("\x80\x02}X\x03\0\0\0xyz}s.", "no tensors");
}

static void float8(void **state)
{
    (void)state;
    static const char *const names[] = {"float8_e4m3fn", "float8_e5m2"};
    static const ecd_dtype dtypes[] = {ECD_E4M3, ECD_E5M2};
    for (int i = 0; i < 2; i++) {
        pickled_tensor t = {.storage = "UntypedStorage",
                            .key = "0",
                            .elements = 24,
                            .offset = 4,
                            .dims = 2,
                            .shape = {4, 5},
                            .strides = {5, 1},
                            .dtype = names[i]};
        ecd_checkpoint *cp;
        ecd_diag diag;
        pickled p = one_tensor(&t);
        write_file(&p, false);
        assert_int_equal(open_file(&cp, &diag), ECD_OK);
        const ecd_tensor *got = ecd_checkpoint_find(cp, "a");
        assert_int_equal(got->dtype, dtypes[i]);
        assert_int_equal(got->count, 20);
        assert_memory_equal(got->data, (const uint8_t *)six + 4, 20);
        ecd_checkpoint_close(cp);
        free(p.bytes);
        t.offset = 5;
        expect_tensor_fault(t, "20 bytes from element 5 on");
    }
}

static void archives(void **state)
{
    (void)state;
    pickled p = one_tensor(&matrix);
    ecd_checkpoint *cp;
    ecd_diag diag;
    archived entries[] = {
        {"data.pkl", p.bytes, p.size, false}, {"data/0", six, sizeof six, true}, {"byteorder", "big", 3, false}};
    write_archive(path, entries, 3);
    expect_fault("byteorder \"big\", expected \"little\"", &diag);
    write_archive(path, entries, 2); // torch before 2.1
    assert_int_equal(open_file(&cp, &diag), ECD_OK);
    check_matrix(cp, "a");
    ecd_checkpoint_close(cp);
    write_archive(path, entries + 1, 1);
    expect_fault("no data.pkl", &diag);
    write_archive(path, entries, 1);
    expect_fault("data/0: missing", &diag);
    write_bytes(path, p.bytes, p.size); // as torch before 1.6 wrote
    expect_fault("no zip archive", &diag);
    write_bytes(path, "", 0);
    expect_fault("no data.pkl", &diag);
    free(p.bytes);
}

int pickle_archive_tests(void); // test_pickle_zip.c

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(legacy_equals_safetensors),
        cmocka_unit_test(old_convolutions_are_squeezed),
        cmocka_unit_test(code_is_refused),
        cmocka_unit_test(bad_pickles),
        cmocka_unit_test(huge_pickles),
        cmocka_unit_test(cycles),
        cmocka_unit_test(bad_tensors),
        cmocka_unit_test(shared_storages),
        cmocka_unit_test(wrappers),
        cmocka_unit_test(float8),
        cmocka_unit_test(archives),
    };
    char folder[] = "test_pickle_XXXXXX";
    if (!mkdtemp(folder) || chdir(folder))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    failed += pickle_archive_tests();
    if (!chdir(".."))
        ecd_folder_remove(folder);
    return failed;
}
