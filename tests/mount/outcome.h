// SPDX-License-Identifier: GPL-2.0-or-later
//
// What a system call answered, as a value that a failed assertion prints by its name.
#pragma once

#include <catch2/catch_tostring.hpp>
#include <cerrno>
#include <cstring>
#include <string>

namespace plyfs::test {

class Outcome {
public:
    constexpr Outcome() = default;
    // NOLINTNEXTLINE(google-explicit-constructor): an errno is one
    constexpr Outcome(int code) : code_(code) {}
    constexpr int code() const noexcept { return code_; }
    constexpr bool ok() const noexcept { return code_ == 0; }
    friend constexpr bool operator==(Outcome, Outcome) = default;

private:
    int code_ = 0;
};

inline constexpr Outcome kOk{};

// Of a call that returns a negative value and sets errno.
inline Outcome outcome(long result) {
    return result < 0 ? Outcome(errno) : kOk;
}

// Carries on with `next` only if nothing failed so far.
template <typename Next>
Outcome then(Outcome first, Next&& next) {
    return first.ok() ? next() : first;
}

}  // namespace plyfs::test

template <>
struct Catch::StringMaker<plyfs::test::Outcome> {
    static std::string convert(plyfs::test::Outcome outcome) {
        if (outcome.ok()) return "ok";
        const char* name = ::strerrorname_np(outcome.code());
        return name != nullptr ? name : std::to_string(outcome.code());
    }
};
