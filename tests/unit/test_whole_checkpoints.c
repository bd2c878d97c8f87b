// Whole checkpoints of language models: they come back byte by byte, whatever the threads and the level; what a killed run
// has finished is taken over, and nothing else; a changed byte is found by its SHA-256.
#include <cmocka.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "llm_folder.h"
#include "weights/coded.h"
#include "weights/compress.h"
#include "weights/hash.h"
#include "weights/reader.h"
#include "weights/tree.h"

static const ecd_compress_options plain = {.threads = 2};

// ThreadSanitizer is after races, which one level and runs to the end show as well; all of it would take three minutes.
#ifdef __SANITIZE_THREAD__
enum { LAST_LEVEL = ECD_LEVEL_BALANCED, KILLS = 0 };
#else
enum { LAST_LEVEL = ECD_LEVEL_BEST, KILLS = 1 };
#endif

static void hash_file(const char *path, char sum[ECD_HASH_TEXT])
{
    ecd_file file;
    ecd_hash hash;
    ecd_diag diag = {0};
    assert_int_equal(ecd_file_map(path, &file, &diag), ECD_OK);
    ecd_hash_begin(&hash);
    ecd_hash_add(&hash, file.data, file.size_bytes);
    ecd_hash_end(&hash, sum);
    ecd_file_unmap(&file);
}

// Names and bytes of all files below.
static void hash_folder(const char *root, char sum[ECD_HASH_TEXT])
{
    ecd_tree tree;
    ecd_hash hash;
    ecd_diag diag = {0};
    ecd_hash_begin(&hash);
    assert_int_equal(ecd_tree_list(root, &tree, &diag), ECD_OK);
    for (size_t i = 0; i < tree.count; i++) {
        char *path = ecd_path_join(root, tree.entries[i].path), one[ECD_HASH_TEXT] = "";
        if (!tree.entries[i].folder)
            hash_file(path, one);
        ecd_hash_add(&hash, tree.entries[i].path, strlen(tree.entries[i].path) + 1);
        ecd_hash_add(&hash, one, sizeof one);
        free(path);
    }
    ecd_hash_end(&hash, sum);
    ecd_tree_free(&tree);
}

static void same_folders(const char *a, const char *b)
{
    char x[ECD_HASH_TEXT], y[ECD_HASH_TEXT];
    hash_folder(a, x);
    hash_folder(b, y);
    assert_string_equal(x, y);
}

static void compress(const char *from, const char *to, const ecd_compress_options *options, ecd_work_report *report)
{
    ecd_diag diag = {0};
    ecd_work_report unused;
    if (ecd_compress(from, to, options, report ? report : &unused, &diag))
        fail_msg("%s: %s: %s", diag.file, diag.tensor, diag.what);
}

static void folders_come_back(void **state)
{
    (void)state;
    for (llm_kind kind = 0; kind < LLM_KINDS; kind++) {
        ecd_diag diag = {0};
        ecd_work_report report;
        llm_write("src", kind, 2);
        compress("src", "coded", &plain, &report);
        assert_true(kind == LLM_ODD || report.written_bytes * 10 < report.source_bytes * 9);
        assert_true(ecd_path_exists("coded/ecf8.sha256"));
        assert_int_equal(ecd_verify("src", "coded", &plain, &report, &diag), ECD_OK);
        assert_int_equal(ecd_verify("coded", "src", &plain, &report, &diag), ECD_OK);
        assert_int_equal(ecd_decompress("coded", "back", &plain, &report, &diag), ECD_OK);
        same_folders("src", "back");
        ecd_folder_remove("src");
        ecd_folder_remove("coded");
        ecd_folder_remove("back");
    }
}

static void bytes_do_not_depend_on_threads(void **state)
{
    (void)state;
    llm_write("src", LLM_DEEPSEEK, 3);
    for (ecd_level level = ECD_LEVEL_BALANCED; level <= (ecd_level)LAST_LEVEL; level++) {
        ecd_compress_options options = {.level = level, .threads = 1};
        compress("src", "one", &options, NULL);
        for (unsigned threads = 2; threads <= 7; threads += 5) {
            options.threads = threads;
            compress("src", "many", &options, NULL);
            same_folders("one", "many");
            ecd_folder_remove("many");
        }
        ecd_folder_remove("one");
    }
    ecd_folder_remove("src");
}

// A tensor that is coded in several ranges gives the container that coding it at once gives.
static void pieces_make_one_container(void **state)
{
    (void)state;
    enum { ROWS = 3000, COLS = 4001 };
    ecd_diag diag = {0};
    uint64_t size = (uint64_t)ROWS * COLS, bytes, random = 1;
    uint8_t *weights = malloc(size), *memory, *blob;
    char header[160] = "";
    for (uint64_t i = 0; i < size; i++) {
        random = random * UINT64_C(6364136223846793005) + 1;
        weights[i] = ecd_to_e4m3_saturating((float)((int64_t)random >> 40) / 8388608.0f * (i < size / 2 ? 9.0f : 0.1f));
    }
    int length = snprintf(header, sizeof header, "{\"w\":{\"dtype\":\"F8_E4M3\",\"shape\":[%d,%d],\"data_offsets\":[0,%llu]}}",
                          ROWS, COLS, (unsigned long long)size);
    ecd_writer writer;
    uint64_t prefix = (uint64_t)length;
    assert_int_equal(ecd_writer_open("big.safetensors", &writer, &diag), ECD_OK);
    assert_int_equal(ecd_writer_write(&writer, &prefix, 8, &diag), ECD_OK);
    assert_int_equal(ecd_writer_write(&writer, header, prefix, &diag), ECD_OK);
    assert_int_equal(ecd_writer_write(&writer, weights, size, &diag), ECD_OK);
    assert_int_equal(ecd_writer_commit(&writer, &diag), ECD_OK);
    ecd_compress_options options = {.threads = 4, .level = ECD_LEVEL_FAST};
    ecd_work_report report;
    compress("big.safetensors", "coded.safetensors", &options, NULL); // a single file
    ecf8_params params = {.dtype = ECF8_E4M3, .rows = ROWS, .cols = COLS, .density = ECF8_DENSITY_FAST};
    memory = malloc(ecf8_plan_bytes(size, &params));
    blob = malloc(ecf8_encode_bound(size, &params));
    assert_int_equal(ecf8_encode(weights, size, &params, memory, ecf8_plan_bytes(size, &params), blob,
                                 ecf8_encode_bound(size, &params), &bytes),
                     ECF8_OK);
    ecd_file file;
    assert_int_equal(ecd_file_map("coded.safetensors", &file, &diag), ECD_OK);
    memcpy(&prefix, file.data, 8);
    assert_int_equal(file.size_bytes, 8 + prefix + bytes);
    assert_memory_equal(file.data + 8 + prefix, blob, bytes);
    ecd_file_unmap(&file);
    assert_int_equal(ecd_verify("big.safetensors", "coded.safetensors", &options, &report, &diag), ECD_OK);
    assert_int_equal(ecd_decompress("coded.safetensors", "back.safetensors", &options, &report, &diag), ECD_OK);
    char x[ECD_HASH_TEXT], y[ECD_HASH_TEXT];
    hash_file("big.safetensors", x);
    hash_file("back.safetensors", y);
    assert_string_equal(x, y);
    assert_false(ecd_path_exists("back.safetensors.partial"));
    unlink("big.safetensors");
    unlink("coded.safetensors");
    unlink("back.safetensors");
    free(weights);
    free(memory);
    free(blob);
}

typedef struct stopper {
    uint64_t at_bytes; // of the source
    bool kill;
    char notice[512];
} stopper;

static bool stop_at(void *opaque, const ecd_work_progress *progress)
{
    const stopper *s = opaque;
    if (progress->done_bytes < s->at_bytes)
        return false;
    if (s->kill)
        raise(SIGKILL);
    return true;
}

static void keep_notice(void *opaque, const char *text)
{
    stopper *s = opaque;
    snprintf(s->notice, sizeof s->notice, "%s", text);
}

static void run_killed(const char *from, const char *to, uint64_t at_bytes, bool back)
{
    stopper s = {.at_bytes = at_bytes, .kill = true};
    ecd_compress_options options = {.threads = 2, .progress = stop_at, .opaque = &s};
    ecd_work_report report;
    ecd_diag diag = {0};
    int status;
    pid_t child = fork();
    if (!child) {
        (void)(back ? ecd_decompress : ecd_compress)(from, to, &options, &report, &diag);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_false(ecd_path_exists(to) && WIFSIGNALED(status));
}

static void killed_runs_go_on(void **state)
{
    (void)state;
    if (!KILLS)
        skip();
    ecd_diag diag = {0};
    ecd_work_report report;
    uint64_t taken = 0;
    llm_write("src", LLM_DEEPSEEK, 4);
    compress("src", "whole", &plain, &report);
    uint64_t source = report.source_bytes;
    for (int i = 0; i < 6; i++) {
        run_killed("src", "coded", 1 + source * (uint64_t)i / 6, false);
        if (i % 2)
            run_killed("src", "coded", source * (uint64_t)(i + 1) / 7, false); // twice
        if (!ecd_path_exists("coded"))
            compress("src", "coded", &plain, &report);
        taken += report.files_taken_over;
        same_folders("whole", "coded");
        assert_false(ecd_path_exists("coded.partial"));
        ecd_folder_remove("coded");
    }
    assert_true(taken > 0);
    for (int i = 1; i < 4; i++) {
        run_killed("whole", "back", source / 5 * (uint64_t)i, true);
        if (!ecd_path_exists("back"))
            assert_int_equal(ecd_decompress("whole", "back", &plain, &report, &diag), ECD_OK);
        same_folders("src", "back");
        ecd_folder_remove("back");
    }
    ecd_folder_remove("whole");
    ecd_folder_remove("src");
}

// Leaves coded.partial with at least one finished shard.
static void interrupt(stopper *s, const ecd_compress_options *options)
{
    ecd_work_report report;
    ecd_diag diag = {0};
    ecd_compress_options stopping = *options;
    *s = (stopper){.at_bytes = 9000000};
    stopping.progress = stop_at;
    stopping.notice = keep_notice;
    stopping.opaque = s;
    assert_int_equal(ecd_compress("src", "coded", &stopping, &report, &diag), ECD_INTERRUPTED);
    assert_false(ecd_path_exists("coded"));
    assert_true(ecd_path_exists("coded.partial/.ecdit-journal"));
}

static void go_on(stopper *s, const ecd_compress_options *options, uint64_t least, uint64_t most, const char *notice)
{
    ecd_work_report report;
    ecd_compress_options noticing = *options;
    *s = (stopper){0};
    noticing.notice = keep_notice;
    noticing.opaque = s;
    compress("src", "coded", &noticing, &report);
    assert_in_range(report.files_taken_over, least, most);
    if (!strstr(s->notice, notice))
        fail_msg("\"%s\" does not say \"%s\"", s->notice, notice);
    assert_true(*notice || !*s->notice);
    same_folders("whole", "coded");
    ecd_folder_remove("coded");
}

// How many shards are finished; `path` is the first of them.
static uint64_t finished(char *path, size_t size)
{
    uint64_t count = 0;
    for (int i = 4; i >= 1; i--) {
        char shard[96];
        snprintf(shard, sizeof shard, "coded.partial/model-0000%d-of-00004.safetensors", i);
        if (!ecd_path_exists(shard))
            continue;
        snprintf(path, size, "%s", shard);
        count++;
    }
    assert_true(count > 0);
    return count;
}

static void only_sound_work_is_taken_over(void **state)
{
    (void)state;
    if (!KILLS)
        skip();
    ecd_compress_options other = {.threads = 2, .level = ECD_LEVEL_FAST};
    stopper s;
    struct stat info;
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = 1000}};
    char path[96], source[96];
    llm_write("src", LLM_DEEPSEEK, 4);
    compress("src", "whole", &plain, NULL);
    interrupt(&s, &plain);
    go_on(&s, &plain, 1, 4, "going on");
    go_on(&s, &plain, 0, 0, "");
    interrupt(&s, &other); // of other options
    go_on(&s, &plain, 0, 0, "starting again");
    interrupt(&s, &plain); // a finished shard's source is touched
    uint64_t before = finished(path, sizeof path);
    snprintf(source, sizeof source, "src/%s", strchr(path, '/') + 1);
    assert_int_equal(utimensat(AT_FDCWD, source, times, 0), 0);
    go_on(&s, &plain, before - 1, before - 1, "going on");
    interrupt(&s, &plain); // a finished shard has a changed byte, but its old time
    before = finished(path, sizeof path);
    assert_int_equal(stat(path, &info), 0);
    int fd = open(path, O_RDWR);
    assert_int_equal(pwrite(fd, "x", 1, 8), 1); // where the header begins
    close(fd);
    times[0] = info.st_atim;
    times[1] = info.st_mtim;
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    go_on(&s, &plain, before - 1, before - 1, "going on");
    ecd_folder_remove("whole");
    ecd_folder_remove("src");
}

static void others_folders_are_left_alone(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_work_report report;
    stopper s;
    llm_write("src", LLM_QWEN, 4);
    assert_int_equal(mkdir("coded.partial", 0777), 0);
    llm_write_file("coded.partial", "mine.txt", "x", 1);
    assert_int_equal(ecd_compress("src", "coded", &plain, &report, &diag), ECD_USAGE);
    assert_true(ecd_path_exists("coded.partial/mine.txt"));
    ecd_folder_remove("coded.partial");
    interrupt(&s, &plain);
    int fd = open("coded.partial/.ecdit-journal", O_RDWR);
    assert_int_equal(flock(fd, LOCK_EX), 0); // another process is at work
    assert_int_equal(ecd_compress("src", "coded", &plain, &report, &diag), ECD_USAGE);
    assert_non_null(strstr(diag.what, "another process"));
    assert_true(ecd_path_exists("coded.partial/.ecdit-journal"));
    close(fd);
    compress("src", "coded", &plain, &report);
    llm_write_file("coded", ".ecdit-journal", "", 0); // killed between its last two steps
    compress("src", "coded", &plain, &report);
    assert_false(ecd_path_exists("coded/.ecdit-journal"));
    assert_int_equal(ecd_compress("src", "coded", &plain, &report, &diag), ECD_USAGE);
    ecd_folder_remove("coded");
    ecd_folder_remove("src");
}

static void change_byte(const char *path, off_t from_end)
{
    struct stat info;
    char byte;
    int fd = open(path, O_RDWR);
    assert_int_equal(fstat(fd, &info), 0);
    assert_int_equal(pread(fd, &byte, 1, info.st_size - from_end), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, info.st_size - from_end), 1);
    close(fd);
}

static void refused(const char *file, const char *what)
{
    ecd_diag diag = {0};
    ecd_work_report report;
    assert_int_equal(ecd_decompress("coded", "back", &plain, &report, &diag), ECD_DATA);
    assert_non_null(strstr(diag.file, file));
    if (!strstr(diag.what, what))
        fail_msg("\"%s\" does not say \"%s\"", diag.what, what);
    assert_false(ecd_path_exists("back"));
    assert_false(ecd_path_exists("back.partial"));
}

static void changed_bytes_are_found(void **state)
{
    (void)state;
    ecd_diag diag = {0};
    ecd_work_report report;
    llm_write("src", LLM_ODD, 2);
    compress("src", "coded", &plain, NULL);
    // Noise is stored as it is: no container's CRC covers it.
    change_byte("coded/model-00002-of-00002.safetensors", 1000);
    assert_int_equal(ecd_verify("src", "coded", &plain, &report, &diag), ECD_DATA);
    assert_string_equal(diag.tensor, "odd.1.large_noise");
    refused("model-00002", "SHA-256");
    change_byte("coded/model-00002-of-00002.safetensors", 1000);
    change_byte("coded/tokenizer.json", 3);
    refused("tokenizer.json", "SHA-256");
    assert_int_equal(ecd_verify("src", "coded", &plain, &report, &diag), ECD_DATA);
    unlink("coded/tokenizer.json");
    refused("tokenizer.json", "missing");
    assert_int_equal(ecd_verify("src", "coded", &plain, &report, &diag), ECD_DATA);
    ecd_folder_remove("coded");
    ecd_folder_remove("src");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(folders_come_back),
        cmocka_unit_test(bytes_do_not_depend_on_threads),
        cmocka_unit_test(pieces_make_one_container),
        cmocka_unit_test(killed_runs_go_on),
        cmocka_unit_test(only_sound_work_is_taken_over),
        cmocka_unit_test(others_folders_are_left_alone),
        cmocka_unit_test(changed_bytes_are_found),
    };
    char folder[] = "test_whole_XXXXXX";
    if (!mkdtemp(folder) || chdir(folder))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    if (!chdir(".."))
        ecd_folder_remove(folder);
    return failed;
}
