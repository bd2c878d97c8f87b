// A new folder in the making that outlives its maker: "<target>.partial", with a journal of the files that are finished. A
// later run of the same work goes on after them; the folder gets its final name when all is done.
//
// The journal (".ecdit-journal") is a JSON object a line: first what the work is, then one for each finished file, appended
// and synced after the file has its name. A last line that is cut off does not count. The journal is locked while a
// process works on it.
#ifndef ECD_WEIGHTS_PARTIAL_H
#define ECD_WEIGHTS_PARTIAL_H

#include "base/status.h"

typedef struct cJSON cJSON;

typedef enum ecd_partial_origin {
    ECD_PARTIAL_NEW,
    ECD_PARTIAL_CONTINUED, // an earlier run's files may be taken over
    ECD_PARTIAL_RESTARTED, // there was a folder of other work: it was emptied
    ECD_PARTIAL_COMPLETE,  // nothing is left to do: an earlier run ended between its last two steps
} ecd_partial_origin;

typedef struct ecd_partial {
    char *target, *folder; // owned
    char *journal_path;    // owned
    int journal;           // file descriptor, -1: none
    cJSON *entries;        // an array: the lines of an earlier run
    ecd_partial_origin origin;
    bool worth_keeping;    // set by the caller once work is done that a later run can take over
} ecd_partial;

// `identity`: one line of JSON that says what the work is: source, options. A line that differs starts again. ECD_USAGE if
// `target` exists, if another process works on it, or if "<target>.partial" is nobody's unfinished work.
ecd_status ecd_partial_begin(const char *target, const char *identity, ecd_partial *out, ecd_diag *diag);
// The earlier run's line whose "path" is this; NULL if there is none.
const cJSON *ecd_partial_find(const ecd_partial *partial, const char *path);
// Takes the line away: its file is not what it was.
void ecd_partial_forget(ecd_partial *partial, const char *path);
// Removes every file below the folder that no line names as its "out" (relative), the journal excepted.
ecd_status ecd_partial_clean(const ecd_partial *partial, ecd_diag *diag);
// Appends a line and syncs it. Takes over `line`.
ecd_status ecd_partial_note(ecd_partial *partial, cJSON *line, ecd_diag *diag);
// Gives the folder its name, or with `file` that one file of it. Ends the partial, on failure too.
ecd_status ecd_partial_commit(ecd_partial *partial, const char *file, ecd_diag *diag);
// Ends it without: the folder goes, unless it is worth keeping and `keep` is set. Harmless after commit.
void ecd_partial_end(ecd_partial *partial, bool keep);

#endif
