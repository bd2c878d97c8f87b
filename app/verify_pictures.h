// ecdit verify --pictures [MODEL]: the same bytes, however weights are held and whoever computes.
#ifndef ECD_APP_VERIFY_PICTURES_H
#define ECD_APP_VERIFY_PICTURES_H

// argv as the subcommand got it. The exit status: ECD_DATA if a picture differs within a CPU level.
int ecd_verify_pictures(int argc, char **argv);

#endif
