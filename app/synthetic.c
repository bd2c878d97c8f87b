#define _GNU_SOURCE
#include "app/synthetic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "app/synthetic_internal.h"
#include "base/file.h"
#include "weights/tree.h"

// FLUX.1-dev; a quarter of its width; six of its 57 blocks, and two of its text encoder's; and one for tests.
static const ecd_synthetic_flux flux_dev = {38, {16, 56, 56}, 768, 12, 12, 49408, 4096, 24, 64, 10240, 32128};
static const ecd_synthetic_flux flux_mini = {38, {16, 56, 56}, 192, 12, 3, 49408, 1024, 24, 16, 2560, 32128};
static const ecd_synthetic_flux flux_short = {4, {16, 56, 56}, 768, 12, 12, 49408, 4096, 2, 64, 10240, 32128};
static const ecd_synthetic_flux flux_tiny = {3, {8, 12, 12}, 64, 2, 2, 520, 64, 2, 2, 96, 128};

static const ecd_synthetic_model models[] = {
    {"dit-xl-2-256", 28, 16, 72, 32, 1000, {128, 256, 512, 512}, 32, 256, 4, NULL},
    {"dit-xl-2-512", 28, 16, 72, 64, 1000, {128, 256, 512, 512}, 32, 256, 4, NULL},
    {"dit-b-2-256", 12, 12, 64, 32, 1000, {128, 256, 512, 512}, 32, 256, 4, NULL},
    {"dit-s-2-256", 12, 6, 64, 32, 1000, {128, 256, 512, 512}, 32, 256, 4, NULL},
    {"dit-narrow", 12, 4, 64, 16, 1000, {16, 16, 32, 32}, 8, 128, 4, NULL},
    {"dit-tiny", 3, 4, 32, 8, 1000, {16, 16, 32, 32}, 8, 64, 4, NULL},
    {"flux1-dev", 19, 24, 128, 0, 0, {128, 256, 512, 512}, 32, 1024, 16, &flux_dev},
    {"flux1-mini", 19, 6, 128, 0, 0, {128, 256, 512, 512}, 32, 1024, 16, &flux_mini},
    {"flux1-short", 2, 24, 128, 0, 0, {128, 256, 512, 512}, 32, 1024, 16, &flux_short},
    {"flux1-tiny", 2, 4, 32, 0, 0, {16, 16, 32, 32}, 8, 64, 16, &flux_tiny},
};

const char *const ecd_synthetic_names[] = {"dit-xl-2-256", "dit-xl-2-512", "dit-b-2-256",
                                           "dit-s-2-256",  "dit-narrow",   "dit-tiny",
                                           "flux1-dev",    "flux1-mini",   "flux1-short",
                                           "flux1-tiny",   NULL};

const ecd_synthetic_model *ecd_synthetic_find(const char *name)
{
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (!strcmp(models[i].name, name))
            return &models[i];
    return NULL;
}

bool ecd_synthetic_is_fp8(const char *name)
{
    const ecd_synthetic_model *m = ecd_synthetic_find(name);
    return m && m->flux;
}

// ---- configs, as diffusers 0.12 saved them: two blanks, keys in order, a newline at the end

#define SAVED "  \"_diffusers_version\": \"0.12.0.dev0\",\n"

ecd_status ecd_synthetic_write_text(const char *root, const char *name, char *text, ecd_diag *diag)
{
    char *path = ecd_path_join(root, name);
    ecd_status status =
        path && text ? ecd_file_write(path, text, strlen(text), diag) : ecd_fail_memory(diag, 4096, "a config");
    free(path);
    free(text);
    return status;
}

// The published file names ImageNet's classes; these are named by their numbers.
static ecd_status write_index(const ecd_synthetic_model *m, const char *root, ecd_diag *diag)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return ecd_fail_memory(diag, 4096, "a config");
    fputs("{\n  \"_class_name\": \"DiTPipeline\",\n" SAVED "  \"id2label\": {\n", out);
    for (int64_t i = 0; i < m->classes; i++)
        fprintf(out, "    \"%lld\": \"class %lld\"%s\n", (long long)i, (long long)i, i + 1 < m->classes ? "," : "");
    fputs("  },\n  \"scheduler\": [\n    \"diffusers\",\n    \"DDIMScheduler\"\n  ],\n  \"transformer\": [\n"
          "    \"diffusers\",\n    \"Transformer2DModel\"\n  ],\n  \"vae\": [\n    \"diffusers\",\n"
          "    \"AutoencoderKL\"\n  ]\n}\n",
          out);
    bool lost = ferror(out);
    if (fclose(out) || lost) {
        free(text);
        text = NULL;
    }
    return ecd_synthetic_write_text(root, "model_index.json", text, diag);
}

static ecd_status write_scheduler(const char *root, ecd_diag *diag)
{
    return ecd_synthetic_write_text(root, "scheduler/scheduler_config.json",
                      strdup("{\n  \"_class_name\": \"DDIMScheduler\",\n" SAVED "  \"beta_end\": 0.02,\n"
                             "  \"beta_schedule\": \"linear\",\n  \"beta_start\": 0.0001,\n  \"clip_sample\": false,\n"
                             "  \"num_train_timesteps\": 1000,\n  \"prediction_type\": \"epsilon\",\n"
                             "  \"set_alpha_to_one\": true,\n  \"steps_offset\": 0,\n  \"trained_betas\": null\n}\n"),
                      diag);
}

static ecd_status write_transformer(const ecd_synthetic_model *m, const char *root, ecd_diag *diag)
{
    char *text = NULL;
    if (asprintf(&text,
                 "{\n  \"_class_name\": \"Transformer2DModel\",\n" SAVED "  \"activation_fn\": \"gelu-approximate\",\n"
                 "  \"attention_bias\": true,\n  \"attention_head_dim\": %lld,\n  \"cross_attention_dim\": null,\n"
                 "  \"dropout\": 0.0,\n  \"in_channels\": 4,\n  \"norm_elementwise_affine\": false,\n"
                 "  \"norm_num_groups\": 32,\n  \"norm_type\": \"ada_norm_zero\",\n  \"num_attention_heads\": %lld,\n"
                 "  \"num_embeds_ada_norm\": %lld,\n  \"num_layers\": %lld,\n  \"num_vector_embeds\": null,\n"
                 "  \"only_cross_attention\": false,\n  \"out_channels\": 8,\n  \"patch_size\": 2,\n"
                 "  \"sample_size\": %lld,\n  \"upcast_attention\": false,\n  \"use_linear_projection\": false\n}\n",
                 (long long)m->head_dim, (long long)m->heads, (long long)m->classes, (long long)m->layers,
                 (long long)m->sample_size) < 0)
        text = NULL;
    return ecd_synthetic_write_text(root, "transformer/config.json", text, diag);
}

static ecd_status write_vae(const ecd_synthetic_model *m, const char *root, ecd_diag *diag)
{
    static const char *const kinds[] = {"DownEncoderBlock2D", "UpDecoderBlock2D"};
    char lists[2][160], *text = NULL;
    for (int i = 0; i < 2; i++)
        snprintf(lists[i], sizeof lists[i], "[\n    \"%s\",\n    \"%s\",\n    \"%s\",\n    \"%s\"\n  ]", kinds[i],
                 kinds[i], kinds[i], kinds[i]);
    if (asprintf(&text,
                 "{\n  \"_class_name\": \"AutoencoderKL\",\n" SAVED
                 "  \"_name_or_path\": \"stabilityai/sd-vae-ft-ema\",\n  \"act_fn\": \"silu\",\n"
                 "  \"block_out_channels\": [\n    %lld,\n    %lld,\n    %lld,\n    %lld\n  ],\n"
                 "  \"down_block_types\": %s,\n  \"in_channels\": 3,\n  \"latent_channels\": 4,\n"
                 "  \"layers_per_block\": 2,\n  \"norm_num_groups\": %lld,\n  \"out_channels\": 3,\n"
                 "  \"sample_size\": %lld,\n  \"up_block_types\": %s\n}\n",
                 (long long)m->vae_channels[0], (long long)m->vae_channels[1], (long long)m->vae_channels[2],
                 (long long)m->vae_channels[3], lists[0], (long long)m->vae_groups, (long long)m->picture,
                 lists[1]) < 0)
        text = NULL;
    return ecd_synthetic_write_text(root, "vae/config.json", text, diag);
}

// ---- the folder

typedef struct making {
    uint64_t done_bytes, total_bytes;
    ecd_synthetic_progress progress;
    void *user;
} making;

static bool told(void *user, uint64_t bytes)
{
    making *k = user;
    k->done_bytes += bytes;
    return k->progress && k->progress(k->user, k->done_bytes, k->total_bytes);
}

static uint64_t list_bytes(const ecd_synthetic_list *list)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < list->count; i++)
        sum += ecd_synthetic_elements(&list->tensors[i]) * sizeof(float);
    return sum;
}

static ecd_status make_folders(const char *root, const char *const *names, ecd_diag *diag)
{
    ecd_status status = ECD_OK;
    for (; !status && *names; names++) {
        char *path = ecd_path_join(root, *names);
        if (!path)
            return ecd_fail_memory(diag, strlen(root), "a path");
        if (mkdir(path, 0777))
            status = ecd_fail_errno(diag, path, "create");
        free(path);
    }
    return status;
}

static ecd_status write_dit_configs(const ecd_synthetic_model *m, const char *root, ecd_diag *diag)
{
    ecd_status status = write_index(m, root, diag);
    if (!status)
        status = write_scheduler(root, diag);
    if (!status)
        status = write_transformer(m, root, diag);
    return status ? status : write_vae(m, root, diag);
}

// A file of weights and what it holds.
typedef struct component {
    const char *file;
    void (*list_tensors)(const ecd_synthetic_model *m, ecd_synthetic_list *list);
    bool quantized;
} component;

static const component dit_parts[] = {
    {"transformer/diffusion_pytorch_model.bin", ecd_synthetic_list_dit, false},
    {"vae/diffusion_pytorch_model.bin", ecd_synthetic_list_vae, false},
};

static const component flux_parts[] = {
    {"transformer/diffusion_pytorch_model.safetensors", ecd_synthetic_list_flux, true},
    {"text_encoder_2/model.safetensors", ecd_synthetic_list_t5, true},
    {"text_encoder/model.safetensors", ecd_synthetic_list_clip, false},
    {"vae/diffusion_pytorch_model.safetensors", ecd_synthetic_list_vae, false},
};

// The list's bytes in the file, or with `root` its file.
static ecd_status do_part(const ecd_synthetic_model *m, const component *part, const char *root,
                          const ecd_synthetic_table *table, making *k, ecd_diag *diag)
{
    const ecd_synthetic_watch watch = {told, k};
    ecd_synthetic_list list = {0};
    ecd_status status = ECD_OK;
    part->list_tensors(m, &list);
    char *path = root ? ecd_path_join(root, part->file) : NULL;
    if (list.no_memory || (root && !path))
        status = ecd_fail_memory(diag, list.capacity * sizeof *list.tensors, "a list of tensors");
    else if (!root)
        k->total_bytes += m->flux ? ecd_synthetic_file_bytes(&list, part->quantized) : list_bytes(&list);
    else if (m->flux)
        status = ecd_synthetic_write_file(path, &list, part->quantized, table, &watch, diag);
    else
        status = ecd_synthetic_write_torch(path, &list, table, &watch, diag);
    free(path);
    free(list.tensors);
    return status;
}

static ecd_status fill(const ecd_synthetic_model *m, const char *root, making *k, ecd_diag *diag)
{
    static const char *const dit_folders[] = {"scheduler", "transformer", "vae", NULL};
    static const char *const flux_folders[] = {"scheduler",    "transformer",    "vae",         "tokenizer",
                                               "text_encoder", "text_encoder_2", "tokenizer_2", NULL};
    const component *parts = m->flux ? flux_parts : dit_parts;
    size_t count = m->flux ? sizeof flux_parts / sizeof *parts : sizeof dit_parts / sizeof *parts;
    ecd_synthetic_table *table = ecd_synthetic_table_new();
    ecd_status status = table ? make_folders(root, m->flux ? flux_folders : dit_folders, diag)
                              : ecd_fail_memory(diag, 1 << 16, "quantiles");
    for (size_t i = 0; !status && i < count; i++)
        status = do_part(m, &parts[i], NULL, table, k, diag);
    if (!status)
        status = m->flux ? ecd_synthetic_write_flux_configs(m, root, diag) : write_dit_configs(m, root, diag);
    for (size_t i = 0; !status && i < count; i++)
        status = do_part(m, &parts[i], root, table, k, diag);
    free(table);
    return status;
}

ecd_status ecd_synthetic_make_model(const ecd_synthetic_model *m, const char *path, ecd_synthetic_progress progress,
                                    void *user, ecd_diag *diag)
{
    making k = {.progress = progress, .user = user};
    char *temporary = NULL;
    ecd_status status = ecd_new_folder_begin(path, &temporary, diag);
    if (status)
        return status;
    status = fill(m, temporary, &k, diag);
    if (!status)
        return ecd_new_folder_commit(temporary, path, diag);
    ecd_new_folder_abandon(temporary);
    return status;
}

ecd_status ecd_synthetic_make(const char *name, const char *path, ecd_synthetic_progress progress, void *user,
                              ecd_diag *diag)
{
    const ecd_synthetic_model *m = ecd_synthetic_find(name);
    if (!m)
        return ecd_fail(diag, ECD_USAGE, "synthetic model %.64s: not known", name);
    return ecd_synthetic_make_model(m, path, progress, user, diag);
}
