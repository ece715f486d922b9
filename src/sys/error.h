// SPDX-License-Identifier: GPL-2.0-or-later
//
// An errno as a value of its own type, so that it is never mistaken for a count or a descriptor.
#pragma once

#include <cerrno>
#include <string>

namespace plyfs {

// A positive errno as POSIX and Linux number them. Trivially copyable, no ownership.
class [[nodiscard]] Errno {
public:
    constexpr explicit Errno(int code) noexcept : code_(code) {}

    // The calling thread's errno, to be taken right after the call that failed.
    static Errno last() noexcept { return Errno(errno); }

    constexpr int code() const noexcept { return code_; }

    // The text of strerror(3), in the C locale.
    std::string message() const;

    friend constexpr bool operator==(Errno, Errno) noexcept = default;
    friend constexpr bool operator==(Errno left, int right) noexcept { return left.code_ == right; }

private:
    int code_;
};

}  // namespace plyfs
