// SPDX-License-Identifier: GPL-2.0-or-later
//
// What every wrapper of a system call does around it.
#pragma once

#include "sys/fault.h"
#include "sys/result.h"

namespace plyfs::sys {

// For calls that answer 0, or another number and errno. Passes the fault hook.
template <typename Call>
Result<void> status_of(Call call) {
    if (const int error = fault::check()) return fail(error);
    if (call() != 0) return fail(Errno::last());
    return {};
}

}  // namespace plyfs::sys
