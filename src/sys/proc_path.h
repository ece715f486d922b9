// SPDX-License-Identifier: GPL-2.0-or-later
//
// The name /proc/self/fd/N of a descriptor: what calls take that know paths only. The kernel
// jumps to the very object, whatever became of its name; a symlink opened with O_PATH is not
// followed further (proc(5)).
#pragma once

#include <array>
#include <charconv>
#include <cstring>

namespace plyfs::sys {

class ProcPath {
public:
    explicit ProcPath(int descriptor) noexcept {
        constexpr char kPrefix[] = "/proc/self/fd/";
        std::memcpy(text_.data(), kPrefix, sizeof kPrefix - 1);
        char* const first = text_.data() + sizeof kPrefix - 1;
        *std::to_chars(first, text_.data() + text_.size() - 1, descriptor).ptr = '\0';
    }
    const char* c_str() const noexcept { return text_.data(); }

private:
    std::array<char, 32> text_{};
};

}  // namespace plyfs::sys
