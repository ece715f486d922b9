// SPDX-License-Identifier: GPL-2.0-or-later
/* The same with several CPUs. */
#include "../rebind_load.c"
