// Patterns of module names, as pattern_dict.json of published ECF8 models has them: the part of Python's regular
// expressions that they use.
#ifndef ECD_WEIGHTS_PATTERN_H
#define ECD_WEIGHTS_PATTERN_H

typedef enum ecd_pattern_result {
    ECD_PATTERN_OTHER = 0,   // does not match
    ECD_PATTERN_MATCH,       // all of the text
    ECD_PATTERN_UNSUPPORTED, // the pattern is malformed, uses what this reader lacks, or takes too long
} ecd_pattern_result;

// Python's re.fullmatch(pattern, text). Known: literals, escapes (\. \d \w and any punctuation), "." , classes with
// ranges and ^, the quantifiers * + ? on a single character, groups (...) and (?:...), lookahead (?=...) and (?!...),
// alternatives, ^ and $.
ecd_pattern_result ecd_pattern_match(const char *pattern, const char *text);

#endif
