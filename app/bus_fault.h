// A mapped file that shrinks, or whose device fails, raises SIGBUS at the next touch of a lost page.
#ifndef ECD_APP_BUS_FAULT_H
#define ECD_APP_BUS_FAULT_H

// From now on such a fault ends the program with a line that names the file and the byte, and status 2 (it has shrunk)
// or 3 (it cannot be read). Other faults stay what they are.
void ecd_bus_fault_catch(void);

#endif
