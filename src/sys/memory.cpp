// SPDX-License-Identifier: GPL-2.0-or-later
#include "sys/memory.h"

#include <malloc.h>

namespace plyfs::sys {

void return_free_memory() noexcept {
    ::malloc_trim(0);
}

}  // namespace plyfs::sys
