#define _GNU_SOURCE
#include "app/synthetic.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "app/synthetic_internal.h"
#include "base/file.h"
#include "weights/tree.h"

static const ecd_synthetic_model models[] = {
    {"dit-xl-2-256", 28, 16, 72, 32, 1000, {128, 256, 512, 512}, 32, 256},
    {"dit-xl-2-512", 28, 16, 72, 64, 1000, {128, 256, 512, 512}, 32, 256},
    {"dit-b-2-256", 12, 12, 64, 32, 1000, {128, 256, 512, 512}, 32, 256},
    {"dit-s-2-256", 12, 6, 64, 32, 1000, {128, 256, 512, 512}, 32, 256},
    {"dit-tiny", 3, 4, 32, 8, 1000, {16, 16, 32, 32}, 8, 64},
};

const char *const ecd_synthetic_names[] = {"dit-xl-2-256", "dit-xl-2-512", "dit-b-2-256",
                                           "dit-s-2-256",  "dit-tiny",     NULL};

const ecd_synthetic_model *ecd_synthetic_find(const char *name)
{
    for (size_t i = 0; i < sizeof models / sizeof *models; i++)
        if (!strcmp(models[i].name, name))
            return &models[i];
    return NULL;
}

// ---- configs, as diffusers 0.12 saved them: two blanks, keys in order, a newline at the end

#define SAVED "  \"_diffusers_version\": \"0.12.0.dev0\",\n"

static ecd_status write_text(const char *root, const char *name, char *text, ecd_diag *diag)
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
    return write_text(root, "model_index.json", text, diag);
}

static ecd_status write_scheduler(const char *root, ecd_diag *diag)
{
    return write_text(root, "scheduler/scheduler_config.json",
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
    return write_text(root, "transformer/config.json", text, diag);
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
    return write_text(root, "vae/config.json", text, diag);
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

static ecd_status make_folders(const char *root, ecd_diag *diag)
{
    static const char *const names[] = {"scheduler", "transformer", "vae"};
    ecd_status status = ECD_OK;
    for (size_t i = 0; !status && i < sizeof names / sizeof *names; i++) {
        char *path = ecd_path_join(root, names[i]);
        if (!path)
            return ecd_fail_memory(diag, strlen(root), "a path");
        if (mkdir(path, 0777))
            status = ecd_fail_errno(diag, path, "create");
        free(path);
    }
    return status;
}

static ecd_status write_weights(const char *root, const char *component, const ecd_synthetic_list *list,
                                const ecd_synthetic_table *table, making *k, ecd_diag *diag)
{
    const ecd_synthetic_watch watch = {told, k};
    char *path = NULL;
    if (asprintf(&path, "%s/%s/diffusion_pytorch_model.bin", root, component) < 0)
        return ecd_fail_memory(diag, strlen(root), "a path");
    ecd_status status = ecd_synthetic_write_torch(path, list, table, &watch, diag);
    free(path);
    return status;
}

static ecd_status fill(const ecd_synthetic_model *m, const char *root, making *k, ecd_diag *diag)
{
    ecd_synthetic_list dit = {0}, vae = {0};
    ecd_synthetic_table *table = ecd_synthetic_table_new();
    ecd_synthetic_list_dit(m, &dit);
    ecd_synthetic_list_vae(m, &vae);
    k->total_bytes = list_bytes(&dit) + list_bytes(&vae);
    ecd_status status = table ? make_folders(root, diag) : ecd_fail_memory(diag, 1 << 16, "quantiles");
    if (!status)
        status = write_index(m, root, diag);
    if (!status)
        status = write_scheduler(root, diag);
    if (!status)
        status = write_transformer(m, root, diag);
    if (!status)
        status = write_vae(m, root, diag);
    if (!status)
        status = write_weights(root, "transformer", &dit, table, k, diag);
    if (!status)
        status = write_weights(root, "vae", &vae, table, k, diag);
    free(dit.tensors);
    free(vae.tensors);
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
