#include "app/common.h"
#include "app/verify_pictures.h"
#include "app/work.h"

#include <string.h>

int ecd_cmd_verify(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--"); i++)
        if (!strcmp(argv[i], "--pictures"))
            return ecd_verify_pictures(argc, argv);
    static const ecd_work_command command = {.names = "A B", .done = "equal", .call = ecd_verify};
    return ecd_work_command_run(&command, argc, argv);
}
