// Small folders as language models have them, made up: sharded safetensors with an index, configs, other files.
#ifndef ECD_TESTS_LLM_FOLDER_H
#define ECD_TESTS_LLM_FOLDER_H

typedef enum llm_kind {
    LLM_DEEPSEEK, // E4M3 in 128 x 128 blocks, weight_scale_inv in F32
    LLM_QWEN,     // BF16
    LLM_LLAMA,    // E4M3 with a scale a row, beside BF16
    LLM_ODD,      // types that nobody knows, empty tensors, scalars, odd names, an odd header
    LLM_KINDS,
} llm_kind;

// Writes the folder anew: `shards` files of about 3 MB each.
void llm_write(const char *folder, llm_kind kind, int shards);
void llm_write_file(const char *folder, const char *name, const void *data, unsigned long size);

#endif
