// The list of --prompts FILE: a prompt a line, or an object of JSON a line, which may say more.
//
//   a fox in the snow
//   {"prompt": "a {fox}", "seed": 7, "size": "512x768", "steps": 4, "guidance": 2.5}
//
// A line that begins with "{" is JSON; all keys but "prompt" may be missing (a seed beyond 2^53 is written as a text).
// Empty lines are left out. A line that cannot be taken does not spoil the others: it says what is wrong with it.
#ifndef ECD_APP_PROMPTS_H
#define ECD_APP_PROMPTS_H

#include "app/options.h"

enum { ECD_PROMPTS_MAX_BYTES = 1 << 26, ECD_PROMPTS_MAX_STEPS = 1000 };

typedef struct ecd_prompt {
    char *text;  // owned; NULL where the line is bad
    size_t line; // from 1
    bool has_seed;
    uint64_t seed;
    ecd_option_size size; // 0: not said
    int64_t steps;        // 0: not said
    double guidance;      // NAN: not said
    ecd_diag diag;        // of a bad line
} ecd_prompt;

typedef struct ecd_prompts {
    ecd_prompt *items; // owned
    size_t count, capacity;
} ecd_prompts;

// ECD_USAGE for a file that is not there or holds no prompt, ECD_DATA for one that is too large. Free with ecd_prompts_free.
ecd_status ecd_prompts_read(const char *path, ecd_prompts *out, ecd_diag *diag);
// The same of text[0, size).
ecd_status ecd_prompts_parse(const char *text, size_t size, ecd_prompts *out, ecd_diag *diag);
void ecd_prompts_free(ecd_prompts *prompts); // leaves it zeroed

#endif
