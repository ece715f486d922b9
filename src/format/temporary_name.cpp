// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/temporary_name.h"

#include <array>
#include <atomic>
#include <charconv>
#include <cstdint>

namespace plyfs::format {

std::string temporary_name() {
    static std::atomic<std::uint64_t> counter{0};
    std::array<char, 17> text{'#'};
    char* const end = std::to_chars(text.data() + 1, text.data() + text.size(), ++counter, 16).ptr;
    return {text.data(), end};
}

bool is_temporary_name(std::string_view name) noexcept {
    return name.starts_with('#');
}

}  // namespace plyfs::format
