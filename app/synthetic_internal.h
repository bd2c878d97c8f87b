// What the files of the synthetic models share.
#ifndef ECD_APP_SYNTHETIC_INTERNAL_H
#define ECD_APP_SYNTHETIC_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "app/synthetic.h"

enum { ECD_SYNTHETIC_NAME = 112, ECD_SYNTHETIC_LEVELS = 4 };

// What FLUX.1 has beside a DiT's fields, as the configs of diffusers and transformers describe it.
typedef struct ecd_synthetic_flux {
    int64_t singles, axes[3];
    int64_t clip_width, clip_layers, clip_heads, clip_vocab; // clip_width: the transformer's pooled_projection_dim
    int64_t t5_width, t5_layers, t5_heads, t5_wide, t5_vocab; // t5_width: its joint_attention_dim
} ecd_synthetic_flux;

// A DiT, or FLUX.1, with its VAE, as diffusers' configs describe them.
typedef struct ecd_synthetic_model {
    const char *name;
    int64_t layers, heads, head_dim; // layers: of FLUX.1 its double blocks
    int64_t sample_size, classes;    // of a DiT
    int64_t vae_channels[ECD_SYNTHETIC_LEVELS], vae_groups;
    int64_t picture;                 // the VAE config's own sample_size
    int64_t latents;                 // channels
    const ecd_synthetic_flux *flux;  // NULL: a DiT
} ecd_synthetic_model;

typedef struct ecd_synthetic_tensor {
    char name[ECD_SYNTHETIC_NAME];
    int shared; // characters at the name's start that do not seed its draw: tensors that differ in them only are equal
    int64_t shape[4];
    int dims;
    float gain; // of a matrix: its weights' deviation is gain / sqrt(fan in)
} ecd_synthetic_tensor;

typedef struct ecd_synthetic_list {
    ecd_synthetic_tensor *tensors; // owned; in the order of the module's state_dict
    size_t count, capacity;
    bool no_memory;
} ecd_synthetic_list;

static inline ecd_synthetic_tensor ecd_synthetic_matrix(int64_t out, int64_t in, float gain)
{
    return (ecd_synthetic_tensor){.shape = {out, in}, .dims = 2, .gain = gain};
}

static inline ecd_synthetic_tensor ecd_synthetic_vector(int64_t count)
{
    return (ecd_synthetic_tensor){.shape = {count}, .dims = 1, .gain = 1};
}

// Appends "PREFIX.weight" of the shape given, and with `bias` "PREFIX.bias" of its first size.
void ecd_synthetic_add(ecd_synthetic_list *list, ecd_synthetic_tensor weight, bool bias, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// synthetic_tensors.c, synthetic_flux.c. Free the list's tensors with free.
void ecd_synthetic_list_dit(const ecd_synthetic_model *m, ecd_synthetic_list *list);
void ecd_synthetic_list_vae(const ecd_synthetic_model *m, ecd_synthetic_list *list);
void ecd_synthetic_list_flux(const ecd_synthetic_model *m, ecd_synthetic_list *list);
void ecd_synthetic_list_clip(const ecd_synthetic_model *m, ecd_synthetic_list *list);
void ecd_synthetic_list_t5(const ecd_synthetic_model *m, ecd_synthetic_list *list);
uint64_t ecd_synthetic_elements(const ecd_synthetic_tensor *tensor);

// synthetic_draw.c: a tensor's float32 elements in order, any number at a time.
typedef struct ecd_synthetic_table ecd_synthetic_table; // quantiles; free with free
ecd_synthetic_table *ecd_synthetic_table_new(void);     // NULL: no memory

typedef struct ecd_synthetic_draw {
    const ecd_synthetic_table *table;
    uint64_t state[4];
    int64_t cols, left;  // weights of a row, and those still to come of this one
    float gain, scale;   // of all rows, and of this one
    float centre;        // 1 for the weights of a norm
} ecd_synthetic_draw;

void ecd_synthetic_draw_begin(ecd_synthetic_draw *d, const ecd_synthetic_table *table, const ecd_synthetic_tensor *t);
void ecd_synthetic_draw_take(ecd_synthetic_draw *d, float *out, size_t count);

// synthetic_torch.c: writes the tensors as torch.save(module.state_dict(), path) does. `told` is called as bytes are drawn;
// true stops.
typedef struct ecd_synthetic_watch {
    bool (*told)(void *user, uint64_t bytes);
    void *user;
} ecd_synthetic_watch;
ecd_status ecd_synthetic_write_torch(const char *path, const ecd_synthetic_list *list, const ecd_synthetic_table *table,
                                     const ecd_synthetic_watch *watch, ecd_diag *diag);

// synthetic_file.c: writes the tensors as a safetensors file: matrices of blocks ("_blocks.", ".block.") in E4M3 with
// "weight_scale" [rows, 1] where `quantized`, the rest in BF16. On all processors; the bytes do not depend on their number.
ecd_status ecd_synthetic_write_file(const char *path, const ecd_synthetic_list *list, bool quantized,
                                    const ecd_synthetic_table *table, const ecd_synthetic_watch *watch,
                                    ecd_diag *diag);
uint64_t ecd_synthetic_file_bytes(const ecd_synthetic_list *list, bool quantized); // without its header

// synthetic_configs.c: configs and tokenizers of FLUX.1. The tokenizers know single characters, so that any text has ids.
ecd_status ecd_synthetic_write_flux_configs(const ecd_synthetic_model *m, const char *root, ecd_diag *diag);
// Writes a small file of the folder and frees `text`; NULL: memory was out.
ecd_status ecd_synthetic_write_text(const char *root, const char *name, char *text, ecd_diag *diag);

// synthetic.c: the same for any model, as ecd_synthetic_make is for the named ones.
ecd_status ecd_synthetic_make_model(const ecd_synthetic_model *m, const char *path, ecd_synthetic_progress progress,
                                    void *user, ecd_diag *diag);
const ecd_synthetic_model *ecd_synthetic_find(const char *name); // NULL: unknown

#endif
