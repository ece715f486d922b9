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
// statement. The value is moved out of the Result.
#define TRY(expression)                                                  \
    __extension__({                                                      \
        auto try_result = (expression);                                  \
        if (!try_result) return std::unexpected(try_result.error());     \
        *std::move(try_result);                                          \
    })
