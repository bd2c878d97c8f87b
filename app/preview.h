// A picture shown in the terminal: generate --show.
//
// Protocols: kitty graphics (https://sw.kovidgoyal.net/kitty/graphics-protocol/), sixel (DEC STD 070, as in xterm's
// ctlseqs) and half blocks (U+2580 in 24-bit colour, which nearly every terminal shows).
#ifndef ECD_APP_PREVIEW_H
#define ECD_APP_PREVIEW_H

#include "base/status.h"

#include <stdio.h>

typedef enum ecd_preview_kind {
    ECD_PREVIEW_NONE = 0, // the terminal shows no colours (TERM unset or "dumb")
    ECD_PREVIEW_HALF_BLOCKS,
    ECD_PREVIEW_SIXEL,
    ECD_PREVIEW_KITTY,
} ecd_preview_kind;

// The kind that the terminal is known to understand, from the values of TERM, TERM_PROGRAM and KITTY_WINDOW_ID
// (NULL where unset). Inside screen or tmux, which eat the other protocols, half blocks.
ecd_preview_kind ecd_preview_choose(const char *term, const char *term_program, const char *kitty_window_id);

// ecd_preview_choose for this process's environment.
ecd_preview_kind ecd_preview_of_environment(void);

// Draws rgb [height, width, 3] to `out`, at most `columns` cells wide for half blocks (0: 80; larger pictures are
// averaged down) and ends with a newline. ECD_USAGE where kind is ECD_PREVIEW_NONE, ECD_RESOURCE where writing fails.
ecd_status ecd_preview_show(FILE *out, ecd_preview_kind kind, const uint8_t *rgb, int64_t width, int64_t height,
                            int columns, ecd_diag *diag);

#endif
