#include "llm_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/dtype.h"

typedef struct shard {
    FILE *data;
    char *bytes, header[16384];
    size_t size, header_size;
    uint64_t state;
} shard;

static uint32_t next_random(shard *s)
{
    s->state = s->state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(s->state >> 33);
}

// A number as weights are: a sum of uniform ones.
static float next_weight(shard *s)
{
    float sum = 0;
    for (int i = 0; i < 4; i++)
        sum += (float)next_random(s) / 2147483648.0f - 0.5f;
    return sum;
}

static void list(shard *s, const char *name, const char *dtype, const char *shape, size_t begin)
{
    s->header_size += (size_t)snprintf(s->header + s->header_size, sizeof s->header - s->header_size,
                                       "%s\"%s\": {\"shape\": [%s], \"dtype\":\"%s\",\"data_offsets\":[%zu,%zu]}",
                                       s->header_size > 1 ? ", " : "", name, shape, dtype, begin, (size_t)ftell(s->data));
}

static void add_weights(shard *s, const char *name, const char *dtype, int rows, int cols)
{
    char shape[64];
    size_t begin = (size_t)ftell(s->data);
    for (int i = 0; i < rows * cols; i++) {
        float weight = next_weight(s);
        uint16_t bf16 = ecd_to_bf16(weight * 0.1f);
        uint8_t e4m3 = ecd_to_e4m3_saturating(weight * 60.0f);
        if (!strcmp(dtype, "F8_E4M3"))
            fwrite(&e4m3, 1, 1, s->data);
        else if (!strcmp(dtype, "BF16"))
            fwrite(&bf16, 2, 1, s->data);
        else
            fwrite(&weight, 4, 1, s->data);
    }
    snprintf(shape, sizeof shape, cols == 1 ? "%d" : "%d, %d", rows, cols);
    list(s, name, dtype, shape, begin);
}

static void add_bytes(shard *s, const char *name, const char *dtype, const char *shape, size_t size)
{
    size_t begin = (size_t)ftell(s->data);
    for (size_t i = 0; i < size; i++)
        fputc((int)(next_random(s) & 255), s->data);
    list(s, name, dtype, shape, begin);
}

static void add_layer(shard *s, llm_kind kind, int layer)
{
    char name[96];
    enum { ROWS = 1500, COLS = 1000 };
    const char *dtype = kind == LLM_QWEN ? "BF16" : "F8_E4M3";
    snprintf(name, sizeof name, "model.layers.%d.mlp.down_proj.weight", layer);
    add_weights(s, name, dtype, kind == LLM_QWEN ? ROWS / 2 : ROWS, COLS);
    snprintf(name, sizeof name, "model.layers.%d.mlp.down_proj.weight_scale_inv", layer);
    if (kind == LLM_DEEPSEEK)
        add_weights(s, name, "F32", (ROWS + 127) / 128, (COLS + 127) / 128);
    snprintf(name, sizeof name, "model.layers.%d.mlp.down_proj.weight_scale", layer);
    if (kind == LLM_LLAMA)
        add_weights(s, name, "BF16", ROWS, 1);
    snprintf(name, sizeof name, "model.layers.%d.input_layernorm.weight", layer);
    add_weights(s, name, "BF16", 2 * COLS, 1);
}

static void add_odd(shard *s, int index)
{
    char name[96];
    const char *const odd[][2] = {{"F8_E8M0", "64, 2"}, {"F4", "16, 16"}, {"U64", "16"}, {"NOBODY_S", "128"}};
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof name, "odd.%d.\\u00e9\\\"%d", index, i);
        add_bytes(s, name, odd[i][0], odd[i][1], 128);
    }
    snprintf(name, sizeof name, "odd.%d.empty", index);
    add_bytes(s, name, "BF16", "0, 4", 0);
    snprintf(name, sizeof name, "odd.%d.scalar", index);
    add_bytes(s, name, "F32", "", 4);
    snprintf(name, sizeof name, "odd.%d.noise", index); // does not shrink
    add_bytes(s, name, "F8_E4M3", "3, 7, 11, 2, 1", 462);
    snprintf(name, sizeof name, "odd.%d.large_noise", index);
    add_bytes(s, name, "F8_E5M2", "300000", 300000);
    snprintf(name, sizeof name, "odd.%d.three", index);
    add_bytes(s, name, "I8", "3", 3);
}

void llm_write_file(const char *folder, const char *name, const void *data, unsigned long size)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(data, 1, size, out) != size || fclose(out))
        abort();
}

// Names out of order, metadata in the middle, padding of a length of its own.
static void write_shard(const char *folder, const char *name, shard *s, int padding)
{
    char path[512];
    fclose(s->data);
    s->header_size += (size_t)snprintf(s->header + s->header_size, sizeof s->header - s->header_size,
                                       ", \"__metadata__\": {\"format\": \"pt\", \"b\": \"\\u0001\", \"a\": \"2\"} }");
    memset(s->header + s->header_size, ' ', (size_t)padding);
    uint64_t length = s->header_size + (size_t)padding;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(&length, 8, 1, out) != 1 || fwrite(s->header, 1, length, out) != length ||
        fwrite(s->bytes, 1, s->size, out) != s->size || fclose(out))
        abort();
    free(s->bytes);
}

void llm_write(const char *folder, llm_kind kind, int shards)
{
    static const char *const configs[] = {
        "{\n \"architectures\": [\"DeepseekV3ForCausalLM\"],\n \"text_config\": {\"quantization_config\": null},\n"
        " \"quantization_config\": {\"quant_method\": \"fp8\", \"weight_block_size\": [128, 128]}\n}\n",
        "{\"architectures\": [\"Qwen3ForCausalLM\"], \"rope_scaling\": NaN}",
        "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\"}, \"a\": \"\\\"quantization_config\\\": 1\"}",
        "{}\n",
    };
    char index[8192] = "{\"metadata\": {\"total_size\": 1234},\n \"weight_map\": {", name[64], path[512];
    mkdir(folder, 0777);
    for (int i = 0; i < shards; i++) {
        shard s = {.state = (uint64_t)kind * 100 + (uint64_t)i};
        s.header[s.header_size++] = '{';
        s.data = open_memstream(&s.bytes, &s.size);
        if (kind == LLM_ODD)
            add_odd(&s, i);
        else
            for (int k = 0; k < 2; k++)
                add_layer(&s, kind, 2 * i + k);
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", i + 1, shards);
        snprintf(index + strlen(index), sizeof index - strlen(index), "%s\"t.%d\": \"%s\"", i ? ", " : "", i, name);
        write_shard(folder, name, &s, 3 + 2 * i);
    }
    strcat(index, "}}\n");
    llm_write_file(folder, "model.safetensors.index.json", index, strlen(index));
    llm_write_file(folder, "config.json", configs[kind], strlen(configs[kind]));
    llm_write_file(folder, "generation_config.json", "{}", 2);
    llm_write_file(folder, "tokenizer.json", "{\"model\": {}}\r\n\0x", 17);
    llm_write_file(folder, "a\\b.txt", "", 0);
    snprintf(path, sizeof path, "%s/inference", folder);
    mkdir(path, 0777);
    llm_write_file(folder, "inference/model.py", "pass\n", 5);
}
