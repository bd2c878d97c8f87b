// tokens lines COUNT:  writes that many lines of mixed text, a NUL behind each.
// tokens ids FOLDER:   reads such lines and writes their ids by the folder's tokenizer, a line each.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/text_lines.h"
#include "text/tokenizer.h"

static int fail(const ecd_diag *diag)
{
    char line[1024];
    ecd_diag_format(diag, line, sizeof line);
    fprintf(stderr, "tokens: %s\n", line);
    return 1;
}

static int write_lines(uint32_t count)
{
    static char line[TEXT_LINE_MAX];
    for (uint32_t i = 0; i < count; i++) {
        size_t size = text_line_make(i, line);
        if (fwrite(line, 1, size, stdout) != size || putchar(0) == EOF)
            return 1;
    }
    return fflush(stdout) ? 1 : 0;
}

static int write_ids(const char *folder)
{
    ecd_diag diag = {0};
    ecd_tokenizer *tokenizer = NULL;
    char *line = NULL;
    size_t capacity = 0;
    int failed = 0;
    if (ecd_tokenizer_open(folder, &tokenizer, &diag))
        return fail(&diag);
    for (ssize_t size; !failed && (size = getdelim(&line, &capacity, 0, stdin)) > 0;) {
        ecd_tokens tokens;
        if (ecd_tokenizer_encode(tokenizer, line, (size_t)size - 1, 0, false, &tokens, &diag))
            failed = fail(&diag);
        for (size_t i = 0; i < tokens.count; i++)
            printf("%s%d", i ? " " : "", (int)tokens.ids[i]);
        putchar('\n');
        ecd_tokens_free(&tokens);
    }
    free(line);
    ecd_tokenizer_close(tokenizer);
    return failed;
}

int main(int argc, char **argv)
{
    if (argc == 3 && !strcmp(argv[1], "lines"))
        return write_lines((uint32_t)strtoul(argv[2], NULL, 10));
    if (argc == 3 && !strcmp(argv[1], "ids"))
        return write_ids(argv[2]);
    fprintf(stderr, "usage: tokens lines COUNT | tokens ids FOLDER\n");
    return 1;
}
