// SPDX-License-Identifier: GPL-2.0-or-later
#pragma once

#include "sys/result.h"

namespace plyfs::test {

// 0, or the errno.
template <typename T>
int code(const Result<T>& result) {
    return result ? 0 : result.error().code();
}

}  // namespace plyfs::test
