// The help texts, written for someone who meets the program for the first time.
#ifndef ECD_APP_HELP_H
#define ECD_APP_HELP_H

// The text of a subcommand, of the program for NULL; NULL for a name that has none.
const char *ecd_help_of(const char *command);

#endif
