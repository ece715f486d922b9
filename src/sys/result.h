// SPDX-License-Identifier: GPL-2.0-or-later
//
// Result<T>: a value or an Errno. TRY(expression): its value, or return its error to the caller.
#pragma once

#include <expected>
#include <utility>

#include "sys/error.h"

namespace plyfs {

template <typename T>
using Result = std::expected<T, Errno>;

// What a function that failed returns: `return fail(ENOENT);`.
[[nodiscard]] constexpr std::unexpected<Errno> fail(int code) noexcept {
    return std::unexpected(Errno(code));
}
[[nodiscard]] constexpr std::unexpected<Errno> fail(Errno error) noexcept {
    return std::unexpected(error);
}

}  // namespace plyfs

// A statement expression (GCC and Clang): usable wherever a value is, for Result<void> as a
// statement. The value is moved out of the Result. The counter keeps nested ones apart.
// NOLINTBEGIN(bugprone-macro-parentheses): `result` is a name that is declared here.
#define TRY(expression) PLYFS_TRY(expression, __COUNTER__)
#define PLYFS_TRY(expression, number) PLYFS_TRY_NUMBERED(expression, number)
#define PLYFS_TRY_NUMBERED(expression, number) PLYFS_TRY_NAMED(expression, try_result_##number)
#define PLYFS_TRY_NAMED(expression, result)                  \
    __extension__({                                          \
        auto result = (expression);                          \
        if (!result) return std::unexpected(result.error()); \
        *std::move(result);                                  \
    })
// NOLINTEND(bugprone-macro-parentheses)
