// Out of memory anywhere in a whole `ecdit generate`: status 3 with a line that says so, no file or the whole one.
#define _GNU_SOURCE
#include <cmocka.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "app/common.h"
#include "oom/oom.h"
#include "weights/hash.h"

static const char folder[] = "oom_generate", picture[] = "oom_generate/x.png", said[] = "oom_generate.err";

typedef struct command {
    const char *model, *weights, *backend, *budget;
    char hash[ECD_HASH_TEXT]; // of the picture that a run without failure leaves
    long without, drawn;      // runs that failed, and those that did without what failed
} command;

// Files in the folder.
static int count_files(void)
{
    int count = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        count += entry->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void hash_picture(char out[ECD_HASH_TEXT])
{
    char bytes[1 << 16];
    ecd_hash hash;
    FILE *file = fopen(picture, "rb");
    assert_non_null(file);
    ecd_hash_begin(&hash);
    for (size_t got; (got = fread(bytes, 1, sizeof bytes, file)) > 0;)
        ecd_hash_add(&hash, bytes, got);
    fclose(file);
    ecd_hash_end(&hash, out);
}

// The last line on standard error since `from`.
static void last_line(long from, char out[256])
{
    char line[256];
    FILE *file = fopen(said, "r");
    assert_non_null(file);
    out[0] = 0;
    fseek(file, from, SEEK_SET);
    while (fgets(line, sizeof line, file))
        memcpy(out, line, sizeof line);
    fclose(file);
}

static ecd_status generate(void *user, ecd_diag *diag)
{
    command *c = user;
    char line[256], hash[ECD_HASH_TEXT];
    const char *words[] = {"generate",  c->model, "--class",   "1",        "--seed",          "7",       "--steps", "1",
                           "--weights", c->weights, "--backend", c->backend, "--memory-budget", c->budget, "--threads", "2",
                           "-o",        picture, "--quiet",   NULL};
    char *argv[sizeof words / sizeof *words];
    memcpy(argv, words, sizeof words);
    unlink(picture);
    long from = ftell(stderr);
    ecd_status status = (ecd_status)ecd_cmd_generate((int)(sizeof words / sizeof *words) - 1, argv);
    fflush(stderr);
    if (!status) {
        hash_picture(hash);
        if (!c->hash[0])
            memcpy(c->hash, hash, sizeof hash);
        if (strcmp(hash, c->hash) || count_files() != 1)
            return ecd_fail(diag, ECD_DATA, "status 0, but another picture or other files");
        c->drawn++;
        return ECD_OK;
    }
    c->without++;
    last_line(from, line);
    if (strncmp(line, "ecdit: ", 7))
        return ecd_fail(diag, ECD_DATA, "nothing said: %.200s", line);
    if (count_files())
        return ecd_fail(diag, ECD_DATA, "a file is left");
    return ecd_fail(diag, status, "%.200s", line + 7);
}

static void check(command c)
{
    ecd_oom_result result;
    ecd_oom_run(generate, &c, 120, &result);
    if (result.fault[0])
        fail_msg("%s, %s: %s", c.model, c.weights, result.fault);
    assert_true(result.allocations > 300 && c.without > 100 && c.drawn >= 2);
}

static void raw_weights(void **state)
{
    (void)state;
    check((command){.model = ECD_TEST_DATA "/models/dit_a", .weights = "raw", .backend = "ref", .budget = "4G"});
}

static void ecf8_weights(void **state)
{
    (void)state;
    check((command){
        .model = ECD_TEST_DATA "/models/dit_a_fp8_channel", .weights = "ecf8", .backend = "cpu", .budget = "4G"});
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(raw_weights), cmocka_unit_test(ecf8_weights)};
    char folder_name[] = "oom_generate";
    mkdir(folder_name, 0777);
    // What the program says goes to files: hundreds of lines, and cmocka's own report stays readable.
    int out = dup(STDOUT_FILENO), err = dup(STDERR_FILENO);
    if (out < 0 || err < 0 || !freopen(said, "w+", stderr) || !freopen("/dev/null", "w", stdout))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    fflush(NULL);
    dup2(out, STDOUT_FILENO);
    dup2(err, STDERR_FILENO);
    printf("%d of 2 tests failed%s\n", failed, failed ? ": oom_generate.err has what was said" : "");
    unlink(picture);
    rmdir(folder);
    return failed;
}
