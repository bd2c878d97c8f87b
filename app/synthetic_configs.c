// Configs of FLUX.1-dev as black-forest-labs/FLUX.1-dev has them, and tokenizers that cut a text into single
// characters.
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "app/synthetic_internal.h"

enum { T5_SPECIALS = 3, CLIP_BYTES = 256 };

static ecd_status write_index(const char *root, ecd_diag *diag)
{
    static const char *const parts[][3] = {
        {"scheduler", "diffusers", "FlowMatchEulerDiscreteScheduler"},
        {"text_encoder", "transformers", "CLIPTextModel"},
        {"text_encoder_2", "transformers", "T5EncoderModel"},
        {"tokenizer", "transformers", "CLIPTokenizer"},
        {"tokenizer_2", "transformers", "T5TokenizerFast"},
        {"transformer", "diffusers", "FluxTransformer2DModel"},
        {"vae", "diffusers", "AutoencoderKL"},
    };
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return ecd_fail_memory(diag, 4096, "a config");
    fputs("{\n  \"_class_name\": \"FluxPipeline\",\n  \"_diffusers_version\": \"0.30.0.dev0\"", out);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        fprintf(out, ",\n  \"%s\": [\n    \"%s\",\n    \"%s\"\n  ]", parts[i][0], parts[i][1], parts[i][2]);
    fputs("\n}\n", out);
    return ecd_synthetic_write_text(root, "model_index.json", fclose(out) ? NULL : text, diag);
}

// A config by a printf format.
static ecd_status write_config(const char *root, const char *name, ecd_diag *diag, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static ecd_status write_config(const char *root, const char *name, ecd_diag *diag, const char *format, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, format);
    if (vasprintf(&text, format, args) < 0)
        text = NULL;
    va_end(args);
    return ecd_synthetic_write_text(root, name, text, diag);
}

static ecd_status write_models(const ecd_synthetic_model *m, const char *root, ecd_diag *diag)
{
    const ecd_synthetic_flux *f = m->flux;
    const int64_t *c = m->vae_channels;
    ecd_status status = write_config(
        root, "transformer/config.json", diag,
        "{\n  \"_class_name\": \"FluxTransformer2DModel\",\n  \"_diffusers_version\": \"0.30.0.dev0\",\n"
        "  \"attention_head_dim\": %lld,\n  \"axes_dims_rope\": [%lld, %lld, %lld],\n  \"guidance_embeds\": true,\n"
        "  \"in_channels\": %lld,\n  \"joint_attention_dim\": %lld,\n  \"num_attention_heads\": %lld,\n"
        "  \"num_layers\": %lld,\n  \"num_single_layers\": %lld,\n  \"patch_size\": 1,\n"
        "  \"pooled_projection_dim\": %lld\n}\n",
        (long long)m->head_dim, (long long)f->axes[0], (long long)f->axes[1], (long long)f->axes[2],
        (long long)m->latents * 4, (long long)f->t5_width, (long long)m->heads, (long long)m->layers,
        (long long)f->singles, (long long)f->clip_width);
    if (!status)
        status = write_config(
            root, "vae/config.json", diag,
            "{\n  \"_class_name\": \"AutoencoderKL\",\n  \"_diffusers_version\": \"0.30.0.dev0\",\n  \"act_fn\": "
            "\"silu\",\n"
            "  \"block_out_channels\": [%lld, %lld, %lld, %lld],\n"
            "  \"down_block_types\": [\"DownEncoderBlock2D\", \"DownEncoderBlock2D\", \"DownEncoderBlock2D\", "
            "\"DownEncoderBlock2D\"],\n  \"force_upcast\": true,\n  \"in_channels\": 3,\n  \"latent_channels\": %lld,\n"
            "  \"layers_per_block\": 2,\n  \"mid_block_add_attention\": true,\n  \"norm_num_groups\": %lld,\n"
            "  \"out_channels\": 3,\n  \"sample_size\": %lld,\n  \"scaling_factor\": 0.3611,\n"
            "  \"shift_factor\": 0.1159,\n"
            "  \"up_block_types\": [\"UpDecoderBlock2D\", \"UpDecoderBlock2D\", \"UpDecoderBlock2D\", "
            "\"UpDecoderBlock2D\"],\n  \"use_post_quant_conv\": false,\n  \"use_quant_conv\": false\n}\n",
            (long long)c[0], (long long)c[1], (long long)c[2], (long long)c[3], (long long)m->latents,
            (long long)m->vae_groups, (long long)m->picture);
    if (!status)
        status = write_config(root, "scheduler/scheduler_config.json", diag, "%s",
                              "{\n  \"_class_name\": \"FlowMatchEulerDiscreteScheduler\",\n"
                              "  \"_diffusers_version\": \"0.30.0.dev0\",\n  \"base_image_seq_len\": 256,\n"
                              "  \"base_shift\": 0.5,\n  \"max_image_seq_len\": 4096,\n  \"max_shift\": 1.15,\n"
                              "  \"num_train_timesteps\": 1000,\n  \"shift\": 3.0,\n"
                              "  \"use_dynamic_shifting\": true\n}\n");
    return status;
}

static ecd_status write_encoders(const ecd_synthetic_model *m, const char *root, ecd_diag *diag)
{
    const ecd_synthetic_flux *f = m->flux;
    ecd_status status = write_config(
        root, "text_encoder/config.json", diag,
        "{\n  \"architectures\": [\"CLIPTextModel\"],\n  \"bos_token_id\": %lld,\n  \"eos_token_id\": %lld,\n"
        "  \"hidden_act\": \"quick_gelu\",\n  \"hidden_size\": %lld,\n  \"intermediate_size\": %lld,\n"
        "  \"layer_norm_eps\": 1e-05,\n  \"max_position_embeddings\": 77,\n  \"model_type\": \"clip_text_model\",\n"
        "  \"num_attention_heads\": %lld,\n  \"num_hidden_layers\": %lld,\n  \"pad_token_id\": 1,\n"
        "  \"projection_dim\": %lld,\n  \"vocab_size\": %lld\n}\n",
        (long long)f->clip_vocab - 2, (long long)f->clip_vocab - 1, (long long)f->clip_width,
        4 * (long long)f->clip_width, (long long)f->clip_heads, (long long)f->clip_layers, (long long)f->clip_width,
        (long long)f->clip_vocab);
    if (status)
        return status;
    return write_config(
        root, "text_encoder_2/config.json", diag,
        "{\n  \"architectures\": [\"T5EncoderModel\"],\n  \"d_ff\": %lld,\n  \"d_kv\": %lld,\n  \"d_model\": %lld,\n"
        "  \"dense_act_fn\": \"gelu_new\",\n  \"eos_token_id\": 1,\n  \"feed_forward_proj\": \"gated-gelu\",\n"
        "  \"is_encoder_decoder\": true,\n  \"is_gated_act\": true,\n  \"layer_norm_epsilon\": 1e-06,\n"
        "  \"model_type\": \"t5\",\n  \"num_heads\": %lld,\n  \"num_layers\": %lld,\n  \"pad_token_id\": 0,\n"
        "  \"relative_attention_max_distance\": 128,\n  \"relative_attention_num_buckets\": 32,\n"
        "  \"vocab_size\": %lld\n}\n",
        (long long)f->t5_wide, (long long)(f->t5_width / f->t5_heads), (long long)f->t5_width, (long long)f->t5_heads,
        (long long)f->t5_layers, (long long)f->t5_vocab);
}

// The character that stands for a byte (OpenAI's gpt-2 src/encoder.py, bytes_to_unicode).
static unsigned byte_character(unsigned byte)
{
    unsigned others = 0;
    for (unsigned b = 0; b <= byte; b++) {
        bool plain = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
        if (b == byte)
            return plain ? b : CLIP_BYTES + others;
        others += !plain;
    }
    return 0;
}

static ecd_status write_clip_tokenizer(const ecd_synthetic_model *m, const char *root, ecd_diag *diag)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return ecd_fail_memory(diag, 4096, "a vocabulary");
    for (unsigned i = 0; i < 2 * CLIP_BYTES; i++)
        fprintf(out, "%s\"\\u%04x%s\": %u", i ? ", " : "{", byte_character(i % CLIP_BYTES),
                i < CLIP_BYTES ? "" : "</w>", i);
    fprintf(out, ", \"<|startoftext|>\": %lld, \"<|endoftext|>\": %lld}\n", (long long)m->flux->clip_vocab - 2,
            (long long)m->flux->clip_vocab - 1);
    ecd_status status = ecd_synthetic_write_text(root, "tokenizer/vocab.json", fclose(out) ? NULL : text, diag);
    if (!status)
        status = write_config(root, "tokenizer/merges.txt", diag, "#version: 0.2\n");
    return status ? status
                  : write_config(root, "tokenizer/tokenizer_config.json", diag,
                                 "{\n  \"model_max_length\": 77,\n  \"pad_token\": \"<|endoftext|>\",\n"
                                 "  \"tokenizer_class\": \"CLIPTokenizer\"\n}\n");
}

static ecd_status write_t5_tokenizer(const char *root, ecd_diag *diag)
{
    static const char *const specials[T5_SPECIALS] = {"<pad>", "</s>", "<unk>"};
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return ecd_fail_memory(diag, 4096, "a vocabulary");
    fputs("{\"version\": \"1.0\", \"added_tokens\": [", out);
    for (int i = 0; i < T5_SPECIALS; i++)
        fprintf(out,
                "%s{\"id\": %d, \"content\": \"%s\", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                "\"normalized\": false, \"special\": true}",
                i ? ", " : "", i, specials[i]);
    fputs("], \"normalizer\": {\"type\": \"NFKC\"}, \"pre_tokenizer\": {\"type\": \"Metaspace\", \"replacement\": "
          "\"\\u2581\", \"prepend_scheme\": \"always\", \"split\": true}, \"post_processor\": {\"type\": "
          "\"TemplateProcessing\", \"single\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": "
          "{\"id\": \"</s>\", \"type_id\": 0}}], \"pair\": [], \"special_tokens\": {\"</s>\": {\"id\": \"</s>\", "
          "\"ids\": "
          "[1], \"tokens\": [\"</s>\"]}}}, \"model\": {\"type\": \"Unigram\", \"unk_id\": 2, \"vocab\": [",
          out);
    for (int i = 0; i < T5_SPECIALS; i++)
        fprintf(out, "[\"%s\", 0.0], ", specials[i]);
    fputs("[\"\\u2581\", -2.0]", out);
    for (int c = '!'; c <= '~'; c++)
        fprintf(out, ", [\"\\u%04x\", -4.0]", (unsigned)c);
    fputs("], \"byte_fallback\": false}}\n", out);
    ecd_status status = ecd_synthetic_write_text(root, "tokenizer_2/tokenizer.json", fclose(out) ? NULL : text, diag);
    return status ? status
                  : write_config(
                        root, "tokenizer_2/tokenizer_config.json", diag,
                        "{\n  \"eos_token\": \"</s>\",\n  \"model_max_length\": 512,\n  \"pad_token\": \"<pad>\",\n"
                        "  \"tokenizer_class\": \"T5TokenizerFast\",\n  \"unk_token\": \"<unk>\"\n}\n");
}

ecd_status ecd_synthetic_write_flux_configs(const ecd_synthetic_model *m, const char *root, ecd_diag *diag)
{
    ecd_status status = write_index(root, diag);
    if (!status)
        status = write_models(m, root, diag);
    if (!status)
        status = write_encoders(m, root, diag);
    if (!status)
        status = write_clip_tokenizer(m, root, diag);
    return status ? status : write_t5_tokenizer(root, diag);
}
