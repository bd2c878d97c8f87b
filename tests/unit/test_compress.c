// compress, verify and decompress: files come back byte by byte, quantising rounds as it should, nothing is half
// written.
#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/files.h"
#include "torch_writer.h"
#include "weights/checkpoint.h"
#include "weights/compress.h"
#include "weights/inspect.h"
#include "weights/tree.h"
#include "weights/writer.h"

static const ecd_compress_options plain = {0};

static void remove_folder(const char *path)
{
    if (ecd_path_exists(path))
        ecd_folder_remove(path);
}

static void make_folder(const char *path)
{
    remove_folder(path);
    assert_int_equal(mkdir(path, 0777), 0);
}

static void same_files(const char *a, const char *b)
{
    ecd_tree tree, other;
    ecd_diag diag = {0};
    assert_int_equal(ecd_tree_list(a, &tree, &diag), ECD_OK);
    assert_int_equal(ecd_tree_list(b, &other, &diag), ECD_OK);
    assert_int_equal(tree.count, other.count);
    for (size_t i = 0; i < tree.count; i++) {
        assert_string_equal(tree.entries[i].path, other.entries[i].path);
        if (tree.entries[i].folder)
            continue;
        char *p = ecd_path_join(a, tree.entries[i].path), *q = ecd_path_join(b, tree.entries[i].path);
        same_file(p, q);
        free(p);
        free(q);
    }
    ecd_tree_free(&tree);
    ecd_tree_free(&other);
}

// Nothing is left of a folder in the making, "<path>.partial".
static void no_remains(const char *path)
{
    ecd_tree tree;
    ecd_diag diag = {0};
    assert_false(ecd_path_exists(path));
    assert_int_equal(ecd_tree_list(".", &tree, &diag), ECD_OK);
    for (size_t i = 0; i < tree.count; i++)
        assert_false(!strncmp(tree.entries[i].path, path, strlen(path)));
    ecd_tree_free(&tree);
}

static void round_trip(const char *source)
{
    ecd_diag diag = {0};
    ecd_work_report report;
    remove_folder("rt.coded");
    remove_folder("rt.back");
    assert_int_equal(ecd_compress(source, "rt.coded", &plain, &report, &diag), ECD_OK);
    assert_true(report.tensors > 0 && report.written_bytes > 0);
    assert_int_equal(ecd_verify("rt.coded", source, &plain, &report, &diag), ECD_OK);
    assert_int_equal(ecd_decompress("rt.coded", "rt.back", &plain, &report, &diag), ECD_OK);
    same_files(source, "rt.back");
    remove_folder("rt.coded");
    remove_folder("rt.back");
}

static void originals_come_back(void **state)
{
    (void)state;
    static const char *const models[] = {"dit_a",           "dit_a_fp8_block",  "dit_a_fp8_channel",
                                         "dit_a_fp8_comfy", "dit_a_fp8_tensor", "dit_b"};
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        char path[512];
        snprintf(path, sizeof path, "%s/models/%s", ECD_TEST_DATA, models[i]);
        round_trip(path);
    }
}

enum { ROWS = 96, COLS = 160 };

static void fill(uint16_t *out, size_t count, float size)
{
    for (size_t i = 0; i < count; i++)
        out[i] = ecd_to_bf16(size * ((float)rand() / (float)RAND_MAX + (float)rand() / (float)RAND_MAX - 1.0f));
}

static void add(ecd_tensors_writer *w, const char *name, int64_t rows, int64_t cols, const uint16_t *data)
{
    ecd_diag diag = {0};
    int64_t shape[2] = {rows, cols};
    assert_int_equal(ecd_tensors_writer_add(w, name, ECD_BF16, shape, cols ? 2 : 1, data,
                                            (uint64_t)(rows * (cols ? cols : 1)) * 2, &diag),
                     ECD_OK);
}

// A transformer with twin embedders, a row of zeros, one of tiny numbers and one with an outlier.
static void write_transformer(const char *folder, uint16_t *linear, uint16_t *embedder)
{
    static const char config[] = "{\n  \"_class_name\": \"DiTTransformer2DModel\",\n  \"num_layers\": 2\n}\n";
    ecd_tensors_writer w;
    ecd_diag diag = {0};
    char path[256];
    make_folder(folder);
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(ecd_file_write(path, config, sizeof config - 1, &diag), ECD_OK);
    snprintf(path, sizeof path, "%s/diffusion_pytorch_model.safetensors", folder);
    fill(linear, ROWS * COLS, 0.1f);
    fill(embedder, ROWS * COLS, 0.1f);
    memset(linear + COLS, 0, COLS * 2);
    linear[2 * COLS] = ecd_to_bf16(1000.0f);
    for (int i = 0; i < COLS; i++)
        linear[3 * COLS + i] = ecd_to_bf16(1e-39f);
    assert_int_equal(ecd_tensors_writer_open(path, 4096, NULL, &w, &diag), ECD_OK);
    add(&w, "transformer_blocks.0.attn1.to_q.weight", ROWS, COLS, linear);
    add(&w, "transformer_blocks.0.attn1.to_q.bias", ROWS, 0, linear);
    add(&w, "transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight", ROWS, COLS, embedder);
    add(&w, "transformer_blocks.1.norm1.emb.class_embedder.embedding_table.weight", ROWS, COLS, embedder);
    add(&w, "transformer_blocks.1.norm1.linear.weight", ROWS, COLS, linear);
    add(&w, "proj_out_1.weight", ROWS, COLS, linear);
    assert_int_equal(ecd_tensors_writer_commit(&w, &diag), ECD_OK);
}

static void twins_are_stored_once(void **state)
{
    (void)state;
    uint16_t *linear = malloc(ROWS * COLS * 2), *embedder = malloc(ROWS * COLS * 2);
    ecd_diag diag = {0};
    ecd_work_report report;
    write_transformer("twin", linear, embedder);
    remove_folder("twin.coded");
    assert_int_equal(ecd_compress("twin", "twin.coded", &plain, &report, &diag), ECD_OK);
    assert_int_equal(report.tensors_shared, 3); // the embedder, and the two linears that equal the first
    ecd_checkpoint *cp;
    assert_int_equal(ecd_checkpoint_open("twin.coded", &cp, &diag), ECD_OK);
    const ecd_tensor *a =
        ecd_checkpoint_find(cp, "transformer_blocks.0.norm1.emb.class_embedder.embedding_table.weight");
    const ecd_tensor *b =
        ecd_checkpoint_find(cp, "transformer_blocks.1.norm1.emb.class_embedder.embedding_table.weight");
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_equal(a->data, b->data);
    ecd_checkpoint_close(cp);
    round_trip("twin");
    remove_folder("twin");
    remove_folder("twin.coded");
    free(linear);
    free(embedder);
}

static void check_quantized(const ecd_checkpoint *cp, const char *name, const uint16_t *source)
{
    const ecd_tensor *tensor = ecd_checkpoint_find(cp, name);
    assert_non_null(tensor);
    assert_int_equal(tensor->dtype, ECD_E4M3);
    assert_int_equal(tensor->scale_kind, ECD_SCALE_ROW);
    assert_int_equal(tensor->scale->dtype, ECD_F32);
    assert_int_equal(tensor->scale->count, ROWS);
    float scale[ROWS];
    memcpy(scale, tensor->scale->data, sizeof scale);
    for (int r = 0; r < ROWS; r++) {
        float largest = 0;
        for (int c = 0; c < COLS; c++)
            largest = fmaxf(largest, fabsf(ecd_from_bf16(source[r * COLS + c])));
        float expected = largest / 448.0f;
        assert_true(scale[r] == (expected < 1.17549435e-38f ? 1.0f : expected));
        for (int c = 0; c < COLS; c++)
            assert_int_equal(tensor->data[r * COLS + c],
                             ecd_to_e4m3_saturating(ecd_from_bf16(source[r * COLS + c]) / scale[r]));
    }
}

static void quantizes_rows(void **state)
{
    (void)state;
    uint16_t *linear = malloc(ROWS * COLS * 2), *embedder = malloc(ROWS * COLS * 2);
    ecd_compress_options quantize = {.quantize_e4m3 = true};
    ecd_diag diag = {0};
    ecd_work_report report;
    ecd_checkpoint *cp;
    write_transformer("q", linear, embedder);
    remove_folder("q.coded");
    remove_folder("q.back");
    assert_int_equal(ecd_compress("q", "q.coded", &quantize, &report, &diag), ECD_OK);
    assert_int_equal(report.tensors_quantized, 2);
    assert_int_equal(ecd_decompress("q.coded", "q.back", &plain, &report, &diag), ECD_OK);
    assert_int_equal(ecd_verify("q.coded", "q.back", &plain, &report, &diag), ECD_OK);
    assert_int_equal(ecd_checkpoint_open("q.back", &cp, &diag), ECD_OK);
    check_quantized(cp, "transformer_blocks.0.attn1.to_q.weight", linear);
    check_quantized(cp, "transformer_blocks.1.norm1.linear.weight", linear);
    assert_int_equal(ecd_checkpoint_find(cp, "proj_out_1.weight")->dtype, ECD_BF16);
    ecd_checkpoint_close(cp);
    assert_int_equal(ecd_verify("q.coded", "q", &plain, &report, &diag), ECD_DATA);
    assert_string_equal(diag.tensor, "transformer_blocks.0.attn1.to_q.weight");
    remove_folder("q");
    remove_folder("q.coded");
    remove_folder("q.back");
    free(linear);
    free(embedder);
}

static void write_text(const char *path, const char *text)
{
    ecd_diag diag = {0};
    assert_int_equal(ecd_file_write(path, text, strlen(text), &diag), ECD_OK);
}

// Two shards: a linear weight with its bias in the first, another in the second.
static void write_sharded(const char *folder, const uint16_t *linear)
{
    static const char *const shards[] = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"};
    char path[256];
    make_folder(folder);
    for (int i = 0; i < 2; i++) {
        ecd_tensors_writer w;
        ecd_diag diag = {0};
        snprintf(path, sizeof path, "%s/%s", folder, shards[i]);
        assert_int_equal(ecd_tensors_writer_open(path, 4096, NULL, &w, &diag), ECD_OK);
        add(&w, i ? "transformer_blocks.1.attn1.to_q.weight" : "transformer_blocks.0.attn1.to_q.weight", ROWS, COLS,
            linear + i * 8);
        if (!i)
            add(&w, "transformer_blocks.0.attn1.to_q.bias", ROWS, 0, linear);
        assert_int_equal(ecd_tensors_writer_commit(&w, &diag), ECD_OK);
    }
    snprintf(path, sizeof path, "%s/config.json", folder);
    write_text(path, "{\"_class_name\": \"DiTTransformer2DModel\"}");
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    write_text(path, "{\n  \"weight_map\": {\n"
                     "    \"transformer_blocks.1.attn1.to_q.weight\": \"model-00002-of-00002.safetensors\",\n"
                     "    \"transformer_blocks.0.attn1.to_q.weight\": \"model-00001-of-00002.safetensors\",\n"
                     "    \"transformer_blocks.0.attn1.to_q.bias\": \"model-00001-of-00002.safetensors\"\n  },\n"
                     "  \"metadata\": {\"total_size\": 61632, \"by\": \"a test\"}\n}\n");
}

// The bytes of data in both shards of the folder, read from their headers alone.
static uint64_t data_bytes(const char *folder)
{
    uint64_t sum = 0;
    for (int i = 1; i <= 2; i++) {
        ecd_file file;
        ecd_diag diag = {0};
        char path[256];
        snprintf(path, sizeof path, "%s/model-0000%d-of-00002.safetensors", folder, i);
        assert_int_equal(ecd_file_map(path, &file, &diag), ECD_OK);
        uint64_t header;
        memcpy(&header, file.data, sizeof header);
        sum += file.size_bytes - 8 - header;
        ecd_file_unmap(&file);
    }
    return sum;
}

static void index_holds(const char *folder, uint64_t total_size, int scales)
{
    char path[256], expected[64], *text;
    ecd_diag diag = {0};
    int found = 0;
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    assert_int_equal(ecd_file_read_text(path, 1 << 20, &text, NULL, &diag), ECD_OK);
    snprintf(expected, sizeof expected, "{\"total_size\": %llu,", (unsigned long long)total_size);
    assert_non_null(strstr(text, expected));
    assert_non_null(strstr(text, "\"by\": \"a test\"}"));
    assert_non_null(strstr(text, "\"transformer_blocks.0.attn1.to_q.bias\": \"model-00001-of-00002.safetensors\""));
    for (int i = 0; i < 2; i++) {
        char entry[160];
        snprintf(entry, sizeof entry,
                 "\"transformer_blocks.%d.attn1.to_q.weight_scale\": \"model-0000%d-of-00002.safetensors\"", i, i + 1);
        found += strstr(text, entry) != NULL;
    }
    assert_int_equal(found, scales);
    free(text);
}

static void index_follows_its_shards(void **state)
{
    (void)state;
    uint16_t *linear = malloc((ROWS + 1) * COLS * 2);
    ecd_compress_options quantize = {.quantize_e4m3 = true};
    ecd_diag diag = {0};
    ecd_work_report report;
    ecd_checkpoint *cp;
    fill(linear, (ROWS + 1) * COLS, 0.1f);
    write_sharded("shards", linear);
    round_trip("shards");
    for (int quantized = 0; quantized < 2; quantized++) {
        remove_folder("shards.coded");
        remove_folder("shards.back");
        assert_int_equal(ecd_compress("shards", "shards.coded", quantized ? &quantize : &plain, &report, &diag),
                         ECD_OK);
        index_holds("shards.coded", data_bytes("shards.coded"), quantized ? 2 : 0);
        assert_int_equal(ecd_checkpoint_open("shards.coded", &cp, &diag), ECD_OK); // compares index and shards
        ecd_checkpoint_close(cp);
        assert_int_equal(ecd_decompress("shards.coded", "shards.back", &plain, &report, &diag), ECD_OK);
        index_holds("shards.back", data_bytes("shards.back"), quantized ? 2 : 0);
        assert_int_equal(ecd_verify("shards.coded", "shards.back", &plain, &report, &diag), ECD_OK);
    }
    write_text("shards.back/model.safetensors.index.json", "{\"weight_map\": {}}");
    assert_int_equal(ecd_verify("shards.coded", "shards.back", &plain, &report, &diag), ECD_DATA);
    remove_folder("shards");
    remove_folder("shards.coded");
    remove_folder("shards.back");
    free(linear);
}

// Names that JSON prints at six times their length, of tensors that are coded, stored raw, and twins.
static void escaped_names_fit(void **state)
{
    (void)state;
    enum { NAMES = 12, LENGTH = 300 };
    uint16_t *data = malloc(ROWS * COLS * 2);
    ecd_tensors_writer w;
    ecd_diag diag = {0};
    ecd_work_report report;
    make_folder("escaped");
    fill(data, ROWS * COLS, 0.1f);
    assert_int_equal(ecd_tensors_writer_open("escaped/model.safetensors", 6 * NAMES * (LENGTH + 100), NULL, &w, &diag),
                     ECD_OK);
    for (int i = 0; i < NAMES; i++) {
        char name[LENGTH + 1];
        memset(name, 1, LENGTH);
        name[0] = (char)('a' + i);
        name[LENGTH] = 0;
        int64_t shape[4] = {i % 3 ? ROWS : 2, i % 3 ? COLS : 2, 1, 1};
        assert_int_equal(
            ecd_tensors_writer_add(&w, name, ECD_BF16, shape, 4, data, (uint64_t)(shape[0] * shape[1]) * 2, &diag),
            ECD_OK);
    }
    assert_int_equal(ecd_tensors_writer_commit(&w, &diag), ECD_OK);
    round_trip("escaped");
    remove_folder("escaped.coded");
    assert_int_equal(ecd_compress("escaped", "escaped.coded", &plain, &report, &diag), ECD_OK);
    assert_true(report.tensors_coded > 0 && report.tensors_shared > 0);
    ecd_file file;
    assert_int_equal(ecd_decompress("escaped.coded", "escaped.back", &plain, &report, &diag), ECD_OK);
    assert_int_equal(ecd_file_map("escaped.coded/model.safetensors", &file, &diag), ECD_OK);
    assert_int_equal(report.source_bytes, file.size_bytes); // twins are not counted again
    ecd_file_unmap(&file);
    remove_folder("escaped");
    remove_folder("escaped.coded");
    remove_folder("escaped.back");
    free(data);
}

static size_t count_shown;

static bool show(void *opaque, const ecd_inspect_tensor *row)
{
    (void)opaque;
    assert_true(row->raw_bytes > 0 && row->tensor->name[0]);
    count_shown++;
    return false;
}

static size_t inspected(const char *path)
{
    ecd_diag diag = {0};
    count_shown = 0;
    if (ecd_inspect(path, NULL, show, NULL, &diag))
        fail_msg("%s: %s", diag.file, diag.what);
    return count_shown;
}

static void same_tensors(const char *a, const char *b)
{
    ecd_checkpoint *x, *y;
    ecd_diag diag = {0};
    assert_int_equal(ecd_checkpoint_open(a, &x, &diag), ECD_OK);
    assert_int_equal(ecd_checkpoint_open(b, &y, &diag), ECD_OK);
    assert_int_equal(ecd_checkpoint_count(x), ecd_checkpoint_count(y));
    for (size_t i = 0; i < ecd_checkpoint_count(x); i++) {
        const ecd_tensor *p = ecd_checkpoint_tensor(x, i), *q = ecd_checkpoint_find(y, p->name);
        if (!q)
            fail_msg("no tensor %s in %s", p->name, b);
        assert_int_equal(p->dtype, q->dtype);
        assert_int_equal(p->dims, q->dims);
        assert_memory_equal(p->shape, q->shape, (size_t)p->dims * sizeof *p->shape);
        if (p->encoding == ECD_ENCODING_RAW && q->encoding == ECD_ENCODING_RAW)
            assert_memory_equal(p->data, q->data, p->size_bytes);
    }
    ecd_checkpoint_close(x);
    ecd_checkpoint_close(y);
}

// A pickled model becomes a compressed one of safetensors, which loads as the same tensors under current names.
static void torch_files_become_safetensors(void **state)
{
    (void)state;
    static const char legacy[] = ECD_TEST_DATA "/models/dit_a_legacy", a[] = ECD_TEST_DATA "/models/dit_a";
    ecd_diag diag = {0};
    ecd_work_report report;
    ecd_compress_options quantize = {.quantize_e4m3 = true};
    for (int quantized = 0; quantized < 2; quantized++) {
        remove_folder("old");
        remove_folder("old.back");
        assert_int_equal(ecd_compress(legacy, "old", quantized ? &quantize : &plain, &report, &diag), ECD_OK);
        assert_int_equal(report.files_coded, 3); // with reference.safetensors
        assert_true(quantized ? report.tensors_quantized > 0 : !report.tensors_quantized);
        assert_false(ecd_path_exists("old/vae/diffusion_pytorch_model.bin"));
        assert_true(ecd_path_exists("old/vae/diffusion_pytorch_model.safetensors"));
        same_tensors("old/vae", ECD_TEST_DATA "/models/dit_a/vae");
        assert_int_equal(ecd_verify("old", legacy, &plain, &report, &diag), quantized ? ECD_DATA : ECD_OK);
        assert_int_equal(ecd_decompress("old", "old.back", &plain, &report, &diag), ECD_OK);
        assert_int_equal(ecd_verify("old", "old.back", &plain, &report, &diag), ECD_OK);
        assert_int_equal(ecd_verify("old.back", "old", &plain, &report, &diag), ECD_OK);
        if (quantized)
            continue;
        same_tensors("old.back/transformer", ECD_TEST_DATA "/models/dit_a/transformer");
        assert_int_equal(ecd_verify(legacy, "old", &plain, &report, &diag), ECD_OK);
        assert_int_equal(inspected("old"), inspected(legacy));
        assert_int_equal(inspected(legacy), inspected(a));
        assert_int_equal(inspected(ECD_TEST_DATA "/models/dit_a_legacy/vae/diffusion_pytorch_model.bin"),
                         inspected("old/vae"));
    }
    remove_folder("old");
    remove_folder("old.back");
}

// A torch file of one tensor: six floats of storage 0.
static void write_torch(const char *path, const char *name)
{
    static const float six[6] = {1, 2, 3, 4, 5, 6};
    static const pickled_tensor tensor = {
        .storage = "FloatStorage", .key = "0", .elements = 6, .dims = 1, .shape = {6}, .strides = {1}};
    pickled p = {0};
    PICKLE(&p, "\x80\x02}(");
    pickle_text(&p, name);
    pickle_tensor(&p, &tensor);
    PICKLE(&p, "u.");
    const archived entries[] = {{"data.pkl", p.bytes, p.size, true}, {"data/0", six, sizeof six, true}};
    write_archive(path, entries, 2);
    free(p.bytes);
}

static void torch_index_is_renamed(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_work_report report;
    ecd_checkpoint *cp;
    make_folder("old");
    remove_folder("old.coded");
    write_torch("old/pytorch_model-00001-of-00002.bin", "a.weight");
    write_torch("old/pytorch_model-00002-of-00002.bin", "b.weight");
    write_torch("old/optimizer.bin", "c.weight"); // not weights: copied
    write_text("old/pytorch_model.bin.index.json",
               "{\"metadata\": {\"total_size\": 48}, \"weight_map\": {\"a.weight\": "
               "\"pytorch_model-00001-of-00002.bin\", \"b.weight\": \"pytorch_model-00002-of-00002.bin\"}}");
    assert_int_equal(inspected("old"), 2);
    assert_int_equal(ecd_compress("old", "old.coded", &plain, &report, &diag), ECD_OK);
    assert_true(ecd_path_exists("old.coded/pytorch_model.safetensors.index.json"));
    assert_true(ecd_path_exists("old.coded/optimizer.bin"));
    assert_false(ecd_path_exists("old.coded/pytorch_model.bin.index.json"));
    assert_int_equal(ecd_checkpoint_open("old.coded", &cp, &diag), ECD_OK);
    assert_non_null(ecd_checkpoint_find(cp, "a.weight"));
    assert_non_null(ecd_checkpoint_find(cp, "b.weight"));
    assert_string_equal(ecd_checkpoint_find(cp, "b.weight")->file->path,
                        "old.coded/pytorch_model-00002-of-00002.safetensors");
    ecd_checkpoint_close(cp);
    assert_int_equal(ecd_verify("old.coded", "old", &plain, &report, &diag), ECD_OK);
    write_torch("old/pytorch_model-00002-of-00002.bin", "x.weight");
    assert_int_equal(ecd_verify("old.coded", "old", &plain, &report, &diag), ECD_DATA);
    assert_string_equal(diag.tensor, "x.weight");
    remove_folder("old");
    remove_folder("old.coded");
}

static bool stop_at_once(void *opaque, const ecd_work_progress *progress)
{
    (void)opaque;
    return progress->done_bytes > 0;
}

static bool kill_at_once(void *opaque, const ecd_work_progress *progress)
{
    (void)opaque;
    if (progress->done_bytes)
        raise(SIGKILL);
    return false;
}

static void nothing_half_written(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_work_report report;
    ecd_compress_options stop = {.progress = stop_at_once}, kill_it = {.progress = kill_at_once};
    uint16_t *linear = malloc(ROWS * COLS * 2), *embedder = malloc(ROWS * COLS * 2);
    write_transformer("half", linear, embedder);
    remove_folder("out");
    assert_int_equal(ecd_compress("half", "out", &stop, &report, &diag), ECD_INTERRUPTED);
    assert_false(ecd_path_exists("out"));
    remove_folder("out.partial"); // stays if the file was finished already
    assert_int_equal(ecd_compress("half", "no/such/out", &plain, &report, &diag), ECD_USAGE);
    assert_int_equal(ecd_compress("missing", "out", &plain, &report, &diag), ECD_USAGE);
    no_remains("out");
    assert_int_equal(ecd_compress("half", "half", &plain, &report, &diag), ECD_USAGE);
    pid_t child = fork();
    if (!child) {
        ecd_compress("half", "out", &kill_it, &report, &diag);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_false(ecd_path_exists("out"));
    assert_int_equal(ecd_compress("half", "out", &plain, &report, &diag), ECD_OK); // and a later run finishes
    assert_int_equal(ecd_verify("half", "out", &plain, &report, &diag), ECD_OK);
    remove_folder("out");
    no_remains("out");
    remove_folder("half");
    free(linear);
    free(embedder);
}

static void full_disk(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_work_report report;
    make_folder("disk");
    if (mount("none", "disk", "tmpfs", 0, "size=16k")) {
        print_message("mounting a tmpfs is not permitted: the full disk is not tested\n");
        rmdir("disk");
        skip();
    }
    uint16_t *linear = malloc(ROWS * COLS * 2), *embedder = malloc(ROWS * COLS * 2);
    write_transformer("full", linear, embedder);
    ecd_status status = ecd_compress("full", "disk/out", &plain, &report, &diag);
    ecd_tree tree;
    assert_int_equal(ecd_tree_list("disk", &tree, &diag), ECD_OK);
    size_t left = tree.count;
    ecd_tree_free(&tree);
    umount("disk");
    rmdir("disk");
    remove_folder("full");
    free(linear);
    free(embedder);
    assert_int_equal(status, ECD_RESOURCE);
    assert_int_equal(left, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(originals_come_back),
        cmocka_unit_test(twins_are_stored_once),
        cmocka_unit_test(quantizes_rows),
        cmocka_unit_test(nothing_half_written),
        cmocka_unit_test(full_disk),
        cmocka_unit_test(index_follows_its_shards),
        cmocka_unit_test(escaped_names_fit),
        cmocka_unit_test(torch_files_become_safetensors),
        cmocka_unit_test(torch_index_is_renamed),
    };
    char folder[] = "test_compress_XXXXXX";
    if (!mkdtemp(folder) || chdir(folder))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (!chdir(".."))
        remove_folder(folder);
    return failed;
}
