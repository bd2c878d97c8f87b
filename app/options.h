// Command line options: a table says what a subcommand takes, the parser refuses everything else.
//
// Every message names the option, the value given and what was expected: "--steps 0: expected a whole number from 1 to
// 1000". Options may stand before, between and after the other arguments; "--" ends them; "--name=value" works too.
#ifndef ECD_APP_OPTIONS_H
#define ECD_APP_OPTIONS_H

#include "base/status.h"

typedef enum ecd_option_kind {
    ECD_OPTION_FLAG = 0, // bool: true when given
    ECD_OPTION_TEXT,     // const char *: borrowed from argv; an empty one is refused
    ECD_OPTION_ANY_TEXT, // the same, but it may be empty
    ECD_OPTION_INT,      // int64_t in [min, max]
    ECD_OPTION_SEED,     // uint64_t, the whole range
    ECD_OPTION_NUMBER,   // double in [min, max], finite
    ECD_OPTION_BYTES,    // uint64_t: a number with K, M, G or T (powers of 1024), at least min
    ECD_OPTION_SIZE,     // ecd_option_size: WxH, each in [min, max]
    ECD_OPTION_CHOICE,   // int: index into choices
    ECD_OPTION_INT_LIST, // ecd_option_list: whole numbers in [min, max] between commas
} ecd_option_kind;

typedef struct ecd_option_size {
    int64_t width, height; // pixels
} ecd_option_size;

enum { ECD_OPTION_LIST_MAX = 32 };

typedef struct ecd_option_list {
    int64_t values[ECD_OPTION_LIST_MAX];
    int count;
} ecd_option_list;

typedef struct ecd_option {
    const char *name; // without the dashes
    char letter;      // a short form, or 0
    ecd_option_kind kind;
    void *value;      // of the type that the kind names; left alone when the option is not given
    bool *given;      // set to true when given; may be NULL
    int64_t min, max; // where the kind says so
    const char *const *choices; // NULL-terminated
} ecd_option;

// Parses argv[1..argc-1] (argv[0] is the subcommand). The remaining arguments are moved to the end of argv, in order:
// they begin at argv[*first]. ECD_USAGE for anything unknown or bad. An option given twice counts the last time.
ecd_status ecd_options_parse(int argc, char **argv, const ecd_option *options, size_t count, int *first, ecd_diag *diag);

// The strict readers behind it, for values that come from elsewhere (a recipe). false: not such a value.
bool ecd_parse_int(const char *text, int64_t min, int64_t max, int64_t *out);
bool ecd_parse_seed(const char *text, uint64_t *out);
bool ecd_parse_number(const char *text, double min, double max, double *out);
bool ecd_parse_bytes(const char *text, uint64_t *out);
bool ecd_parse_size(const char *text, int64_t min, int64_t max, ecd_option_size *out);

#endif
