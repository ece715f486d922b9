// SPDX-License-Identifier: GPL-2.0-or-later
//
// Memory of the process as the system sees it.
#pragma once

namespace plyfs::sys {

// Gives memory that was freed back to the system (malloc_trim(3)); glibc keeps most of it
// otherwise. Takes milliseconds for each 100 MB; other threads wait for memory meanwhile.
void return_free_memory() noexcept;

}  // namespace plyfs::sys
