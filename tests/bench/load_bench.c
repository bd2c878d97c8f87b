// How long the weights' way into memory takes: a compressed component opened and decoded once, against the same
// weights raw. `ecd_load_bench ECF8_FOLDER RAW_FOLDER` with two transformer folders; interleaved, medians and quartiles,
// first with both files dropped from the page cache (posix_fadvise), then warm.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/process.h"
#include "weights/store.h"

enum { BLOCKS = 64, SPECS = 64, ROUNDS = 21, WAYS = 4 };

typedef struct plan {
    ecd_block_spec blocks[BLOCKS];
    ecd_tensor_spec specs[BLOCKS][SPECS];
    char prefixes[BLOCKS][32];
    int count;
} plan;

// The blocks of a transformer as dit.c declares them: the embedders, repeated in every block of the file, are left out.
static void plan_blocks(plan *p, const ecd_checkpoint *cp)
{
    for (p->count = 0; p->count < BLOCKS; p->count++) {
        char *prefix = p->prefixes[p->count];
        ecd_block_spec *block = &p->blocks[p->count];
        size_t length = (size_t)snprintf(prefix, sizeof p->prefixes[0], "transformer_blocks.%d.", p->count);
        *block = (ecd_block_spec){.prefix = prefix, .tensors = p->specs[p->count]};
        for (size_t i = 0; i < ecd_checkpoint_count(cp) && block->count < SPECS; i++) {
            const ecd_tensor *tensor = ecd_checkpoint_tensor(cp, i);
            if (strncmp(tensor->name, prefix, length) || strstr(tensor->name, "_scale") ||
                strstr(tensor->name, "norm1.emb.") || tensor->dims > 2)
                continue;
            ecd_tensor_spec *spec = &p->specs[p->count][block->count++];
            *spec = (ecd_tensor_spec){.name = tensor->name + length,
                                      .kind = tensor->dims == 2 ? ECD_SPEC_MATRIX : ECD_SPEC_VECTOR,
                                      .dims = tensor->dims};
            memcpy(spec->shape, tensor->shape, (size_t)tensor->dims * sizeof *spec->shape);
        }
        if (!block->count)
            return;
    }
}

static uint64_t touch(const uint8_t *data, uint64_t size)
{
    uint64_t sum = 0, word;
    for (uint64_t at = 0; at + 8 <= size; at += 8) {
        memcpy(&word, data + at, 8);
        sum += word;
    }
    return sum;
}

static void die(const ecd_diag *diag)
{
    char text[1024];
    ecd_diag_format(diag, text, sizeof text);
    fprintf(stderr, "%s\n", text);
    exit(1);
}

// Opens the folder's weights and acquires every block once, each weight read. Seconds.
static double load(const char *folder, ecd_backend *be, bool read_ahead, uint64_t *sum)
{
    static plan p;
    ecd_diag diag = {0};
    ecd_checkpoint *cp;
    ecd_store *store;
    ecd_block lent;
    ecd_store_options options = {.mode = ECD_WEIGHTS_AUTO, .read_ahead = read_ahead};
    uint64_t start = ecd_now_ns();
    if (ecd_checkpoint_open(folder, &cp, &diag))
        die(&diag);
    plan_blocks(&p, cp);
    if (ecd_store_open(cp, be, p.blocks, p.count, &options, &store, &diag))
        die(&diag);
    for (int i = 0; i < p.count; i++) {
        if (ecd_store_acquire(store, i, &lent, &diag))
            die(&diag);
        for (int k = 0; k < p.blocks[i].count; k++)
            if (p.specs[i][k].kind == ECD_SPEC_MATRIX)
                *sum += touch(lent.weights[k].data, (uint64_t)(p.specs[i][k].shape[0] * p.specs[i][k].shape[1]) *
                                                        ecd_dtype_size(lent.weights[k].dtype));
        ecd_store_release(store, i);
    }
    double seconds = (double)(ecd_now_ns() - start) * 1e-9;
    ecd_store_close(store);
    ecd_checkpoint_close(cp);
    return seconds;
}

// read() of a whole file into memory that is there already.
static double read_file(const char *path, uint8_t *buffer, uint64_t *sum)
{
    uint64_t start = ecd_now_ns();
    int fd = open(path, O_RDONLY);
    ssize_t got, at = 0;
    while (fd >= 0 && (got = read(fd, buffer + at, 1 << 20)) > 0)
        at += got;
    close(fd);
    *sum += touch(buffer, (uint64_t)at);
    return (double)(ecd_now_ns() - start) * 1e-9;
}

static void drop(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd >= 0) {
        (void)fsync(fd);
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        close(fd);
    }
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    static const char *const names[WAYS] = {"ECF8, no read-ahead", "ECF8, read-ahead", "raw, mapped", "raw, read()"};
    ecd_backend_options options = {.name = "cpu", .compute = ECD_COMPUTE_F32, .threads = 1};
    ecd_backend *be;
    ecd_diag diag = {0};
    uint64_t sum = 0;
    if (argc != 3)
        return fprintf(stderr, "usage: ecd_load_bench ECF8_FOLDER RAW_FOLDER\n"), 2;
    if (ecd_backend_open(&options, &be, &diag))
        die(&diag);
    char *coded = ecd_path_join(argv[1], "diffusion_pytorch_model.safetensors");
    char *raw = ecd_path_join(argv[2], "diffusion_pytorch_model.safetensors");
    ecd_file file;
    if (!coded || !raw || ecd_file_map(raw, &file, &diag))
        die(&diag);
    uint8_t *buffer = malloc(file.size_bytes + (1 << 20));
    memset(buffer, 1, file.size_bytes + (1 << 20));
    ecd_file_unmap(&file);
    for (int cold = 1; cold >= 0; cold--) {
        double times[WAYS][ROUNDS];
        for (int round = 0; round < ROUNDS; round++)
            for (int way = 0; way < WAYS; way++) {
                if (cold) {
                    drop(coded);
                    drop(raw);
                }
                times[way][round] = way == 3 ? read_file(raw, buffer, &sum) : load(argv[1 + way / 2], be, way == 1, &sum);
            }
        for (int way = 0; way < WAYS; way++) {
            qsort(times[way], ROUNDS, sizeof times[way][0], compare);
            printf("%-5s %-20s median %6.1f ms, quartiles %6.1f to %6.1f\n", cold ? "cold" : "warm", names[way],
                   times[way][ROUNDS / 2] * 1e3, times[way][ROUNDS / 4] * 1e3, times[way][ROUNDS * 3 / 4] * 1e3);
        }
    }
    free(buffer);
    free(coded);
    free(raw);
    ecd_backend_close(be);
    return sum == 1; // the sum keeps the reading alive
}
