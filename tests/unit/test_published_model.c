// Models in published ECF8 0.2.0: the published encoder's files decode to their bytes; what compress writes decodes by
// an independent reader, opens as the original does, and comes back byte by byte; folders that lie are refused.
#include <cjson/cJSON.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/unit/files.h"
#include "tests/unit/published_kernel.h"
#include "weights/coded.h"
#include "weights/compress_internal.h"
#include "weights/json.h"
#include "weights/pattern.h"
#include "weights/published.h"
#include "weights/writer.h"

static const ecd_compress_options published = {.published = true}, plain = {0};

static void remove_folder(const char *path)
{
    if (ecd_path_exists(path))
        ecd_folder_remove(path);
}

static uint8_t *decoded(const ecd_tensor *tensor)
{
    ecd_diag diag = {0};
    ecd_coded coded;
    uint64_t size = tensor->count * ecd_dtype_size(tensor->dtype);
    uint8_t *out = malloc(size + 1), *tables = malloc(ECF8_DECODER_MAX_BYTES);
    assert_true(out && tables);
    if (tensor->encoding == ECD_ENCODING_RAW) {
        memcpy(out, tensor->data, size);
    } else {
        assert_int_equal(ecd_coded_open(tensor, tensor->data, tensor->size_bytes, &coded, &diag), ECD_OK);
        assert_int_equal(ecd_coded_decode(&coded, out, true, tables, ECF8_DECODER_MAX_BYTES, &diag), ECD_OK);
    }
    free(tables);
    return out;
}

// A group's weights by the independent reader, from the buffers as the file has them. The caller frees.
static uint8_t *by_kernel(const ecd_checkpoint *raw, const char *block, uint64_t *count)
{
    static const char *const names[] = {"luts", "encoded", "packed_other_4bits", "gaps", "output_positions"};
    const ecd_tensor *parts[5];
    char name[512];
    for (int i = 0; i < 5; i++) {
        snprintf(name, sizeof name, "%s.%s", block, names[i]);
        parts[i] = ecd_checkpoint_find(raw, name);
        assert_non_null(parts[i]);
    }
    published_arrays arrays = {.luts = parts[0]->data,
                               .encoded = parts[1]->data,
                               .packed_other_4bits = parts[2]->data,
                               .gaps = parts[3]->data,
                               .output_positions = parts[4]->data,
                               .n_luts = (uint32_t)parts[0]->shape[0],
                               .n_bytes = parts[1]->size_bytes,
                               .n_gaps = parts[3]->size_bytes,
                               .n_positions = parts[4]->size_bytes / 8,
                               .n_elements = parts[2]->size_bytes * 2};
    uint8_t *out = malloc(arrays.n_elements + 1);
    assert_non_null(out);
    assert_int_equal(published_kernel_decode(&arrays, 512, out), 0);
    *count = arrays.n_elements;
    return out;
}

static void published_files(void **state)
{
    (void)state;
    static const char *const files[] = {"all_bytes", "wide"};
    static const uint64_t counts[] = {24832, 64000};
    static const uint32_t sums[] = {0x663c2836, 0x5cdd6050};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char path[512];
        ecd_diag diag = {0};
        ecd_checkpoint *cp = NULL, *raw = NULL;
        uint64_t count;
        snprintf(path, sizeof path, "%s/ecf8_published/%s.safetensors", ECD_TEST_DATA, files[i]);
        assert_int_equal(ecd_checkpoint_open(path, &cp, &diag), ECD_OK);
        const ecd_tensor *weight = ecd_checkpoint_find(cp, "block.weight");
        assert_non_null(weight);
        assert_int_equal(ecd_checkpoint_count(cp), 1);
        assert_int_equal(weight->encoding, ECD_ENCODING_PUBLISHED);
        assert_int_equal(weight->count, counts[i]);
        assert_true(weight->flat && weight->dims == 1);
        uint8_t *bytes = decoded(weight);
        assert_int_equal(ecf8_crc32c(0, bytes, counts[i]), sums[i]);
        assert_int_equal(ecd_tensor_file_open(path, false, &raw, &diag), ECD_OK);
        assert_int_equal(ecd_checkpoint_index(raw, &diag), ECD_OK);
        ecd_work_report report;
        ecd_checkpoint *back = NULL;
        const uint64_t size = counts[i];
        remove("published.plain.safetensors");
        assert_int_equal(ecd_decompress(path, "published.plain.safetensors", &plain, &report, &diag), ECD_OK);
        assert_int_equal(ecd_checkpoint_open("published.plain.safetensors", &back, &diag), ECD_OK);
        weight = ecd_checkpoint_find(back, "block.weight");
        assert_true(weight && weight->encoding == ECD_ENCODING_RAW && weight->size_bytes == size);
        assert_memory_equal(weight->data, bytes, size);
        ecd_checkpoint_close(back);
        remove("published.plain.safetensors");
        uint8_t *same = by_kernel(raw, "block", &count);
        assert_int_equal(count, counts[i]);
        assert_memory_equal(bytes, same, count);
        free(bytes);
        free(same);
        ecd_checkpoint_close(raw);
        ecd_checkpoint_close(cp);
    }
}

static void same_tensor(const ecd_tensor *x, const ecd_tensor *y)
{
    assert_int_equal(x->dtype, y->dtype);
    assert_int_equal(x->dims, y->dims);
    assert_memory_equal(x->shape, y->shape, (size_t)x->dims * sizeof *x->shape);
    assert_int_equal(x->scale_kind, y->scale_kind);
    uint8_t *a = decoded(x), *b = decoded(y);
    assert_memory_equal(a, b, x->count * ecd_dtype_size(x->dtype));
    free(a);
    free(b);
}

// Every group of the file by the independent reader, against the original's weights in the order of pattern_dict.json.
static void check_groups(const char *path, const ecd_checkpoint *original)
{
    ecd_diag diag = {0};
    ecd_checkpoint *raw = NULL;
    ecd_published_config config;
    size_t groups = 0;
    assert_int_equal(ecd_tensor_file_open(path, false, &raw, &diag), ECD_OK);
    assert_int_equal(ecd_checkpoint_index(raw, &diag), ECD_OK);
    assert_int_equal(ecd_published_config_read(path, &config, &diag), ECD_OK);
    for (size_t i = 0; i < raw->count; i++) {
        char block[512], name[1024];
        const cJSON *layers, *layer;
        uint64_t count, at = 0;
        if (!ecd_ends_with(raw->tensors[i].name, ".luts"))
            continue;
        snprintf(block, sizeof block, "%.*s", (int)strlen(raw->tensors[i].name) - 5, raw->tensors[i].name);
        uint8_t *all = by_kernel(raw, block, &count);
        assert_int_equal(ecd_published_layers(&config, block, &layers, &diag), ECD_OK);
        assert_non_null(layers);
        cJSON_ArrayForEach(layer, layers)
        {
            snprintf(name, sizeof name, *layer->valuestring ? "%s.%s.weight" : "%s%s.weight", block,
                     layer->valuestring);
            const ecd_tensor *weight = ecd_checkpoint_find(original, name);
            assert_non_null(weight);
            assert_true(at + weight->count <= count);
            assert_memory_equal(all + at, weight->data, weight->count);
            at += weight->count;
        }
        assert_int_equal(at, count);
        free(all);
        groups++;
    }
    assert_true(groups > 0);
    ecd_published_config_free(&config);
    ecd_checkpoint_close(raw);
}

static void check_model(const char *source)
{
    static const char *const files[] = {"model_index.json", "transformer/config.json",
                                        "transformer/diffusion_pytorch_model.safetensors"};
    char path[1024], other[1024];
    ecd_diag diag = {0};
    ecd_work_report report;
    ecd_checkpoint *x = NULL, *y = NULL;
    remove_folder("published.new");
    remove_folder("published.back");
    assert_int_equal(ecd_compress(source, "published.new", &published, &report, &diag), ECD_OK);
    assert_true(report.tensors_coded > 10);
    snprintf(path, sizeof path, "%s/transformer", source);
    assert_int_equal(ecd_checkpoint_open(path, &x, &diag), ECD_OK);
    assert_int_equal(ecd_checkpoint_open("published.new/transformer", &y, &diag), ECD_OK);
    assert_int_equal(ecd_checkpoint_count(x), ecd_checkpoint_count(y));
    uint64_t stored = 0, sizes = 0;
    for (size_t i = 0; i < ecd_checkpoint_count(y); i++) {
        const ecd_tensor *got = ecd_checkpoint_tensor(y, i);
        const ecd_tensor *wanted = ecd_checkpoint_find(x, got->name);
        assert_non_null(wanted);
        same_tensor(got, wanted);
        assert_int_equal(got->encoding == ECD_ENCODING_PUBLISHED,
                         got->dtype == ECD_E4M3 && got->dims == 2 && ecd_ends_with(got->name, ".weight"));
        stored += ecd_tensor_stored_bytes(got);
    }
    const ecd_file *file = ecd_checkpoint_file(y, 0);
    for (int i = 7; i >= 0; i--)
        sizes = sizes << 8 | file->data[i];
    assert_int_equal(stored, file->size_bytes - 8 - sizes); // shares of groups sum up
    check_groups("published.new/transformer/diffusion_pytorch_model.safetensors", x);
    ecd_checkpoint_close(x);
    ecd_checkpoint_close(y);
    assert_int_equal(ecd_verify("published.new", source, &plain, &report, &diag), ECD_OK);
    assert_int_equal(ecd_verify(source, "published.new", &plain, &report, &diag), ECD_OK);
    assert_int_equal(ecd_decompress("published.new", "published.back", &plain, &report, &diag), ECD_OK);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        snprintf(path, sizeof path, "%s/%s", source, files[i]);
        snprintf(other, sizeof other, "published.back/%s", files[i]);
        same_file(path, other);
    }
    assert_false(ecd_path_exists("published.back/transformer/pattern_dict.json"));
    // From the published format to ours: as if it had been compressed from the original.
    remove_folder("published.ours");
    remove_folder("published.direct");
    assert_int_equal(ecd_compress("published.new", "published.ours", &plain, &report, &diag), ECD_OK);
    assert_int_equal(ecd_compress(source, "published.direct", &plain, &report, &diag), ECD_OK);
    assert_int_equal(ecd_verify(source, "published.ours", &plain, &report, &diag), ECD_OK);
    same_file("published.ours/ecf8.sha256", "published.direct/ecf8.sha256");
    same_file("published.ours/transformer/config.json", "published.direct/transformer/config.json");
    assert_false(ecd_path_exists("published.ours/transformer/pattern_dict.json"));
    remove_folder("published.back");
    assert_int_equal(ecd_decompress("published.ours", "published.back", &plain, &report, &diag), ECD_OK);
    same_file(path, "published.back/transformer/diffusion_pytorch_model.safetensors");
    remove_folder("published.ours");
    remove_folder("published.direct");
    remove_folder("published.back");
    remove_folder("published.new");
}

static void models(void **state)
{
    (void)state;
    static const char *const names[] = {"dit_a_fp8_tensor", "dit_a_fp8_comfy", "dit_a_fp8_block", "dit_a_fp8_channel"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/models/%s", ECD_TEST_DATA, names[i]);
        check_model(path);
    }
}

// Tensors of a made-up file: E4M3 matrices of bytes that fall off.
typedef struct made {
    const char *name;
    int64_t rows, cols;
} made;

static void write_file(const char *path, const made *tensors, size_t count)
{
    ecd_tensors_writer writer;
    ecd_diag diag = {0};
    uint32_t random = 9;
    assert_int_equal(ecd_tensors_writer_open(path, 4096, NULL, &writer, &diag), ECD_OK);
    for (size_t i = 0; i < count; i++) {
        const int64_t shape[2] = {tensors[i].rows, tensors[i].cols};
        size_t size = (size_t)(shape[0] * shape[1]);
        uint8_t *data = malloc(size);
        assert_non_null(data);
        for (size_t k = 0; k < size; k++) {
            random = random * 1664525 + 1013904223;
            unsigned fall = (unsigned)__builtin_ctz(random >> 8 | 0x4000);
            data[k] = (uint8_t)((random >> 24 & 0x87) | (14 - fall) << 3);
        }
        assert_int_equal(ecd_tensors_writer_add(&writer, tensors[i].name, ECD_E4M3, shape, 2, data, size, &diag),
                         ECD_OK);
        free(data);
    }
    assert_int_equal(ecd_tensors_writer_commit(&writer, &diag), ECD_OK);
}

static void make_source(void)
{
    remove_folder("published.source");
    remove_folder("published.new");
    assert_int_equal(mkdir("published.source", 0777), 0);
}

static void expect_refusal(const char *source, const ecd_compress_options *options, const char *what)
{
    ecd_diag diag = {0};
    ecd_work_report report;
    assert_int_equal(ecd_compress(source, "published.new", options, &report, &diag), ECD_USAGE);
    assert_non_null(strstr(diag.what, what));
    assert_non_null(*diag.file ? diag.file : NULL);
    assert_false(ecd_path_exists("published.new"));
}

static void refusals(void **state)
{
    (void)state;
    static const made odd[] = {{"blocks.0.a.weight", 3, 4}, {"blocks.0.b.weight", 5, 5}};
    char path[512];
    make_source();
    write_file("published.source/model.safetensors", odd, 2);
    expect_refusal("published.source", &published, "expected an even count");
    expect_refusal("published.source/model.safetensors", &published, "expected a folder");
    snprintf(path, sizeof path, "%s/models/dit_a_legacy", ECD_TEST_DATA);
    expect_refusal(path, &published, "expected safetensors");
    snprintf(path, sizeof path, "%s/models/dit_a", ECD_TEST_DATA);
    const ecd_compress_options both = {.published = true, .quantize_e4m3 = true};
    expect_refusal(path, &both, "expected E4M3 weights");
    remove_folder("published.source");
}

// Two odd layers make an even block; a block in two shards is cut into layers, an expert is a block of its own.
static void shards(void **state)
{
    (void)state;
    static const made first[] = {{"model.layers.0.a.weight", 3, 5},
                                 {"model.layers.0.b.weight", 5, 7},
                                 {"model.layers.1.a.weight", 40, 30},
                                 {"model.layers.2.mlp.experts.0.up.weight", 16, 16},
                                 {"model.layers.2.mlp.experts.1.up.weight", 16, 16},
                                 {"head.weight", 20, 20}};
    static const made second[] = {{"model.layers.1.b.weight", 300, 300}};
    static const char index[] =
        "{\"metadata\": {\"total_size\": 92162}, \"weight_map\": {\"model.layers.0.a.weight\": "
        "\"model-00001-of-00002.safetensors\", \"model.layers.1.b.weight\": \"model-00002-of-00002.safetensors\"}}";
    ecd_diag diag = {0};
    ecd_work_report report;
    ecd_checkpoint *cp = NULL;
    cJSON *patterns = NULL;
    make_source();
    write_file("published.source/model-00001-of-00002.safetensors", first, 6);
    write_file("published.source/model-00002-of-00002.safetensors", second, 1);
    assert_int_equal(ecd_file_write("published.source/model.safetensors.index.json", index, strlen(index), &diag), 0);
    assert_int_equal(ecd_compress("published.source", "published.new", &published, &report, &diag), ECD_OK);
    assert_int_equal(ecd_json_read("published.new/pattern_dict.json", &patterns, &diag), ECD_OK);
    const cJSON *fp8 = cJSON_GetObjectItemCaseSensitive(patterns, "fp8");
    static const char *const keys[] = {"head", "model\\.layers\\.\\d+", "model\\.layers\\.\\d+\\.a",
                                       "model\\.layers\\.\\d+\\.b", "model\\.layers\\.\\d+\\.mlp\\.experts\\.\\d+"};
    assert_int_equal(cJSON_GetArraySize(fp8), 5);
    for (size_t i = 0; i < 5; i++)
        assert_non_null(cJSON_GetObjectItemCaseSensitive(fp8, keys[i]));
    cJSON_Delete(patterns);
    assert_int_equal(ecd_checkpoint_open("published.new", &cp, &diag), ECD_OK);
    assert_int_equal(ecd_checkpoint_count(cp), 7);
    ecd_checkpoint_close(cp);
    assert_int_equal(ecd_verify("published.source", "published.new", &plain, &report, &diag), ECD_OK);
    remove_folder("published.new");
    remove_folder("published.source");
}

// A good folder with one of its files spoilt.
static void expect_bad(const char *name, const char *text, const char *what)
{
    char path[256];
    ecd_diag diag = {0};
    ecd_checkpoint *cp = NULL;
    char *kept = NULL;
    snprintf(path, sizeof path, "published.new/%s", name);
    assert_int_equal(ecd_file_read_text(path, 1 << 20, &kept, NULL, &diag), ECD_OK);
    assert_int_equal(ecd_file_write(path, text, strlen(text), &diag), ECD_OK);
    assert_int_equal(ecd_checkpoint_open("published.new", &cp, &diag), ECD_DATA);
    assert_null(cp);
    assert_non_null(strstr(diag.what, what));
    assert_int_equal(ecd_file_write(path, kept, strlen(kept), &diag), ECD_OK);
    free(kept);
}

static void lying_folders(void **state)
{
    (void)state;
    static const made tensors[] = {{"blocks.0.a.weight", 30, 40}, {"blocks.0.b.weight", 50, 50}};
    static const char *const parts[] = {"encoded", "gaps", "output_positions", "packed_other_4bits"};
    ecd_diag diag = {0};
    ecd_work_report report;
    ecd_checkpoint *cp = NULL;
    ecd_file file;
    make_source();
    write_file("published.source/model.safetensors", tensors, 2);
    assert_int_equal(ecd_compress("published.source", "published.new", &published, &report, &diag), ECD_OK);
    expect_bad("dfloat_config.json", "{\"version\": \"0.3.0\"}", "version");
    expect_bad("dfloat_config.json", "{\"bytes_per_thread\": 16}", "bytes_per_thread");
    expect_bad("dfloat_config.json", "{\"threads_per_block\": 256}", "4 bits for each thread");
    expect_bad("dfloat_config.json", "{\"threads_per_block\": 500}", "power of two");
    expect_bad("pattern_dict.json", "{}", "fp8");
    expect_bad("pattern_dict.json", "{\"fp8\": {\"blocks\\\\.\\\\d+\": [\"a\"]}}", "2 layers");
    expect_bad("pattern_dict.json", "{\"fp8\": {\"block\\\\.\\\\d+\": [\"a\", \"b\"]}}", "no pattern");
    expect_bad("pattern_dict.json", "{\"fp8\": {\"blocks(\": [\"a\", \"b\"]}}", "regular expression");
    expect_bad("pattern_dict.json", "{\"fp8\": {\"blocks\\\\.\\\\d+\": [\"a\", 3]}}", "array");
    expect_bad("pattern_dict.json", "{\"fp8\": {\"blocks\\\\.\\\\d+\": [\"a\", \"a\"]}}", "second tensor");
    // A buffer under another name is a buffer that is missing.
    assert_int_equal(ecd_file_map("published.new/model.safetensors", &file, &diag), ECD_OK);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        char key[64];
        uint8_t *copy = malloc(file.size_bytes);
        assert_non_null(copy);
        memcpy(copy, file.data, file.size_bytes);
        snprintf(key, sizeof key, "\"blocks.0.%s\"", parts[i]);
        uint8_t *at = memmem(copy, file.size_bytes, key, strlen(key));
        assert_non_null(at);
        at[11] = 'X';
        assert_int_equal(ecd_file_write("published.cut.safetensors", copy, file.size_bytes, &diag), ECD_OK);
        assert_int_equal(ecd_checkpoint_open("published.cut.safetensors", &cp, &diag), ECD_DATA);
        assert_non_null(strstr(diag.what, parts[i]));
        // In one shard of several it may lie in another; nobody's shards but ours say shapes.
        for (uint8_t *note; (note = memmem(copy, file.size_bytes, "ecf8.shape", 10)) != NULL;)
            *note = 'x';
        assert_int_equal(ecd_file_write("cut-00001-of-00002.safetensors", copy, file.size_bytes, &diag), ECD_OK);
        assert_int_equal(ecd_checkpoint_open("cut-00001-of-00002.safetensors", &cp, &diag), ECD_OK);
        ecd_checkpoint_close(cp);
        free(copy);
    }
    ecd_file_unmap(&file);
    remove("published.cut.safetensors");
    remove("cut-00001-of-00002.safetensors");
    remove_folder("published.new");
    remove_folder("published.source");
}

static void patterns(void **state)
{
    (void)state;
    static const struct {
        const char *pattern, *text;
        ecd_pattern_result result;
    } cases[] = {
        {"model\\.layers\\.\\d+", "model.layers.12", ECD_PATTERN_MATCH},
        {"model\\.layers\\.\\d+", "model.layers.12.mlp", ECD_PATTERN_OTHER},
        {"model\\.layers\\.\\d+", "modelXlayers.12", ECD_PATTERN_OTHER},
        {"model\\.layers\\.[0-2]", "model.layers.2", ECD_PATTERN_MATCH},
        {"model\\.layers\\.[0-2]", "model.layers.3", ECD_PATTERN_OTHER},
        {"m\\.(?![0-2](?:[^0-9]|$))\\d+\\.self_attn", "m.2.self_attn", ECD_PATTERN_OTHER},
        {"m\\.(?![0-2](?:[^0-9]|$))\\d+\\.self_attn", "m.21.self_attn", ECD_PATTERN_MATCH},
        {"(a|bc)(?=d)d|e*", "bcd", ECD_PATTERN_MATCH},
        {"(a|bc)(?=d)d|e*", "eee", ECD_PATTERN_MATCH},
        {"(a|bc)(?=d)d|e*", "", ECD_PATTERN_MATCH},
        {"[]^a-c]+x?", "]^abc", ECD_PATTERN_MATCH},
        {"[^a-c]\\w", "d_", ECD_PATTERN_MATCH},
        {"(a", "a", ECD_PATTERN_UNSUPPORTED},
        {"a)", "a)", ECD_PATTERN_UNSUPPORTED},
        {"[a", "a", ECD_PATTERN_UNSUPPORTED},
        {"a\\", "a", ECD_PATTERN_UNSUPPORTED},
        {"a{2}", "aa", ECD_PATTERN_UNSUPPORTED},
        {"(ab)*", "abab", ECD_PATTERN_UNSUPPORTED},
        {"a*a*a*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", ECD_PATTERN_UNSUPPORTED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        if (ecd_pattern_match(cases[i].pattern, cases[i].text) != cases[i].result)
            fail_msg("%s of %s", cases[i].pattern, cases[i].text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_files), cmocka_unit_test(models),        cmocka_unit_test(refusals),
        cmocka_unit_test(shards),          cmocka_unit_test(lying_folders), cmocka_unit_test(patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
