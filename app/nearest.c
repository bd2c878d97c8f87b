#include "app/nearest.h"

#include <stddef.h>
#include <string.h>

enum { MAX_LETTERS = 32 };

static int least(int a, int b, int c)
{
    int d = a < b ? a : b;
    return d < c ? d : c;
}

// Edits from a to b: Damerau-Levenshtein in its restricted form.
static int distance(const char *a, const char *b)
{
    int rows[MAX_LETTERS + 1][MAX_LETTERS + 1];
    int n = (int)strlen(a), m = (int)strlen(b);
    if (n > MAX_LETTERS || m > MAX_LETTERS)
        return MAX_LETTERS;
    for (int i = 0; i <= n; i++) {
        for (int j = 0; j <= m; j++) {
            if (!i || !j) {
                rows[i][j] = i + j;
                continue;
            }
            int replaced = rows[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            rows[i][j] = least(replaced, rows[i - 1][j] + 1, rows[i][j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && rows[i - 2][j - 2] + 1 < rows[i][j])
                rows[i][j] = rows[i - 2][j - 2] + 1;
        }
    }
    return rows[n][m];
}

const char *ecd_nearest(const char *text, const char *const *words)
{
    const char *best = NULL;
    int best_distance = ((int)strlen(text) + 2) / 3 + 1;
    for (size_t i = 0; words[i]; i++) {
        int d = distance(text, words[i]);
        if (d < best_distance) {
            best = words[i];
            best_distance = d;
        }
    }
    return best;
}
