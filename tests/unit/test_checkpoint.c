// Which files a component is read from, shards and their index, and ECF8 containers inside.
#include <cjson/cJSON.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "torch_writer.h"
#include "weights/checkpoint.h"
#include "weights/coded.h"
#include "weights/tree.h"
#include "weights/writer.h"

static const char folder[] = "part";

static void make_folder(void)
{
    if (ecd_path_exists(folder))
        ecd_folder_remove(folder);
    assert_int_equal(mkdir(folder, 0777), 0);
}

static const char *inside(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void write_text(const char *name, const char *text)
{
    write_bytes(inside(name), text, strlen(text));
}

typedef struct stored {
    const char *name;
    float value;
} stored;

// A safetensors file of tensors of one float each.
static void write_tensors(const char *file, const stored *tensors, size_t count)
{
    ecd_tensors_writer w;
    ecd_diag diag = {0};
    int64_t shape[1] = {1};
    assert_int_equal(ecd_tensors_writer_open(inside(file), 4096, NULL, &w, &diag), ECD_OK);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(ecd_tensors_writer_add(&w, tensors[i].name, ECD_F32, shape, 1, &tensors[i].value, 4, &diag),
                         ECD_OK);
    assert_int_equal(ecd_tensors_writer_commit(&w, &diag), ECD_OK);
}

static void write_one(const char *file, const char *name, float value)
{
    write_tensors(file, &(stored){name, value}, 1);
}

// The same as a torch file.
static void write_torch(const char *file, const char *name, float value)
{
    static const pickled_tensor tensor = {
        .storage = "FloatStorage", .key = "0", .elements = 1, .dims = 1, .shape = {1}, .strides = {1}};
    pickled p = {0};
    PICKLE(&p, "\x80\x02}(");
    pickle_text(&p, name);
    pickle_tensor(&p, &tensor);
    PICKLE(&p, "u.");
    const archived entries[] = {{"data.pkl", p.bytes, p.size, false}, {"data/0", &value, sizeof value, false}};
    write_archive(inside(file), entries, 2);
    free(p.bytes);
}

static ecd_checkpoint *open_sound(void)
{
    ecd_checkpoint *cp;
    ecd_diag diag = {0};
    if (ecd_checkpoint_open(folder, &cp, &diag))
        fail_msg("%s: %s: %s", diag.file, diag.tensor, diag.what);
    return cp;
}

static void holds(const ecd_checkpoint *cp, const char *name, float value)
{
    const ecd_tensor *tensor = ecd_checkpoint_find(cp, name);
    if (!tensor)
        fail_msg("no tensor %s", name);
    assert_int_equal(tensor->size_bytes, 4);
    assert_memory_equal(tensor->data, &value, 4);
}

static void expect_fault(const char *file, const char *tensor, const char *part)
{
    ecd_checkpoint *cp;
    ecd_diag diag = {0};
    ecd_status status = ecd_checkpoint_open(folder, &cp, &diag);
    ecd_checkpoint_close(cp);
    const char *wanted = file ? inside(file) : folder;
    if (status != ECD_DATA || strcmp(diag.file, wanted) || strcmp(diag.tensor, tensor ? tensor : "") ||
        !strstr(diag.what, part) || !strstr(diag.what, "expected"))
        fail_msg("wanted \"%s\", got status %d, file %s, tensor %s, \"%s\"", part, status, diag.file, diag.tensor,
                 diag.what);
}

static const char index_name[] = "diffusion_pytorch_model.safetensors.index.json";

static void write_shards(void)
{
    static const stored first[] = {{"a.weight", 1}, {"mid.attentions.0.query.bias", 2}}, second[] = {{"b.weight", 3}};
    make_folder();
    write_tensors("m-1.safetensors", first, 2);
    write_tensors("m-2.safetensors", second, 1);
    write_text(index_name, "{\"metadata\": {\"total_size\": 12}, \"weight_map\": {\"b.weight\": \"m-2.safetensors\", "
                           "\"a.weight\": \"m-1.safetensors\", "
                           "\"mid.attentions.0.query.bias\": \"m-1.safetensors\"}}");
}

static void shards(void **state)
{
    (void)state;
    write_shards();
    write_one("other.safetensors", "c.weight", 9); // the index does not name it
    ecd_checkpoint *cp = open_sound();
    assert_int_equal(ecd_checkpoint_count(cp), 3);
    assert_int_equal(ecd_checkpoint_file_count(cp), 2);
    holds(cp, "a.weight", 1);
    holds(cp, "mid.attentions.0.to_q.bias", 2); // an index of old names
    holds(cp, "b.weight", 3);
    assert_string_equal(ecd_checkpoint_find(cp, "b.weight")->file->path, inside("m-2.safetensors"));
    assert_null(ecd_checkpoint_find(cp, "c.weight"));
    ecd_checkpoint_close(cp);
}

static void bad_shards(void **state)
{
    (void)state;
    write_shards();
    unlink(inside("m-2.safetensors"));
    expect_fault("m-2.safetensors", NULL, "missing shard");
    write_one("m-2.safetensors", "c.weight", 3);
    expect_fault(index_name, "b.weight", "not in m-2.safetensors");
    write_one("m-2.safetensors", "a.weight", 3);
    expect_fault("m-2.safetensors", "a.weight", "a second tensor of this name");
    write_text("m-2.safetensors", "short");
    expect_fault("m-2.safetensors", NULL, "5 bytes");
    write_shards();
    write_text(index_name, "{\"weight_map\": {\"a.weight\": \"m-2.safetensors\", \"b.weight\": \"m-2.safetensors\", "
                           "\"mid.attentions.0.query.bias\": \"m-1.safetensors\"}}"); // a.weight is in the other
    expect_fault(index_name, "a.weight", "not in m-2.safetensors");
    static const char *const names[] = {
        "\"../m-1.safetensors\"", "\"/m-1.safetensors\"", "\"\"", "\".hidden\"", "1", "null", "[\"m-1.safetensors\"]"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"weight_map\": {\"a.weight\": %s}}", names[i]);
        write_text(index_name, text);
        expect_fault(index_name, "a.weight", "bad shard name");
    }
    write_text(index_name, "{\"weight_map\": {}}");
    expect_fault(index_name, NULL, "no \"weight_map\"");
    write_text(index_name, "{}");
    expect_fault(index_name, NULL, "no \"weight_map\"");
    write_text(index_name, "{\"weight_map\": [\"m-1.safetensors\"]}");
    expect_fault(index_name, NULL, "no \"weight_map\"");
    write_text(index_name, "{\"weight_map\"");
    expect_fault(index_name, NULL, "expected");
}

static void torch_shards(void **state)
{
    (void)state;
    make_folder();
    write_torch("pytorch_model-00001-of-00002.bin", "a.weight", 1);
    write_torch("pytorch_model-00002-of-00002.bin", "b.weight", 2);
    write_text("pytorch_model.bin.index.json", "{\"weight_map\": {\"a.weight\": \"pytorch_model-00001-of-00002.bin\", "
                                               "\"b.weight\": \"pytorch_model-00002-of-00002.bin\"}}");
    ecd_checkpoint *cp = open_sound();
    holds(cp, "a.weight", 1);
    holds(cp, "b.weight", 2);
    ecd_checkpoint_close(cp);
    write_torch("pytorch_model-00002-of-00002.bin", "c.weight", 2);
    expect_fault("pytorch_model.bin.index.json", "b.weight", "not in pytorch_model-00002-of-00002.bin");
}

static void opens(float value)
{
    ecd_checkpoint *cp = open_sound();
    assert_int_equal(ecd_checkpoint_count(cp), 1);
    holds(cp, "a.weight", value);
    ecd_checkpoint_close(cp);
}

static void write_small_index(const char *index, const char *shard, float value)
{
    char text[256];
    write_one(shard, "a.weight", value);
    snprintf(text, sizeof text, "{\"weight_map\": {\"a.weight\": \"%s\"}}", shard);
    write_text(index, text);
}

// Files are added from the last choice to the first: each one is preferred to all before it.
static void order_of_choice(void **state)
{
    (void)state;
    float value = 1;
    make_folder();
    expect_fault(NULL, NULL, "no weights in it");
    write_one("weights.safetensors", "a.weight", 99);
    write_one("diffusion_pytorch_model.ema.safetensors", "a.weight", 99);
    write_torch("optimizer.bin", "a.weight", 99);
    write_text("config.json", "{}");
    expect_fault(NULL, NULL, "no weights in it");
    static const char *const torch_files[] = {"model.bf16.bin", "diffusion_pytorch_model.fp16.bin", "pytorch_model.bin",
                                              "diffusion_pytorch_model.bin"};
    for (int i = 0; i < 4; i++) {
        write_torch(torch_files[i], "a.weight", ++value);
        opens(value);
    }
    write_one("diffusion_pytorch_model.bf16.safetensors", "a.weight", ++value);
    opens(value);
    write_small_index("diffusion_pytorch_model.bf16.safetensors.index.json", "s1.safetensors", ++value);
    opens(value);
    write_one("model.fp16.safetensors", "a.weight", ++value);
    opens(value);
    write_one("diffusion_pytorch_model.fp16.safetensors", "a.weight", ++value);
    opens(value);
    write_small_index("diffusion_pytorch_model.fp16.safetensors.index.json", "s2.safetensors", ++value);
    opens(value);
    write_small_index("diffusion_pytorch_model.safetensors.index.fp16.json", "s3.safetensors", ++value);
    opens(value);
    write_one("model.safetensors", "a.weight", ++value);
    opens(value);
    write_one("diffusion_pytorch_model.safetensors", "a.weight", ++value);
    opens(value);
    write_small_index("diffusion_pytorch_model.safetensors.index.json", "s4.safetensors", ++value);
    opens(value);
}

static void single_files(void **state)
{
    (void)state;
    ecd_checkpoint *cp;
    ecd_diag diag = {0};
    make_folder();
    write_torch("any.pt", "a.weight", 1);
    write_torch("any.pth", "a.weight", 2);
    write_one("any.safetensors", "a.weight", 3);
    static const char *const names[] = {"any.pt", "any.pth", "any.safetensors"};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ecd_checkpoint_open(inside(names[i]), &cp, &diag), ECD_OK);
        holds(cp, "a.weight", (float)(i + 1));
        ecd_checkpoint_close(cp);
    }
    assert_int_equal(ecd_checkpoint_open(inside("none.safetensors"), &cp, &diag), ECD_USAGE);
    assert_null(cp);
}

enum { ROWS = 64, COLS = 48 };

static uint8_t *container(uint64_t *size)
{
    uint16_t *weights = malloc(ROWS * COLS * sizeof *weights);
    ecd_diag diag = {0};
    uint8_t *blob = NULL;
    for (int i = 0; i < ROWS * COLS; i++)
        weights[i] = ecd_to_bf16((float)(i * 37 % 101 - 50) / 64.0f);
    assert_int_equal(ecd_coded_encode(ECD_BF16, weights, ROWS * COLS, ROWS, COLS, &blob, size, &diag), ECD_OK);
    assert_non_null(blob);
    free(weights);
    return blob;
}

// The container as "w.weight.ecf8", a raw tensor "raw", and metadata of key and value (and key2).
static void write_coded(const uint8_t *blob, uint64_t size, const char *key, const char *value, const char *key2,
                        const char *value2)
{
    ecd_tensors_writer w;
    ecd_diag diag = {0};
    int64_t shape[1] = {(int64_t)size}, one[1] = {4};
    cJSON *metadata = cJSON_CreateObject();
    if (key)
        cJSON_AddStringToObject(metadata, key, value);
    if (key2)
        cJSON_AddStringToObject(metadata, key2, value2);
    make_folder();
    assert_int_equal(ecd_tensors_writer_open(inside("model.safetensors"), 4096, metadata, &w, &diag), ECD_OK);
    assert_int_equal(ecd_tensors_writer_add(&w, "raw", ECD_U8, one, 1, "raw", 4, &diag), ECD_OK);
    assert_int_equal(ecd_tensors_writer_add(&w, "w.weight.ecf8", ECD_U8, shape, 1, blob, size, &diag), ECD_OK);
    assert_int_equal(ecd_tensors_writer_commit(&w, &diag), ECD_OK);
}

static void containers(void **state)
{
    (void)state;
    uint64_t size;
    uint8_t *blob = container(&size);
    write_coded(blob, size, "ecf8.alias.twin.weight", "w.weight", "ecf8.shape.w.weight", "4,16,48,1");
    ecd_checkpoint *cp = open_sound();
    assert_int_equal(ecd_checkpoint_count(cp), 3);
    const ecd_tensor *w = ecd_checkpoint_find(cp, "w.weight"), *twin = ecd_checkpoint_find(cp, "twin.weight");
    assert_non_null(w);
    assert_non_null(twin);
    assert_int_equal(w->encoding, ECD_ENCODING_ECF8);
    assert_int_equal(w->dtype, ECD_BF16);
    assert_int_equal(w->count, ROWS * COLS);
    assert_int_equal(w->dims, 4);
    assert_int_equal(w->shape[1], 16);
    assert_int_equal(w->size_bytes, size);
    assert_memory_equal(w->data, blob, size);
    assert_ptr_equal(twin->data, w->data);
    assert_int_equal(twin->dims, 4); // that of the tensor that it names
    ecd_checkpoint_close(cp);
    write_coded(blob, size, NULL, NULL, NULL, NULL);
    cp = open_sound();
    w = ecd_checkpoint_find(cp, "w.weight");
    assert_int_equal(w->dims, 2);
    assert_int_equal(w->shape[0], ROWS);
    assert_int_equal(w->shape[1], COLS);
    ecd_checkpoint_close(cp);
    free(blob);
}

static void bad_containers(void **state)
{
    (void)state;
    static const char file[] = "model.safetensors";
    uint64_t size;
    uint8_t *blob = container(&size);
    static const char *const shapes[] = {
        "3,16,48", "", "4,16,48,", "-64,-48", "1,1,1,1,1,1,1,64,48", "64x48", "9999999999,9999999999", "0"};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        write_coded(blob, size, "ecf8.shape.w.weight", shapes[i], NULL, NULL);
        expect_fault(file, "w.weight", "metadata gives shape");
    }
    write_coded(blob, size, "ecf8.shape.raw", "4", NULL, NULL);
    expect_fault(file, "raw", "the shape of a raw tensor");
    write_coded(blob, size, "ecf8.shape.none", "4", NULL, NULL);
    expect_fault(file, NULL, "names tensor none");
    write_coded(blob, size, "ecf8.alias.twin", "none", NULL, NULL);
    expect_fault(file, NULL, "names tensor none");
    write_coded(blob, size, "ecf8.alias.twin", "other", "ecf8.alias.other", "w.weight"); // an alias of an alias
    expect_fault(file, NULL, "names tensor other");
    write_coded(blob, size, "ecf8.alias.twin", "twin", NULL, NULL);
    expect_fault(file, NULL, "names tensor twin");
    write_coded(blob, size, "ecf8.alias.raw", "w.weight", NULL, NULL);
    expect_fault(file, "raw", "a second tensor of this name");
    for (uint64_t cut = 0; cut < size; cut += cut < 256 ? 1 : 97) {
        write_coded(blob, cut, NULL, NULL, NULL, NULL);
        expect_fault(file, "w.weight", "bad ECF8 container");
    }
    blob[0] ^= 1;
    write_coded(blob, size, NULL, NULL, NULL, NULL);
    expect_fault(file, "w.weight", "bad ECF8 container");
    free(blob);
}

// An alias may only name a tensor of its own file, so that files can be checked one by one.
static void alias_across_shards(void **state)
{
    (void)state;
    uint64_t size;
    uint8_t *blob = container(&size);
    write_coded(blob, size, "ecf8.alias.twin", "b.weight", NULL, NULL);
    write_one("other.safetensors", "b.weight", 1);
    write_text("model.safetensors.index.json", "{\"weight_map\": {\"raw\": \"model.safetensors\", \"w.weight\": "
                                               "\"model.safetensors\", \"b.weight\": \"other.safetensors\"}}");
    expect_fault("model.safetensors", NULL, "expected one of this file");
    write_coded(blob, size, "ecf8.alias.twin", "w.weight", NULL, NULL);
    write_one("other.safetensors", "b.weight", 1);
    write_text("model.safetensors.index.json",
               "{\"weight_map\": {\"raw\": \"model.safetensors\", \"w.weight\": \"model.safetensors\", \"twin\": "
               "\"model.safetensors\", \"b.weight\": \"other.safetensors\"}}"); // under decoded names
    ecd_checkpoint *cp = open_sound();
    assert_int_equal(ecd_checkpoint_count(cp), 4);
    ecd_checkpoint_close(cp);
    free(blob);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shards),          cmocka_unit_test(bad_shards),          cmocka_unit_test(torch_shards),
        cmocka_unit_test(order_of_choice), cmocka_unit_test(single_files),        cmocka_unit_test(containers),
        cmocka_unit_test(bad_containers),  cmocka_unit_test(alias_across_shards),
    };
    char made[] = "test_checkpoint_XXXXXX";
    if (!mkdtemp(made) || chdir(made))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (!chdir(".."))
        ecd_folder_remove(made);
    return failed;
}
