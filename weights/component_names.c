// The names that FLUX.1's own code (black-forest-labs/flux, src/flux/model.py), its VAE (CompVis' latent diffusion,
// ldm/modules/diffusionmodules/model.py) and ComfyUI's checkpoints give to what diffusers has in folders.
//
// And DiffSynth's of the transformer, with the prefixes of its pipelines.
//
// Sources: diffusers scripts/convert_flux_to_diffusers.py and loaders/single_file_utils.py
// (convert_flux_transformer_checkpoint_to_diffusers, convert_ldm_vae_checkpoint); DiffSynth-Studio
// diffsynth/models/flux_dit.py (FluxDiTStateDictConverter).
#include <string.h>

#include "weights/component_names.h"

#define IS(name, one)                                                                                                  \
    {                                                                                                                  \
        .from = (name), .to = { one }                                                                                  \
    }
#define ROWS(...) .shares = {__VA_ARGS__}

static const ecd_component_rule flux_rules[] = {
    IS("img_in.*", "x_embedder.*"),
    IS("txt_in.*", "context_embedder.*"),
    IS("time_in.in_layer.*", "time_text_embed.timestep_embedder.linear_1.*"),
    IS("time_in.out_layer.*", "time_text_embed.timestep_embedder.linear_2.*"),
    IS("vector_in.in_layer.*", "time_text_embed.text_embedder.linear_1.*"),
    IS("vector_in.out_layer.*", "time_text_embed.text_embedder.linear_2.*"),
    IS("guidance_in.in_layer.*", "time_text_embed.guidance_embedder.linear_1.*"),
    IS("guidance_in.out_layer.*", "time_text_embed.guidance_embedder.linear_2.*"),
    IS("double_blocks.#.img_mod.lin.*", "transformer_blocks.#.norm1.linear.*"),
    IS("double_blocks.#.txt_mod.lin.*", "transformer_blocks.#.norm1_context.linear.*"),
    {.from = "double_blocks.#.img_attn.qkv.*",
     .to = {"transformer_blocks.#.attn.to_q.*", "transformer_blocks.#.attn.to_k.*", "transformer_blocks.#.attn.to_v.*"},
     ROWS(1, 1, 1)},
    {.from = "double_blocks.#.txt_attn.qkv.*",
     .to = {"transformer_blocks.#.attn.add_q_proj.*", "transformer_blocks.#.attn.add_k_proj.*",
            "transformer_blocks.#.attn.add_v_proj.*"},
     ROWS(1, 1, 1)},
    IS("double_blocks.#.img_attn.norm.query_norm.scale", "transformer_blocks.#.attn.norm_q.weight"),
    IS("double_blocks.#.img_attn.norm.key_norm.scale", "transformer_blocks.#.attn.norm_k.weight"),
    IS("double_blocks.#.txt_attn.norm.query_norm.scale", "transformer_blocks.#.attn.norm_added_q.weight"),
    IS("double_blocks.#.txt_attn.norm.key_norm.scale", "transformer_blocks.#.attn.norm_added_k.weight"),
    IS("double_blocks.#.img_attn.proj.*", "transformer_blocks.#.attn.to_out.0.*"),
    IS("double_blocks.#.txt_attn.proj.*", "transformer_blocks.#.attn.to_add_out.*"),
    IS("double_blocks.#.img_mlp.0.*", "transformer_blocks.#.ff.net.0.proj.*"),
    IS("double_blocks.#.img_mlp.2.*", "transformer_blocks.#.ff.net.2.*"),
    IS("double_blocks.#.txt_mlp.0.*", "transformer_blocks.#.ff_context.net.0.proj.*"),
    IS("double_blocks.#.txt_mlp.2.*", "transformer_blocks.#.ff_context.net.2.*"),
    IS("single_blocks.#.modulation.lin.*", "single_transformer_blocks.#.norm.linear.*"),
    {.from = "single_blocks.#.linear1.*",
     .to = {"single_transformer_blocks.#.attn.to_q.*", "single_transformer_blocks.#.attn.to_k.*",
            "single_transformer_blocks.#.attn.to_v.*", "single_transformer_blocks.#.proj_mlp.*"},
     ROWS(1, 1, 1, 4)},
    IS("single_blocks.#.linear2.*", "single_transformer_blocks.#.proj_out.*"),
    IS("single_blocks.#.norm.query_norm.scale", "single_transformer_blocks.#.attn.norm_q.weight"),
    IS("single_blocks.#.norm.key_norm.scale", "single_transformer_blocks.#.attn.norm_k.weight"),
    IS("final_layer.linear.*", "proj_out.*"),
    // Here (shift, scale), there (scale, shift).
    {.from = "final_layer.adaLN_modulation.1.*", .to = {"norm_out.linear.*"}, .swapped = true},
    // DiffSynth's, which the published ECF8 files of FLUX.1 have.
    IS("time_embedder.timestep_embedder.0.*", "time_text_embed.timestep_embedder.linear_1.*"),
    IS("time_embedder.timestep_embedder.2.*", "time_text_embed.timestep_embedder.linear_2.*"),
    IS("guidance_embedder.timestep_embedder.0.*", "time_text_embed.guidance_embedder.linear_1.*"),
    IS("guidance_embedder.timestep_embedder.2.*", "time_text_embed.guidance_embedder.linear_2.*"),
    IS("pooled_text_embedder.0.*", "time_text_embed.text_embedder.linear_1.*"),
    IS("pooled_text_embedder.2.*", "time_text_embed.text_embedder.linear_2.*"),
    IS("blocks.#.norm1_a.linear.*", "transformer_blocks.#.norm1.linear.*"),
    IS("blocks.#.norm1_b.linear.*", "transformer_blocks.#.norm1_context.linear.*"),
    {.from = "blocks.#.attn.a_to_qkv.*",
     .to = {"transformer_blocks.#.attn.to_q.*", "transformer_blocks.#.attn.to_k.*", "transformer_blocks.#.attn.to_v.*"},
     ROWS(1, 1, 1)},
    {.from = "blocks.#.attn.b_to_qkv.*",
     .to = {"transformer_blocks.#.attn.add_q_proj.*", "transformer_blocks.#.attn.add_k_proj.*",
            "transformer_blocks.#.attn.add_v_proj.*"},
     ROWS(1, 1, 1)},
    IS("blocks.#.attn.norm_q_a.*", "transformer_blocks.#.attn.norm_q.*"),
    IS("blocks.#.attn.norm_k_a.*", "transformer_blocks.#.attn.norm_k.*"),
    IS("blocks.#.attn.norm_q_b.*", "transformer_blocks.#.attn.norm_added_q.*"),
    IS("blocks.#.attn.norm_k_b.*", "transformer_blocks.#.attn.norm_added_k.*"),
    IS("blocks.#.attn.a_to_out.*", "transformer_blocks.#.attn.to_out.0.*"),
    IS("blocks.#.attn.b_to_out.*", "transformer_blocks.#.attn.to_add_out.*"),
    IS("blocks.#.ff_a.0.*", "transformer_blocks.#.ff.net.0.proj.*"),
    IS("blocks.#.ff_a.2.*", "transformer_blocks.#.ff.net.2.*"),
    IS("blocks.#.ff_b.0.*", "transformer_blocks.#.ff_context.net.0.proj.*"),
    IS("blocks.#.ff_b.2.*", "transformer_blocks.#.ff_context.net.2.*"),
    IS("single_blocks.#.norm.linear.*", "single_transformer_blocks.#.norm.linear.*"),
    {.from = "single_blocks.#.to_qkv_mlp.*",
     .to = {"single_transformer_blocks.#.attn.to_q.*", "single_transformer_blocks.#.attn.to_k.*",
            "single_transformer_blocks.#.attn.to_v.*", "single_transformer_blocks.#.proj_mlp.*"},
     ROWS(1, 1, 1, 4)},
    IS("single_blocks.#.norm_q_a.*", "single_transformer_blocks.#.attn.norm_q.*"),
    IS("single_blocks.#.norm_k_a.*", "single_transformer_blocks.#.attn.norm_k.*"),
    IS("single_blocks.#.proj_out.*", "single_transformer_blocks.#.proj_out.*"),
    IS("final_norm_out.linear.*", "norm_out.linear.*"),
    IS("final_proj_out.*", "proj_out.*"),
};

// Levels of the decoder are counted from the picture's side, diffusers' in the order in which they are computed.
static const ecd_component_rule vae_rules[] = {
    IS("encoder.down.#.block.#.nin_shortcut.*", "encoder.down_blocks.#.resnets.#.conv_shortcut.*"),
    IS("encoder.down.#.block.#.*", "encoder.down_blocks.#.resnets.#.*"),
    IS("encoder.down.#.downsample.conv.*", "encoder.down_blocks.#.downsamplers.0.conv.*"),
    IS("decoder.up.#.block.#.nin_shortcut.*", "decoder.up_blocks.~.resnets.#.conv_shortcut.*"),
    IS("decoder.up.#.block.#.*", "decoder.up_blocks.~.resnets.#.*"),
    IS("decoder.up.#.upsample.conv.*", "decoder.up_blocks.~.upsamplers.0.conv.*"),
    IS("*coder.mid.block_1.*", "*coder.mid_block.resnets.0.*"),
    IS("*coder.mid.block_2.*", "*coder.mid_block.resnets.1.*"),
    IS("*coder.mid.attn_1.norm.*", "*coder.mid_block.attentions.0.group_norm.*"),
    IS("*coder.mid.attn_1.q.*", "*coder.mid_block.attentions.0.to_q.*"),
    IS("*coder.mid.attn_1.k.*", "*coder.mid_block.attentions.0.to_k.*"),
    IS("*coder.mid.attn_1.v.*", "*coder.mid_block.attentions.0.to_v.*"),
    IS("*coder.mid.attn_1.proj_out.*", "*coder.mid_block.attentions.0.to_out.0.*"),
    IS("*coder.norm_out.*", "*coder.conv_norm_out.*"),
};

enum { FLUX_RULES = sizeof flux_rules / sizeof *flux_rules, VAE_RULES = sizeof vae_rules / sizeof *vae_rules };
_Static_assert(FLUX_RULES <= 64 && VAE_RULES <= 64, "a checkpoint has a bit for each");

#define RULES(list) .rules = (list), .rule_count = sizeof(list) / sizeof *(list)

const ecd_component_names ecd_component_table[ECD_COMPONENTS] = {
    {.component = "transformer",
     .weights = "diffusion_pytorch_model.safetensors",
     .prefixes = {"model.diffusion_model.", "dit.", ""},
     .markers = {"double_blocks.", "single_blocks.", "transformer_blocks.", "single_transformer_blocks."},
     RULES(flux_rules)},
    {.component = "vae",
     .weights = "diffusion_pytorch_model.safetensors",
     .prefixes = {"vae.", "first_stage_model.", ""},
     .markers = {"decoder.conv_in."},
     .beside = {"ae.safetensors"},
     .levels = "decoder.up.#.*",
     RULES(vae_rules)},
    {.component = "text_encoder",
     .weights = "model.safetensors",
     .prefixes = {"text_encoders.clip_l.transformer.", ""},
     .markers = {"text_model.embeddings."},
     .beside = {"clip_l.safetensors"}},
    {.component = "text_encoder_2",
     .weights = "model.safetensors",
     .prefixes = {"text_encoders.t5xxl.transformer.", "text_encoder_2.", ""},
     .markers = {"encoder.block.0.layer.0.SelfAttention."},
     .beside = {"t5xxl_fp16.safetensors", "t5xxl_fp8_e4m3fn.safetensors", "t5xxl_fp8_e4m3fn_scaled.safetensors"}},
};

const ecd_component_names *ecd_component_names_of(const char *component)
{
    for (int i = 0; i < ECD_COMPONENTS; i++)
        if (!strcmp(ecd_component_table[i].component, component))
            return &ecd_component_table[i];
    return NULL;
}
