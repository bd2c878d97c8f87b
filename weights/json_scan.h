// The grammar check that runs before cJSON: internal to weights/.
#ifndef ECD_WEIGHTS_JSON_SCAN_H
#define ECD_WEIGHTS_JSON_SCAN_H

#include "base/status.h"

enum { ECD_JSON_MAX_DEPTH = 256, ECD_JSON_MAX_NUMBER = 60 };

typedef struct ecd_json_scan {
    const char *text;
    size_t size;
    uint64_t base_offset; // added to reported places
    size_t at;            // current byte
    int depth;
    size_t keys;       // object keys seen so far, in document order
    size_t wanted_key; // the key whose place is wanted, counted from 0; SIZE_MAX for none
    size_t key_at;     // its place, once seen
    bool constants;    // a bare NaN, Infinity or -Infinity was seen
    char *rewrite;     // NULL, or a copy of the text in which the constants are replaced (see json_scan.c)
} ecd_json_scan;

// Checks that text[0, size) is one JSON object (RFC 8259, plus Python's three constants) that cJSON reads as it
// stands: UTF-8, no NUL in strings, surrogates in pairs, numbers of at most ECD_JSON_MAX_NUMBER characters.
ecd_status ecd_json_scan_run(ecd_json_scan *scan, ecd_diag *diag);

#endif
